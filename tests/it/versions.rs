//! Versions of a tool side by side, and a policy that says which of them a plain name means.

use serde_json::{Value, json};

use crate::app::{Shared, TestApp, binary, eventually};

static APP: Shared = Shared::new();

const POLICY: &str = include_str!("../../config/policy.toml");
const CODE: &str = "import os\nimport sys\n";

/// What this caller is told of the tool, over MCP.
async fn listed(app: &TestApp, token: &str, name: &str) -> Value {
    let answer = app.mcp(token, "tools/list", json!({})).await;
    let tools = answer.body["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    tools.iter().find(|tool| tool["name"] == name).cloned().unwrap_or_default()
}

fn pinned(role: &str, version: &str) -> String {
    format!("{POLICY}\n[roles.{role}.versions]\nlint_code = {version}\n")
}

#[actix_web::test]
async fn both_versions_answer_and_the_old_one_says_until_when() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "viewer");
    let old = listed(&app, &token, "lint_code").await;
    assert_eq!(old["_meta"]["io.ultimate-mcp/version"], 1, "{old}");
    let notice = &old["_meta"]["io.ultimate-mcp/deprecated"];
    assert_eq!(notice["successor"], "lint_code.v2", "{notice}");
    assert!(notice["removal"].as_str().unwrap() > notice["since"].as_str().unwrap());
    let new = listed(&app, &token, "lint_code.v2").await;
    assert_eq!(new["_meta"], json!({ "io.ultimate-mcp/version": 2 }));
    let other = listed(&app, &token, "graph_query").await;
    assert!(!other["_meta"].to_string().contains("io.ultimate-mcp"), "{other}");
    for (name, has_rules) in [("lint_code", false), ("lint_code.v2", true)] {
        let answer = app.tool(&token, name, json!({ "code": CODE })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["rules"].is_array(), has_rules, "{}", answer.body);
        assert_eq!(answer.body["imports"].as_array().unwrap().len(), 2, "{}", answer.body);
    }
    let api = app.send("GET", "/api/v1/openapi.json", Some(&token), &[], None).await;
    let operation = |name: &str| &api.body["paths"][format!("/api/v1/tools/{name}")]["post"];
    assert_eq!(operation("lint_code")["deprecated"], true);
    assert_eq!(operation("lint_code.v2")["deprecated"], false);
}

#[actix_web::test]
async fn a_pin_changes_what_the_plain_name_means_to_its_role_at_once_and_lists_follow() {
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), POLICY).unwrap();
    let app =
        TestApp::start_with(&[("ULTIMATE_MCP__POLICY_FILE", policy.path().to_str().unwrap())]);
    let (viewer, developer) = (app.token("vic", "viewer"), app.token("dev", "developer"));
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    let mut heard = crate::streams::post(&app, &viewer, "subscriptions/listen", filter, "");
    let acknowledged = crate::streams::next(&mut heard);
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    std::fs::write(policy.path(), pinned("viewer", "2")).unwrap();
    // The names are the same as before; what one of them means is not.
    assert_eq!(crate::streams::next(&mut heard)["method"], "notifications/tools/list_changed");
    let tool = listed(&app, &viewer, "lint_code").await;
    assert_eq!(tool["_meta"]["io.ultimate-mcp/version"], 2, "{tool}");
    assert!(tool["outputSchema"]["properties"]["rules"].is_object(), "{tool}");
    let answer = app.tool(&viewer, "lint_code", json!({ "code": CODE })).await;
    assert!(answer.body["rules"].is_array(), "{answer:?}");
    let params = json!({ "name": "lint_code", "arguments": { "code": CODE } });
    let answer = app.mcp(&viewer, "tools/call", params).await;
    assert!(answer.body["result"]["structuredContent"]["rules"].is_array(), "{answer:?}");
    let answer = app.tool(&developer, "lint_code", json!({ "code": CODE })).await;
    assert!(answer.status == 200 && answer.body.get("rules").is_none(), "{answer:?}");
    let admin = app.token("root", "admin");
    let events =
        app.send("GET", "/api/v1/audit?user=vic&tool=lint_code.v2", Some(&admin), &[], None).await;
    assert!(events.body.to_string().contains("lint_code.v2"), "{events:?}");
    // A version that is not there is a mistake in the policy, and the one before stays in force.
    std::fs::write(policy.path(), pinned("viewer", "3")).unwrap();
    eventually("the mistake is shown", || async {
        let ready = app.send("GET", "/ready", Some(&admin), &[], None).await;
        ready.body.to_string().contains("roles.viewer.versions.lint_code").then_some(())
    })
    .await;
    let answer = app.tool(&viewer, "lint_code", json!({ "code": CODE })).await;
    assert!(answer.body["rules"].is_array(), "{answer:?}");
    std::fs::write(policy.path(), POLICY).unwrap();
    assert_eq!(crate::streams::next(&mut heard)["method"], "notifications/tools/list_changed");
    let answer = app.tool(&viewer, "lint_code", json!({ "code": CODE })).await;
    assert!(answer.body.get("rules").is_none(), "{answer:?}");
}

#[test]
fn a_version_that_no_tool_has_is_told_before_the_server_starts() {
    let policy = tempfile::NamedTempFile::new().unwrap();
    for text in
        [pinned("viewer", "0"), pinned("viewer", "3"), pinned("viewer", "1\nexecute_code = 1")]
    {
        std::fs::write(policy.path(), text).unwrap();
        let mut command = binary();
        let out = command.args(["config", "check"]).env("ULTIMATE_MCP__POLICY_FILE", policy.path());
        let out = out.output().unwrap();
        let error = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(78), "{error}");
        assert!(error.contains("roles.viewer.versions."), "{error}");
    }
}
