//! The trail: every call ends in it exactly once, it can be searched, and nobody can change it unseen.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Answer, TestApp, begun, cli, eventually, gone};
use crate::tokens::Mint;

async fn trail(app: &TestApp, token: &str, query: &str) -> Answer {
    let answer = app.send("GET", &format!("/api/v1/audit?{query}"), Some(token), &[], None).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer
}

fn events(answer: &Answer) -> &[Value] {
    answer.body["events"].as_array().unwrap()
}

#[actix_web::test]
async fn every_call_ends_in_the_trail_exactly_once() {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, eve) = (mint.token("ada", &["developer"]), mint.token("eve", &["viewer"]));
    let path = "/api/v1/tools/execute_code";
    let call = async |token, id, arguments| {
        app.send("POST", path, Some(token), &[("X-Request-Id", id)], Some(&arguments)).await.status
    };
    assert_eq!(call(&ada, "ran-1", json!({ "code": "print(1)" })).await, 200);
    assert_eq!(call(&ada, "failed-1", json!({ "code": "exit(3)" })).await, 200);
    assert_eq!(call(&ada, "wrong-1", json!({ "cod": "" })).await, 422);
    assert_eq!(call(&eve, "refused-1", json!({ "code": "print(1)" })).await, 403);
    assert_eq!(app.tool(&ada, "no_such_tool", json!({})).await.status, 404);
    let params = json!({ "name": "execute_code", "arguments": { "code": "print(2)" } });
    assert_eq!(app.mcp(&ada, "tools/call", params).await.status, 200);

    let admin = mint.token("root", &["admin"]);
    let answer = trail(&app, &admin, "limit=100").await;
    let found = |id: &str| -> Vec<&Value> {
        events(&answer).iter().filter(|event| event["request_id"] == id).collect()
    };
    for (id, user, phase, success) in [
        ("ran-1", "ada", "outcome", true),
        ("failed-1", "ada", "outcome", true),
        ("wrong-1", "ada", "outcome", false),
        ("refused-1", "eve", "single", false),
    ] {
        let [event] = found(id)[..] else { panic!("{id} is there {} times", found(id).len()) };
        let told = (&event["user_id"], &event["phase"], &event["success"], &event["tool"]);
        let expected = (&json!(user), &json!(phase), &json!(success), &json!("execute_code"));
        assert_eq!(told, expected, "{event}");
    }
    assert_eq!(found("ran-1")[0]["event_type"], "code_execution");
    assert_eq!(found("ran-1")[0]["details"]["status"], "ok");
    assert_eq!(found("failed-1")[0]["details"]["return_code"], 3);
    assert_eq!(found("refused-1")[0]["event_type"], "authz_denied");
    assert_eq!(found("refused-1")[0]["details"]["required_permissions"], json!(["tools:execute"]));
    let whole = answer.body.to_string();
    assert!(!whole.contains("print(") && !whole.contains("exit(3)"), "code is in the trail");

    assert_eq!(app.stop("-TERM"), Some(0));
    let calls = phases_by_call(app.data.path());
    assert_eq!(calls.len(), 6, "{calls:?}");
    let refusals = calls.values().filter(|phases| phases[..] == ["single"]).count();
    let runs = calls.values().filter(|phases| phases[..] == ["intent", "outcome"]).count();
    assert_eq!((refusals, runs), (2, 4), "{calls:?}");
}

/// The phases of each call's events, in the order they were recorded.
fn phases_by_call(data: &Path) -> HashMap<Vec<u8>, Vec<String>> {
    let trail = Connection::open(data.join("audit.db")).unwrap();
    let sql = "SELECT call_id, phase FROM event WHERE call_id IS NOT NULL ORDER BY seq";
    let mut statement = trail.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut calls: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for row in rows {
        let (call, phase) = row.unwrap();
        calls.entry(call).or_default().push(phase);
    }
    calls
}

#[actix_web::test]
async fn the_trail_is_searched_by_every_filter_and_read_page_by_page() {
    let app = TestApp::start();
    let mint = Mint::of(&app);
    let (pager, admin) = (mint.token("pager", &["viewer"]), mint.token("root", &["admin"]));
    for index in 0..25 {
        let name = if index < 20 { "execute_code" } else { "run_tests" };
        assert_eq!(app.tool(&pager, name, json!({})).await.status, 403);
    }
    let roles = "/api/v1/users/somebody/roles";
    let body = json!({ "role": "viewer" });
    assert_eq!(app.send("POST", roles, Some(&admin), &[], Some(&body)).await.status, 200);

    let (mut seen, mut pages, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = trail(&app, &admin, &format!("user=pager&limit=10{cursor}")).await;
        pages.push(events(&page).len());
        seen.extend(events(&page).iter().map(|event| event["seq"].as_i64().unwrap()));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, [10, 10, 5]);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "not newest first: {seen:?}");

    let count = async |query: &str| events(&trail(&app, &admin, query).await).len();
    assert_eq!(count("user=pager&tool=run_tests").await, 5);
    assert_eq!(count("user=pager&type=authz_denied&success=false").await, 25);
    assert_eq!(count("user=pager&success=true").await, 0);
    assert_eq!(count("type=config_change&user=root").await, 1);
    assert_eq!(count("user=nobody").await, 0);
    assert_eq!(count("user=pager&start=2020-01-01T00:00:00Z&end=2099-01-01T00:00:00Z").await, 25);
    assert_eq!(count("user=pager&end=2020-01-01T00:00:00Z").await, 0);
    assert_eq!(count("user=pager&start=2099-01-01T00:00:00Z").await, 0);

    let foreign = cursor.strip_prefix("&cursor=").unwrap();
    for wrong in [
        "limit=0",
        "limit=1001",
        "type=nothing",
        "colour=red",
        "start=yesterday",
        "start=2030-01-01T00:00:00Z&end=2020-01-01T00:00:00Z",
        "cursor=AAAA",
        &format!("user=somebody-else&cursor={foreign}"),
    ] {
        let path = format!("/api/v1/audit?{wrong}");
        let answer = app.send("GET", &path, Some(&admin), &[], None).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid_arguments"),
            "{wrong} {answer:?}"
        );
    }
}

/// A trail of some calls, as a server that ended well leaves it.
async fn finished_trail() -> TestApp {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let eve = mint.token("eve", &["viewer"]);
    for _ in 0..4 {
        assert_eq!(app.tool(&eve, "execute_code", json!({})).await.status, 403);
    }
    let ada = mint.token("ada", &["developer"]);
    assert_eq!(app.tool(&ada, "execute_code", json!({})).await.status, 422);
    assert_eq!(app.stop("-TERM"), Some(0));
    app
}

/// A copy of a data directory with one thing done to its trail.
fn tampered(data: &Path, sql: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("keys")).unwrap();
    for file in ["audit.db", "audit.db-wal", "keys/audit.key"] {
        if data.join(file).exists() {
            std::fs::copy(data.join(file), copy.path().join(file)).unwrap();
        }
    }
    let trail = Connection::open(copy.path().join("audit.db")).unwrap();
    trail.execute_batch("DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete;").unwrap();
    trail.execute_batch(sql).unwrap();
    copy
}

#[actix_web::test]
async fn a_changed_removed_moved_or_added_event_is_found_and_an_honest_trail_is_intact() {
    let app = finished_trail().await;
    let honest = app.cli(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&honest.stdout).into_owned();
    assert!(honest.status.success() && said.starts_with("ok: 6 events"), "{honest:?}");
    let untouched = tampered(app.data.path(), "SELECT 1;");
    assert!(cli(untouched.path(), &["audit", "verify"]).status.success());

    let swap = "UPDATE event SET seq = -2 WHERE seq = 2; UPDATE event SET seq = 2 WHERE seq = 3;
                UPDATE event SET seq = 3 WHERE seq = -2;";
    let add = "INSERT INTO event (seq, event_id, ts, event_type, phase, call_id, user_id, tool, success,
               body, hash) SELECT 7, event_id, ts, event_type, phase, call_id, user_id, tool, success,
               body, hash FROM event WHERE seq = 6;";
    for (sql, fault) in [
        ("UPDATE event SET user_id = 'bob' WHERE seq = 3;", "changed at event 3"),
        ("UPDATE event SET success = 1 WHERE seq = 1;", "changed at event 1"),
        ("UPDATE event SET ts = ts + 1 WHERE seq = 2;", "changed at event 2"),
        ("DELETE FROM event WHERE seq = 3;", "removed at event 3"),
        (swap, "moved"),
        (add, "added without the key at event 7"),
        ("DELETE FROM event WHERE seq = 6;", "the end was cut off"),
    ] {
        let copy = tampered(app.data.path(), sql);
        let verdict = cli(copy.path(), &["audit", "verify"]);
        let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
        assert_eq!(verdict.status.code(), Some(65), "{sql}: {verdict:?}");
        assert!(said.contains(fault) && said.lines().count() == 1, "{sql}: {said}");
        assert!(verdict.stdout.is_empty(), "{sql}");
    }
}

#[actix_web::test]
async fn a_call_cut_short_by_kill_nine_gets_one_outcome_that_says_effects_unknown() {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let ada = mint.token("ada", &["developer"]);
    let marker = format!("itest-{}", uuid::Uuid::new_v4());
    let code = format!("exec -a {marker} sleep 50");
    let arguments = json!({ "code": code, "language": "bash", "timeout_seconds": 55 });
    let call = app.begin(&ada, &arguments);
    begun(&call, &marker).await;
    assert_eq!(app.stop("-KILL"), None);
    gone(&marker).await;

    app.restart();
    let admin = mint.token("root", &["admin"]);
    let event = eventually("the open call gets its outcome", || async {
        let answer = trail(&app, &admin, "user=ada").await;
        assert!(events(&answer).len() <= 1, "{answer:?}");
        events(&answer).first().cloned()
    })
    .await;
    assert_eq!((&event["phase"], &event["tool"]), (&json!("outcome"), &json!("execute_code")));
    assert_ne!(event["success"], true, "{event}");
    let text = event["error_message"].as_str().unwrap_or("");
    assert!(text.contains("effects unknown"), "{event}");

    assert_eq!(app.stop("-TERM"), Some(0));
    app.restart();
    assert_eq!(events(&trail(&app, &admin, "user=ada").await).len(), 1);
    assert!(app.cli(&["audit", "verify"]).status.success());
}
