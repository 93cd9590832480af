//! The graph on Neo4j, as a caller and an operator see it: away at start, back, away again.

use serde_json::{Value, json};
use ultimate_mcp_testkit::{Proxy, neo4j_exclusive};

use crate::app::{TestApp, eventually};

async fn ready(app: &TestApp, token: &str) -> Value {
    app.send("GET", "/ready", Some(token), &[], None).await.body
}

async fn ask(app: &TestApp, token: &str) -> crate::app::Answer {
    app.tool(token, "graph_query", json!({ "cypher": "MATCH (n:Person) RETURN n.key AS k" })).await
}

#[actix_web::test]
async fn a_neo4j_that_is_away_degrades_answers_503_and_is_never_replaced() {
    let turn = neo4j_exclusive().await;
    let proxy = Proxy::to(turn.server.port);
    proxy.cut();
    let uri = format!("bolt://127.0.0.1:{}", proxy.port());
    let app = TestApp::start_with(&[
        ("ULTIMATE_MCP__GRAPH__ENGINE", "neo4j"),
        ("ULTIMATE_MCP__NEO4J__URI", &uri),
        ("ULTIMATE_MCP__NEO4J__PASSWORD", &turn.server.password),
        ("ULTIMATE_MCP__NEO4J__RECONNECT_MAX_MS", "300"),
        ("ULTIMATE_MCP__NEO4J__HEALTH_INTERVAL_MS", "200"),
    ]);
    let token = app.token("ada", "admin");
    let away = eventually("neo4j is known to be away", || async {
        let ready = ready(&app, &token).await;
        (ready["status"] == "degraded" && ready.to_string().contains("closed the connection"))
            .then_some(ready)
    })
    .await;
    assert!(!away.to_string().contains(&turn.server.password), "{away}");
    let refused = ask(&app, &token).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");

    proxy.heal();
    eventually("neo4j is back", || async { (ask(&app, &token).await.status == 200).then_some(()) })
        .await;
    eventually("everything is ready again, shipping too", || async {
        (ready(&app, &token).await["status"] == "ready").then_some(())
    })
    .await;
    let node = json!({ "nodes": [{ "key": "ada", "labels": ["Person"] }] });
    assert_eq!(app.tool(&token, "graph_upsert", node).await.status, 200);
    let wrong = app.tool(&token, "graph_query", json!({ "cypher": "RETURN 1 / 0 AS x" })).await;
    assert_eq!(wrong.status, 422, "the caller's mistake: {wrong:?}");
    let found = ask(&app, &token).await;
    assert_eq!(found.body["rows"], json!([{ "k": "ada" }]), "{found:?}");
    let metrics = app.send("GET", "/metrics", Some(&token), &[], None).await;
    assert!(format!("{metrics:?}").contains("neo4j_up"), "{metrics:?}");
    assert!(!app.data.path().join("graph.mars").exists(), "no embedded graph was made");
}
