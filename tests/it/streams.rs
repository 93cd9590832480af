//! Streamed answers of the real server, over real sockets.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{Shared, TestApp, eventually, gone};

static APP: Shared = Shared::new();

/// Writes, sleeps a second, writes again: what is held back until the end is seen to be.
const TWO_LINES: &str = "import time\nprint('first', flush=True)\ntime.sleep(1)\nprint('last')";

/// A connection on which a modern call of `execute_code` has been sent, whose sender listens.
fn call(app: &TestApp, token: &str, arguments: &Value) -> BufReader<TcpStream> {
    let meta = json!({ "io.modelcontextprotocol/logLevel": "info", "progressToken": "p" });
    let params = json!({ "name": "execute_code", "arguments": arguments, "_meta": meta });
    post(app, token, "tools/call", params, "Mcp-Name: execute_code\r\n")
}

/// A connection on which a modern request has been sent, with more lines in the head.
pub fn post(
    app: &TestApp,
    token: &str,
    method: &str,
    mut params: Value,
    lines: &str,
) -> BufReader<TcpStream> {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    let capabilities = &mut params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    if capabilities.is_null() {
        *capabilities = json!({});
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let (address, body) = (app.url.strip_prefix("http://").unwrap(), body.to_string());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{lines}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    BufReader::new(stream)
}

/// The next message of the stream.
pub fn next(reader: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[actix_web::test]
async fn output_arrives_while_the_program_runs() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    let mut stream = call(&app, &token, &json!({ "code": TWO_LINES }));
    let (mut logged, mut progress, mut first_at) = (String::new(), Vec::new(), None);
    let result = loop {
        let message = next(&mut stream);
        let params = &message["params"];
        match message["method"].as_str() {
            Some("notifications/message") => {
                first_at.get_or_insert_with(Instant::now);
                assert_eq!(
                    (&params["level"], &params["logger"]),
                    (&json!("info"), &json!("stdout"))
                );
                logged.push_str(params["data"].as_str().unwrap());
            }
            Some("notifications/progress") => progress.push(params["progress"].as_f64().unwrap()),
            Some(other) => panic!("{other}"),
            None => break message["result"]["structuredContent"].clone(),
        }
    };
    let ahead = first_at.expect("nothing was said").elapsed();
    assert!(ahead > Duration::from_millis(700), "{ahead:?} before the end");
    assert_eq!((logged.as_str(), &result["stdout"]), ("first\nlast\n", &json!("first\nlast\n")));
    assert!(!progress.is_empty() && progress.is_sorted_by(|a, b| a < b), "{progress:?}");
}

#[actix_web::test]
async fn a_modern_client_that_hangs_up_on_a_stream_ends_the_program() {
    let app = APP.get(TestApp::start);
    let token = app.token("bea", "developer");
    let marker = format!("itest-{}", uuid::Uuid::new_v4());
    let code = format!("echo begun; exec -a {marker} sleep 50");
    let arguments = json!({ "code": code, "language": "bash", "timeout_seconds": 55 });
    let mut stream = call(&app, &token, &arguments);
    next(&mut stream);
    drop(stream);
    let admin = app.token("root", "admin");
    eventually("the outcome is recorded", || async {
        let path = "/api/v1/audit?user=bea";
        let events = app.send("GET", path, Some(&admin), &[], None).await;
        events.body.to_string().contains("the client went away").then_some(())
    })
    .await;
    gone(&marker).await;
}

#[actix_web::test]
async fn more_output_than_a_reader_takes_is_bounded_and_the_result_is_whole() {
    let app = APP.get(TestApp::start);
    let token = app.token("cyd", "developer");
    let code = "for i in range(100000): print(i)";
    let arguments = json!({ "code": code, "limits": { "output_kb": 2048 } });
    let mut stream = call(&app, &token, &arguments);
    let mut messages = 0;
    let result = loop {
        let message = next(&mut stream);
        if message.get("method").is_none() {
            break message["result"]["structuredContent"].clone();
        }
        messages += 1;
    };
    assert_eq!(result["stdout"].as_str().unwrap().lines().count(), 100_000);
    assert!((1..2000).contains(&messages), "{messages}");
}

#[actix_web::test]
async fn a_role_that_is_taken_away_is_told_and_a_stop_ends_the_subscription_in_time() {
    let mut app = TestApp::start();
    let (token, admin) = (app.token("dan", "developer"), app.token("root", "admin"));
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    let mut stream = post(&app, &token, "subscriptions/listen", filter, "");
    assert_eq!(next(&mut stream)["method"], "notifications/subscriptions/acknowledged");
    let body = json!({ "role": "viewer" });
    let path = "/api/v1/users/dan/roles";
    assert_eq!(app.send("POST", path, Some(&admin), &[], Some(&body)).await.status, 200);
    assert_eq!(next(&mut stream)["method"], "notifications/tools/list_changed");
    let stopping = Instant::now();
    assert_eq!(app.stop("-TERM"), Some(0));
    assert!(stopping.elapsed() < Duration::from_secs(15), "{:?}", stopping.elapsed());
    assert_eq!(next(&mut stream)["result"]["resultType"], "complete");
}

/// Lines of `POST /api/v1/tools/{tool}?stream=1`, as they come.
fn lines(app: &TestApp, token: &str, tool: &str, arguments: &Value) -> (u16, BufReader<TcpStream>) {
    let (address, body) = (app.url.strip_prefix("http://").unwrap(), arguments.to_string());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /api/v1/tools/{tool}?stream=1 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(head.to_lowercase().contains("application/x-ndjson"), status == 200, "{head}");
    (status, reader)
}

/// The next line; `None` at the end. Sizes of chunks are no JSON objects.
fn next_line(reader: &mut BufReader<TcpStream>) -> Option<Value> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if line.starts_with('{') {
            return Some(serde_json::from_str(&line).unwrap());
        }
    }
}

#[actix_web::test]
async fn rest_tells_output_line_by_line_and_the_outcome_last() {
    let app = APP.get(TestApp::start);
    let token = app.token("eve", "developer");
    let (status, mut stream) = lines(&app, &token, "execute_code", &json!({ "code": TWO_LINES }));
    assert_eq!(status, 200);
    let (mut output, mut first_at, mut beats) = (String::new(), None, 0);
    let last = loop {
        let line = next_line(&mut stream).expect("no outcome");
        match line["event"].as_str().unwrap() {
            "output" => {
                first_at.get_or_insert_with(Instant::now);
                assert_eq!(line["stream"], "stdout");
                output.push_str(line["text"].as_str().unwrap());
            }
            "progress" => beats += 1,
            _ => break line,
        }
    };
    let ahead = first_at.expect("nothing was said").elapsed();
    assert!(ahead > Duration::from_millis(700), "{ahead:?} before the end");
    assert_eq!((last["event"].as_str(), &last["is_error"]), (Some("result"), &json!(false)));
    assert_eq!(
        (output.as_str(), &last["result"]["stdout"]),
        ("first\nlast\n", &json!("first\nlast\n"))
    );
    assert!(beats > 0);
    assert_eq!(next_line(&mut stream), None);
    let arguments = json!({ "code": "def test_sum(): assert 1 + 1 == 2" });
    let (status, mut stream) = lines(&app, &token, "run_tests", &arguments);
    let all: Vec<_> = std::iter::from_fn(|| next_line(&mut stream)).collect();
    assert_eq!((status, all.last().unwrap()["event"].as_str()), (200, Some("result")), "{all:?}");
}

#[actix_web::test]
async fn rest_refuses_a_stream_as_any_call_and_ends_one_nobody_reads() {
    let app = APP.get(TestApp::start);
    let viewer = app.token("fay", "viewer");
    assert_eq!(lines(&app, &viewer, "execute_code", &json!({ "code": "1" })).0, 403);
    let token = app.token("fay2", "developer");
    assert_eq!(lines(&app, &token, "execute_code", &json!({ "kode": "1" })).0, 422);
    let odd = app
        .send(
            "POST",
            "/api/v1/tools/execute_code?strem=1",
            Some(&token),
            &[],
            Some(&json!({ "code": "1" })),
        )
        .await;
    assert_eq!(odd.code(), "invalid_arguments", "{odd:?}");
    let marker = format!("itest-{}", uuid::Uuid::new_v4());
    let code = format!("echo begun; exec -a {marker} sleep 50");
    let arguments = json!({ "code": code, "language": "bash", "timeout_seconds": 55 });
    let (_, mut stream) = lines(&app, &token, "execute_code", &arguments);
    assert!(next_line(&mut stream).is_some());
    drop(stream);
    gone(&marker).await;
    let admin = app.token("root", "admin");
    eventually("the outcome is recorded", || async {
        let events = app.send("GET", "/api/v1/audit?user=fay2", Some(&admin), &[], None).await;
        events.body.to_string().contains("the client went away").then_some(())
    })
    .await;
}

#[actix_web::test]
async fn rest_lines_of_a_flood_are_bounded_and_say_what_is_missing() {
    let app = APP.get(TestApp::start);
    let token = app.token("gil", "developer");
    let code = "for i in range(100000): print(i)";
    let arguments = json!({ "code": code, "limits": { "output_kb": 2048 } });
    let (_, mut stream) = lines(&app, &token, "execute_code", &arguments);
    let all: Vec<_> = std::iter::from_fn(|| next_line(&mut stream)).collect();
    let heard: usize = all.iter().filter_map(|line| line["text"].as_str()).map(str::len).sum();
    let last = &all.last().unwrap()["result"]["stdout"];
    assert_eq!(last.as_str().unwrap().lines().count(), 100_000);
    assert!(all.len() < 2000, "{}", all.len());
    let told = all.iter().any(|line| line["event"] == "log" && line["level"] == "warning");
    assert!(told || heard == last.as_str().unwrap().len(), "{heard} bytes heard and no word of it");
}

/// A subscription of this caller that has been acknowledged.
fn listen(app: &TestApp, token: &str, notifications: Value) -> BufReader<TcpStream> {
    let params = json!({ "notifications": notifications, "_meta": {} });
    let mut stream = post(app, token, "subscriptions/listen", params, "");
    let first = next(&mut stream);
    assert_eq!(first["params"]["notifications"], notifications);
    stream
}

#[actix_web::test]
async fn the_owner_of_a_run_is_told_when_it_changes_and_nobody_else_is() {
    let app = APP.get(TestApp::start);
    let (ada, eve) = (app.token("ada-runs", "developer"), app.token("eve-runs", "developer"));
    let code = "import time\ndef test_slow():\n    time.sleep(2)\n";
    let queued = app.tool(&ada, "run_tests_async", json!({ "code": code })).await;
    let uri = format!("resource://ultimate-mcp/runs/{}", queued.body["job_id"].as_str().unwrap());
    let watched = json!({ "resourceSubscriptions": [uri] });
    let mut own = listen(&app, &ada, watched.clone());
    let mut other = listen(&app, &eve, watched);
    let ended = || async {
        let read = app.mcp(&ada, "resources/read", json!({ "uri": uri })).await;
        let run = read.body["result"]["contents"][0]["text"].as_str()?.to_owned();
        let run: Value = serde_json::from_str(&run).unwrap();
        (run["status"] == "completed").then_some(())
    };
    loop {
        let message = next(&mut own);
        assert_eq!(message["method"], "notifications/resources/updated");
        assert_eq!(message["params"]["uri"], uri.as_str());
        if ended().await.is_some() {
            break;
        }
    }
    other.get_ref().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut line = String::new();
    while other.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {}
    assert!(!line.contains("updated"), "{line}");
}

#[actix_web::test]
async fn a_changed_folder_of_prompts_is_told_once_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let app = TestApp::start_with(&[("ULTIMATE_MCP__TOOLS__PROMPTS_DIR", path)]);
    let token = app.token("ada", "developer");
    let mut stream = listen(&app, &token, json!({ "promptsListChanged": true }));
    let write = |text: &str| {
        let head = "+++\nslug = \"told\"\ntitle = \"T\"\ndescription = \"D\"\nversion = 1\n+++\n";
        std::fs::write(folder.path().join("told.md"), format!("{head}{text}\n")).unwrap();
    };
    let says = async |text: &str| {
        let got = app.mcp(&token, "prompts/get", json!({ "name": "told" })).await.body;
        (got["result"]["messages"][0]["content"]["text"] == text).then_some(())
    };
    // The first one may be part of the folder's first look, which is no change.
    write("Be kind.");
    eventually("the prompt is served", || says("Be kind.\n")).await;
    write("Be kinder.");
    assert_eq!(next(&mut stream)["method"], "notifications/prompts/list_changed");
    eventually("the change is served", || says("Be kinder.\n")).await;
}
