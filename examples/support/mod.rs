//! What the measuring programs share: a server to start, a client that costs little.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A role whose rate limit is out of the way.
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

/// The release binary beside this program.
pub fn binary() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    me.parent().unwrap().parent().unwrap().join("ultimate-mcp")
}

/// Starts our server in `data`, with the default policy and the role `bench`.
pub fn start_ours(data: &Path) -> Server {
    start_with(data, &[])
}

/// The same with more settings, as variables of the environment.
pub fn start_with(data: &Path, settings: &[(&str, &str)]) -> Server {
    let mut serve = Command::new(binary());
    serve.args(["serve", "--data-dir"]).arg(data);
    let policy = data.join("policy.toml");
    std::fs::write(
        &policy,
        format!("{}{BENCH_ROLE}", ultimate_mcp_actors::authorization::DEFAULT_POLICY),
    )
    .unwrap();
    serve.env("ULTIMATE_MCP__HTTP__PORT", "0").env("ULTIMATE_MCP__POLICY_FILE", &policy);
    serve.env("ULTIMATE_MCP__ADMISSION__RUNNING_PER_CALLER_MAX", "1000");
    serve.envs(settings.iter().copied());
    start(serve, true)
}

/// A token of the role `bench`.
pub fn token(data: &Path, caller: &str) -> String {
    let token = Command::new(binary())
        .env("ULTIMATE_MCP__POLICY_FILE", data.join("policy.toml"))
        .args(["token", "create", "--sub", caller, "--role", "bench", "--data-dir"])
        .arg(data)
        .output()
        .unwrap();
    assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    String::from_utf8(token.stdout).unwrap().trim().to_owned()
}

/// A server of this run; ends with it.
pub struct Server {
    pub child: Child,
    pub address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and waits for the line that names its address.
pub fn start(mut command: Command, on_stderr: bool) -> Server {
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

/// Sends a request and reads its answer into `buffer`; the status, and where the body begins.
pub async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> std::io::Result<(u16, usize)> {
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).unwrap();
        let status = text[9..12].parse().unwrap();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().unwrap())
        });
        let body = head + 4;
        // Without a length it comes in chunks, of which the last is empty (RFC 9112, section 7.1).
        let whole = |buffer: &[u8]| match length {
            Some(length) => buffer.len() >= body + length,
            None => buffer[body..].ends_with(b"0\r\n\r\n"),
        };
        while !whole(buffer) {
            if stream.read_buf(buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        return Ok((status, body));
    }
}

/// A `tools/call` of revision 2026-07-28, whole.
pub fn request(token: &str, tool: &str, arguments: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
