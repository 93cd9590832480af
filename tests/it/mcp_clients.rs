//! The official clients drive the server: the Python SDK in both of its modes, and the TypeScript SDK.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::app::{Shared, TestApp};

static APP: Shared = Shared::new();

/// Every tool of the product.
const TOOLS: [&str; 24] = [
    "dead_letters",
    "execute_code",
    "generate_code",
    "get_prompt",
    "graph_delete",
    "graph_query",
    "graph_upsert",
    "job_cancel",
    "job_result",
    "job_status",
    "lint_code",
    "lint_code.v2",
    "list_prompts",
    "run_tests",
    "run_tests_async",
    "sandbox_close",
    "sandbox_create",
    "sandbox_execute",
    "sandbox_list",
    "sandbox_list_files",
    "sandbox_read_file",
    "sandbox_write_files",
    "workflow_run",
    "workflow_status",
];

/// Where `make test` puts clients and tools.
fn cache() -> PathBuf {
    let named = std::env::var_os("ULTIMATE_MCP_CACHE").map(PathBuf::from);
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    named.unwrap_or_else(|| base.unwrap_or_else(home).join("ultimate-mcp"))
}

/// A part of the cache, or the way to get it.
pub fn need(part: &str) -> PathBuf {
    let path = cache().join(part);
    assert!(path.exists(), "{} is missing: run `make test`", path.display());
    path
}

/// A server whose cell has all of its tools.
pub fn start() -> TestApp {
    let tools = need("tools");
    TestApp::start_with(&[("ULTIMATE_MCP__CELL__TOOLS_DIR", tools.to_str().unwrap())])
}

/// Runs a client; it may take a minute, and prints one line of JSON.
pub fn drive(program: &Path, args: &[&str]) -> Value {
    let out = Command::new("timeout").arg("60").arg(program).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?}: {:?} {error}", out.status);
    assert!(
        !error.contains("unknown format"),
        "a schema has what its checker does not know: {error}"
    );
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {:?} {error}", out.stdout))
}

/// What every client sees.
pub fn check_common(seen: &Value) {
    let mut tools: Vec<_> = seen["tools"].as_array().unwrap().clone();
    tools.sort_by_key(|name| name.as_str().map(str::to_owned));
    assert_eq!(json!(tools), json!(TOOLS));
    assert_eq!((&seen["ran"]["status"], &seen["ran"]["stdout"]), (&json!("ok"), &json!("42\n")));
    assert_eq!(seen["wrong"]["is_error"], true, "{}", seen["wrong"]);
    assert_eq!(seen["prompts"].as_array().unwrap().len(), 8, "{}", seen["prompts"]);
    assert!(seen["prompt"].as_str().unwrap().contains("concept to read about"));
    let resources = seen["resources"].as_array().unwrap();
    assert!(resources.contains(&json!("resource://docs/api")), "{resources:?}");
    assert_eq!(seen["templates"], 5);
    assert!(seen["readme"].as_str().unwrap().starts_with("# Ultimate MCP"));
}

fn python(mode: &str, version: &str) {
    let app = APP.get(start);
    let token = app.token(&format!("python-{mode}"), "admin");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/drive.py");
    let url = format!("{}/mcp", app.url);
    let seen = drive(&need("client-python/bin/python"), &[script, &url, &token, mode]);
    check_python(&seen, version);
}

fn check_python(seen: &Value, version: &str) {
    assert_eq!(seen["version"], version);
    check_common(seen);
    let progress = seen["progress"].as_array().unwrap();
    let values: Vec<_> = progress.iter().map(|said| said[0].as_f64().unwrap()).collect();
    assert!(
        values.len() >= 2 && values.is_sorted_by(|before, after| before < after),
        "{progress:?}"
    );
    assert_eq!(progress.last().unwrap()[1], "line 2");
    let logged: String =
        seen["logs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(logged.contains("line 0\nline 1\nline 2\n"), "{logged:?}");
    let wrong = seen["wrong"]["text"].as_str().unwrap();
    assert!(wrong.contains("timeout_seconds") && wrong.contains("60"), "{wrong}");
    let lint = &seen["lint"];
    assert_eq!(lint["functions"][0]["name"], "f", "{lint}");
    assert_eq!(lint["linter"]["name"], "ruff", "{lint}");
    assert_eq!(lint["linter"]["available"], true, "{lint}");
    assert!(lint["diagnostics"].to_string().contains("F401"), "{lint}");
    let rows = &seen["rows"]["rows"];
    assert!(rows.to_string().contains("Ada") && rows.to_string().contains("25000"), "{rows}");
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    let node = &seen["node"];
    assert_eq!(node["neighbours"][0]["relationship"]["type"], "DESCRIBED", "{node}");
}

#[test]
fn the_python_client_works_in_its_own_mode() {
    python("auto", "2026-07-28");
}

#[test]
fn the_python_client_works_in_legacy_mode() {
    python("legacy", "2025-11-25");
}

/// The parameters with which a desktop client starts its server.
fn stdio(data: &Path, args: &[&str]) -> String {
    let args = [&["stdio", "--data-dir", data.to_str().unwrap()], args].concat();
    let env = json!({ "ULTIMATE_MCP__CELL__TOOLS_DIR": need("tools") });
    json!({ "command": env!("CARGO_BIN_EXE_ultimate-mcp"), "args": args, "env": env }).to_string()
}

#[test]
fn the_python_client_works_with_a_server_that_it_starts_itself() {
    let data = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/drive.py");
    let server = stdio(data.path(), &["--role", "admin"]);
    let seen = drive(&need("client-python/bin/python"), &[script, &server, "", "auto"]);
    check_python(&seen, "2026-07-28");
    assert!(!data.path().join("server.url").exists(), "the server did not end with its client");
}

#[test]
fn the_python_client_works_over_stdio_beside_a_running_server_in_legacy_mode() {
    let app =
        TestApp::start_with(&[("ULTIMATE_MCP__CELL__TOOLS_DIR", need("tools").to_str().unwrap())]);
    let token = app.token("python-stdio", "admin");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/drive.py");
    let server = stdio(app.data.path(), &[]);
    let seen = drive(&need("client-python/bin/python"), &[script, &server, &token, "legacy"]);
    check_python(&seen, "2025-11-25");
}

#[test]
fn the_typescript_client_works() {
    let app = APP.get(start);
    let token = app.token("typescript", "admin");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/drive.mjs");
    let sdk = need("client-node");
    let url = format!("{}/mcp", app.url);
    let node = Path::new("node");
    let seen = drive(node, &[script, sdk.to_str().unwrap(), &url, &token]);
    assert_eq!(seen["server"]["name"], "ultimate-mcp", "{}", seen["server"]);
    check_common(&seen);
    assert_eq!(seen["completed"], json!(["senior"]));
    assert_eq!(seen["missing"], -32002);
    assert!(seen["wrong"]["text"].as_str().unwrap().contains("language"), "{}", seen["wrong"]);
}
