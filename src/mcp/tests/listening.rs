//! Streams without an end of their own, and what sessions do beside calls.

use std::sync::atomic::Ordering;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::Method;
use actix_web::rt;
use serde_json::{Value, json};

use super::*;
use crate::mcp::ListChanged;

/// A stream that is being read.
struct Open(BoxBody);

impl Open {
    async fn of(client: &Client, request: TestRequest) -> Self {
        let response = (client.call)(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get("content-type").unwrap(), "text/event-stream");
        Self(response.into_body())
    }

    /// The next frame as it stands; `None` at the end.
    async fn frame(&mut self) -> Option<String> {
        let body = &mut self.0;
        let frame =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_next(context));
        frame.await.map(|bytes| String::from_utf8(bytes.unwrap().to_vec()).unwrap())
    }

    /// The next message with its id; beats are passed over.
    async fn event(&mut self) -> Option<(Option<String>, Value)> {
        loop {
            let frame = self.frame().await?;
            if let Some(message) = messages(&frame).get(0) {
                let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
                return Some((id.map(str::to_owned), message.clone()));
            }
        }
    }

    async fn message(&mut self) -> Option<Value> {
        self.event().await.map(|(_, message)| message)
    }
}

fn listen(notifications: Value) -> TestRequest {
    let mut message = modern("subscriptions/listen", json!({"notifications": notifications}));
    message["id"] = json!("sub");
    modern_post(&message)
}

fn get(session: &str) -> TestRequest {
    request(Method::GET)
        .insert_header(("mcp-session-id", session.to_owned()))
        .insert_header(("accept", "text/event-stream"))
}

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

#[actix_web::test]
async fn a_subscription_is_acknowledged_first_and_hears_only_what_it_asked_for() {
    tokio::time::pause();
    let client = client().await;
    let mut stream = Open::of(&client, listen(json!({"toolsListChanged": true}))).await;
    let first = stream.message().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["notifications"], json!({"toolsListChanged": true}));
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION], "sub");
    client.hub.list_changed(ListChanged::Prompts);
    client.hub.resource_updated("a:b");
    client.hub.list_changed(ListChanged::Tools);
    let message = stream.message().await.unwrap();
    assert_eq!(message["method"], "notifications/tools/list_changed");
    assert_eq!(message["params"], json!({"_meta": {SUBSCRIPTION: "sub"}}));
    assert_eq!(stream.frame().await.unwrap(), ": beat\n\n");
    drop(stream);
    assert_eq!(client.hub.streams(), 0);
}

#[actix_web::test]
async fn a_change_of_roles_is_told_to_the_streams_of_the_caller() {
    tokio::time::pause();
    let client = client().await;
    let mut modern = Open::of(&client, listen(json!({"toolsListChanged": true}))).await;
    modern.message().await;
    let session = client.open("2025-11-25").await;
    let mut legacy = Open::of(&client, get(&session)).await;
    client.host.demoted.store(true, Ordering::SeqCst);
    for stream in [&mut modern, &mut legacy] {
        let message = stream.message().await.unwrap();
        assert_eq!(message["method"], "notifications/tools/list_changed");
    }
}

#[actix_web::test]
async fn streams_end_when_the_server_stops_a_subscription_with_its_response() {
    let client = client().await;
    let mut modern = Open::of(&client, listen(json!({}))).await;
    modern.message().await;
    let session = client.open("2025-06-18").await;
    let mut legacy = Open::of(&client, get(&session)).await;
    client.hub.close();
    let response = modern.message().await.unwrap();
    assert_eq!(
        (&response["id"], &response["result"]["resultType"]),
        (&json!("sub"), &json!("complete"))
    );
    assert_eq!(response["result"]["_meta"][SUBSCRIPTION], "sub");
    assert_eq!((modern.frame().await, legacy.frame().await), (None, None));
}

#[actix_web::test]
async fn a_caller_who_is_revoked_is_told_nothing_more() {
    tokio::time::pause();
    let client = client().await;
    let mut modern = Open::of(&client, listen(json!({"toolsListChanged": true}))).await;
    modern.message().await;
    let session = client.open("2025-11-25").await;
    let mut legacy = Open::of(&client, get(&session)).await;
    client.host.locked.store(true, Ordering::SeqCst);
    assert!(modern.message().await.unwrap().get("result").is_some());
    assert_eq!((modern.frame().await, legacy.frame().await), (None, None));
}

#[actix_web::test]
async fn one_caller_has_bounded_streams() {
    let client = client().await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(Open::of(&client, listen(json!({}))).await);
    }
    assert_eq!(client.send(listen(json!({}))).await.error(), (429, -31429));
    held.pop();
    drop(Open::of(&client, listen(json!({}))).await);
    assert_eq!(client.send(listen(json!(7))).await.error(), (200, -32602));
}

#[actix_web::test]
async fn a_session_has_one_stream_and_it_goes_on_where_it_broke_off() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let mut first = Open::of(&client, get(&session)).await;
    for list in [ListChanged::Tools, ListChanged::Prompts] {
        client.hub.list_changed(list);
    }
    let (id, message) = first.event().await.unwrap();
    assert_eq!(
        (id.as_deref(), &message["method"]),
        (Some("1"), &json!("notifications/tools/list_changed"))
    );
    let (id, _) = first.event().await.unwrap();
    assert_eq!(id.as_deref(), Some("2"));
    let again = get(&session).insert_header(("last-event-id", "1"));
    let mut second = Open::of(&client, again).await;
    assert_eq!(first.frame().await, None, "the stream before goes on");
    let (id, message) = second.event().await.unwrap();
    assert_eq!(
        (id.as_deref(), &message["method"]),
        (Some("2"), &json!("notifications/prompts/list_changed"))
    );
    let bad = get(&session).insert_header(("last-event-id", "x"));
    assert_eq!(client.send(bad).await.error(), (400, -32600));
}

#[actix_web::test]
async fn a_session_is_told_what_concerns_it_alone() {
    let client = client().await;
    let (ours, theirs) = (client.open("2025-11-25").await, client.open("2025-11-25").await);
    let mut stream = Open::of(&client, get(&ours)).await;
    let other = Open::of(&client, get(&theirs)).await;
    let id = ultimate_mcp_actors::ids::SessionId::parse(&ours).unwrap();
    let note = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated"});
    assert!(client.live.send(&id, note.to_string().as_bytes()));
    assert_eq!(stream.message().await.unwrap(), note);
    client.hub.close();
    let mut other = other;
    assert_eq!(other.frame().await, None);
}

#[actix_web::test]
async fn a_stream_belongs_to_its_session_and_ends_with_it() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let theft = get(&session).insert_header(("authorization", "Bearer bob"));
    assert_eq!(client.send(theft).await.status, 404);
    let mut stream = Open::of(&client, get(&session)).await;
    let end = request(Method::DELETE).insert_header(("mcp-session-id", session.as_str()));
    assert_eq!(client.send(end).await.status, 204);
    assert_eq!(stream.frame().await, None);
}

#[actix_web::test]
async fn a_stream_keeps_its_session_alive_and_ends_when_it_is_gone() {
    tokio::time::pause();
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let mut stream = Open::of(&client, get(&session)).await;
    assert_eq!(stream.frame().await.unwrap(), ": beat\n\n");
    let id = ultimate_mcp_actors::ids::SessionId::parse(&session).unwrap();
    crate::mcp::Host::remove_session(&*client.host, &"ada".to_owned(), &id).await.unwrap();
    assert_eq!(stream.frame().await, None);
}

#[actix_web::test]
async fn log_messages_reach_the_sessions_that_set_a_level() {
    let client = client().await;
    let (session, other) = (client.open("2025-11-25").await, client.open("2025-11-25").await);
    let bad = client.legacy(&session, "logging/setLevel", json!({"level": "loud"})).await;
    assert_eq!(bad.error(), (200, -32602));
    let set = client.legacy(&session, "logging/setLevel", json!({"level": "info"})).await;
    assert_eq!(set.body["result"], json!({}));
    let call = || json!({"name": "talk", "arguments": {"times": 1}});
    let answer = client.legacy(&session, "tools/call", call()).await;
    assert_eq!(answer.body[0]["method"], "notifications/message");
    assert_eq!(answer.body[0]["params"]["level"], "info");
    assert_eq!(answer.body[1]["id"], 1);
    let quiet = client.legacy(&other, "tools/call", call()).await;
    assert_eq!(quiet.header("content-type"), Some("application/json"));
}

#[actix_web::test]
async fn a_legacy_call_is_cancelled_by_its_session_and_answered_by_silence() {
    let client = Rc::new(client().await);
    let (session, other) = (client.open("2025-11-25").await, client.open("2025-11-25").await);
    let cancel = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1},
    });
    let call = {
        let (client, session) = (Rc::clone(&client), session.clone());
        rt::spawn(
            async move { client.legacy(&session, "tools/call", json!({"name": "wait"})).await },
        )
    };
    client.host.begun.notified().await;
    assert_eq!(client.send(session_post(&other, &cancel)).await.status, 202);
    rt::task::yield_now().await;
    assert_eq!(client.host.dropped.load(Ordering::SeqCst), 0);
    assert_eq!(client.send(session_post(&session, &cancel)).await.status, 202);
    let answer = call.await.unwrap();
    assert_eq!((answer.status, answer.body), (200, Value::Null));
    assert_eq!(client.host.dropped.load(Ordering::SeqCst), 1);
    assert_eq!(client.send(session_post(&session, &cancel)).await.status, 202);
}

#[actix_web::test]
async fn a_session_hears_of_the_resources_it_subscribed_to_and_of_its_own_callers_only() {
    tokio::time::pause();
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let mut stream = Open::of(&client, get(&session)).await;
    let ask = |method: &'static str, uri: &'static str| {
        client.legacy(&session, method, json!({ "uri": uri }))
    };
    assert_eq!(ask("resources/subscribe", "test://a").await.body["result"], json!({}));
    assert_eq!(ask("resources/subscribe", "other://a").await.error(), (200, -32002));
    let nothing = client.legacy(&session, "resources/subscribe", json!({})).await;
    assert_eq!(nothing.error(), (200, -32602));
    let wish =
        |caller: &str, uri: &str| crate::mcp::Wish { caller: caller.into(), uri: uri.into() };
    client.hub.resource_updated("test://b");
    client.hub.resource_updated_for(&wish("bob", "test://a"));
    client.hub.resource_updated_for(&wish("ada", "test://a"));
    let message = stream.message().await.unwrap();
    assert_eq!(message["method"], "notifications/resources/updated");
    assert_eq!(message["params"], json!({"uri": "test://a"}));
    assert!(client.hub.watched().contains_key(&wish("ada", "test://a")));
    assert_eq!(ask("resources/unsubscribe", "test://a").await.body["result"], json!({}));
    client.hub.resource_updated("test://a");
    client.hub.list_changed(ListChanged::Prompts);
    let message = stream.message().await.unwrap();
    assert_eq!(message["method"], "notifications/prompts/list_changed");
    assert!(client.hub.watched().is_empty());
}

#[actix_web::test]
async fn a_subscription_watches_what_its_caller_may_read_as_long_as_it_is_open() {
    tokio::time::pause();
    let client = client().await;
    let asked = json!({"resourceSubscriptions": ["test://a", "other://a"]});
    let mut stream = Open::of(&client, listen(asked)).await;
    let first = stream.message().await.unwrap();
    let accepted = &first["params"]["notifications"];
    assert_eq!(accepted, &json!({"resourceSubscriptions": ["test://a"]}));
    client.hub.resource_updated("other://a");
    client.hub.resource_updated("test://a");
    let message = stream.message().await.unwrap();
    assert_eq!(message["method"], "notifications/resources/updated");
    let expected = json!({"uri": "test://a", "_meta": {SUBSCRIPTION: "sub"}});
    assert_eq!(message["params"], expected);
    assert_eq!(client.hub.watched().len(), 1);
    drop(stream);
    assert!(client.hub.watched().is_empty());
}
