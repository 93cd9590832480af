//! Clients beside the official SDKs of the first hour: the TypeScript client 2.x and FastMCP in both eras, the TypeScript
//! SDK over WebSocket, the Inspector on the command line, a host of MCP Apps.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Shared, TestApp};
use crate::mcp_clients::{check_common, drive, need, start};

static APP: Shared = Shared::new();

/// A Node that has a WebSocket of its own; the suites' one.
pub fn node() -> PathBuf {
    let modules = need("conformance/node/node_modules");
    let found = std::fs::read_dir(modules)
        .unwrap()
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("node-linux-"));
    found.expect("run `make test`").path().join("bin/node")
}

fn script(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The client asked its person once, did what was agreed, and its cancelled call ended on the server.
pub async fn check(app: &TestApp, user: &str, seen: &Value) {
    check_common(seen);
    let asked = seen["asked"].as_array().unwrap();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].as_str().unwrap().starts_with("Delete 1 node"), "{asked:?}");
    assert_eq!(seen["deleted"]["nodes_deleted"], 1);
    assert!(seen["cancelled"].as_u64().is_some_and(|ms| ms < 10_000), "{}", seen["cancelled"]);
    let admin = app.token("auditor", "admin");
    let path = format!("/api/v1/audit?user={user}&limit=200");
    for _ in 0..100 {
        let events = app.send("GET", &path, Some(&admin), &[], None).await;
        if events.body["events"].to_string().contains("the work was cancelled") {
            return;
        }
        actix_web::rt::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the cancelled call of {user} goes on");
}

async fn typescript_2(mode: &str, version: &str) {
    let app = APP.get(start);
    let user = format!("typescript-2-{mode}");
    let (token, url) = (app.token(&user, "admin"), format!("{}/mcp", app.url));
    let client = need("client-node2");
    let args = [&script("drive2.mjs"), client.to_str().unwrap(), &url, &token, mode];
    let seen = drive(&node(), &args);
    assert_eq!(seen["version"], version);
    assert_eq!(seen["told"], true, "nothing was heard of the run");
    check(&app, &user, &seen).await;
}

#[actix_web::test]
async fn the_typescript_client_2_works_in_its_own_era() {
    typescript_2("auto", "2026-07-28").await;
}

#[actix_web::test]
async fn the_typescript_client_2_works_in_a_session() {
    typescript_2("legacy", "2025-11-25").await;
}

#[actix_web::test]
async fn the_typescript_client_works_over_websocket() {
    let app = APP.get(start);
    let token = app.token("typescript-ws", "admin");
    let url = format!("{}/mcp/ws", app.url.replace("http://", "ws://"));
    let sdk = need("client-node");
    let seen = drive(&node(), &[&script("drive_ws.mjs"), sdk.to_str().unwrap(), &url, &token]);
    assert_eq!(seen["server"]["name"], "ultimate-mcp");
    assert_eq!(seen["told"], true, "nothing was heard of the run");
    check(&app, "typescript-ws", &seen).await;
}

async fn fastmcp(mode: &str, version: &str) {
    let app = APP.get(start);
    let user = format!("fastmcp-{mode}");
    let (token, url) = (app.token(&user, "admin"), format!("{}/mcp", app.url));
    let python = need("client-fastmcp/bin/python");
    let seen = drive(&python, &[&script("drive_fastmcp.py"), &url, &token, mode]);
    assert_eq!(seen["version"], version);
    assert_eq!(seen["wrong"]["raised"], true);
    assert_eq!(seen["progress"].as_array().unwrap().last().unwrap()[1], "line 2");
    check(&app, &user, &seen).await;
}

#[actix_web::test]
async fn the_fastmcp_client_works_in_its_own_era() {
    fastmcp("auto", "2026-07-28").await;
}

#[actix_web::test]
async fn the_fastmcp_client_works_in_a_session() {
    fastmcp("legacy", "2025-11-25").await;
}

/// One command of the Inspector; its JSON.
fn inspect(app: &TestApp, token: &str, method: &str, args: &[&str]) -> Value {
    let package = "client-inspector/node_modules/@modelcontextprotocol/inspector";
    let main = need(package).join("clients/launcher/build/index.js");
    let (url, header) = (format!("{}/mcp", app.url), format!("Authorization: Bearer {token}"));
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command.arg("60").arg(node()).arg(main).env("HOME", home.path());
    command.args(["--cli", &url, "--transport", "http", "--header", &header]);
    let out = command.args(["--method", method]).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{method}: {:?} {error}", out.status);
    assert!(!error.contains("unknown format"), "{error}");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {error}"))
}

#[actix_web::test]
async fn the_inspector_lists_and_calls() {
    let app = APP.get(start);
    let token = app.token("inspector", "admin");
    let names = |list: &Value| list.as_array().unwrap().len();
    assert_eq!(names(&inspect(&app, &token, "tools/list", &[])["tools"]), 24);
    assert_eq!(names(&inspect(&app, &token, "prompts/list", &[])["prompts"]), 8);
    let resources = inspect(&app, &token, "resources/list", &[]);
    assert!(resources.to_string().contains("resource://docs/api"), "{resources}");
    let args = ["--tool-name", "execute_code", "--tool-arg", "code=print(6*7)"];
    let ran = inspect(&app, &token, "tools/call", &args);
    assert_eq!(ran["structuredContent"]["stdout"], json!("42\n"), "{ran}");
}

#[actix_web::test]
async fn a_host_of_apps_shows_results_on_pages_that_trust_nothing_in_them() {
    let app = APP.get(start);
    let (token, url) = (app.token("apps", "admin"), format!("{}/mcp", app.url));
    let client = need("client-apps");
    let seen = drive(&node(), &[&script("apps.mjs"), client.to_str().unwrap(), &url, &token]);
    let (run, tests, graph) = (&seen["run"], &seen["tests"], &seen["graph"]);
    let text = |page: &Value| page["text"].as_str().unwrap().to_owned();
    assert_eq!(run["uri"], "ui://ultimate-mcp/run");
    assert_eq!(run["mime"], "text/html;profile=mcp-app");
    assert_eq!(run["meta"]["ui"]["csp"]["connectDomains"], json!([]));
    assert_eq!(run["scheme"], "dark", "the host's theme");
    assert!(text(run).contains("stdout<img src=x onerror=alert(1)><script>1</script>"), "{run}");
    assert_eq!(run["scripts"], 0, "what a program writes stays text");
    assert!(text(&seen["wrong"]).contains("invalid_arguments"), "{}", seen["wrong"]);
    assert!(text(tests).contains("1 passed, 1 failed"), "{tests}");
    assert_eq!((&tests["rows"], &graph["rows"]), (&json!(2), &json!(1)));
    assert_eq!(graph["marks"], 2, "{graph}");
    assert!(text(graph).contains("app:a") && text(graph).contains("KNOWS"), "{graph}");
    assert_eq!(seen["plain"], json!(null), "a tool without a page");
}
