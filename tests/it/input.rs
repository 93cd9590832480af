//! Bad input of every kind: each gets a typed answer that names the mistake, none ends in a 500, and the
//! server answers the next request as before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::app::{Answer, Shared, TestApp};
use crate::tokens::Mint;

/// Most bytes of a body that the server of these tests takes.
const BODY_BYTES_MAX: usize = 65_536;

static APP: Shared = Shared::new();

fn app() -> Arc<TestApp> {
    let limit = BODY_BYTES_MAX.to_string();
    APP.get(|| TestApp::start_with(&[("ULTIMATE_MCP__HTTP__BODY_BYTES_MAX", &limit)]))
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
const EXECUTE: &str = "/api/v1/tools/execute_code";

async fn post(app: &TestApp, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    let token = Mint::of(app).token("ada", &["admin"]);
    app.send_bytes("POST", path, Some(&token), &[JSON], body.into()).await
}

/// What every refusal has: the code, a message, whether to try again.
fn check(answer: &Answer, expected: (u16, &str), row: &str) {
    assert_eq!((answer.status, answer.code()), expected, "{row}: {answer:?}");
    let error = &answer.body["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{row}: {answer:?}");
    let kind = answer.header("content-type").unwrap_or("");
    assert!(kind.starts_with("application/json"), "{row}: {kind}");
}

#[actix_web::test]
async fn wrong_arguments_are_named_with_their_path_and_what_is_allowed() {
    let app = app();
    let table = [
        (json!({ "code": "1", "colour": "red" }), "colour", "unknown field"),
        (json!({ "code": 1 }), "code", "expected a string"),
        (json!({ "code": null }), "code", "expected a string"),
        (json!({}), "arguments", "missing field `code`"),
        (json!({ "code": "" }), "code", "at least 1"),
        (json!({ "code": "1", "language": "cobol" }), "language", "expected one of"),
        (json!({ "code": "1", "timeout_seconds": 0.1 }), "timeout_seconds", "at least 0.5"),
        (json!({ "code": "1", "timeout_seconds": 61 }), "timeout_seconds", "at most 60"),
        (json!({ "code": "1", "timeout_seconds": "9" }), "timeout_seconds", "expected f64"),
        (json!({ "code": "1", "limits": { "memory_mb": 15 } }), "limits.memory_mb", "at least 16"),
        (json!({ "code": "1", "limits": { "memory_mb": -1 } }), "limits.memory_mb", "u32"),
        (json!({ "code": "1", "limits": { "tb": 1 } }), "limits.tb", "unknown field"),
        (json!({ "code": "1", "limits": [16] }), "limits", "not an array"),
        (json!({ "code": "1", "files": [["a", "b", null]] }), "files[0]", "not an array"),
        (json!({ "code": "1", "files": [{ "path": "../a", "content": "" }] }), "files[0].path", ""),
        (
            json!({ "code": "1", "files": [{ "path": "/etc/a", "content": "" }] }),
            "files[0].path",
            "",
        ),
        (json!({ "code": "1", "files": [{ "path": "a", "base64": "%" }] }), "files[0]", ""),
        (json!({ "code": "1", "files": [{ "path": "a" }] }), "files[0]", ""),
    ];
    let token = Mint::of(&app).token("ada", &["admin"]);
    for (arguments, path, problem) in table {
        let row = arguments.to_string();
        let rest = app.tool(&token, "execute_code", arguments.clone()).await;
        check(&rest, (422, "invalid_arguments"), &row);
        let named = |problems: &Value| {
            problems.as_array().unwrap().iter().any(|found| {
                found["path"].as_str().unwrap().starts_with(path)
                    && found["problem"].as_str().unwrap().contains(problem)
            })
        };
        assert!(named(&rest.body["error"]["problems"]), "{row}: {}", rest.body);

        let params = json!({ "name": "execute_code", "arguments": arguments });
        let mcp = app.mcp(&token, "tools/call", params).await;
        let result = &mcp.body["result"];
        assert_eq!((mcp.status, &result["isError"]), (200, &json!(true)), "{row}: {mcp:?}");
        assert!(named(&result["structuredContent"]["error"]["problems"]), "{row}: {}", mcp.body);
    }
}

#[actix_web::test]
async fn a_body_that_is_not_the_json_we_ask_for_is_refused_by_what_it_is() {
    let app = app();
    let deep = |open: &str, close: &str| {
        format!("{{\"code\":{}1{}}}", open.repeat(10_000), close.repeat(10_000))
    };
    let rest: [(Vec<u8>, (u16, &str)); 8] = [
        (b"{".to_vec(), (400, "parse_error")),
        (b"code=1".to_vec(), (400, "parse_error")),
        (b"{\"code\":\"\xff\"}".to_vec(), (400, "parse_error")),
        (b"{\"code\":\"1\"} x".to_vec(), (400, "parse_error")),
        (b"[{\"code\":\"1\"}]".to_vec(), (400, "invalid_request")),
        (b"\"code\"".to_vec(), (400, "invalid_request")),
        (deep("[", "]").into(), (422, "invalid_arguments")),
        (deep("{\"a\":", "}").into(), (422, "invalid_arguments")),
    ];
    for (body, expected) in rest {
        let row = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        check(&post(&app, EXECUTE, body.clone()).await, expected, &row);
        // The administrative routes read their bodies by themselves.
        let own = post(&app, "/api/v1/auth/token", body).await;
        assert!(matches!(own.status, 400 | 422) && !own.code().is_empty(), "{row}: {own:?}");
    }
}

#[actix_web::test]
async fn what_is_not_json_rpc_is_refused_in_json_rpcs_words() {
    let app = app();
    let token = Mint::of(&app).token("ada", &["admin"]);
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let with = |name: &str, value: Value| {
        let mut request = request.clone();
        request[name] = value;
        request.to_string().into_bytes()
    };
    let deep = format!("{{\"jsonrpc\":{}", "[".repeat(20_000));
    let table: [(&str, Vec<u8>, u16, i64); 9] = [
        ("not JSON", b"{".to_vec(), 400, -32700),
        ("too deep", deep.into_bytes(), 400, -32700),
        ("an array", format!("[{request}]").into_bytes(), 400, -32600),
        ("a string", b"\"x\"".to_vec(), 400, -32600),
        ("another version", with("jsonrpc", json!("1.0")), 400, -32600),
        ("an id that is none", with("id", json!({})), 400, -32600),
        ("no method", with("method", Value::Null), 400, -32600),
        ("params in an array", with("params", json!([1])), 400, -32602),
        ("a method that differs from its header", with("method", json!("x")), 400, -32020),
    ];
    let headers = [
        JSON,
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/list"),
    ];
    for (row, body, status, code) in table {
        let answer = app.send_bytes("POST", "/mcp", Some(&token), &headers, body).await;
        assert_eq!(answer.status, status, "{row}: {answer:?}");
        assert_eq!(answer.body["error"]["code"], code, "{row}: {answer:?}");
        assert_eq!(answer.body["jsonrpc"], "2.0", "{row}: {answer:?}");
    }
    let good = app.send("POST", "/mcp", Some(&token), &headers, Some(&request)).await;
    assert_eq!(good.status, 200, "the table's own request is good: {good:?}");
    let unknown = app.mcp(&token, "tools/call", json!({ "name": "nothing" })).await;
    assert_eq!(
        (unknown.status, &unknown.body["error"]["code"]),
        (200, &json!(-32602)),
        "{unknown:?}"
    );
    let method = app.mcp(&token, "no/such/method", json!({})).await;
    assert_eq!((method.status, &method.body["error"]["code"]), (404, &json!(-32601)), "{method:?}");
    let array = json!({ "name": "execute_code", "arguments": [1] });
    let array = app.mcp(&token, "tools/call", array).await;
    assert_eq!((array.status, &array.body["error"]["code"]), (200, &json!(-32602)), "{array:?}");
}

#[actix_web::test]
async fn paths_methods_and_media_types_that_do_not_exist_are_answered_in_json() {
    let app = app();
    let token = Mint::of(&app).token("ada", &["admin"]);
    let send = async |method, path: &str| app.send(method, path, Some(&token), &[], None).await;
    for path in ["/", "/nothing", "/api/v1", "/api/v1/tools/a/b", "/api/v2/tools", "/mcp/x"] {
        check(&send("GET", path).await, (404, "not_found"), path);
    }
    let unknown = post(&app, "/api/v1/tools/nothing", "{}").await;
    check(&unknown, (404, "unknown_tool"), "an unknown tool");
    for (method, path, allow) in [
        ("GET", EXECUTE, "POST"),
        ("POST", "/health", "GET"),
        ("PUT", "/api/v1/users/a/roles", "GET, POST, DELETE"),
        ("DELETE", "/api/v1/audit", "GET"),
        ("PATCH", "/api/v1/auth/token", "POST"),
    ] {
        let answer = send(method, path).await;
        check(&answer, (405, "method_not_allowed"), path);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    let get = send("GET", "/mcp").await;
    assert!(get.status == 405 && get.header("allow").is_some(), "{get:?}");

    let body = json!({ "code": "print(1)" }).to_string();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
    {
        for path in [EXECUTE, "/api/v1/auth/token", "/mcp"] {
            let headers =
                [("Content-Type", kind), ("Accept", "application/json, text/event-stream")];
            let body = body.clone().into_bytes();
            let answer = app.send_bytes("POST", path, Some(&token), &headers, body).await;
            assert_eq!(answer.status, 415, "{kind} to {path}: {answer:?}");
            assert_eq!(answer.code(), "unsupported_media_type", "{kind} to {path}");
        }
    }
}

#[actix_web::test]
async fn a_body_over_the_limit_is_413_whether_announced_or_chunked() {
    let app = app();
    let token = Mint::of(&app).token("ada", &["admin"]);
    let fits = json!({ "code": format!("#{}", "x".repeat(BODY_BYTES_MAX - 100)) }).to_string();
    assert!(fits.len() <= BODY_BYTES_MAX);
    assert_eq!(post(&app, EXECUTE, fits).await.status, 200);
    for path in [EXECUTE, "/api/v1/auth/token", "/mcp"] {
        for chunked in [false, true] {
            let (status, code) = oversized(&app, path, &token, chunked);
            let row = format!("{path}, chunked: {chunked}");
            assert_eq!((status, code.as_str()), (413, "payload_too_large"), "{row}");
        }
    }
    assert_eq!(app.send("GET", "/health", None, &[], None).await.status, 200);
}

/// Sends one byte more than the limit, and announces much more when it announces at all.
fn oversized(app: &TestApp, path: &str, token: &str, chunked: bool) -> (u16, String) {
    let address = app.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 1000000000" };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    if chunked {
        let size = BODY_BYTES_MAX + 1;
        let chunk = format!("{size:x}\r\n{}\r\n", " ".repeat(size));
        // The server may hang up before it has taken all of it.
        let _ = stream.write_all(chunk.as_bytes());
    }
    let mut text = String::new();
    while !text.ends_with('}') {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).unwrap() {
            0 => break,
            read => text.push_str(std::str::from_utf8(&bytes[..read]).unwrap()),
        }
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let error = &body["error"];
    let code = error["code"].as_str().or(error["data"]["code"].as_str()).unwrap_or("");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), code.to_owned())
}

/// Arguments per tool that the fuzz makes, over both transports together.
const FUZZ_PER_TOOL: usize = 30;

#[actix_web::test]
async fn no_arguments_whatsoever_end_in_a_500_or_hurt_the_server() {
    let app = app();
    let token = Mint::of(&app).token("fuzz", &["admin"]);
    let list = app.send("GET", "/api/v1/tools", Some(&token), &[], None).await;
    let mut dice = Dice(0x5eed_0003);
    for tool in list.body["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        // A tool may take nothing.
        let known = tool["input_schema"]["properties"].as_object().cloned().unwrap_or_default();
        for round in 0..FUZZ_PER_TOOL {
            let arguments = dice.arguments(&known);
            let answer = if round % 2 == 0 {
                app.tool(&token, name, arguments.clone()).await
            } else {
                let params = json!({ "name": name, "arguments": arguments });
                app.mcp(&token, "tools/call", params).await
            };
            let fine = answer.status < 500 || answer.status == 503;
            assert!(fine, "{name} {arguments}: {answer:?}");
            assert_ne!(answer.code(), "internal", "{name} {arguments}: {answer:?}");
            assert_ne!(answer.code(), "crashed", "{name} {arguments}: {answer:?}");
        }
    }
    let ran = app.tool(&token, "execute_code", json!({ "code": "print(6*7)" })).await;
    assert_eq!(ran.body["stdout"], "42\n", "{ran:?}");
    let tree = app.send("GET", "/api/v1/supervision", Some(&token), &[], None).await;
    for child in tree.body["children"].as_array().unwrap() {
        assert_eq!((&child["panics"], &child["state"]), (&json!(0), &json!("running")), "{child}");
    }
}

/// xorshift64*: the same arguments in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    /// Some of the tool's own fields and sometimes a foreign one, with values of any kind.
    fn arguments(&mut self, known: &Map<String, Value>) -> Value {
        let mut arguments = Map::new();
        for (name, schema) in known {
            if self.roll(3) > 0 {
                let value = if self.roll(2) == 0 { self.like(schema) } else { self.value(3) };
                arguments.insert(name.clone(), value);
            }
        }
        if self.roll(6) == 0 {
            arguments.insert(self.text(), self.value(2));
        }
        Value::Object(arguments)
    }

    /// A value of the type the schema names, so that some calls get past decoding.
    fn like(&mut self, schema: &Value) -> Value {
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[0].clone(),
            kind => kind.clone(),
        };
        match kind.as_str() {
            Some("string") => json!(self.text()),
            Some("integer" | "number") => self.number(),
            Some("boolean") => json!(self.roll(2) == 0),
            Some("array") => json!([self.value(2), self.value(2)]),
            _ => json!({ self.text(): self.value(2) }),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.roll(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => self.number(),
            3 => json!(self.text()),
            4 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => (0..self.roll(4)).map(|_| (self.text(), self.value(depth - 1))).collect(),
        }
    }

    fn number(&mut self) -> Value {
        let edges = [
            json!(0),
            json!(-1),
            json!(1),
            json!(0.5),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e308),
            json!(-0.0),
            json!(60),
        ];
        edges[self.roll(edges.len())].clone()
    }

    fn text(&mut self) -> String {
        let edges = [
            "",
            "a",
            "\0",
            "\u{202e}",
            "../..",
            "/dev/null",
            "{{ a }}",
            "{% for i in range(9) %}",
            "'\"`$(",
            "MATCH (n) RETURN n",
            "MATCH (n) DELETE n",
            "print(1)",
            "\u{1F980}\r\n",
            "python",
            "\u{feff}",
        ];
        let text = edges[self.roll(edges.len())];
        if self.roll(20) == 0 { text.repeat(500) } else { text.to_owned() }
    }
}
