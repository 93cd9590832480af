//! `make bench`: CPU time per operation beside a bare floor in the same run.
//!
//! Processor time first, since wall times on a shared machine drift: user + system time of the server
//! process from `/proc/PID/stat`, divided by the calls it answered. The floor is a bare actix echo of
//! the same payload; for the cell it is `python3 -I -S -c 'print(1)'` without any isolation.
//! `bench -- add` measures the first of the two only, three times over; `bench -- peers FOLDER` puts rival servers
//! beside it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and a failed step ends it"
)]

mod peers;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use support::{Server, exchange, request, start, start_ours, token};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
const CALLS: usize = 32_000;
const RUNS: usize = 60;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let system = actix_rt::System::new;
    match arguments.next().as_deref() {
        Some("echo") => echo_server(),
        Some("add") => system().block_on(bench(3, false)),
        Some("peers") => {
            let folder = PathBuf::from(arguments.next().expect("bench -- peers FOLDER"));
            system().block_on(peers::bench(&folder));
        }
        _ => system().block_on(bench(1, true)),
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

/// User and system time of a process (proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms); none of one that is gone.
fn cpu(pid: u32) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Duration::ZERO;
    };
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
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
                let (status, body) = exchange(&mut stream, request, &mut buffer).await.unwrap();
                let text = std::str::from_utf8(&buffer[body..]).unwrap();
                assert!(status == 200 && text.contains(expect), "{status}: {text}");
            }
        });
        futures_util::future::join_all(clients).await;
    }
    let spent = cpu(server.child.id()) - before;
    (spent / CALLS as u32, CALLS as f64 / started.elapsed().as_secs_f64())
}

async fn bench(rounds: usize, cell: bool) {
    let me = std::env::current_exe().unwrap();
    let data = tempfile::tempdir().unwrap();

    let mut echo = Command::new(&me);
    echo.arg("echo");
    let echo = start(echo, false);
    let server = start_ours(data.path());
    let token = token(data.path(), "bench");

    for _ in 0..rounds {
        bench_add(&echo, &server, &token).await;
    }
    if cell {
        bench_cell(&server, &token).await;
    }
}

/// CPU time of a whole `tools/call` beside the bare echo of the same bytes.
async fn bench_add(echo: &Server, server: &Server, token: &str) {
    let add = request(token, "add", r#"{"a":2,"b":3}"#);
    let (floor, floor_rate) = load(echo, &add, "tools/call").await;
    let (ours, our_rate) = load(server, &add, "\"sum\":5").await;
    println!("tools/call `add`, authenticated, admitted, audited (intent and outcome durable):");
    println!("  server CPU per call   {:>7.1} µs", ours.as_secs_f64() * 1e6);
    println!("  bare actix echo       {:>7.1} µs", floor.as_secs_f64() * 1e6);
    println!("  ratio                 {:>7.2} ×", ours.as_secs_f64() / floor.as_secs_f64());
    println!(
        "  calls/s at {CONNECTIONS} connections, load generator on the same cores: {our_rate:.0} (echo {floor_rate:.0})"
    );
}

/// Wall time of one isolated run beside the same interpreter started bare.
async fn bench_cell(server: &Server, token: &str) {
    let print = request(token, "execute_code", r#"{"code":"print(1)","language":"python"}"#);
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
        let (_, body) = exchange(&mut stream, &print, &mut buffer).await.unwrap();
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
