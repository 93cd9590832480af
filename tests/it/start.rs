//! Starting and stopping: what a newcomer sees and pastes, what stays private, how the server ends.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::app::{TestApp, begun, binary, cli, finish};

#[actix_web::test]
async fn everything_the_start_message_offers_works_when_pasted() {
    let app = TestApp::start();
    let said = app.banner().await;
    let line = said.lines().find(|line| line.starts_with("curl ")).unwrap();
    let ran = Command::new("sh").args(["-c", line]).output().unwrap();
    let result: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&result["status"], &result["stdout"]), (&json!("ok"), &json!("42\n")));

    let token = said.lines().find(|line| line.starts_with("eyJ")).unwrap();
    let client = &said[said.find("{\n").unwrap()..=said.find("\n}").unwrap() + 1];
    let client: Value = serde_json::from_str(client).unwrap();
    let server = &client["mcpServers"]["ultimate-mcp"];
    assert_eq!(server["type"], "http");
    assert_eq!(server["url"], format!("{}/mcp", app.url));
    assert_eq!(server["headers"]["Authorization"], format!("Bearer {token}"));
    let tools = app.mcp(token, "tools/list", json!({})).await;
    assert_eq!(tools.status, 200, "{tools:?}");
    let roles = app.send("GET", "/api/v1/users/a/roles", Some(token), &[], None).await;
    assert_eq!(roles.status, 200, "the developer token administers its instance: {roles:?}");
}

#[actix_web::test]
async fn nobody_else_can_read_anything_of_the_data_directory() {
    let outside = tempfile::tempdir().unwrap();
    let data = outside.path().join("made/by/the/server");
    let app = TestApp::start_at(&data);
    let token = TestApp::token_at(&data, "ada", "developer");
    let code = "open('out/a', 'w').write('a')";
    let ran = app.tool(&token, "execute_code", json!({ "code": code })).await;
    assert_eq!(ran.body["artifacts"].as_array().unwrap().len(), 1, "{ran:?}");
    let mut files = 0;
    check_private(&data, &mut files);
    assert!(files >= 5, "only {files} files");
    for key in ["keys/token.key", "keys/audit.key"] {
        let mode = fs::metadata(data.join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{key}");
    }
}

fn check_private(path: &Path, files: &mut usize) {
    let meta = fs::symlink_metadata(path).unwrap();
    let mode = meta.permissions().mode() & 0o777;
    if meta.is_dir() {
        assert_eq!(mode, 0o700, "{}", path.display());
        for entry in fs::read_dir(path).unwrap() {
            check_private(&entry.unwrap().path(), files);
        }
    } else {
        *files += 1;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

#[actix_web::test]
async fn sigterm_lets_a_running_call_finish_and_ends_with_0() {
    let mut app = TestApp::start();
    let token = app.token("ada", "developer");
    let marker = format!("itest-{}", uuid::Uuid::new_v4());
    // The call outlives the signal by far, however slow this machine is at delivering it.
    let code = format!("(exec -a {marker} sleep 2); echo done");
    let call = app.begin(&token, &json!({ "code": code, "language": "bash" }));
    begun(&call, &marker).await;
    assert_eq!(app.stop("-TERM"), Some(0));
    let (status, body) = finish(call).expect("the connection was cut");
    assert_eq!((status, &body["stdout"]), (200, &json!("done\n")), "{body}");
    assert!(TcpStream::connect(app.url.strip_prefix("http://").unwrap()).is_err());
    let verdict = cli(app.data.path(), &["audit", "verify"]);
    assert!(verdict.status.success(), "{verdict:?}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = tempfile::tempdir().unwrap();
    let out = binary()
        .args(["serve", "--data-dir"])
        .arg(data.path())
        .env("ULTIMATE_MCP__HTTP__PORT", &port)
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(69), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&port) && said.contains("ULTIMATE_MCP__HTTP__PORT"), "{said}");
}

#[test]
fn a_server_open_to_the_network_demands_keys_and_names_the_remedy_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let out = binary()
        .args(["serve", "--data-dir"])
        .arg(data.path().join("never"))
        .env("ULTIMATE_MCP__HTTP__BIND", "0.0.0.0")
        .env("ULTIMATE_MCP__HTTP__ALLOWED_HOSTS", "[\"mcp.example.org\"]")
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), said.lines().count()), (Some(78), 1), "{said}");
    assert!(said.contains("auth.keys"), "{said}");
    assert!(!data.path().join("never").exists(), "it left something behind");
}
