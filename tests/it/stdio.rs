//! `ultimate-mcp stdio`, line by line, as a client drives it that starts its server itself.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{Shared, TestApp, binary, eventually, gone};

static APP: Shared = Shared::new();

/// A conversation; the process is killed when the test drops it.
struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = binary();
    command.arg("stdio").arg("--data-dir").arg(data).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

impl Talk {
    fn begin(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn say(&mut self, line: impl AsRef<[u8]>) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_ref()).and_then(|()| input.write_all(b"\n")).unwrap();
        input.flush().unwrap();
    }

    /// The next line, which must be JSON-RPC; `None` at the end.
    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        Some(message)
    }

    /// Ends the input; what is still said, and the exit code.
    fn end(mut self) -> (Vec<Value>, Option<i32>) {
        drop(self.input.take());
        let rest: Vec<_> = std::iter::from_fn(|| self.hear()).collect();
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modern(id: Value, method: &str, mut params: Value) -> String {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn execute(id: Value, code: &str) -> String {
    let arguments = json!({ "code": code, "timeout_seconds": 55, "language": "bash" });
    modern(id, "tools/call", json!({ "name": "execute_code", "arguments": arguments }))
}

#[test]
fn a_client_needs_no_running_server_and_hears_nothing_but_the_protocol() {
    let data = tempfile::tempdir().unwrap();
    // A data directory that does not exist yet, as after an installation.
    let data = data.path().join("new");
    let mut talk = Talk::begin(&mut command(&data, &[]));
    talk.say(modern(json!(1), "server/discover", json!({})));
    assert_eq!(talk.hear().unwrap()["result"]["resultType"], "complete");
    // Both eras in one conversation.
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } });
    talk.say(
        json!({ "jsonrpc": "2.0", "id": "i", "method": "initialize", "params": hello }).to_string(),
    );
    assert_eq!(talk.hear().unwrap()["result"]["protocolVersion"], "2025-11-25");
    talk.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    talk.say("");
    talk.say("no JSON");
    assert_eq!(talk.hear().unwrap()["error"]["code"], -32700);
    talk.say(b"\xff\xff");
    assert_eq!(talk.hear().unwrap()["error"]["code"], -32700);
    let developer = talk.hear_tools();
    assert!(developer.contains(&json!("execute_code")), "{developer:?}");
    assert!(!developer.contains(&json!("graph_delete")), "{developer:?}");
    // The input ends while a call runs: its answer still comes.
    talk.say(execute(json!(7), "sleep 0.5; echo $((6*7))"));
    let (rest, code) = talk.end();
    assert_eq!((rest.len(), code), (1, Some(0)), "{rest:?}");
    assert_eq!(rest[0]["result"]["structuredContent"]["stdout"], "42\n", "{}", rest[0]);
    let verified = crate::app::cli(&data, &["audit", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    assert!(!data.join("server.url").exists());
}

impl Talk {
    fn hear_tools(&mut self) -> Vec<Value> {
        self.say(r#"{"jsonrpc":"2.0","id":"t","method":"tools/list"}"#);
        let answer = self.hear().unwrap();
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        tools.iter().map(|tool| tool["name"].clone()).collect()
    }
}

#[actix_web::test]
async fn beside_a_running_server_it_speaks_for_its_token_and_is_audited_as_the_socket_is() {
    let app = APP.get(TestApp::start);
    let token = app.token("stella", "viewer");
    let mut command = command(app.data.path(), &[]);
    let mut talk = Talk::begin(command.env("ULTIMATE_MCP_TOKEN", &token));
    talk.say(execute(json!(1), "echo"));
    let refused = talk.hear().unwrap();
    assert_eq!(refused["error"]["data"]["code"], "forbidden", "{refused}");
    talk.say(modern(
        json!(2),
        "tools/call",
        json!({ "name": "lint_code", "arguments": { "code": "x=1\n" } }),
    ));
    assert_eq!(talk.hear().unwrap()["id"], 2);
    assert_eq!(talk.end(), (vec![], Some(0)));
    let admin = app.token("root", "admin");
    let events = app.send("GET", "/api/v1/audit?user=stella", Some(&admin), &[], None).await;
    let text = events.body.to_string();
    assert!(text.contains("lint_code") && text.contains("execute_code"), "{text}");
    assert!(text.contains("mcp_ws") && text.contains("ultimate-mcp-stdio/"), "{text}");
}

#[actix_web::test]
async fn a_cancelled_call_ends_and_is_not_waited_for() {
    let app = APP.get(TestApp::start);
    let marker = format!("stdio-{}", uuid::Uuid::new_v4());
    let mut talk = Talk::begin(&mut command(app.data.path(), &[]));
    talk.say(execute(json!("slow"), &format!("exec -a {marker} sleep 50")));
    talk.say(modern(json!(2), "tools/list", json!({})));
    assert_eq!(talk.hear().unwrap()["id"], 2);
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": "slow" } });
    talk.say(cancelled.to_string());
    let began = Instant::now();
    assert_eq!(talk.end(), (vec![], Some(0)));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    gone(&marker).await;
}

#[actix_web::test]
async fn when_the_server_goes_what_is_in_flight_is_answered() {
    let mut app = TestApp::start();
    let mut talk = Talk::begin(&mut command(app.data.path(), &[]));
    talk.say(modern(json!(1), "tools/list", json!({})));
    assert_eq!(talk.hear().unwrap()["id"], 1);
    let marker = format!("stdio-{}", uuid::Uuid::new_v4());
    talk.say(execute(json!(2), &format!("exec -a {marker} sleep 50")));
    eventually("the call runs", || async {
        std::process::Command::new("pgrep")
            .args(["-f", &marker])
            .output()
            .unwrap()
            .status
            .success()
            .then_some(())
    })
    .await;
    app.stop("-KILL");
    let answer = talk.hear().unwrap();
    assert_eq!(
        (&answer["id"], &answer["error"]["data"]["code"]),
        (&json!(2), &json!("unavailable"))
    );
    assert_eq!(talk.hear(), None);
    assert_eq!(talk.child.wait().unwrap().code(), Some(69));
}

#[test]
fn a_second_client_of_the_same_directory_joins_the_first() {
    let data = tempfile::tempdir().unwrap();
    let (sender, answers) = mpsc::channel();
    let mut threads = Vec::new();
    // Both at once: one of them starts the server, the other finds it.
    for _ in 0..2 {
        let (path, sender) = (data.path().to_owned(), sender.clone());
        threads.push(std::thread::spawn(move || {
            let mut talk = Talk::begin(&mut command(&path, &[]));
            talk.say(execute(json!(1), "echo $((6*7))"));
            let answer = talk.hear().unwrap_or_default();
            sender.send(answer["result"]["structuredContent"]["stdout"].clone()).unwrap();
            talk
        }));
    }
    for _ in 0..2 {
        assert_eq!(answers.recv_timeout(Duration::from_secs(60)).unwrap(), "42\n");
    }
    let talks = threads.into_iter().map(|thread| thread.join().unwrap());
    let codes: Vec<_> = talks.map(|talk| talk.end().1).collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
}

#[test]
fn a_token_that_is_no_good_or_not_private_ends_before_the_first_line() {
    let app = APP.get(TestApp::start);
    let refused = |command: &mut Command, code: i32, word: &str| {
        let out = command.stderr(Stdio::piped()).stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(code), &b""[..]), "{error}");
        assert!(error.contains(word), "{error}");
    };
    let mut other = command(app.data.path(), &[]);
    refused(other.env("ULTIMATE_MCP_TOKEN", "a.b.c"), 78, "token");
    refused(command(app.data.path(), &[]).env("ULTIMATE_MCP_TOKEN", " "), 64, "ULTIMATE_MCP_TOKEN");
    let file = app.data.path().join("token");
    std::fs::write(&file, app.token("filed", "viewer")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = file.to_str().unwrap();
    refused(&mut command(app.data.path(), &["--token-file", file]), 78, "chmod 600");
    refused(&mut command(app.data.path(), &["--url", &app.url]), 64, "--token-file");
    refused(&mut command(app.data.path(), &["--url", "https://example.org"]), 64, "http://");
    refused(&mut command(app.data.path(), &["--token", "a.b.c"]), 64, "--token");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut talk =
        Talk::begin(&mut command(app.data.path(), &["--url", &app.url, "--token-file", file]));
    talk.say(modern(json!(1), "tools/list", json!({})));
    assert_eq!(talk.hear().unwrap()["id"], 1);
    assert_eq!(talk.end(), (vec![], Some(0)));
}

#[test]
fn a_line_over_the_limit_is_refused_and_the_next_one_read() {
    let data = tempfile::tempdir().unwrap();
    let mut command = command(data.path(), &[]);
    let mut talk = Talk::begin(command.env("ULTIMATE_MCP__HTTP__BODY_BYTES_MAX", "2000"));
    talk.say(modern(json!(1), "tools/list", json!({ "cursor": "x".repeat(5000) })));
    let refused = talk.hear().unwrap();
    assert_eq!(refused["error"]["data"]["code"], "payload_too_large", "{refused}");
    talk.say(modern(json!(2), "server/discover", json!({})));
    assert_eq!(talk.hear().unwrap()["id"], 2);
    assert_eq!(talk.end(), (vec![], Some(0)));
}
