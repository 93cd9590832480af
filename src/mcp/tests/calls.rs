//! Calls: results, failures, cancellation.

use std::sync::atomic::Ordering;

use actix_web::rt;
use serde_json::json;

use super::*;

#[actix_web::test]
async fn wrong_arguments_are_a_result_that_names_each_problem() {
    let client = client().await;
    let params = json!({"name": "add", "arguments": {"a": 5000, "b": -5000}});
    let answer = client.modern("tools/call", params.clone()).await;
    let result = &answer.body["result"];
    assert_eq!((answer.status, &result["isError"]), (200, &json!(true)));
    let problems = result["structuredContent"]["error"]["problems"].as_array().unwrap();
    let paths: Vec<_> = problems.iter().map(|problem| &problem["path"]).collect();
    assert_eq!(paths, ["a", "b"]);
    let session = client.open("2025-11-25").await;
    let answer = client.legacy(&session, "tools/call", params).await;
    let result = &answer.body["result"];
    assert_eq!(result["isError"], true);
    assert!(result["content"][0]["text"].as_str().unwrap().starts_with("invalid arguments: a:"));
    assert!(result["content"][1]["text"].as_str().unwrap().contains("\"problems\""));
}

#[actix_web::test]
async fn absent_arguments_are_an_empty_object() {
    let client = client().await;
    let answer = client.modern("tools/call", json!({"name": "routed"})).await;
    assert_eq!(answer.body["result"]["structuredContent"], json!({}));
}

#[actix_web::test]
async fn failures_keep_the_status_their_clients_can_read() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    for (how, code, modern, legacy) in [
        ("overloaded", -31503, 503, 503),
        ("rate", -31429, 429, 429),
        ("crashed", -31506, 503, 200),
        ("panic", -31506, 503, 200),
        ("deadline", -31505, 504, 200),
        ("conflict", -31409, 200, 200),
        ("internal", -32603, 200, 200),
    ] {
        let params = json!({"name": "fail", "arguments": {"how": how}});
        let answer = client.modern("tools/call", params.clone()).await;
        assert_eq!(answer.error(), (modern, code), "{how}");
        assert_eq!(answer.body["id"], 1);
        assert_eq!(
            client.legacy(&session, "tools/call", params).await.error(),
            (legacy, code),
            "{how}"
        );
    }
    let rate = client.modern("tools/call", json!({"name": "fail", "arguments": {"how": "rate"}}));
    let answer = rate.await;
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.body["error"]["data"]["retryAfterSeconds"], 7);
}

#[actix_web::test]
async fn a_viewer_sees_only_what_a_viewer_may_call() {
    let client = client().await;
    let request = modern_post(&modern("tools/list", json!({})));
    let answer = client.send(request.insert_header(("authorization", "Bearer viewer"))).await;
    assert!(!answer.body.to_string().contains("secret"), "{}", answer.body);
    let mut names = Vec::new();
    let mut params = json!({});
    loop {
        let answer = client.modern("tools/list", params).await;
        let tools = answer.body["result"]["tools"].as_array().unwrap().clone();
        names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        match answer.body["result"]["nextCursor"].as_str() {
            Some(cursor) => params = json!({"cursor": cursor}),
            None => break,
        }
    }
    assert_eq!(names, ["add", "fail", "routed", "secret", "talk", "wait"]);
}

#[actix_web::test]
async fn a_call_knows_where_it_came_from() {
    let client = client().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let other = "00-11111111111111111111111111111111-2222222222222222-00";
    let mut message = modern("tools/call", json!({"name": "routed"}));
    let request = modern_post(&message)
        .insert_header(("traceparent", other))
        .insert_header(("user-agent", "tester/1"));
    client.send(request).await;
    let origin = client.host.last_origin.lock().unwrap().take().unwrap();
    assert_eq!(origin.traceparent().as_deref(), Some(other));
    assert_eq!(origin.user_agent.as_deref(), Some("tester/1"));
    assert_eq!(origin.session_id, None);
    message["params"]["_meta"]["traceparent"] = json!(trace);
    client.send(modern_post(&message).insert_header(("traceparent", other))).await;
    let origin = client.host.last_origin.lock().unwrap().take().unwrap();
    assert_eq!(origin.traceparent().as_deref(), Some(trace));
    let session = client.open("2025-06-18").await;
    client.legacy(&session, "tools/call", json!({"name": "routed"})).await;
    let origin = client.host.last_origin.lock().unwrap().take().unwrap();
    assert_eq!(origin.session_id.unwrap().as_str(), session);
}

#[actix_web::test]
async fn a_modern_client_that_hangs_up_cancels_its_call() {
    let client = client().await;
    let call = client.modern("tools/call", json!({"name": "wait"}));
    tokio::select! {
        biased;
        _ = call => panic!("nothing released the call"),
        () = client.host.begun.notified() => {}
    }
    // `select!` has dropped the request, as the server does when the connection ends.
    assert_eq!(client.host.dropped.load(Ordering::SeqCst), 1);
    assert_eq!(client.host.ended.load(Ordering::SeqCst), 0);
}

#[actix_web::test]
async fn a_legacy_client_that_hangs_up_does_not_cancel_its_call() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let call = client.legacy(&session, "tools/call", json!({"name": "wait"}));
    tokio::select! {
        biased;
        _ = call => panic!("nothing released the call"),
        () = client.host.begun.notified() => {}
    }
    client.host.release.notify_one();
    while client.host.ended.load(Ordering::SeqCst) == 0 {
        rt::task::yield_now().await;
    }
    assert_eq!(client.host.dropped.load(Ordering::SeqCst), 0);
}
