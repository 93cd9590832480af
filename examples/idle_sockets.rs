//! What 10,000 idle WebSockets cost: memory of the server before, with and after them.
//!
//! Each is of a caller that was authenticated, speaks 2026-07-28 and has made one call; then it is silent but for
//! the server's pings, which it answers. `idle_sockets N` opens N.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program prints and may die"
)]
#![allow(dead_code, reason = "the programs share one file of tools")]

mod support;

use std::time::{Duration, Instant};

use support::{start_with, token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOCKETS: usize = 10_000;
/// Longer than the server waits between two pings.
const IDLE: Duration = Duration::from_secs(20);
/// RFC 6455, section 5.2: opcodes.
const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

fn main() {
    let count = std::env::args().nth(1).map_or(SOCKETS, |count| count.parse().unwrap());
    actix_rt::System::new().block_on(async move {
        let data = tempfile::tempdir().unwrap();
        let most = (count + 10).to_string();
        let limits = [
            ("ULTIMATE_MCP__MCP__STREAMS_MAX", most.as_str()),
            ("ULTIMATE_MCP__MCP__STREAMS_PER_CALLER_MAX", &most),
            ("ULTIMATE_MCP__HTTP__CONNECTIONS_MAX", &most),
        ];
        let server = start_with(data.path(), &limits);
        let token = token(data.path(), "idle");
        let (pid, address) = (server.child.id(), server.address.clone());
        // Warm: code pages, pools.
        drop(open(&address, &token).await);
        let before = memory_kb(pid);
        let began = Instant::now();
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            sockets.push(actix_rt::spawn(idle(open(&address, &token).await)));
        }
        let opened = began.elapsed();
        tokio::time::sleep(IDLE).await;
        let with = memory_kb(pid);
        let grown = with - before;
        println!(
            "{count} idle WebSockets: {:.1} MB more ({before} kB before, {with} kB with them), {:.1} kB each; \
             opened in {:.1} s",
            grown as f64 / 1024.0,
            grown as f64 / count as f64,
            opened.as_secs_f64()
        );
        assert!(sockets.iter().all(|socket| !socket.is_finished()), "a socket was closed");
        sockets.iter().for_each(|socket| socket.abort());
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("after them: {} kB", memory_kb(pid));
    });
}

/// Resident memory, in kB (proc_pid_status(5): VmRSS).
fn memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A socket that has made one call.
async fn open(address: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /mcp/ws HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mcp\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{
        "io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    send(&mut stream, TEXT, call.as_bytes()).await;
    let (opcode, body) = receive(&mut stream).await.unwrap();
    assert!(opcode == TEXT && String::from_utf8_lossy(&body).contains("supportedVersions"));
    stream
}

/// Answers pings until the other side hangs up.
async fn idle(mut stream: TcpStream) {
    while let Some((opcode, body)) = receive(&mut stream).await {
        if opcode == PING {
            send(&mut stream, PONG, &body).await;
        }
    }
}

/// One frame of a client: final, masked (by zeros, which changes nothing), at most 65,535 bytes.
async fn send(stream: &mut TcpStream, opcode: u8, body: &[u8]) {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(body.len()).ok().filter(|length| *length < 126) {
        Some(length) => frame.push(0x80 | length),
        None => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(body);
    stream.write_all(&frame).await.unwrap();
}

/// One frame of a server; `None` at the end.
async fn receive(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let opcode = stream.read_u8().await.ok()? & 0x0f;
    let length = match stream.read_u8().await.ok()? {
        126 => usize::from(stream.read_u16().await.ok()?),
        length => usize::from(length),
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((opcode, body))
}
