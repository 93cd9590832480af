//! `bench -- peers FOLDER`: the same `add` on rival MCP servers, from one generator, in one run.
//!
//! FOLDER is what `loadtest/peers/install.sh` filled. The generator shares the cores with the server it loads:
//! compare CPU per call first, then latency, calls per second last. Every server is measured once per round, and
//! of its rounds the one with the least CPU per call is shown.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::support::{Server, exchange, request, start_ours, token};

const CONNECTIONS: [usize; 3] = [1, 32, 256];
const ROUNDS: usize = 3;
const WARM: Duration = Duration::from_secs(1);
const LOADED: Duration = Duration::from_secs(4);
/// Python servers take seconds to import what they need.
const START: Duration = Duration::from_secs(60);
/// A secret of this bench only, as long as RFC 7518, section 3.2 asks for HS256.
const SECRET: &str = "peers-secret-peers-secret-peers-0123";

/// One server to measure: how it starts, what it is sent, what its answer must hold.
struct Peer {
    name: &'static str,
    /// Program and arguments; the port comes after the first two.
    program: Vec<PathBuf>,
    secret: bool,
    request: Vec<u8>,
}

/// What one load showed.
#[derive(Clone, Copy)]
struct Figures {
    cpu: Duration,
    p50: Duration,
    p99: Duration,
    calls_per_second: f64,
    /// Most resident memory of the server's processes so far.
    memory_kb: u64,
}

/// Measures everything that is installed and prints a table.
pub async fn bench(folder: &Path) {
    let data = tempfile::tempdir().unwrap();
    let ours = start_ours(data.path());
    let add = request(&token(data.path(), "peers"), "add", r#"{"a":2,"b":3}"#);
    drop(ours);

    let peers = peers(folder);
    let mut best: Vec<[Option<Figures>; CONNECTIONS.len()]> =
        vec![[None; CONNECTIONS.len()]; peers.len() + 1];
    for _ in 0..ROUNDS {
        let server = start_ours(data.path());
        keep(&mut best[0], measure(&server, &add).await);
        drop(server);
        for (peer, best) in peers.iter().zip(&mut best[1..]) {
            let Some(server) = start(peer).await else { continue };
            keep(best, measure(&server, &peer.request).await);
        }
    }
    println!(
        "| server | connections | CPU per call, µs | p50, ms | p99, ms | calls/s | memory, MB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let names = peers.iter().map(|peer| peer.name);
    for (name, best) in std::iter::once("ultimate-mcp: JWT, policy, audit").chain(names).zip(&best)
    {
        for (connections, figures) in CONNECTIONS.iter().zip(best) {
            match figures {
                Some(figures) => row(name, *connections, figures),
                None => println!("| {name} | {connections} | not installed | | | | |"),
            }
        }
    }
}

fn row(name: &str, connections: usize, figures: &Figures) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {name} | {connections} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} |",
        figures.cpu.as_secs_f64() * 1e6,
        ms(figures.p50),
        ms(figures.p99),
        figures.calls_per_second,
        figures.memory_kb as f64 / 1024.0,
    );
}

fn keep(best: &mut [Option<Figures>], measured: Vec<Figures>) {
    for (best, figures) in best.iter_mut().zip(measured) {
        if best.is_none_or(|best| figures.cpu < best.cpu) {
            *best = Some(figures);
        }
    }
}

fn peers(folder: &Path) -> Vec<Peer> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest/peers");
    let python =
        |venv: &str, script: &str| vec![folder.join(venv).join("bin/python"), scripts.join(script)];
    let node = |script: &str| vec![PathBuf::from("node"), folder.join("node").join(script)];
    let built = |name: &str| vec![folder.join("bin").join(name)];
    let modern = || request("", "add", r#"{"a":2,"b":3}"#);
    let bare = |name, program| Peer { name, program, secret: false, request: modern() };
    vec![
        bare("rmcp 3.11.0", built("peer-rmcp")),
        bare("go-sdk 1.8.0", built("gosdk")),
        bare("mcp-go 1.2.1", built("mcpgo")),
        bare("TypeScript SDK 2.4.0", node("sdk2.mjs")),
        Peer {
            request: session_era(),
            ..bare("TypeScript SDK 1.32.2 (2025-11-25)", node("sdk1.mjs"))
        },
        bare("Python SDK 2.3.0", python("mcpsdk", "mcpsdk_server.py")),
        bare("FastMCP 4.1.0", python("fastmcp", "fastmcp_server.py")),
        Peer {
            secret: true,
            request: request(&fastmcp_token(), "add", r#"{"a":2,"b":3}"#),
            ..bare("FastMCP 4.1.0: JWT and scope", python("fastmcp", "fastmcp_server.py"))
        },
    ]
}

/// The call as the revision before writes it, for a server that knows no newer one.
fn session_era() -> Vec<u8> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":2,"b":3}}}"#;
    format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, \
         text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What `fastmcp_server.py` takes when it is given the secret.
fn fastmcp_token() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({
        "iss": "bench", "aud": "bench", "sub": "bench", "client_id": "bench",
        "iat": now, "exp": now + 3600, "scope": "tools:call",
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// Starts a peer and waits for its first right answer; none when it is not installed.
async fn start(peer: &Peer) -> Option<Server> {
    let (program, arguments) = peer.program.split_first().unwrap();
    if program.components().count() > 1 && !program.exists()
        || !arguments.iter().all(|path| path.exists())
    {
        return None;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.args(arguments).arg(port.to_string()).stdout(Stdio::null());
    if peer.secret {
        command.arg(SECRET);
    }
    let child: Child = command.spawn().unwrap();
    let server = Server { child, address: format!("127.0.0.1:{port}") };
    let started = Instant::now();
    let mut buffer = Vec::new();
    loop {
        if let Ok(mut stream) = TcpStream::connect(&server.address).await {
            let (status, body) = exchange(&mut stream, &peer.request, &mut buffer).await.unwrap();
            assert!(
                right(status, &buffer[body..]),
                "{}: {}",
                peer.name,
                String::from_utf8_lossy(&buffer)
            );
            return Some(server);
        }
        assert!(started.elapsed() < START, "{} did not start", peer.name);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn right(status: u16, body: &[u8]) -> bool {
    let has = |text: &[u8]| body.windows(text.len()).any(|part| part == text);
    status == 200
        && !has(b"\"isError\":true")
        && (has(b"\"text\":\"5\"") || has(b"\"sum\":5") || has(b"\"result\":5"))
}

async fn measure(server: &Server, request: &[u8]) -> Vec<Figures> {
    let mut measured = Vec::new();
    for connections in CONNECTIONS {
        load(server, request, connections, WARM).await;
        measured.push(load(server, request, connections, LOADED).await);
    }
    measured
}

/// Each connection sends its next call when the last is answered, until the time is up.
async fn load(server: &Server, request: &[u8], connections: usize, lasts: Duration) -> Figures {
    let (before, started) = (cpu_of_tree(server.child.id()), Instant::now());
    let clients = (0..connections).map(|_| async {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut buffer, mut took) = (Vec::with_capacity(8192), Vec::new());
        while started.elapsed() < lasts {
            let sent = Instant::now();
            let (status, body) = exchange(&mut stream, request, &mut buffer).await.unwrap();
            took.push(sent.elapsed());
            assert!(right(status, &buffer[body..]), "{}", String::from_utf8_lossy(&buffer));
        }
        took
    });
    let mut took = futures_util::future::join_all(clients).await.concat();
    let elapsed = started.elapsed();
    let spent = cpu_of_tree(server.child.id()) - before;
    took.sort_unstable();
    Figures {
        cpu: spent / u32::try_from(took.len()).unwrap(),
        p50: took[took.len() / 2],
        p99: took[took.len() * 99 / 100],
        calls_per_second: took.len() as f64 / elapsed.as_secs_f64(),
        memory_kb: tree(server.child.id()).into_iter().map(peak_memory_kb).sum(),
    }
}

/// A process and all below it.
fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut at = 0;
    while at < all.len() {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", all[at])).into_iter().flatten().flatten();
        for task in tasks {
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
        at += 1;
    }
    all
}

fn cpu_of_tree(root: u32) -> Duration {
    tree(root).into_iter().map(crate::cpu).sum()
}

/// `VmHWM` of proc_pid_status(5); 0 for a process that is gone.
fn peak_memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
