//! `make bench`: CPU time per operation beside a bare floor in the same run.
//!
//! Processor time first, since wall times on a shared machine drift: user + system time of the server
//! process from `/proc/PID/stat`, divided by the calls it answered. The floor is a bare actix echo of
//! the same payload; for the cell it is `python3 -I -S -c 'print(1)'` without any isolation.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and a failed step ends it"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
const CALLS: usize = 32_000;
const RUNS: usize = 60;
const BENCH_ROLE: &str = r#"
[roles.bench]
permissions = ["tools:read", "tools:execute"]
[roles.bench.limits]
calls_per_minute = 100000000
[roles.bench.cell]
timeout_seconds_max = 60
memory_mb_max = 1024
pids_max = 128
output_kb_max = 4096
disk_mb_max = 512
cpu_max = 2
"#;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("echo") => echo_server(),
        _ => actix_rt::System::new().block_on(bench()),
    }
}

/// The floor: parses nothing, answers the body it got.
fn echo_server() {
    let served = actix_rt::System::new().block_on(async {
        let app = || {
            App::new().route(
                "/mcp",
                web::post().to(|body: web::Bytes| async move {
                    HttpResponse::Ok().content_type("application/json").body(body)
                }),
            )
        };
        let server = HttpServer::new(app).workers(2).bind(("127.0.0.1", 0)).unwrap();
        println!("listening on http://{}", server.addrs()[0]);
        server.run().await
    });
    served.unwrap();
}

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and waits for the line that names its address.
fn start(mut command: Command, on_stderr: bool) -> Server {
    let mut child = command
        .stdout(if on_stderr { Stdio::null() } else { Stdio::piped() })
        .stderr(if on_stderr { Stdio::piped() } else { Stdio::inherit() })
        .spawn()
        .unwrap();
    let lines: Box<dyn BufRead + Send> = match on_stderr {
        true => Box::new(BufReader::new(child.stderr.take().unwrap())),
        false => Box::new(BufReader::new(child.stdout.take().unwrap())),
    };
    let (found, address) = std::sync::mpsc::channel();
    // Keeps reading after the address, so that the server never blocks on a full pipe.
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            if let Some(at) = line.find("http://127.0.0.1:") {
                let rest = &line[at + 7..];
                let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                let _ = found.send(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
    });
    let address = address.recv_timeout(Duration::from_secs(30)).expect("the server did not start");
    Server { child, address }
}

/// User and system time of a process (proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms).
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> usize {
    stream.write_all(request).await.unwrap();
    buffer.clear();
    loop {
        stream.read_buf(buffer).await.unwrap();
        let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200"),
            "{text} {}",
            String::from_utf8_lossy(&buffer[head..])
        );
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().unwrap())
        });
        let total = head + 4 + length.expect("no content-length");
        while buffer.len() < total {
            stream.read_buf(buffer).await.unwrap();
        }
        return head + 4;
    }
}

fn request(token: &str, tool: &str, arguments: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// CPU per call under `CONNECTIONS` keep-alive connections, after a warm-up.
async fn load(server: &Server, request: &[u8], expect: &str) -> (Duration, f64) {
    let mut before = Duration::ZERO;
    let mut started = Instant::now();
    for calls in [CALLS / 10, CALLS] {
        before = cpu(server.child.id());
        started = Instant::now();
        let clients = (0..CONNECTIONS).map(|_| async {
            let mut stream = TcpStream::connect(&server.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = Vec::with_capacity(8192);
            for _ in 0..calls / CONNECTIONS {
                let body = exchange(&mut stream, request, &mut buffer).await;
                let text = std::str::from_utf8(&buffer[body..]).unwrap();
                assert!(text.contains(expect), "unexpected answer: {text}");
            }
        });
        futures_util::future::join_all(clients).await;
    }
    let spent = cpu(server.child.id()) - before;
    (spent / CALLS as u32, CALLS as f64 / started.elapsed().as_secs_f64())
}

async fn bench() {
    let me = std::env::current_exe().unwrap();
    let binary = me.parent().unwrap().parent().unwrap().join("ultimate-mcp");
    let data = tempfile::tempdir().unwrap();

    let mut echo = Command::new(&me);
    echo.arg("echo");
    let echo = start(echo, false);
    let mut serve = Command::new(&binary);
    serve.args(["serve", "--data-dir"]).arg(data.path());
    // The default policy, and a role whose rate limit is out of the way.
    let policy = data.path().join("policy.toml");
    std::fs::write(
        &policy,
        format!("{}{BENCH_ROLE}", ultimate_mcp_actors::authorization::DEFAULT_POLICY),
    )
    .unwrap();
    serve.env("ULTIMATE_MCP__HTTP__PORT", "0").env("ULTIMATE_MCP__POLICY_FILE", &policy);
    serve.env("ULTIMATE_MCP__ADMISSION__RUNNING_PER_CALLER_MAX", "1000");
    let server = start(serve, true);
    let token = Command::new(&binary)
        .env("ULTIMATE_MCP__POLICY_FILE", &policy)
        .args(["token", "create", "--sub", "bench", "--role", "bench", "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    let token = String::from_utf8(token.stdout).unwrap().trim().to_owned();

    let add = request(&token, "add", r#"{"a":2,"b":3}"#);
    let (floor, floor_rate) = load(&echo, &add, "tools/call").await;
    let (ours, our_rate) = load(&server, &add, "\"sum\":5").await;
    println!("tools/call `add`, authenticated, admitted, audited (intent and outcome durable):");
    println!("  server CPU per call   {:>7.1} µs", ours.as_secs_f64() * 1e6);
    println!("  bare actix echo       {:>7.1} µs", floor.as_secs_f64() * 1e6);
    println!("  ratio                 {:>7.2} ×", ours.as_secs_f64() / floor.as_secs_f64());
    println!(
        "  calls/s at {CONNECTIONS} connections, load generator on the same cores: {our_rate:.0} (echo {floor_rate:.0})"
    );

    let print = request(&token, "execute_code", r#"{"code":"print(1)","language":"python"}"#);
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let mut buffer = Vec::new();
    let (mut bare, mut isolated) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        let out =
            Command::new("/usr/bin/python3").args(["-I", "-S", "-c", "print(1)"]).output().unwrap();
        bare.push(started.elapsed());
        assert_eq!(out.stdout, b"1\n");
        let started = Instant::now();
        let body = exchange(&mut stream, &print, &mut buffer).await;
        isolated.push(started.elapsed());
        assert!(String::from_utf8_lossy(&buffer[body..]).contains(r#""status":"ok""#));
    }
    bare.sort();
    isolated.sort();
    let p = |sorted: &[Duration], q: usize| sorted[sorted.len() * q / 100].as_secs_f64() * 1e3;
    println!(
        "Python print(1), fully isolated, over HTTP with auth and audit, beside bare python3 -I -S -c:"
    );
    for q in [50, 95] {
        let (ours, floor) = (p(&isolated, q), p(&bare, q));
        println!("  p{q}  {ours:>6.2} ms   bare {floor:>6.2} ms   ratio {:>5.2} ×", ours / floor);
    }
}
