//! Sessions of the 2025 revisions.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::*;

const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

#[actix_web::test]
async fn initialize_agrees_on_a_revision_with_sessions() {
    let client = client().await;
    for version in LEGACY {
        let answer = client.send(post().set_payload(initialize(version).to_string())).await;
        assert_eq!(answer.body["result"]["protocolVersion"], version);
        let session = answer.header("mcp-session-id").unwrap();
        assert!(session.bytes().all(|b| b.is_ascii_graphic()), "{session}");
    }
    for version in ["2024-11-05", "2026-07-28", "2031-01-01"] {
        let answer = client.send(post().set_payload(initialize(version).to_string())).await;
        assert_eq!(answer.body["result"]["protocolVersion"], "2025-11-25");
    }
}

#[actix_web::test]
async fn an_initialize_without_its_parameters_opens_nothing() {
    let client = client().await;
    for remove in ["protocolVersion", "capabilities", "clientInfo"] {
        let mut message = initialize("2025-11-25");
        message["params"].as_object_mut().unwrap().remove(remove);
        let answer = client.send(post().set_payload(message.to_string())).await;
        assert_eq!(answer.error(), (400, -32602), "{remove}");
        assert_eq!(answer.header("mcp-session-id"), None);
    }
}

#[actix_web::test]
async fn a_session_serves_its_methods_and_no_modern_ones() {
    let client = client().await;
    for version in LEGACY {
        let session = client.open(version).await;
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let answer = client.send(session_post(&session, &note)).await;
        assert_eq!((answer.status, answer.body), (202, Value::Null));
        assert_eq!(client.legacy(&session, "ping", json!({})).await.body["result"], json!({}));
        let sum = client.legacy(
            &session,
            "tools/call",
            json!({"name": "add", "arguments": {"a": 1, "b": 2}}),
        );
        assert_eq!(sum.await.body["result"]["content"][0]["text"], "{\"sum\":3}");
        for method in ["server/discover", "tasks/get", "subscriptions/listen"] {
            let answer = client.legacy(&session, method, json!({})).await;
            assert_eq!(answer.error(), (200, -32601), "{method}");
        }
        let answer = client.legacy(&session, "tools/list", json!([])).await;
        assert_eq!(answer.error(), (200, -32602));
    }
}

#[actix_web::test]
async fn a_version_header_of_a_session_is_optional_and_an_unknown_one_is_told() {
    let client = client().await;
    let session = client.open("2025-06-18").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for version in LEGACY {
        let known = session_post(&session, &ping).insert_header(("mcp-protocol-version", version));
        assert_eq!(client.send(known).await.status, 200);
    }
    let unknown =
        session_post(&session, &ping).insert_header(("mcp-protocol-version", "1999-01-01"));
    assert_eq!(client.send(unknown).await.status, 400);
}

#[actix_web::test]
async fn a_message_without_a_session_or_with_a_lost_one_is_told_to_initialize() {
    let client = client().await;
    let ping = json!({"jsonrpc": "2.0", "id": 4, "method": "ping"});
    let answer = client.send(post().set_payload(ping.to_string())).await;
    assert_eq!((answer.error(), &answer.body["id"]), ((400, -32600), &json!(4)));
    let answer = client.send(session_post("3f0c", &ping)).await;
    assert_eq!((answer.status, &answer.body["id"]), (404, &json!(4)));
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(client.send(post().set_payload(note.to_string())).await.status, 400);
    assert_eq!(client.send(session_post("3f0c", &note)).await.status, 404);
}

#[actix_web::test]
async fn a_session_of_another_caller_looks_like_none() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let theft = session_post(&session, &ping).insert_header(("authorization", "Bearer bob"));
    assert_eq!(client.send(theft).await.status, 404);
    let end = request(Method::DELETE)
        .insert_header(("mcp-session-id", session.as_str()))
        .insert_header(("authorization", "Bearer bob"));
    assert_eq!(client.send(end).await.status, 404);
    assert_eq!(client.send(session_post(&session, &ping)).await.status, 200);
}

#[actix_web::test]
async fn delete_ends_a_session_once() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let delete = || request(Method::DELETE).insert_header(("mcp-session-id", session.as_str()));
    assert_eq!(client.send(delete()).await.status, 204);
    assert_eq!(client.send(delete()).await.status, 404);
    assert_eq!(client.legacy(&session, "ping", json!({})).await.status, 404);
}

#[actix_web::test]
async fn get_and_delete_belong_to_sessions_only() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(client.send(request(method.clone())).await.status, 405);
        let modern = request(method.clone())
            .insert_header(("mcp-session-id", session.as_str()))
            .insert_header(("mcp-protocol-version", "2026-07-28"));
        assert_eq!(client.send(modern).await.status, 405, "{method}");
    }
    let get = |id: &str| request(Method::GET).insert_header(("mcp-session-id", id.to_owned()));
    assert_eq!(client.send(get(&session)).await.status, 406);
    assert_eq!(client.send(get("3f0c")).await.status, 404);
}

#[actix_web::test]
async fn a_modern_request_ignores_a_session_and_gets_none() {
    let client = client().await;
    let request = modern_post(&modern("tools/list", json!({})));
    let answer = client.send(request.insert_header(("mcp-session-id", "3f0c"))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mcp-session-id"), None);
}

#[actix_web::test]
async fn only_sessions_of_2025_03_26_take_batches() {
    let client = client().await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": null, "method": "ping"},
    ]);
    let session = client.open("2025-03-26").await;
    let answer = client.send(session_post(&session, &batch)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body[0], json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(answer.body[1]["error"]["code"], -32600);
    assert_eq!(answer.body.as_array().unwrap().len(), 2);
    for version in ["2025-06-18", "2025-11-25"] {
        let session = client.open(version).await;
        assert_eq!(client.send(session_post(&session, &batch)).await.error(), (400, -32600));
    }
    assert_eq!(client.send(post().set_payload(batch.to_string())).await.error(), (400, -32600));
}

#[actix_web::test]
async fn a_batch_is_bounded_and_holds_only_what_belongs_there() {
    let client = client().await;
    let session = client.open("2025-03-26").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for bad in [json!([]), json!([ping, ping, ping, ping])] {
        assert_eq!(client.send(session_post(&session, &bad)).await.error(), (400, -32600));
    }
    let mixed = json!([initialize("2025-03-26"), modern("tools/list", json!({})), [ping]]);
    let answer = client.send(session_post(&session, &mixed)).await;
    let codes: Vec<_> =
        answer.body.as_array().unwrap().iter().map(|entry| &entry["error"]["code"]).collect();
    assert_eq!(codes, [&json!(-32600); 3]);
    let notes = json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]);
    assert_eq!(client.send(session_post(&session, &notes)).await.status, 202);
}

#[actix_web::test]
async fn a_response_is_taken_within_a_session_only() {
    let client = client().await;
    let session = client.open("2025-11-25").await;
    let response = json!({"jsonrpc": "2.0", "id": 9, "result": {}});
    assert_eq!(client.send(session_post(&session, &response)).await.status, 202);
    assert_eq!(client.send(post().set_payload(response.to_string())).await.status, 400);
}
