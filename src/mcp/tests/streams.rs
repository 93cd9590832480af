//! Answers that other messages go before.

use std::sync::atomic::Ordering;

use actix_web::body::MessageBody;
use actix_web::rt;
use serde_json::{Value, json};

use super::*;

/// A modern call of `talk` whose sender listens: `listen` goes into `_meta`.
fn talk(arguments: Value, listen: Value) -> TestRequest {
    let mut message = modern("tools/call", json!({"name": "talk", "arguments": arguments}));
    let meta = message["params"]["_meta"].as_object_mut().unwrap();
    meta.extend(listen.as_object().unwrap().clone());
    modern_post(&message)
}

fn level(level: &str) -> Value {
    json!({"io.modelcontextprotocol/logLevel": level})
}

fn methods(answer: &Answer) -> Vec<&str> {
    let messages = answer.body.as_array().unwrap();
    messages.iter().map(|message| message["method"].as_str().unwrap_or("response")).collect()
}

#[actix_web::test]
async fn a_call_that_says_something_first_is_a_stream_that_ends_with_the_response() {
    let client = client().await;
    let answer = client.send(talk(json!({"times": 1}), json!({"progressToken": "t"}))).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(methods(&answer), ["notifications/progress", "response"]);
    let params = json!({"progressToken": "t", "progress": 1.0, "total": 1.0, "message": "step 1"});
    assert_eq!(answer.body[0]["params"], params);
    assert_eq!(answer.body[1]["id"], 1);
    assert_eq!(answer.body[1]["result"]["structuredContent"], json!({"said": true}));
}

#[actix_web::test]
async fn a_call_that_says_nothing_is_plain_json_whatever_its_sender_listens_to() {
    let client = client().await;
    let listen = json!({"progressToken": 1, "io.modelcontextprotocol/logLevel": "debug"});
    let answer = client.send(talk(json!({"times": 0}), listen)).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body["result"]["structuredContent"], json!({"said": true}));
}

#[actix_web::test]
async fn nothing_is_sent_that_was_not_asked_for() {
    let client = client().await;
    let answer = client.send(talk(json!({"times": 3}), json!({}))).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer = client.send(talk(json!({"times": 1}), level("info"))).await;
    assert_eq!(methods(&answer), ["notifications/message", "response"]);
    let params = json!({"level": "info", "logger": "talk", "data": "line 1\n"});
    assert_eq!(answer.body[0]["params"], params);
    let answer = client.send(talk(json!({"times": 1}), level("emergency"))).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[actix_web::test]
async fn a_failure_after_the_first_message_is_the_last_message() {
    let client = client().await;
    let arguments = json!({"times": 1, "fail": "conflict"});
    let answer = client.send(talk(arguments.clone(), level("info"))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body[1]["error"]["code"], -31409);
    assert_eq!(answer.body[1]["id"], 1);
    let quiet = client.send(talk(json!({"fail": "overloaded", "times": 0}), level("info"))).await;
    assert_eq!(quiet.error(), (503, -31503));
}

#[actix_web::test]
async fn a_flood_is_merged_and_its_last_progress_arrives() {
    let client = client().await;
    let answer = client.send(talk(json!({"times": 5000}), json!({"progressToken": 3}))).await;
    assert_eq!(methods(&answer), ["notifications/progress", "response"]);
    assert_eq!(answer.body[0]["params"]["progress"], 5000.0);
}

#[actix_web::test]
async fn a_legacy_call_streams_its_progress_within_its_session() {
    let client = client().await;
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let session = client.open(version).await;
        let params = json!({"name": "talk", "_meta": {"progressToken": 4}});
        let answer = client.legacy(&session, "tools/call", params).await;
        assert_eq!(methods(&answer), ["notifications/progress", "response"]);
        assert_eq!(answer.body[0]["params"]["progressToken"], 4);
        assert!(answer.body[1]["result"].get("resultType").is_none());
    }
}

#[actix_web::test]
async fn a_batch_is_never_a_stream() {
    let client = client().await;
    let session = client.open("2025-03-26").await;
    let params = json!({"name": "talk", "_meta": {"progressToken": 4}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = client.send(session_post(&session, &json!([call]))).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body[0]["id"], 1);
}

/// Begins a streamed call and reads its first message.
async fn begun(client: &Client, request: TestRequest) -> actix_web::body::BoxBody {
    let response = (client.call)(request).await.unwrap();
    assert_eq!(response.headers().get("content-type").unwrap(), "text/event-stream");
    let mut body = response.into_body();
    let first = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_next(context));
    let first = first.await.unwrap().unwrap();
    assert!(first.starts_with(b"event: message"), "{first:?}");
    client.host.begun.notified().await;
    body
}

#[actix_web::test]
async fn dropping_a_modern_stream_cancels_its_call_and_messages_arrive_before_it_ends() {
    let client = client().await;
    let arguments = json!({"times": 1, "wait": true});
    let body = begun(&client, talk(arguments, level("info"))).await;
    assert_eq!(client.host.dropped.load(Ordering::SeqCst), 0);
    drop(body);
    assert_eq!(client.host.dropped.load(Ordering::SeqCst), 1);
    assert_eq!(client.host.ended.load(Ordering::SeqCst), 0);
}

#[actix_web::test]
async fn dropping_a_legacy_stream_cancels_nothing() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let params = json!({
        "name": "talk", "arguments": {"times": 1, "wait": true}, "_meta": {"progressToken": 4},
    });
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    drop(begun(&client, session_post(&session, &call)).await);
    client.host.release.notify_one();
    while client.host.ended.load(Ordering::SeqCst) == 0 {
        rt::task::yield_now().await;
    }
    assert_eq!(client.host.dropped.load(Ordering::SeqCst), 0);
}
