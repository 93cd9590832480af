//! Drives the endpoint as clients do: whole HTTP requests through the edge into the layer, with the
//! test host behind it.

mod calls;
mod golden;
mod ladder;
mod legacy;
mod listening;
mod offers;
mod robustness;
mod streams;
mod tasks;

use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Data;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::test_host::TestHost;
use super::{Endpoint, Hub, Identity, LiveSessions, McpOptions, Sealer};
use crate::http::guard::Guard;
use crate::http::{HttpOptions, app};

/// The endpoint of a test host, served without a socket.
struct Client {
    call: Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, Served>>,
    host: Arc<TestHost>,
    hub: Arc<Hub>,
    live: Arc<LiveSessions>,
}

type Served = Result<ServiceResponse, actix_web::Error>;

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
    headers: actix_web::http::header::HeaderMap,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// HTTP status and JSON-RPC code.
    fn error(&self) -> (u16, i64) {
        (self.status, self.body["error"]["code"].as_i64().unwrap_or_default())
    }
}

async fn client() -> Client {
    let options = HttpOptions { body_bytes_max: 8 * 1024, ..HttpOptions::default() };
    let mcp = McpOptions { page_entries_max: 3, batch_messages_max: 3, ..McpOptions::default() };
    let host = Arc::new(TestHost::new());
    let identity = Identity {
        name: "test".into(),
        title: "Test".into(),
        version: "1.0.0".into(),
        instructions: "Add numbers.".into(),
    };
    let (limits, hub) = (options.body_limits(), Arc::new(Hub::default()));
    let endpoint = Endpoint::new(
        Arc::clone(&host),
        mcp,
        limits,
        identity,
        Arc::clone(&hub),
        Sealer::of_this_process().unwrap(),
    )
    .unwrap();
    let live = Arc::clone(&endpoint.live);
    let guard = Guard::new(&[], &[]).unwrap();
    let service = init_service(app(&options, guard, Endpoint::routes(Data::new(endpoint)))).await;
    let service = Rc::new(service);
    let call = move |request: TestRequest| {
        let service = Rc::clone(&service);
        async move { service.call(request.to_request()).await }.boxed_local()
    };
    Client { call: Box::new(call), host, hub, live }
}

/// The messages of an event stream.
fn messages(stream: &str) -> Value {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str::<Value>(data).unwrap()).collect()
}

/// A POST as a good client of any era begins it.
fn post() -> TestRequest {
    TestRequest::post()
        .uri("/mcp")
        .insert_header(("host", "localhost"))
        .insert_header(("authorization", "Bearer ada"))
        .insert_header(("content-type", "application/json"))
        .insert_header(("accept", "application/json, text/event-stream"))
}

/// A modern message with its required metadata.
fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// A POST with the headers that repeat this modern message.
fn modern_post(message: &Value) -> TestRequest {
    let method = message["method"].as_str().unwrap().to_owned();
    let request = post()
        .insert_header(("mcp-protocol-version", "2026-07-28"))
        .insert_header(("mcp-method", method));
    let params = &message["params"];
    let named = ["name", "uri", "taskId"].iter().find_map(|key| params[key].as_str());
    let named = named.map(str::to_owned);
    let request = match named {
        Some(name) => request.insert_header(("mcp-name", name)),
        None => request,
    };
    request.set_payload(message.to_string())
}

/// A legacy POST within a session.
fn session_post(session: &str, message: &Value) -> TestRequest {
    post().insert_header(("mcp-session-id", session)).set_payload(message.to_string())
}

fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"},
    }})
}

impl Client {
    async fn send(&self, request: TestRequest) -> Answer {
        let response = match (self.call)(request).await {
            Ok(response) => response.into_parts().1,
            Err(error) => error.error_response(),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body()).await.unwrap();
        let streamed = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = match (bytes.is_empty(), streamed) {
            (true, _) => Value::Null,
            (false, false) => serde_json::from_slice(&bytes).unwrap(),
            (false, true) => messages(std::str::from_utf8(&bytes).unwrap()),
        };
        Answer { status, body, headers }
    }

    async fn modern(&self, method: &str, params: Value) -> Answer {
        self.send(modern_post(&modern(method, params))).await
    }

    /// Opens a session and answers its id.
    async fn open(&self, version: &str) -> String {
        let answer = self.send(post().set_payload(initialize(version).to_string())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("mcp-session-id").unwrap().to_owned()
    }

    async fn legacy(&self, session: &str, method: &str, params: Value) -> Answer {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(session_post(session, &message)).await
    }
}

fn request(method: Method) -> TestRequest {
    TestRequest::default()
        .method(method)
        .uri("/mcp")
        .insert_header(("host", "localhost"))
        .insert_header(("authorization", "Bearer ada"))
}
