//! Sandboxes that stay, through the front door: an agent's session, and who may do what in it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp, eventually};
use crate::tokens::Mint;

static APP: Shared = Shared::new();

/// A caller with a token.
struct Caller<'a> {
    app: &'a TestApp,
    token: String,
}

impl Caller<'_> {
    async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.app.tool(&self.token, tool, arguments).await
    }

    /// The result of a call that must succeed.
    async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments).await;
        assert_eq!(answer.status, 200, "{tool}: {answer:?}");
        answer.body
    }

    async fn open(&self) -> String {
        let made = self.ok("sandbox_create", json!({ "language": "python" })).await;
        made["sandbox_id"].as_str().unwrap().to_owned()
    }

    async fn step(&self, id: &str, code: &str) -> Value {
        self.ok("sandbox_execute", json!({ "sandbox_id": id, "code": code })).await
    }
}

fn caller<'a>(app: &'a TestApp, sub: &str) -> Caller<'a> {
    Caller { app, token: Mint::of(app).token(sub, &["developer"]) }
}

#[actix_web::test]
async fn an_agents_session_keeps_its_state_from_call_to_call() {
    let app = APP.get(TestApp::start);
    let ada = caller(&app, "session-ada");
    let limits = json!({ "memory_mb": 128, "pids": 16 });
    let made = json!({ "language": "python", "limits": limits, "ttl_seconds": 120 });
    let made = ada.ok("sandbox_create", made).await;
    let id = made["sandbox_id"].as_str().unwrap();
    assert!(id.starts_with("sbx_"), "{made}");
    assert_eq!((&made["limits"]["memory_mb"], &made["limits"]["pids"]), (&json!(128), &json!(16)));
    let files = json!([{ "path": "data/in.csv", "content": "a,b\n1,2\n" }]);
    let wrote = ada.ok("sandbox_write_files", json!({ "sandbox_id": id, "files": files })).await;
    assert_eq!(wrote, json!({ "files": 1, "bytes": 8 }));
    let code =
        "import csv\nrows = list(csv.DictReader(open('data/in.csv')))\nprint(len(rows))\nrows";
    let step = ada.step(id, code).await;
    assert_eq!((&step["status"], &step["stdout"]), (&json!("ok"), &json!("1\n")), "{step}");
    assert_eq!(step["value"]["text"], "[{'a': '1', 'b': '2'}]");
    let step = ada.step(id, "rows[0]['c']").await;
    assert_eq!((&step["status"], &step["error"]["name"]), (&json!("error"), &json!("KeyError")));
    assert!(step["stderr"].as_str().unwrap().contains("Traceback") && step["ended"].is_null());
    let png = "class P:\n  def _repr_html_(self): return '<p>'\n  \
               def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\nx'\n\
               open('out/a.txt', 'w').write('kept')\nP()";
    let step = ada.step(id, png).await;
    assert_eq!(step["value"]["html"], "<p>");
    assert_eq!(step["artifacts"][0]["name"], "a.txt");
    let image = step["value"]["png"]["uri"].as_str().unwrap().rsplit('/').next().unwrap();
    let image = format!("/api/v1/artifacts/{image}");
    let image = app.send("GET", &image, Some(&ada.token), &[], None).await;
    assert_eq!((image.status, image.bytes.as_slice()), (200, b"\x89PNG\r\n\x1a\nx".as_slice()));
    let read = ada.ok("sandbox_read_file", json!({ "sandbox_id": id, "path": "out/a.txt" })).await;
    assert_eq!((&read["content"], &read["base64"]), (&json!("kept"), &Value::Null));
    let list = ada.ok("sandbox_list_files", json!({ "sandbox_id": id, "path": "data" })).await;
    assert_eq!(
        list["entries"],
        json!([{ "path": "data/in.csv", "kind": "file", "size_bytes": 8 }])
    );
    let mine = ada.ok("sandbox_list", json!({})).await;
    assert_eq!(
        (&mine["sandboxes"][0]["sandbox_id"], &mine["sandboxes"][0]["steps"]),
        (&json!(id), &json!(3))
    );
    let closed = ada.ok("sandbox_close", json!({ "sandbox_id": id })).await;
    assert_eq!((&closed["ended"], &closed["steps"]), (&json!("closed"), &json!(3)));
    let gone = ada.call("sandbox_execute", json!({ "sandbox_id": id, "code": "1" })).await;
    assert_eq!((gone.status, gone.code()), (409, "conflict"), "{gone:?}");
}

#[actix_web::test]
async fn nobody_but_its_owner_can_tell_that_a_sandbox_exists() {
    let app = APP.get(TestApp::start);
    let (ada, eve) = (caller(&app, "owner-ada"), caller(&app, "owner-eve"));
    let root = Caller { app: &app, token: Mint::of(&app).token("owner-root", &["admin"]) };
    let id = ada.open().await;
    ada.step(&id, "secret = 1; open('secret', 'w').write('1')").await;
    for other in [&eve, &root] {
        for (tool, arguments) in [
            ("sandbox_execute", json!({ "sandbox_id": id, "code": "secret" })),
            (
                "sandbox_write_files",
                json!({ "sandbox_id": id, "files": [{ "path": "a", "content": "" }] }),
            ),
            ("sandbox_read_file", json!({ "sandbox_id": id, "path": "secret" })),
            ("sandbox_list_files", json!({ "sandbox_id": id })),
            ("sandbox_close", json!({ "sandbox_id": id })),
        ] {
            let answer = other.call(tool, arguments).await;
            assert_eq!((answer.status, answer.code()), (404, "not_found"), "{tool}: {answer:?}");
        }
        assert_eq!(other.ok("sandbox_list", json!({})).await["sandboxes"], json!([]));
    }
    let viewer = Caller { app: &app, token: Mint::of(&app).token("owner-v", &["viewer"]) };
    assert_eq!(viewer.call("sandbox_list", json!({})).await.status, 403);
    assert_eq!(ada.step(&id, "secret").await["value"]["text"], "1");
    ada.ok("sandbox_close", json!({ "sandbox_id": id })).await;
}

#[actix_web::test]
async fn caps_and_roles_bound_what_one_caller_holds() {
    let app = APP.get(TestApp::start);
    let bob = caller(&app, "caps-bob");
    let greedy = json!({ "language": "python", "limits": { "memory_mb": 1025, "pids": 999 } });
    let greedy = bob.call("sandbox_create", greedy).await;
    assert_eq!(greedy.status, 422, "{greedy:?}");
    assert_eq!(greedy.body["error"]["problems"].as_array().unwrap().len(), 2, "{greedy:?}");
    let small = json!({ "language": "python", "limits": { "memory_mb": 64 } });
    for _ in 0..4 {
        bob.ok("sandbox_create", small.clone()).await;
    }
    let fifth = bob.call("sandbox_create", small).await;
    assert_eq!((fifth.status, fifth.code()), (429, "rate_limited"), "{fifth:?}");
    let open = bob.ok("sandbox_list", json!({})).await;
    assert_eq!(open["open_max"], 4);
    for sandbox in open["sandboxes"].as_array().unwrap() {
        bob.ok("sandbox_close", json!({ "sandbox_id": sandbox["sandbox_id"] })).await;
    }
    assert_eq!(bob.ok("sandbox_list", json!({})).await["sandboxes"], json!([]));
}

#[actix_web::test]
async fn each_step_is_audited_and_never_its_code() {
    let app = APP.get(TestApp::start);
    let ann = caller(&app, "audit-ann");
    let id = ann.open().await;
    ann.step(&id, "'SECRET-VALUE'").await;
    ann.step(&id, "raise SystemExit(3)").await;
    ann.ok("sandbox_close", json!({ "sandbox_id": id })).await;
    let admin = Mint::of(&app).token("audit-root", &["admin"]);
    let events =
        app.send("GET", "/api/v1/audit?user=audit-ann&limit=100", Some(&admin), &[], None).await;
    let events = events.body["events"].as_array().unwrap().clone();
    let of = |tool: &str| events.iter().filter(|e| e["tool"] == tool).cloned().collect::<Vec<_>>();
    for (tool, count) in [("sandbox_create", 1), ("sandbox_execute", 2), ("sandbox_close", 1)] {
        assert_eq!(of(tool).len(), count, "{tool}: {events:?}");
    }
    let steps = of("sandbox_execute");
    let codes: Vec<_> = steps.iter().map(|event| &event["details"]["return_code"]).collect();
    assert!(codes.contains(&&json!(3)) && codes.contains(&&Value::Null), "{steps:?}");
    assert!(steps.iter().all(|event| event["details"]["sandbox_id"] == json!(id)), "{steps:?}");
    assert!(!serde_json::to_string(&events).unwrap().contains("SECRET"));
    // Queries leave intents out; the trail has one for each, written before its outcome.
    let trail = rusqlite::Connection::open(app.data.path().join("audit.db")).unwrap();
    let sql = "SELECT group_concat(phase) FROM (SELECT call_id, phase FROM event \
               WHERE user_id = 'audit-ann' ORDER BY seq) GROUP BY call_id";
    let mut query = trail.prepare(sql).unwrap();
    let phases: Vec<String> =
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(phases, ["intent,outcome"; 4]);
}

#[actix_web::test]
async fn metrics_count_sandboxes_and_a_step_that_overruns_is_interrupted() {
    let app = TestApp::start();
    let (sam, admin) = (caller(&app, "sam"), Mint::of(&app).token("root", &["admin"]));
    let id = sam.open().await;
    let overrun =
        json!({ "sandbox_id": id, "code": "kept = 1\nwhile True: pass", "timeout_seconds": 0.5 });
    let step = sam.ok("sandbox_execute", overrun).await;
    assert_eq!((&step["status"], &step["ended"]), (&json!("timeout"), &Value::Null), "{step}");
    let step = sam.step(&id, "import os\nkept\nos._exit(kept)").await;
    assert_eq!((&step["status"], &step["ended"]), (&json!("error"), &json!("exited")), "{step}");
    eventually("the end is counted", || async {
        let metrics = app.send("GET", "/metrics", Some(&admin), &[], None).await;
        let text = String::from_utf8(metrics.bytes).unwrap();
        let has = |line: &str| text.lines().any(|l| l == line);
        let all = has("sandboxes_open 0")
            && has("sandboxes_created 1")
            && has("sandbox_steps 2")
            && has("sandboxes_ended{reason=\"exited\"} 1");
        if !all {
            actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        }
        all.then_some(())
    })
    .await;
}
