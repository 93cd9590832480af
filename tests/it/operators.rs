//! What an operator sees and turns: the tree, breakers, limits, queues; over REST and in `top`.

use serde_json::{Value, json};
use ultimate_mcp_testkit::Redis;

use crate::app::{Answer, Shared, TestApp, eventually};
use crate::redis::{node, token};

static APP: Shared = Shared::new();

async fn get(app: &TestApp, token: &str, path: &str) -> Value {
    let answer = app.send("GET", path, Some(token), &[], None).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

async fn post(app: &TestApp, token: &str, path: &str) -> Answer {
    app.send("POST", path, Some(token), &[], None).await
}

/// Events of this type, newest first.
async fn events(app: &TestApp, token: &str, kind: &str) -> Vec<Value> {
    let page = get(app, token, &format!("/api/v1/audit?type={kind}&limit=1000")).await;
    page["events"].as_array().unwrap().clone()
}

fn child<'a>(tree: &'a Value, name: &str) -> &'a Value {
    tree["children"].as_array().unwrap().iter().find(|child| child["name"] == name).unwrap()
}

#[actix_rt::test]
async fn a_child_restarted_by_hand_is_up_again_in_the_tree_and_the_order_is_in_the_audit() {
    let app = TestApp::start();
    let admin = app.token("ada", "admin");
    // The audit itself too: the order is recorded by the very actor it restarts.
    for name in ["cache", "audit"] {
        let path = format!("/api/v1/supervision/{name}/restart");
        let answer = post(&app, &admin, &path).await;
        assert_eq!((answer.status, &answer.body["name"]), (200, &json!(name)), "{answer:?}");
        eventually("it is up again", || async {
            let tree = get(&app, &admin, "/api/v1/supervision").await;
            let child = child(&tree, name);
            (child["state"] == "running" && child["generation"] == 1).then_some(())
        })
        .await;
        let orders = events(&app, &admin, "config_change").await;
        let resource = format!("actor:{name}");
        let outcomes: Vec<_> = orders.iter().filter(|e| e["resource"] == *resource).collect();
        assert_eq!(outcomes.len(), 1, "its outcome: {orders:?}");
        for event in outcomes {
            assert_eq!(event["action"], "supervision/restart", "{event}");
            assert_eq!(event["user_id"], "ada", "{event}");
        }
    }
    let call = app.tool(&admin, "list_prompts", json!({})).await;
    assert_eq!(call.status, 200, "{call:?}");
}

#[actix_rt::test]
async fn a_restart_of_what_is_not_there_says_what_is() {
    let app = APP.get(TestApp::start);
    let admin = app.token("ada", "admin");
    for name in ["no_such_actor", "graph.below", "root"] {
        let answer = post(&app, &admin, &format!("/api/v1/supervision/{name}/restart")).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{answer:?}");
    }
    let answer = post(&app, &admin, "/api/v1/supervision/grpah/restart").await;
    let said = answer.body["error"]["message"].as_str().unwrap();
    assert!(said.contains("grpah") && said.contains("graph"), "{said}");
    let answer = post(&app, &admin, "/api/v1/breakers/redis/open").await;
    assert_eq!((answer.status, answer.code()), (404, "not_found"), "{answer:?}");
    assert!(answer.body["error"]["message"].as_str().unwrap().contains("none"), "{answer:?}");
}

#[actix_rt::test]
async fn only_administrators_see_or_turn_anything_and_a_refusal_is_recorded() {
    let app = APP.get(TestApp::start);
    let developer = app.token("dora", "developer");
    let restart = post(&app, &developer, "/api/v1/supervision/cache/restart").await;
    assert_eq!((restart.status, restart.code()), (403, "forbidden"), "{restart:?}");
    for path in ["breakers", "limits", "queues", "supervision"] {
        let path = format!("/api/v1/{path}");
        let answer = app.send("GET", &path, Some(&developer), &[], None).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    let admin = app.token("ada", "admin");
    let denied = events(&app, &admin, "authz_denied").await;
    let found =
        denied.iter().any(|e| e["action"] == "supervision/restart" && e["user_id"] == "dora");
    assert!(found, "{denied:?}");
    assert_eq!(child(&get(&app, &admin, "/api/v1/supervision").await, "cache")["restarts"], 0);
}

#[actix_rt::test]
async fn limits_and_queues_show_what_may_be_used_beside_what_is() {
    let app = APP.get(TestApp::start);
    let admin = app.token("ada", "admin");
    assert_eq!(app.tool(&admin, "list_prompts", json!({})).await.status, 200);
    let limits = get(&app, &admin, "/api/v1/limits").await;
    assert!(limits["calls"]["rates_held"].as_u64() >= Some(2), "{limits}");
    assert!(limits["runs"]["running_max"].as_u64() >= Some(1), "{limits}");
    assert_eq!(limits["runs"]["running"], 0, "{limits}");
    assert!(limits["roles"]["viewer"]["calls_per_minute"].is_u64(), "{limits}");
    let queues = get(&app, &admin, "/api/v1/queues").await;
    let mailboxes = queues["mailboxes"].as_array().unwrap();
    assert!(mailboxes.len() >= 12 && mailboxes.iter().all(|m| m["capacity"].as_u64() > Some(0)));
    assert_eq!(queues["jobs"]["lanes"].as_array().map(Vec::len), Some(3), "{queues}");
    assert_eq!(
        (&queues["jobs"]["dead_letters"], &queues["audit_shipping"]),
        (&json!(0), &Value::Null)
    );
    assert!(queues["audit"]["last_seq"].as_i64() > Some(0), "{queues}");
}

#[actix_rt::test]
async fn a_drained_node_is_not_ready_serves_on_and_only_hears_its_own_name() {
    let app = TestApp::start();
    let admin = app.token("ada", "admin");
    let drain = |body: Value| {
        let (app, admin) = (&app, &admin);
        async move { app.send("POST", "/api/v1/supervision/drain", Some(admin), &[], Some(&body)).await }
    };
    let other = drain(json!({ "node": "another" })).await;
    assert_eq!((other.status, other.code()), (409, "conflict"), "{other:?}");
    let here = get(&app, &admin, "/ready").await["node"].clone();
    let drained = drain(json!({ "node": here })).await;
    assert_eq!((drained.status, &drained.body["status"]), (200, &json!("draining")));
    let ready = app.send("GET", "/ready", None, &[], None).await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("unavailable")));
    assert_eq!(app.tool(&admin, "list_prompts", json!({})).await.status, 200, "still served");
}

#[actix_rt::test]
async fn a_breaker_forced_open_leaves_calls_to_this_node_alone_and_a_reset_heals_it() {
    let redis = Redis::start();
    let app = node(&[redis.url()], &[]);
    let admin = token(&app, "ada", "admin");
    let part = || async {
        let ready = get(&app, &admin, "/ready").await;
        ready["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p["name"] == "redis")
            .cloned()
            .unwrap()
    };
    eventually("redis is up", || async { (part().await["status"] == "ready").then_some(()) }).await;
    let keyed = || app.tool_once(&admin, "k", "execute_code", json!({ "code": "print(1)" }));

    let opened = post(&app, &admin, "/api/v1/breakers/redis/open").await;
    assert_eq!((opened.status, &opened.body["breaker"]["state"]), (200, &json!("forced_open")));
    let call = app.tool(&admin, "execute_code", json!({ "code": "print(1)" })).await;
    assert_eq!(call.status, 200, "calls need no Redis: {call:?}");
    let refused = keyed().await;
    assert_eq!((refused.status, refused.code()), (503, "unavailable"), "a key does: {refused:?}");
    let shown = part().await;
    assert_eq!(shown["status"], "degraded");
    assert!(shown["detail"].to_string().contains("/api/v1/breakers/redis/reset"), "{shown}");

    let reset = post(&app, &admin, "/api/v1/breakers/redis/reset").await;
    assert_eq!(reset.body["breaker"]["state"], "closed", "{reset:?}");
    assert_eq!(reset.body["breaker"]["last_change"]["reason"], "an operator reset it");
    eventually("redis is ready again", || async {
        (part().await["status"] == "ready").then_some(())
    })
    .await;
    assert_eq!(keyed().await.status, 200);

    let closed = post(&app, &admin, "/api/v1/breakers/redis/close").await;
    assert_eq!(closed.body["breaker"]["state"], "disabled", "{closed:?}");
    let orders = events(&app, &admin, "config_change").await;
    let orders =
        orders.iter().filter(|e| e["resource"] == "dependency:redis" && e["user_id"] == "ada");
    assert_eq!(orders.count(), 3, "the outcomes of three orders");
    let changes = events(&app, &admin, "breaker").await;
    let to: Vec<_> = changes.iter().map(|e| e["details"]["to"].as_str().unwrap()).collect();
    assert_eq!(to, ["disabled", "closed", "forced_open"], "newest first");
}

#[actix_rt::test]
async fn top_prints_the_server_once_and_says_why_when_it_cannot() {
    let app = APP.get(TestApp::start);
    let out = app.cli(&["top", "--once"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for word in ["tree", "breakers", "queues", "limits", "runs", "sessions-0", "mailbox audit"] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    let developer = app.token("dora", "developer");
    let refused = app.cli(&["top", "--once", "--token", &developer]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(69), "{said}");
    assert!(said.contains("403") && said.contains("system:admin"), "{said}");
    let away = app.cli(&["top", "--once", "--url", "http://127.0.0.1:9"]);
    let said = String::from_utf8(away.stderr).unwrap();
    assert_eq!((away.status.code(), said.contains("away")), (Some(69), true), "{said}");
}
