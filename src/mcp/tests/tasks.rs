//! The tasks extension as a client sees it; what a task is kept in is the host's.

use super::*;

/// A request of a client that declared tasks with it.
async fn declared(client: &Client, method: &str, params: Value) -> Answer {
    let mut message = modern(method, params);
    let meta = &mut message["params"]["_meta"];
    meta["io.modelcontextprotocol/clientCapabilities"] =
        json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    client.send(modern_post(&message)).await
}

const METHODS: [&str; 3] = ["tasks/get", "tasks/update", "tasks/cancel"];

#[actix_web::test]
async fn a_client_that_did_not_declare_tasks_is_told_what_to_declare() {
    let client = client().await;
    for method in METHODS {
        let answer = client.modern(method, json!({"taskId": "t1", "inputResponses": {}})).await;
        assert_eq!(answer.error(), (400, -32021), "{method}");
        let needed = &answer.body["error"]["data"]["requiredCapabilities"]["extensions"];
        assert_eq!(needed, &json!({"io.modelcontextprotocol/tasks": {}}));
    }
}

#[actix_web::test]
async fn tasks_that_are_not_the_callers_and_malformed_ids_are_invalid_params() {
    let client = client().await;
    for method in METHODS {
        let none = declared(&client, method, json!({"taskId": "t2", "inputResponses": {}})).await;
        assert_eq!(none.error(), (200, -32602), "{method}");
        let id = declared(&client, method, json!({"taskId": 7, "inputResponses": {}})).await;
        assert_eq!(id.error(), (200, -32602), "{method}");
        let mut message = modern(method, json!({"taskId": "t1", "inputResponses": {}}));
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        let bob = modern_post(&message).insert_header(("authorization", "Bearer bob"));
        assert_eq!(client.send(bob).await.error(), (200, -32602), "{method}: somebody else's");
        let other = modern_post(&message).insert_header(("mcp-name", "t2"));
        assert_eq!(client.send(other).await.error(), (400, -32020), "{method}");
    }
    let missing = declared(&client, "tasks/update", json!({"taskId": "t1"})).await;
    assert_eq!(missing.error(), (200, -32602));
    for responses in [json!(7), json!([]), json!(null)] {
        let params = json!({"taskId": "t1", "inputResponses": responses});
        assert_eq!(declared(&client, "tasks/update", params).await.error(), (200, -32602));
    }
}

#[actix_web::test]
async fn a_task_is_told_flat_and_what_changes_it_is_only_acknowledged() {
    let client = client().await;
    let got = declared(&client, "tasks/get", json!({"taskId": "t1"})).await.body["result"].clone();
    let at = "2026-01-01T00:00:00.000Z";
    for (key, value) in [
        ("resultType", json!("complete")),
        ("taskId", json!("t1")),
        ("status", json!("working")),
        ("createdAt", json!(at)),
        ("lastUpdatedAt", json!(at)),
        ("ttlMs", json!(null)),
        ("pollIntervalMs", json!(1000)),
    ] {
        assert_eq!(got[key], value, "{key}");
    }
    for method in ["tasks/update", "tasks/cancel"] {
        let params = json!({"taskId": "t1", "inputResponses": {}});
        let told = declared(&client, method, params).await.body["result"].clone();
        let keys: Vec<_> = told.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["_meta", "resultType"], "{method}");
    }
    let session = client.open("2025-11-25").await;
    for method in METHODS {
        let answer = client.legacy(&session, method, json!({"taskId": "t1"})).await;
        assert_eq!(answer.error(), (200, -32601), "{method}");
    }
}
