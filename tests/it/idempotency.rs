//! A call under an idempotency key, as clients meet it: one node, its own store.

use serde_json::json;

use crate::app::{Answer, Shared, TestApp, begun, eventually, finish};

static APP: Shared = Shared::new();

/// Prints another number each time it runs.
const ONCE: &str = "import time; print(time.time_ns())";

async fn once(app: &TestApp, token: &str, key: &str, code: &str) -> Answer {
    app.tool_once(token, key, "execute_code", json!({"code": code})).await
}

#[actix_rt::test]
async fn the_same_call_under_the_same_key_runs_once_whatever_the_transport() {
    let app = APP.get(TestApp::start);
    let (ada, bob) = (app.token("ada", "developer"), app.token("bob", "developer"));
    let first = once(&app, &ada, "k-1", ONCE).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    let again = once(&app, &ada, "\"k-1\"", ONCE).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    // The same arguments in other words, over MCP.
    let meta = json!({"io.ultimate-mcp/idempotencyKey": "k-1"});
    let params =
        json!({"name": "execute_code", "arguments": {"code": ONCE}, "_meta": meta.clone()});
    let over_mcp = app.mcp(&ada, "tools/call", params).await;
    assert_eq!(over_mcp.body["result"]["structuredContent"], first.body, "{:?}", over_mcp.body);

    let other = once(&app, &ada, "k-1", "print(1)").await;
    assert_eq!((other.status, other.code()), (409, "idempotency_key_reused"));
    let params = json!({"name": "list_prompts", "arguments": {}, "_meta": meta});
    let other = app.mcp(&ada, "tools/call", params).await;
    assert_eq!(other.body["error"]["data"]["code"], "idempotency_key_reused", "{:?}", other.body);
    let theirs = once(&app, &bob, "k-1", ONCE).await;
    assert_ne!(theirs.body["stdout"], first.body["stdout"], "another caller's key");
}

#[actix_rt::test]
async fn replays_are_recorded_as_replays_and_keys_by_their_digest() {
    let app = APP.get(TestApp::start);
    let (token, admin) = (app.token("eve", "developer"), app.token("root", "admin"));
    for _ in 0..2 {
        once(&app, &token, "secret-name", ONCE).await;
    }
    let path = "/api/v1/audit?user=eve&limit=50";
    let events = app.send("GET", path, Some(&admin), &[], None).await;
    assert_eq!(events.status, 200, "{:?}", events.body);
    let text = events.body.to_string();
    assert!(!text.contains("secret-name"), "{text}");
    let events = events.body["events"].as_array().cloned().unwrap_or_default();
    let replayed: Vec<_> =
        events.iter().filter(|event| event["details"]["replayed"] == true).collect();
    assert_eq!(replayed.len(), 1, "{text}");
    assert_eq!(replayed[0]["success"], true);
    assert!(replayed[0]["details"]["idempotency_key_sha256"].is_string());
}

#[actix_rt::test]
async fn a_call_that_did_nothing_may_be_tried_again_under_its_key() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    let wrong = app.tool_once(&token, "k-2", "execute_code", json!({"cod": "1"})).await;
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_arguments"));
    assert_eq!(once(&app, &token, "k-2", ONCE).await.status, 200);
    for bad in ["", "a b", &"x".repeat(129)] {
        let refused = once(&app, &token, bad, ONCE).await;
        assert_eq!((refused.status, refused.code()), (422, "invalid_arguments"), "{bad}");
    }
}

#[actix_rt::test]
async fn who_sends_a_running_call_again_waits_for_its_answer_even_after_hanging_up() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    let marker = "idem-waits";
    let code = format!("exec -a {marker} sleep 2");
    let arguments = json!({"code": code, "language": "bash"});
    let call = app.begin_with(&token, &arguments, "Idempotency-Key: k-3\r\n");
    begun(&call, marker).await;
    // The client loses its connection; the run goes on.
    drop(call);
    let again = app.tool_once(&token, "k-3", "execute_code", arguments.clone()).await;
    assert_eq!(again.status, 200, "{:?}", again.body);
    assert_eq!(again.body["status"], "ok");
    let third = app.tool_once(&token, "k-3", "execute_code", arguments).await;
    assert_eq!(third.body, again.body);
}

#[actix_rt::test]
async fn a_killed_server_never_runs_the_call_again_and_says_so() {
    let mut app = TestApp::start();
    let token = app.token("ada", "developer");
    let kept = once(&app, &token, "done", ONCE).await;
    let marker = "idem-killed";
    let arguments = json!({"code": format!("exec -a {marker} sleep 30"), "language": "bash"});
    let call = app.begin_with(&token, &arguments, "Idempotency-Key: k-4\r\n");
    begun(&call, marker).await;
    app.stop("-KILL");
    assert!(finish(call).is_none());
    app.restart();
    let again = app.tool_once(&token, "k-4", "execute_code", arguments).await;
    assert_eq!((again.status, again.code()), (409, "outcome_unknown"), "{:?}", again.body);
    assert_eq!(again.body["error"]["retry"], "unsafe");
    let replayed = eventually("the kept answer is given", || async {
        let answer = once(&app, &token, "done", ONCE).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(replayed.body, kept.body, "an answer survives a crash");
}
