//! Several nodes that share a Redis, as clients meet them, and what is left when it goes.

use std::time::{Duration, Instant};

use serde_json::json;
use ultimate_mcp_testkit::{Redis, RedisSentinels};

use crate::app::{TestApp, eventually};

/// A key all nodes verify tokens with.
const KEYS: &str =
    r#"[{kid="k",algorithm="HS256",secret="0123456789abcdef0123456789abcdef01234567"}]"#;

/// A server on these Redis servers.
pub fn node(urls: &[String], more: &[(&str, &str)]) -> TestApp {
    let urls = serde_json::to_string(urls).unwrap();
    // More patience than anybody needs: a busy machine must not look like a slow Redis.
    let env = [
        ("ULTIMATE_MCP__REDIS__URLS", urls.as_str()),
        ("ULTIMATE_MCP__REDIS__PATIENCE_MS", "1000"),
        ("ULTIMATE_MCP__AUTH__KEYS", KEYS),
    ];
    TestApp::start_with(&[&env[..], more].concat())
}

/// A token of the shared key.
pub fn token(app: &TestApp, sub: &str, role: &str) -> String {
    let mut command = crate::app::binary();
    let arguments = ["token", "create", "--sub", sub, "--role", role, "--data-dir"];
    let out = command.args(arguments).arg(app.data.path());
    let out = out.env("ULTIMATE_MCP__AUTH__KEYS", KEYS).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// The built-in policy with so many calls a minute, of each tool, for developers.
fn slow_policy(calls: u32) -> String {
    let text = include_str!("../../config/policy.toml");
    let slow = text
        .replace("calls_per_minute = 600\n", &format!("calls_per_minute = {calls}\n"))
        .replace("execute_code = 300", &format!("execute_code = {calls}"));
    assert!(slow.matches(&format!("= {calls}\n")).count() >= 2, "{slow}");
    slow
}

async fn readiness(app: &TestApp, wanted: &str) {
    eventually(&format!("the node is {wanted}"), || async {
        let answer = app.send("GET", "/ready", None, &[], None).await;
        (answer.body["status"] == wanted).then_some(())
    })
    .await;
}

#[actix_rt::test]
async fn nodes_answer_each_others_keys_and_share_rates_and_lint_results() {
    let redis = Redis::start();
    let urls = [redis.url()];
    // Buckets that are full again are forgotten: at the usual rates within a tenth of a second.
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), slow_policy(3)).unwrap();
    let slow = [("ULTIMATE_MCP__POLICY_FILE", policy.path().to_str().unwrap())];
    let (a, b) = (node(&urls, &slow), node(&urls, &slow));
    let token = token(&a, "olga", "developer");
    let arguments = json!({"code": "import time; print(time.time_ns())"});
    let first = a.tool_once(&token, "k", "execute_code", arguments.clone()).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    let again = b.tool_once(&token, "k", "execute_code", arguments).await;
    assert_eq!(again.body, first.body);

    let source = json!({"code": "x = 1\n"});
    assert_eq!(a.tool(&token, "lint_code", source.clone()).await.status, 200);
    assert_eq!(b.tool(&token, "lint_code", source.clone()).await.status, 200);
    assert_eq!(a.tool(&token, "lint_code", source.clone()).await.status, 200);
    let fourth = b.tool(&token, "lint_code", source).await;
    assert_eq!((fourth.status, fourth.code()), (429, "rate_limited"), "{fourth:?}");
    let buckets = redis.cli(&["keys", "ump:rate:*"]);
    assert!(buckets.contains("lint_code") && buckets.contains("execute_code"), "{buckets}");
    assert!(!redis.cli(&["keys", "*"]).contains("olga"), "callers are digests");
}

#[actix_rt::test]
async fn a_node_starts_without_its_redis_goes_on_without_it_and_takes_it_back() {
    let mut redis = Redis::start();
    let urls = [redis.url()];
    redis.kill();
    let app = node(&urls, &[]);
    let token = token(&app, "ada", "developer");
    readiness(&app, "degraded").await;
    let call = || app.tool(&token, "execute_code", json!({"code": "print(1)"}));
    assert_eq!(call().await.status, 200, "calls need no Redis");
    let keyed = app.tool_once(&token, "k", "execute_code", json!({"code": "print(1)"})).await;
    assert_eq!((keyed.status, keyed.code()), (503, "unavailable"), "a key does");
    assert!(keyed.header("retry-after").is_some());

    redis.restart();
    eventually("redis is taken back", || async {
        let ready = app.send("GET", "/ready", Some(&token), &[], None).await;
        let parts = ready.body["dependencies"].as_array().cloned().unwrap_or_default();
        parts.iter().any(|p| p["name"] == "redis" && p["status"] == "ready").then_some(())
    })
    .await;
    let keyed = eventually("keys work again", || async {
        let code = json!({"code": "print(1)"});
        let keyed = app.tool_once(&token, "k", "execute_code", code).await;
        (keyed.status == 200).then_some(keyed)
    })
    .await;
    assert_eq!(keyed.body["stdout"], "1\n");
    let metrics = app.send("GET", "/metrics", Some(&token), &[], None).await;
    let text = String::from_utf8(metrics.bytes).unwrap();
    assert!(text.contains("redis_up 1"), "{text}");
    assert!(text.contains("cache_answers{"), "{text}");
}

#[actix_rt::test]
async fn a_stopped_redis_holds_no_call_up_for_long_and_soon_not_at_all() {
    let redis = Redis::start();
    let app = node(&[redis.url()], &[]);
    let token = token(&app, "ada", "developer");
    let call = || app.tool(&token, "list_prompts", json!({}));
    assert_eq!(call().await.status, 200);
    redis.pause();
    for _ in 0..8 {
        let asked = Instant::now();
        assert_eq!(call().await.status, 200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    let asked = Instant::now();
    assert_eq!(call().await.status, 200);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    readiness(&app, "degraded").await;
    redis.resume();
}

#[actix_rt::test]
async fn a_wrong_password_is_one_line_and_a_degraded_node() {
    let redis = Redis::start_with(&["--requirepass", "right"]);
    let app = node(&[redis.url()], &[("ULTIMATE_MCP__REDIS__PASSWORD", "wrong")]);
    let token = token(&app, "ada", "developer");
    readiness(&app, "degraded").await;
    let ready = app.send("GET", "/ready", Some(&token), &[], None).await;
    let text = ready.body.to_string();
    assert!(text.contains("refuses the credentials") && !text.contains("wrong\""), "{text}");
    assert_eq!(app.tool(&token, "list_prompts", json!({})).await.status, 200);
}

#[actix_rt::test]
async fn a_failover_is_followed_and_keys_survive_it() {
    let mut sentinels = RedisSentinels::start();
    let app = node(
        &sentinels.urls(),
        &[
            ("ULTIMATE_MCP__REDIS__MODE", "sentinel"),
            ("ULTIMATE_MCP__REDIS__MASTER_NAME", RedisSentinels::MASTER),
        ],
    );
    let token = token(&app, "ada", "developer");
    let arguments = json!({"code": "import time; print(time.time_ns())"});
    let once = || app.tool_once(&token, "k", "execute_code", arguments.clone());
    let first = once().await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    eventually("the replica has the key", || async {
        sentinels.replica.cli(&["keys", "ump:idem:*"]).contains("idem").then_some(())
    })
    .await;
    sentinels.master.kill();
    let again = eventually("the new master answers", || async {
        let again = once().await;
        (again.status != 503).then_some(again)
    })
    .await;
    assert_eq!(again.body, first.body);
}
