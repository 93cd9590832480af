//! The real binary on a free port, with verbs. A test that disturbs its server owns it; others share one
//! per module.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest a server may take to start under the load of a whole test run.
const START_MAX: Duration = Duration::from_secs(30);

/// The longest a condition that must come true may take, on a machine that does other things too.
const POLL_MAX: Duration = Duration::from_secs(20);

/// A running server; killed and cleaned up on drop.
pub struct TestApp {
    pub url: String,
    pub data: DataDir,
    child: Child,
    said: Arc<Mutex<String>>,
}

/// A server's data directory: its own, or one that its test cleans up.
pub enum DataDir {
    /// Removed with the server.
    Own(TempDir),
    /// The test's.
    Lent(PathBuf),
}

impl DataDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Lent(path) => path,
        }
    }
}

/// One server for the tests of a module; it ends with the last test that holds it.
pub struct Shared(Mutex<Weak<TestApp>>);

impl Shared {
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The server that runs, or a new one.
    pub fn get(&self, start: impl FnOnce() -> TestApp) -> Arc<TestApp> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.upgrade().unwrap_or_else(|| {
            let app = Arc::new(start());
            *held = Arc::downgrade(&app);
            app
        })
    }
}

/// Waits until `look` finds something, for [`POLL_MAX`] at most.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + POLL_MAX;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never happened: {what}");
        actix_web::rt::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An answer: status, headers in lower case, body as it came and as JSON (a string when it is none).
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// `error.code` of a REST answer, `error.data.code` of a JSON-RPC one, or nothing.
    pub fn code(&self) -> &str {
        let error = &self.body["error"];
        error["code"].as_str().or(error["data"]["code"].as_str()).unwrap_or("")
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
        let (child, said, url) = spawn("serve", data.path(), env);
        Self { url, data: DataDir::Own(data), child, said }
    }

    /// The same in a directory that need not exist and that the caller cleans up.
    pub fn start_at(data: &Path) -> Self {
        Self::start_at_with(data, &[])
    }

    /// The same with extra environment.
    pub fn start_at_with(data: &Path, env: &[(&str, &str)]) -> Self {
        let (child, said, url) = spawn("serve", data, env);
        Self { url, data: DataDir::Lent(data.to_owned()), child, said }
    }

    /// Starts a server anew in this one's data directory; the one before must have ended.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same with another environment.
    pub fn restart_with(&mut self, env: &[(&str, &str)]) {
        (self.child, self.said, self.url) = spawn("serve", self.data.path(), env);
    }

    /// Starts a node that only works jobs.
    pub fn worker_with(env: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (child, said, url) = spawn("worker", data.path(), env);
        Self { url, data: DataDir::Own(data), child, said }
    }

    /// Starts the worker anew in its data directory; the one before must have ended.
    pub fn restart_as_worker(&mut self, env: &[(&str, &str)]) {
        (self.child, self.said, self.url) = spawn("worker", self.data.path(), env);
    }

    /// The start message, once all of it is there.
    pub async fn banner(&self) -> String {
        eventually("the start message is complete", || async {
            let said = self.said.lock().unwrap().clone();
            said.contains("-d '{").then_some(said)
        })
        .await
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
        Self::token_at(self.data.path(), sub, role)
    }

    /// A token of the instance in this directory.
    pub fn token_at(data: &Path, sub: &str, role: &str) -> String {
        let out = cli(data, &["token", "create", "--sub", sub, "--role", role]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// One HTTP request with a JSON body or none.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let Some(body) = body else {
            return self.send_bytes(method, path, token, headers, Vec::new()).await;
        };
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        self.send_bytes(method, path, token, &headers, body.to_string().into_bytes()).await
    }

    /// One HTTP request with this body, whatever it is.
    pub async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        send_to(&self.url, method, path, token, headers, body).await.unwrap()
    }

    /// A connection on which a call of `execute_code` has been sent; reading and closing it is up to
    /// the caller.
    pub fn begin(&self, token: &str, arguments: &Value) -> TcpStream {
        self.begin_with(token, arguments, "")
    }

    /// The same with more lines in the head, each with its line end.
    pub fn begin_with(&self, token: &str, arguments: &Value, lines: &str) -> TcpStream {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        let body = arguments.to_string();
        let head = format!(
            "POST /api/v1/tools/execute_code HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             {lines}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        stream
    }

    /// `POST /api/v1/tools/{name}` under an idempotency key.
    pub async fn tool_once(&self, token: &str, key: &str, name: &str, arguments: Value) -> Answer {
        let (path, headers) = (format!("/api/v1/tools/{name}"), [("Idempotency-Key", key)]);
        self.send("POST", &path, Some(token), &headers, Some(&arguments)).await
    }

    /// `POST /api/v1/tools/{name}`.
    pub async fn tool(&self, token: &str, name: &str, arguments: Value) -> Answer {
        self.send("POST", &format!("/api/v1/tools/{name}"), Some(token), &[], Some(&arguments))
            .await
    }

    /// One JSON-RPC request of revision 2026-07-28, with its routing headers.
    pub async fn mcp(&self, token: &str, method: &str, params: Value) -> Answer {
        self.mcp_as(Some(token), method, params).await
    }

    /// The same with or without a token.
    pub async fn mcp_as(&self, token: Option<&str>, method: &str, params: Value) -> Answer {
        let mut params = params;
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        let capabilities = &mut params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        if capabilities.is_null() {
            *capabilities = json!({});
        }
        let routed = match method {
            "resources/read" => &params["uri"],
            _ if method.starts_with("tasks/") => &params["taskId"],
            _ => &params["name"],
        };
        let name = routed.as_str().unwrap_or("").to_owned();
        let mut headers = vec![
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", method),
        ];
        if !name.is_empty() {
            headers.push(("Mcp-Name", &name));
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.send("POST", "/mcp", token, &headers, Some(&body)).await
    }

    /// Waits for an end nobody asked for, 10 seconds at most.
    #[cfg(feature = "faults")]
    pub async fn ended(&mut self) {
        let end = Instant::now() + POLL_MAX;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it goes on");
            actix_web::rt::time::sleep(Duration::from_millis(10)).await;
        }
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

/// One HTTP request to whatever listens there, on a connection of its own; what went wrong, when there
/// is no answer.
pub async fn send_to(
    url: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    let client =
        awc::Client::builder().timeout(Duration::from_secs(90)).disable_redirects().finish();
    let method = awc::http::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = client.request(method, format!("{url}{path}"));
    if let Some(token) = token {
        request = request.insert_header(("Authorization", format!("Bearer {token}")));
    }
    for (name, value) in headers {
        request = request.insert_header((*name, *value));
    }
    let sent = if body.is_empty() { request.send() } else { request.send_body(body) };
    let mut response = sent.await.map_err(|error| error.to_string())?;
    let bytes = response.body().limit(64 << 20).await.map_err(|error| error.to_string())?.to_vec();
    let headers = response.headers().iter();
    Ok(Answer {
        status: response.status().as_u16(),
        headers: headers
            .map(|(n, v)| (n.as_str().to_owned(), v.to_str().unwrap_or("").to_owned()))
            .collect(),
        body: serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        bytes,
    })
}

/// Waits until the run of this call can be seen among the processes under its name; an answer that
/// comes before that is a failure, and says why.
pub async fn begun(call: &TcpStream, marker: &str) {
    call.set_nonblocking(true).unwrap();
    eventually("the run begins", || async {
        let mut early = [0; 4096];
        if let Ok(read) = call.peek(&mut early) {
            panic!("answered before it began: {}", String::from_utf8_lossy(&early[..read]));
        }
        process(marker)
    })
    .await;
    call.set_nonblocking(false).unwrap();
}

/// Waits until no process has this name any more.
pub async fn gone(marker: &str) {
    eventually("the run is gone", || async { process(marker).is_none().then_some(()) }).await;
}

/// The process whose command line begins with this; what runs in a cell is seen from outside as well.
fn process(marker: &str) -> Option<u32> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        line.starts_with(marker.as_bytes()).then_some(pid)
    })
}

/// Reads the answer to [`TestApp::begin`]: status and body. `None` when the connection just ended.
pub fn finish(mut stream: TcpStream) -> Option<(u16, Value)> {
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

fn spawn(command: &str, data: &Path, env: &[(&str, &str)]) -> (Child, Arc<Mutex<String>>, String) {
    let mut child = binary()
        .args([command, "--data-dir"])
        .arg(data)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (found, url) = mpsc::channel();
    let said = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&said);
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
            let mut said = heard.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
    let url = url.recv_timeout(START_MAX).expect("the server did not start");
    (child, said, url)
}

/// `ultimate-mcp ARGS… --data-dir DATA`.
pub fn cli(data: &Path, args: &[&str]) -> Output {
    binary().args(args).arg("--data-dir").arg(data).output().unwrap()
}
