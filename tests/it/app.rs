//! The real binary on a free port, with verbs. Each test owns its server and its data directory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest a server may take to start under the load of a whole test run.
const START_MAX: Duration = Duration::from_secs(30);

/// A running server; killed and cleaned up on drop.
pub struct TestApp {
    pub url: String,
    pub data: TempDir,
    child: Child,
}

/// An answer: status, headers in lower case, body as JSON (or as a JSON string when it is not).
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The binary under test.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ultimate-mcp"));
    command.env("ULTIMATE_MCP__HTTP__PORT", "0");
    command
}

impl TestApp {
    /// Starts a server with the embedded defaults on a free port.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with extra environment, e.g. `("ULTIMATE_MCP__HTTP__BODY_BYTES_MAX", "1000")`.
    pub fn start_with(env: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), env)
    }

    /// The same in a given data directory, e.g. one that an earlier server left.
    pub fn start_in(data: TempDir, env: &[(&str, &str)]) -> Self {
        let mut child = binary()
            .args(["serve", "--data-dir"])
            .arg(data.path())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (found, url) = mpsc::channel();
        // Reads on after the address: a full pipe would block the server.
        std::thread::spawn(move || {
            let echo = std::env::var_os("TEST_LOG").is_some();
            for line in stderr.lines().map_while(Result::ok) {
                if echo {
                    eprintln!("{line}");
                }
                if let Some(at) = line.find("http://127.0.0.1:") {
                    let end =
                        line[at + 7..].find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                    let end = end.map_or(line.len(), |e| at + 7 + e);
                    let _ = found.send(line[at..end].to_owned());
                }
            }
        });
        let url = url.recv_timeout(START_MAX).expect("the server did not start");
        Self { url, data, child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `ultimate-mcp ARGS… --data-dir <this server's>`.
    pub fn cli(&self, args: &[&str]) -> Output {
        cli(self.data.path(), args)
    }

    /// A token of this instance.
    pub fn token(&self, sub: &str, role: &str) -> String {
        let out = self.cli(&["token", "create", "--sub", sub, "--role", role]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// One HTTP request.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let client = awc::Client::builder().timeout(Duration::from_secs(90)).finish();
        let method = awc::http::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.insert_header(("Authorization", format!("Bearer {token}")));
        }
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let mut response = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        }
        .unwrap();
        let bytes = response.body().limit(64 << 20).await.unwrap();
        let headers = response.headers().iter();
        Answer {
            status: response.status().as_u16(),
            headers: headers
                .map(|(n, v)| (n.as_str().to_owned(), v.to_str().unwrap_or("").to_owned()))
                .collect(),
            body: serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    /// `POST /api/v1/tools/{name}`.
    pub async fn tool(&self, token: &str, name: &str, arguments: Value) -> Answer {
        self.send("POST", &format!("/api/v1/tools/{name}"), Some(token), &[], Some(&arguments))
            .await
    }

    /// One JSON-RPC request of revision 2026-07-28, with its routing headers.
    pub async fn mcp(&self, token: &str, method: &str, params: Value) -> Answer {
        let mut params = params;
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let name = params["name"].as_str().unwrap_or("").to_owned();
        let mut headers = vec![
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", method),
        ];
        if !name.is_empty() {
            headers.push(("Mcp-Name", &name));
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.send("POST", "/mcp", Some(token), &headers, Some(&body)).await
    }

    /// Sends a signal and waits for the end; the exit code, if it exited by itself.
    pub fn stop(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ultimate-mcp ARGS… --data-dir DATA`.
pub fn cli(data: &Path, args: &[&str]) -> Output {
    binary().args(args).arg("--data-dir").arg(data).output().unwrap()
}
