//! Erasing, exporting and shipping through the face: the real binary, the real Neo4j.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::neo4j::{Limits, Neo4jClient, Neo4jOptions, Params};
use ultimate_mcp_testkit::neo4j_exclusive;

use crate::app::{TestApp, eventually};
use crate::tokens::Mint;

#[actix_web::test]
async fn an_erased_user_is_gone_from_trail_roles_and_tokens_and_the_erasure_is_recorded() {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, admin) = (mint.token("olga", &["developer"]), mint.token("root", &["admin"]));
    assert_eq!(app.tool(&ada, "execute_code", json!({ "code": "print(1)" })).await.status, 200);
    let role = json!({ "role": "viewer" });
    let roles = "/api/v1/users/olga/roles";
    assert_eq!(app.send("POST", roles, Some(&admin), &[], Some(&role)).await.status, 200);
    let erase = async |token, user| {
        let path = format!("/api/v1/users/{user}");
        app.send("DELETE", &path, Some(token), &[], None).await
    };
    assert_eq!(erase(&ada, "root").await.status, 403);
    assert_eq!(erase(&admin, "root").await.status, 409, "nobody erases themselves");
    let answer = erase(&admin, "olga").await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("erased")), "{answer:?}");
    assert!(answer.body["events"].as_i64().unwrap() >= 3, "{answer:?}");

    assert_eq!(app.tool(&ada, "execute_code", json!({ "code": "1" })).await.status, 401);
    let trail = app.send("GET", "/api/v1/audit?limit=100", Some(&admin), &[], None).await;
    assert!(!trail.body.to_string().contains("olga"), "{}", trail.body);
    let events = trail.body["events"].as_array().unwrap();
    let of_erasure = |event: &&Value| event["action"] == "users/erase" && event["success"] == true;
    assert_eq!(events.iter().filter(of_erasure).count(), 1);
    assert!(events.iter().any(|event| event["erased"] == true && event["tool"] == "execute_code"));

    let export = app.send("GET", "/api/v1/audit/export", Some(&admin), &[], None).await;
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    let file = app.data.path().join("export.jsonl");
    std::fs::write(&file, &export.bytes).unwrap();
    let proof = app.cli(&["audit", "verify", "--export", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&proof.stdout).into_owned();
    assert!(proof.status.success() && said.contains(" 0 gaps"), "{proof:?}");
    let refused = app.send("GET", "/api/v1/audit/export?format=xml", Some(&admin), &[], None).await;
    assert_eq!(refused.status, 422);

    assert_eq!(app.stop("-TERM"), Some(0));
    let erased = app.cli(&["audit", "erase", "--user", "root"]);
    assert!(erased.status.success(), "{erased:?}");
    assert!(app.cli(&["audit", "verify"]).status.success());
    let csv = app.cli(&["audit", "export", "-", "--format", "csv"]);
    let text = String::from_utf8(csv.stdout).unwrap();
    assert!(text.starts_with("seq,timestamp,") && !text.contains(",root,"), "{text}");
}

#[actix_web::test]
async fn the_trail_reaches_neo4j_and_ready_and_metrics_say_how_far_it_is() {
    let turn = neo4j_exclusive().await;
    let app = TestApp::start_with(&[
        ("ULTIMATE_MCP__NEO4J__URI", turn.server.uri.as_str()),
        ("ULTIMATE_MCP__NEO4J__PASSWORD", turn.server.password.as_str()),
    ]);
    let mint = Mint::of(&app);
    let admin = mint.token("root", &["admin"]);
    let node = json!({ "key": "paper:1", "labels": ["Paper"] });
    let wrote = app.tool(&admin, "graph_upsert", json!({ "nodes": [node] })).await;
    assert_eq!(wrote.status, 200, "{wrote:?}");
    let options = Neo4jOptions {
        uri: turn.server.uri.clone(),
        password: turn.server.password.clone(),
        ..Neo4jOptions::default()
    };
    let client = Neo4jClient::new(options, Arc::new(|_, _| {})).unwrap();
    eventually("who ran what on which data", || async {
        let cypher = "MATCH (:DataRef {key: 'paper:1'})<-[:TOUCHED]-(x:Execution)<-[:RAN]-(u:User) \
                      RETURN u.user_id AS who, x.tool AS what";
        let deadline = Deadline::after(Duration::from_secs(10));
        let rows = client.read(cypher, Params::new(), Limits::default(), deadline).await.ok()?;
        let row = rows.first()?;
        (row.text("who") == Some("root") && row.text("what") == Some("graph_upsert")).then_some(())
    })
    .await;
    eventually("ready", || async {
        let ready = app.send("GET", "/ready", Some(&admin), &[], None).await;
        let parts = ready.body["dependencies"].as_array()?.clone();
        parts.iter().find(|part| part["name"] == "audit shipping" && part["status"] == "ready")?;
        Some(())
    })
    .await;
    let metrics = app.send("GET", "/metrics", Some(&admin), &[], None).await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(text.contains("audit_shipping_lag_events"), "{text}");
}
