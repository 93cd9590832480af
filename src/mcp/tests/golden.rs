//! The exact answers of each revision, kept as files under `tests/golden/mcp/`.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` rewrites them; the diff then shows what clients would notice.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn compare(revision: &str, answers: &Value) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/mcp/{revision}.json"));
    let now = format!("{}\n", serde_json::to_string_pretty(answers).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(now, golden, "the answers of {revision} changed");
}

fn add(a: i64, b: i64) -> Value {
    json!({"name": "add", "arguments": {"a": a, "b": b}})
}

fn greet() -> Value {
    json!({"name": "greet", "arguments": {"who": "Ada"}})
}

fn completing() -> Value {
    let reference = json!({"type": "ref/resource", "uri": "test://things/{id}"});
    let context = json!({"arguments": {"colour": "red"}});
    json!({"ref": reference, "argument": {"name": "id", "value": ""}, "context": context})
}

#[actix_web::test]
async fn golden_answers_of_2026_07_28() {
    let client = client().await;
    compare(
        "2026-07-28",
        &json!({
            "server/discover": client.modern("server/discover", json!({})).await.body,
            "tools/list": client.modern("tools/list", json!({})).await.body,
            "tools/call": client.modern("tools/call", add(1, 2)).await.body,
            "tools/call with wrong arguments": client.modern("tools/call", add(5000, 2)).await.body,
            "tools/call that fails": client.modern("tools/call", json!({"name": "secret"})).await.body,
            "unknown tool": client.modern("tools/call", json!({"name": "sub"})).await.body,
            "prompts/list": client.modern("prompts/list", json!({})).await.body,
            "prompts/get": client.modern("prompts/get", greet()).await.body,
            "completion/complete": client.modern("completion/complete", completing()).await.body,
            "resources/list": client.modern("resources/list", json!({})).await.body,
            "resources/templates/list": client.modern("resources/templates/list", json!({})).await.body,
            "resources/read": client.modern("resources/read", json!({"uri": "test://a"})).await.body,
            "resources/read of bytes": client.modern("resources/read", json!({"uri": "test://b"})).await.body,
            "unknown resource": client.modern("resources/read", json!({"uri": "test://x"})).await.body,
            "unknown method": client.modern("ping", json!({})).await.body,
        }),
    );
}

#[actix_web::test]
async fn golden_answers_of_the_2025_revisions() {
    let client = client().await;
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let opened = client.send(post().set_payload(initialize(revision).to_string())).await;
        let session = opened.header("mcp-session-id").unwrap().to_owned();
        let ask = |method: &'static str, params: Value| {
            let (client, session) = (&client, session.as_str());
            async move { client.legacy(session, method, params).await.body }
        };
        compare(
            revision,
            &json!({
                "initialize": opened.body,
                "ping": ask("ping", json!({})).await,
                "tools/list": ask("tools/list", json!({})).await,
                "tools/call": ask("tools/call", add(1, 2)).await,
                "tools/call with wrong arguments": ask("tools/call", add(5000, 2)).await,
                "tools/call that fails": ask("tools/call", json!({"name": "secret"})).await,
                "unknown tool": ask("tools/call", json!({"name": "sub"})).await,
                "prompts/list": ask("prompts/list", json!({})).await,
                "prompts/get": ask("prompts/get", greet()).await,
                "completion/complete": ask("completion/complete", completing()).await,
                "resources/list": ask("resources/list", json!({})).await,
                "resources/templates/list": ask("resources/templates/list", json!({})).await,
                "resources/read": ask("resources/read", json!({"uri": "test://a"})).await,
                "resources/read of bytes": ask("resources/read", json!({"uri": "test://b"})).await,
                "unknown resource": ask("resources/read", json!({"uri": "test://x"})).await,
                "unknown method": ask("server/discover", json!({})).await,
            }),
        );
    }
}
