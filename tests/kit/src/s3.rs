//! An S3 service: moto's, which keeps everything in memory and checks no signatures.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Process, free_port, listening, wait_until};

/// A running S3 service; ends with this value.
pub struct S3 {
    _process: Process,
    port: u16,
}

impl S3 {
    /// Starts it with an empty bucket.
    pub fn start(bucket: &str) -> Self {
        let cache = std::env::var_os("ULTIMATE_MCP_CACHE");
        let cache =
            cache.map(PathBuf::from).expect("ULTIMATE_MCP_CACHE is not set; run `make test`");
        let port = free_port();
        let mut command = Command::new(cache.join("moto/bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = Process::spawn(&mut command, "run `make test`, which installs moto");
        wait_until("moto listens", || listening(port));
        let service = Self { _process: process, port };
        let answer = service.request("PUT", &format!("/{bucket}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        service
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it answers to a request without a body.
    pub fn request(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
