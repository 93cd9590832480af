//! `/mcp/ws` of the real server, frame by frame over a socket of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::app::{Shared, TestApp, eventually, gone};

static APP: Shared = Shared::new();

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Ws(TcpStream);

/// Asks for an upgrade with these lines in the head; the status and what may follow it.
fn upgrade(app: &TestApp, lines: &str) -> (u16, String, Ws) {
    let address = app.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "GET /mcp/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{head:?}");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, Ws(stream))
}

fn connect(app: &TestApp, token: &str) -> Ws {
    let lines = format!("Authorization: Bearer {token}\r\nSec-WebSocket-Protocol: mcp\r\n");
    let (status, head, ws) = upgrade(app, &lines);
    assert_eq!(status, 101, "{head}");
    assert!(head.contains("sec-websocket-protocol: mcp\r\n"), "{head}");
    ws
}

/// A modern request.
fn modern(id: Value, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn execute(code: &str) -> Value {
    json!({ "name": "execute_code", "arguments": { "code": code, "timeout_seconds": 55 } })
}

impl Ws {
    /// One whole frame (RFC 6455 §5.2), masked with zeros.
    fn frame(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | kind];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        // The server may have closed already, which the next read tells.
        let _ = self.0.write_all(&frame);
    }

    fn say(&mut self, message: &Value) {
        self.frame(TEXT, message.to_string().as_bytes());
    }

    /// The next frame; `None` at the end of the connection.
    fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let mut long = [0; 8];
        let len = match head[1] {
            126 => {
                self.0.read_exact(&mut long[6..]).ok()?;
                u64::from_be_bytes(long)
            }
            127 => {
                self.0.read_exact(&mut long).ok()?;
                u64::from_be_bytes(long)
            }
            len => len.into(),
        };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[0] & 15, payload))
    }

    /// The next message.
    fn hear(&mut self) -> Value {
        loop {
            match self.read().expect("the connection ended") {
                (TEXT, payload) => return serde_json::from_slice(&payload).unwrap(),
                (CLOSE, payload) => panic!("closed: {payload:?}"),
                _ => {}
            }
        }
    }

    /// How the server closes; `None` when the connection just ends.
    fn closed(&mut self) -> Option<u16> {
        loop {
            match self.read()? {
                (CLOSE, payload) => {
                    return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                }
                _ => continue,
            }
        }
    }
}

#[actix_web::test]
async fn modern_requests_run_side_by_side_and_output_comes_before_its_response() {
    let app = APP.get(TestApp::start);
    let mut ws = connect(&app, &app.token("ada", "developer"));
    let mut slow = execute("import time\nprint('begun', flush=True)\ntime.sleep(1)");
    slow["_meta"] = json!({ "io.modelcontextprotocol/logLevel": "info", "progressToken": 7 });
    ws.say(&modern(json!("slow"), "tools/call", slow));
    ws.say(&modern(json!(2), "tools/list", json!({})));
    let mut heard = Vec::new();
    let result = loop {
        let message = ws.hear();
        if message["id"] == "slow" {
            break message["result"].clone();
        }
        heard.push(message["method"].as_str().unwrap_or("list").to_owned());
    };
    assert!(heard.contains(&"list".to_owned()), "{heard:?}");
    assert!(heard.contains(&"notifications/message".to_owned()), "{heard:?}");
    assert!(heard.contains(&"notifications/progress".to_owned()), "{heard:?}");
    assert_eq!(result["structuredContent"]["stdout"], "begun\n");
}

#[actix_web::test]
async fn a_legacy_connection_is_a_session_of_its_own() {
    let app = APP.get(TestApp::start);
    let mut ws = connect(&app, &app.token("bea", "developer"));
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    ws.say(&ping);
    assert_eq!(ws.hear()["error"]["code"], -32600);
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {} });
    let initialize = json!({ "jsonrpc": "2.0", "id": 2, "method": "initialize", "params": params });
    ws.say(&initialize);
    assert_eq!(ws.hear()["result"]["protocolVersion"], "2025-06-18");
    ws.say(&initialize);
    assert_eq!(ws.hear()["error"]["code"], -32600);
    ws.say(&ping);
    assert_eq!(ws.hear(), json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    let call = |id: u32, code: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": execute(code) });
    ws.say(&call(3, "print(6*7)"));
    let answer = ws.hear();
    assert_eq!(answer["result"]["structuredContent"]["stdout"], "42\n", "{answer}");
    assert!(answer["result"].get("resultType").is_none());
    ws.say(&modern(json!(4), "server/discover", json!({})));
    assert_eq!(ws.hear()["result"]["resultType"], "complete");
}

/// A modern call that runs until it is killed, under a name that can be looked for; it has begun when
/// this returns.
fn begin_endless(ws: &mut Ws, id: u32) -> String {
    let marker = format!("itest-{}", uuid::Uuid::new_v4());
    let code = format!("echo begun; exec -a {marker} sleep 50");
    let mut params = execute(&code);
    params["arguments"]["language"] = "bash".into();
    params["_meta"] = json!({ "io.modelcontextprotocol/logLevel": "info" });
    ws.say(&modern(json!(id), "tools/call", params));
    assert_eq!(ws.hear()["params"]["data"], "begun\n");
    marker
}

async fn cancellation_is_recorded(app: &TestApp, user: &str) {
    let admin = app.token("root", "admin");
    eventually("the outcome is recorded", || async {
        let path = format!("/api/v1/audit?user={user}");
        let events = app.send("GET", &path, Some(&admin), &[], None).await;
        let text = events.body.to_string();
        (text.contains("the client went away") && text.contains("mcp_ws")).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_cancelled_request_ends_and_is_not_answered() {
    let app = APP.get(TestApp::start);
    let mut ws = connect(&app, &app.token("cyd", "developer"));
    let marker = begin_endless(&mut ws, 5);
    let params = json!({ "requestId": 5 });
    ws.say(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
    cancellation_is_recorded(&app, "cyd").await;
    gone(&marker).await;
    ws.say(&modern(json!(6), "server/discover", json!({})));
    assert_eq!(ws.hear()["id"], 6);
}

#[actix_web::test]
async fn a_connection_that_is_lost_cancels_its_modern_requests() {
    let app = APP.get(TestApp::start);
    let mut ws = connect(&app, &app.token("dan", "developer"));
    let marker = begin_endless(&mut ws, 1);
    drop(ws);
    cancellation_is_recorded(&app, "dan").await;
    gone(&marker).await;
}

#[actix_web::test]
async fn an_upgrade_needs_a_token_the_subprotocol_and_a_handshake() {
    let app = APP.get(TestApp::start);
    let token = app.token("eve", "developer");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(upgrade(&app, "Sec-WebSocket-Protocol: mcp\r\n").0, 401);
    assert_eq!(upgrade(&app, &bearer).0, 400);
    let foreign = format!("{bearer}Sec-WebSocket-Protocol: mcp\r\nOrigin: http://evil.example\r\n");
    assert_eq!(upgrade(&app, &foreign).0, 403);
    let offer = [("Sec-WebSocket-Protocol", "mcp")];
    assert_eq!(app.send("GET", "/mcp/ws", Some(&token), &offer, None).await.status, 400);
    assert_eq!(app.send("POST", "/mcp/ws", Some(&token), &offer, None).await.status, 405);
    assert_eq!(app.send("GET", "/mcp/ws?token=x", None, &offer, None).await.status, 401);
}

#[actix_web::test]
async fn frames_that_are_none_close_the_socket_with_their_reason() {
    let app = APP.get(TestApp::start);
    let token = app.token("fay", "developer");
    let mut ws = connect(&app, &token);
    ws.frame(BINARY, b"{}");
    assert_eq!(ws.closed(), Some(1003));
    let mut ws = connect(&app, &token);
    ws.frame(TEXT, &vec![b' '; 5 << 20]);
    assert!(matches!(ws.closed(), Some(1009) | None));
    let mut ws = connect(&app, &token);
    ws.frame(PING, b"there?");
    assert_eq!(ws.read(), Some((PONG, b"there?".to_vec())));
    for (text, code) in [("nonsense", -32700), ("[]", -32600), ("{}", -32600)] {
        ws.frame(TEXT, text.as_bytes());
        assert_eq!(ws.hear()["error"]["code"], code, "{text}");
    }
}

#[actix_web::test]
async fn a_token_that_is_revoked_closes_its_sockets() {
    let app = APP.get(TestApp::start);
    let token = app.token("gil", "developer");
    let mut ws = connect(&app, &token);
    let revoke = app.send("POST", "/api/v1/auth/revoke", Some(&token), &[], Some(&json!({}))).await;
    assert_eq!(revoke.status, 200, "{revoke:?}");
    assert_eq!(ws.closed(), Some(1008));
}

#[actix_web::test]
async fn requests_of_one_socket_are_bounded() {
    let app = APP.get(TestApp::start);
    let mut ws = connect(&app, &app.token("hal", "developer"));
    for id in 0..33 {
        let filter = json!({ "notifications": { "toolsListChanged": true } });
        ws.say(&modern(json!(id), "subscriptions/listen", filter));
    }
    let refused = loop {
        let message = ws.hear();
        if message.get("error").is_some() {
            break message;
        }
    };
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!(32), &json!(-31503)),
        "{refused}"
    );
}

#[test]
fn no_frames_bring_the_server_down() {
    let app = APP.get(TestApp::start);
    let token = app.token("ida", "developer");
    let frames = proptest::collection::vec(
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)),
        1..8,
    );
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
    proptest!(config, |(frames in frames, raw in any::<bool>())| {
        let mut ws = connect(&app, &token);
        for (kind, payload) in &frames {
            match raw {
                true => drop(ws.0.write_all(payload)),
                false => ws.frame(kind & 15, payload),
            }
        }
        drop(ws);
    });
    let mut ws = connect(&app, &token);
    ws.say(&modern(json!(1), "server/discover", json!({})));
    assert_eq!(ws.hear()["id"], 1);
}
