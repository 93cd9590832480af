//! A workflow whose server is killed in the middle goes on; what may not run twice does not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::app::{TestApp, eventually};
use crate::tokens::Mint;

/// Attempts that began, by step, as the proven trail of the server tells: each intent is durable before its call
/// can do anything.
fn began(app: &TestApp) -> BTreeMap<String, usize> {
    let verified = app.cli(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let export = app.cli(&["audit", "export", "-"]);
    let mut began = BTreeMap::new();
    for line in String::from_utf8(export.stdout).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if let (Some(step), "intent") =
            (event["body"]["details"]["step"].as_str(), event["phase"].as_str().unwrap_or(""))
        {
            *began.entry(step.to_owned()).or_default() += 1;
        }
    }
    began
}

#[actix_web::test]
async fn a_killed_server_repeats_only_what_is_idempotent_and_keeps_what_was_done() {
    let mut app = TestApp::start_with(&[("ULTIMATE_MCP__JOBS__RETRY_INITIAL_MS", "50")]);
    let mint = Mint::of(&app);
    let token = mint.token("ada", &["admin"]);
    let sleeping = |n: u32| json!({ "code": format!("import time; time.sleep(6); print({n})"), "timeout_seconds": 30 });
    let begun = app
        .tool(&token, "workflow_run", json!({ "async": true, "definition": {
            "steps": [
                { "id": "first", "tool": "execute_code", "arguments": { "code": "import time; print(time.time_ns())" },
                  "compensate": { "tool": "graph_upsert", "arguments": { "nodes": [{ "key": "undone" }] } } },
                { "id": "again", "tool": "execute_code", "needs": ["first"], "arguments": sleeping(1), "idempotent": true },
                { "id": "once", "tool": "execute_code", "needs": ["first"], "arguments": sleeping(2), "continue_on_failure": true,
                  "retry": { "attempts": 5 } },
                { "id": "last", "tool": "execute_code", "needs": ["again", "once"], "arguments": { "code": "print('end')" } },
            ],
            "output": { "first": { "$from": "/steps/first/result/stdout" }, "once": { "$from": "/steps/once/status" } },
        } }))
        .await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let id = begun.body["workflow_id"].as_str().unwrap().to_owned();
    // Both long steps are recorded as begun: then the server dies.
    eventually("both steps began", || async {
        let began = began(&app);
        (began.contains_key("step:again") && began.contains_key("step:once")).then_some(())
    })
    .await;
    let status = json!({ "workflow_id": id, "results": true });
    let before = app.tool(&token, "workflow_status", status.clone()).await.body;
    assert_eq!(before["steps"][0]["status"], "completed", "{before}");
    app.stop("-KILL");
    app.restart_with(&[("ULTIMATE_MCP__JOBS__RETRY_INITIAL_MS", "50")]);
    let after = eventually("the workflow ends", || async {
        let report = app.tool(&token, "workflow_status", status.clone()).await.body;
        (report["status"] != "running" && report["status"] != "queued").then_some(report)
    })
    .await;
    assert_eq!(after["status"], "completed", "{after}");
    // What was done stands, from the first life of the server.
    assert_eq!(after["output"]["first"], before["steps"][0]["result"]["stdout"]);
    assert_eq!(after["output"]["once"], "failed");
    assert_eq!(after["steps"][2]["error"]["code"], "outcome_unknown");
    assert_eq!(
        (&after["steps"][1]["attempts"], &after["steps"][2]["attempts"]),
        (&json!(2), &json!(1))
    );
    app.stop("-TERM");
    let began = began(&app);
    let expected = [("step:again", 2), ("step:first", 1), ("step:last", 1), ("step:once", 1)];
    let expected: BTreeMap<String, usize> =
        expected.map(|(step, times)| (step.to_owned(), times)).into();
    assert_eq!(began, expected);
}
