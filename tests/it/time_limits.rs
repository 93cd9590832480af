//! A client gives its own call less time than the server would: by header and by `_meta`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ultimate_mcp_testkit::Redis;

use crate::app::{Answer, Shared, TestApp, eventually};
use crate::redis::{node, token};

static APP: Shared = Shared::new();

const HEADER: &str = "X-Request-Timeout-Ms";
const ENDLESS: &str = "print('begun', flush=True)\nwhile True: pass";

async fn within(app: &TestApp, token: &str, limit: &str, tool: &str, arguments: Value) -> Answer {
    let path = format!("/api/v1/tools/{tool}");
    app.send("POST", &path, Some(token), &[(HEADER, limit)], Some(&arguments)).await
}

async fn events(app: &TestApp, admin: &str, filter: &str) -> Vec<Value> {
    let path = format!("/api/v1/audit?{filter}&limit=1000");
    let page = app.send("GET", &path, Some(admin), &[], None).await;
    page.body["events"].as_array().unwrap().clone()
}

#[actix_rt::test]
async fn a_run_ends_when_its_client_stops_waiting_and_says_what_it_printed() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    let code = json!({ "code": ENDLESS });
    let began = Instant::now();
    let by_header = within(&app, &token, "1500", "execute_code", code.clone()).await;
    let call = json!({
        "name": "execute_code", "arguments": code, "_meta": { "io.ultimate-mcp/timeoutMs": 1500 },
    });
    let by_meta = app.mcp(&token, "tools/call", call).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for said in [&by_header.body, &by_meta.body["result"]["structuredContent"]] {
        assert_eq!(
            (&said["status"], &said["stdout"]),
            (&json!("timeout"), &json!("begun\n")),
            "{said}"
        );
    }
}

#[actix_rt::test]
async fn without_time_nothing_runs_and_the_refusal_is_recorded() {
    let app = APP.get(TestApp::start);
    let admin = app.token("root", "admin");
    let node = json!({ "nodes": [{ "key": "late", "labels": ["Late"], "properties": {} }] });
    let refused = within(&app, &admin, "0", "graph_upsert", node.clone()).await;
    assert_eq!((refused.status, refused.code()), (504, "deadline_exceeded"), "{refused:?}");
    assert_eq!(refused.body["error"]["retry"], "safe", "{refused:?}");
    let call = json!({
        "name": "graph_upsert", "arguments": node, "_meta": { "io.ultimate-mcp/timeoutMs": 0 },
    });
    let refused = app.mcp(&admin, "tools/call", call).await;
    assert_eq!(refused.code(), "deadline_exceeded", "{refused:?}");
    let query = json!({ "cypher": "MATCH (n:Late) RETURN count(n) AS n" });
    let rows = app.tool(&admin, "graph_query", query).await;
    assert_eq!(rows.body["rows"][0]["n"], 0, "{rows:?}");
    let recorded = events(&app, &admin, "tool=graph_upsert").await;
    assert_eq!(recorded.len(), 2, "{recorded:?}");
    assert!(recorded.iter().all(|event| event["success"] == false), "{recorded:?}");

    // Nobody gets past the audit by being in a hurry.
    let viewer = app.token("eve", "viewer");
    let denied = within(&app, &viewer, "0", "execute_code", json!({ "code": "1" })).await;
    assert_eq!((denied.status, denied.code()), (403, "forbidden"), "{denied:?}");
    let recorded = events(&app, &admin, "type=authz_denied").await;
    assert!(recorded.iter().any(|event| event["user_id"] == "eve"), "{recorded:?}");
}

#[actix_rt::test]
async fn without_time_nothing_is_read_either() {
    let app = APP.get(TestApp::start);
    let admin = app.token("hurried", "admin");
    let hurry = |mut params: Value| {
        params["_meta"] = json!({ "io.ultimate-mcp/timeoutMs": 0 });
        params
    };
    for (method, params) in [
        ("prompts/list", json!({})),
        ("prompts/get", json!({ "name": "code_review" })),
        ("resources/read", json!({ "uri": "resource://schemas/neo4j" })),
    ] {
        let refused = app.mcp(&admin, method, hurry(params)).await;
        assert_eq!(refused.code(), "deadline_exceeded", "{method}: {refused:?}");
    }
    let recorded = events(&app, &admin, "user=hurried").await;
    let failed = recorded.iter().filter(|event| event["success"] == false).count();
    assert_eq!(failed, 3, "{recorded:?}");
}

#[actix_rt::test]
async fn a_limit_that_is_no_number_is_refused_and_a_long_one_changes_nothing() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    for bad in ["soon", "-1", "1.5", "1234567890123"] {
        let refused = within(&app, &token, bad, "list_prompts", json!({})).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, "invalid_request"),
            "{bad}: {refused:?}"
        );
        let said = refused.body["error"]["message"].as_str().unwrap();
        assert!(said.contains(HEADER) && said.contains("milliseconds"), "{said}");
    }
    for bad in [json!("100"), json!(-1), json!(null), json!([1])] {
        let call = json!({
            "name": "list_prompts", "arguments": {}, "_meta": { "io.ultimate-mcp/timeoutMs": bad },
        });
        let refused = app.mcp(&token, "tools/call", call).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert_eq!(refused.body["error"]["code"], -32602, "{refused:?}");
    }
    let served = within(&app, &token, "999999999999", "list_prompts", json!({})).await;
    assert_eq!(served.status, 200, "{served:?}");
}

#[actix_rt::test]
async fn places_and_hedges_of_a_dependency_are_shown_and_changed_while_it_works() {
    let redis = Redis::start();
    let app = node(&[redis.url()], &[]);
    let admin = token(&app, "ada", "admin");
    let shown = || async {
        let answer = app.send("GET", "/api/v1/breakers", Some(&admin), &[], None).await;
        answer.body["breakers"][0].clone()
    };
    let before = shown().await;
    assert_eq!((&before["name"], &before["limit"]), (&json!("redis"), &json!(1024)), "{before}");
    assert_eq!(before["hedges"], json!({ "sent": 0, "won": 0 }), "{before}");
    let patch = json!({ "redis": { "resilience": {
        "concurrency": "adaptive", "concurrent_min": 7, "concurrent_max": 9, "wait_ms": 50,
        "concurrent_caller_percent": 60, "concurrent_background_percent": 30,
        "hedge": { "enabled": true, "delay_ms": 20 },
    } } });
    let changed = app.send("PATCH", "/api/v1/config", Some(&admin), &[], Some(&patch)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    eventually("the new limit holds", || async {
        let limit = shown().await["limit"].as_u64().unwrap();
        (7..=9).contains(&limit).then_some(())
    })
    .await;
    let metrics = app.send("GET", "/metrics", Some(&admin), &[], None).await;
    let metrics = String::from_utf8(metrics.bytes).unwrap();
    for name in ["redis_calls_limit", "redis_calls_waiting", "redis_hedges_sent"] {
        assert!(metrics.contains(name), "{name}");
    }
    let wrong = json!({ "redis": { "resilience": { "concurrent_caller_percent": 0 } } });
    let refused = app.send("PATCH", "/api/v1/config", Some(&admin), &[], Some(&wrong)).await;
    assert_eq!((refused.status, refused.code()), (422, "invalid_arguments"), "{refused:?}");
}
