//! The configuration changes while the server runs: by signal, by file, by an administrator.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Answer, TestApp, binary, eventually, send_to};

/// A viewer may make few calls, so that a test reaches the limit.
const POLICY: &str = "\
[roles.viewer]
permissions = [\"tools:read\"]
[roles.viewer.limits]
calls_per_minute = 20
[roles.viewer.cell]
timeout_seconds_max = 10
memory_mb_max = 256
pids_max = 32
output_kb_max = 1024
disk_mb_max = 64
cpu_max = 1
[roles.admin]
permissions = [\"tools:read\", \"system:admin\"]
[roles.admin.limits]
calls_per_minute = 100000
[roles.admin.cell]
timeout_seconds_max = 10
memory_mb_max = 256
pids_max = 32
output_kb_max = 1024
disk_mb_max = 64
cpu_max = 1
";

/// A server with a configuration file, a policy, and its log in a file.
struct Server {
    dir: TempDir,
    child: Child,
    url: String,
    admin: String,
}

impl Server {
    async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, data) = (dir.path().join("server.toml"), dir.path().join("data"));
        std::fs::write(&file, config).unwrap();
        std::fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
        let child = binary()
            .args(["serve", "--data-dir"])
            .arg(&data)
            .arg("--config")
            .arg(&file)
            .env("ULTIMATE_MCP__POLICY_FILE", dir.path().join("policy.toml"))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(dir.path().join("log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let note = data.join(ultimate_mcp::serve::URL_FILE);
        let url = eventually("the server says where it is", || async {
            std::fs::read_to_string(&note).ok().filter(|url| !url.is_empty())
        });
        let url = url.await.trim().trim_end_matches('/').to_owned();
        let admin = TestApp::token_at(&data, "root", "admin");
        let server = Self { dir, child, url, admin };
        eventually("the server answers", || async {
            let sent = send_to(&server.url, "GET", "/health", None, &[], Vec::new()).await;
            sent.is_ok().then_some(())
        })
        .await;
        server
    }

    fn token(&self, sub: &str, role: &str) -> String {
        TestApp::token_at(&self.dir.path().join("data"), sub, role)
    }

    fn write(&self, config: &str) {
        // Replaced in one step, as editors and deployments do.
        let (new, file) = (self.dir.path().join("new"), self.file());
        std::fs::write(&new, config).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("server.toml")
    }

    fn hangup(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(Path::join(self.dir.path(), "log")).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        self.ask_with(method, path, token, &[], body).await
    }

    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        let body = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
        send_to(&self.url, method, path, Some(token), &headers, body).await.unwrap()
    }

    async fn config(&self) -> Value {
        self.ask("GET", "/api/v1/config", &self.admin, None).await.body
    }

    async fn value(&self, key: &str) -> Value {
        self.config().await["values"][key]["value"].clone()
    }

    async fn changed_to(&self, key: &str, wanted: Value) {
        eventually(&format!("{key} is {wanted}"), || async {
            (self.value(key).await == wanted).then_some(())
        })
        .await;
    }

    /// What the trail says about changes of the configuration.
    async fn audited(&self, action: &str) -> Vec<Value> {
        let path = "/api/v1/audit?type=config_change&limit=50";
        let page = self.ask("GET", path, &self.admin, None).await;
        let events = page.body["events"].as_array().unwrap_or_else(|| panic!("{page:?}")).clone();
        events.into_iter().filter(|event| event.to_string().contains(action)).collect()
    }

    /// How many of `n` calls in a row get through.
    async fn admitted(&self, token: &str, n: usize) -> usize {
        let mut admitted = 0;
        for index in 0..n {
            let tool = ["list_prompts", "get_prompt"][index % 2];
            let path = format!("/api/v1/tools/{tool}");
            let answer = self.ask("POST", &path, token, Some(json!({ "wrong": 1 }))).await;
            // 422: it was let in, and its arguments are wrong.
            admitted += usize::from(answer.status == 422);
            assert!([422, 429].contains(&answer.status), "{answer:?}");
        }
        admitted
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix_web::test]
async fn a_signal_changes_log_level_and_rate_limit_under_load_without_a_failed_call() {
    let server = Arc::new(Server::start("[admission]\ntotal_factor = 1\n").await);
    let viewer = server.token("ada", "viewer");
    let admitted = server.admitted(&viewer, 26).await;
    assert!((20..=22).contains(&admitted), "20 a minute over all tools: {admitted}");
    let (ends, other) = (Arc::new(AtomicBool::new(false)), Arc::clone(&server));
    let stop = Arc::clone(&ends);
    let load = actix_web::rt::spawn(async move {
        let mut calls = 0;
        while !stop.load(Ordering::Relaxed) {
            let answer = other.ask("GET", "/api/v1/tools", &other.admin, None).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            calls += 1;
        }
        calls
    });
    assert!(!server.log().contains("\"log.level\":\"trace\""));
    server.write("[admission]\ntotal_factor = 3\n[telemetry]\nlog_filter = \"trace\"\n");
    server.hangup();
    server.changed_to("admission.total_factor", json!(3)).await;
    assert!(server.admitted(&viewer, 6).await >= 6, "60 a minute now");
    eventually("the log has more to say", || async {
        server.log().to_lowercase().contains("\"trace\"").then_some(())
    })
    .await;
    ends.store(true, Ordering::Relaxed);
    assert!(load.await.unwrap() > 0);
    let events = server.audited("config/reload").await;
    let event = events.iter().find(|event| event.to_string().contains("total_factor"));
    let event = event.unwrap_or_else(|| panic!("{events:?}")).to_string();
    assert!(event.contains("\"signal\""), "{event}");
}

#[actix_web::test]
async fn a_changed_file_is_applied_and_a_broken_one_changes_nothing_and_is_shown() {
    let server = Server::start("[admission]\ntotal_factor = 2\n").await;
    let version = server.config().await["version"].clone();
    server.write("[admission]\ntotal_factor = 4\n");
    server.changed_to("admission.total_factor", json!(4)).await;
    let config = server.config().await;
    assert_ne!(config["version"], version);
    assert_eq!(config["last_change"]["by"], "file");
    assert_eq!(config["problem"], json!([]));
    // A key that is read at the start waits, and the others do not wait for it.
    server.write("[admission]\ntotal_factor = 5\n\n[cell]\nqueue_max = 7\n");
    server.changed_to("admission.total_factor", json!(5)).await;
    let config = server.config().await;
    assert_eq!(config["waits_for_restart"][0]["key"], "cell.queue_max", "{config}");
    assert_eq!(config["values"]["cell.queue_max"]["value"], 256);
    assert_eq!(config["values"]["cell.queue_max"]["live"], false);

    server.write("[admission]\ntotal_factor = 0\nno_such_key = 1\n");
    eventually("the problem is shown", || async {
        (server.config().await["problem"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    assert_eq!(server.value("admission.total_factor").await, 5, "the last good one is in force");
    let ready = server.ask("GET", "/ready", &server.admin, None).await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("degraded")));
    assert!(ready.body.to_string().contains("no_such_key"), "{ready:?}");
    let lines = server.log().lines().filter(|line| line.contains("config.refused")).count();
    assert_eq!(lines, 1, "one clear line");

    server.write("[admission]\ntotal_factor = 6\n");
    server.changed_to("admission.total_factor", json!(6)).await;
    let config = server.config().await;
    assert_eq!((&config["problem"], &config["waits_for_restart"]), (&json!([]), &json!([])));
}

#[actix_web::test]
async fn a_patch_is_checked_compared_audited_and_taken_back() {
    let server = Server::start("").await;
    let patch = |body: Value, query: &'static str, tag: String| {
        let server = &server;
        async move {
            let path = format!("/api/v1/config{query}");
            let headers = [("If-Match", tag.as_str())];
            server.ask_with("PATCH", &path, &server.admin, &headers, Some(body)).await
        }
    };
    let any = || "*".to_owned();
    let before = server.config().await["version"].as_str().unwrap().to_owned();
    let body = json!({ "supervision": { "default": { "max_restarts": 3 } }, "telemetry.log_filter": "warn" });

    let dry = patch(body.clone(), "?dry_run=true", any()).await;
    assert_eq!((dry.status, dry.body["changes"].as_array().unwrap().len()), (200, 2), "{dry:?}");
    assert_eq!(server.config().await["version"], before.as_str(), "nothing was changed");

    let made = patch(body.clone(), "", format!("\"{before}\"")).await;
    assert_eq!((made.status, &made.body["survives_restart"]), (200, &json!(false)), "{made:?}");
    let change = &made.body["changes"][0];
    assert_eq!(change, &json!({ "key": "supervision.default.max_restarts", "old": 10, "new": 3 }));
    let tree = server.ask("GET", "/api/v1/supervision", &server.admin, None).await;
    assert_eq!(tree.body["policy"]["max_restarts"], 3);
    let config = server.config().await;
    assert_eq!(config["last_change"]["by"], "root");
    assert_eq!(config["values"]["telemetry.log_filter"]["source"], "PATCH /api/v1/config");
    let nodes = server.ask("GET", "/api/v1/nodes", &server.admin, None).await;
    assert_eq!(nodes.body["nodes"][0]["config_version"], config["version"], "other nodes see it");

    let stale = patch(body, "", format!("\"{before}\"")).await;
    assert_eq!((stale.status, stale.code()), (409, "conflict"), "{stale:?}");
    for (wrong, says) in [
        (json!({ "admission.total_factor": 0 }), "from 1 to 1000"),
        (json!({ "admission": { "total_facto": 2 } }), "total_factor"),
        (json!({ "http": { "port": 1 }, "cell.queue_max": 2 }), "needs a restart"),
        (json!({ "telemetry.log_filter": "a=b=c" }), "log_filter"),
    ] {
        let refused = patch(wrong, "", any()).await;
        assert_eq!((refused.status, refused.code()), (422, "invalid_arguments"), "{refused:?}");
        assert!(refused.body["error"]["problems"].to_string().contains(says), "{refused:?}");
    }
    assert_eq!(patch(json!([1]), "", any()).await.status, 400);
    assert_eq!(patch(json!({}), "?dry=1", any()).await.status, 422);
    assert_eq!(server.config().await["version"], config["version"], "refusals change nothing");

    let path = "/api/v1/config/rollback";
    let back = server.ask("POST", path, &server.admin, None).await;
    assert_eq!((back.status, &back.body["version"]), (200, &json!(before)), "{back:?}");
    let tree = server.ask("GET", "/api/v1/supervision", &server.admin, None).await;
    assert_eq!(tree.body["policy"]["max_restarts"], 10);
    let events = server.audited("config/patch").await;
    assert!(events.iter().any(|e| e.to_string().contains("max_restarts")), "{events:?}");
    assert!(
        events.iter().any(|e| e["success"] == json!(false)),
        "refusals are on record: {events:?}"
    );
    assert!(!server.audited("config/rollback").await.is_empty());
}

#[actix_web::test]
async fn a_changed_policy_is_in_force_at_once_for_old_tokens_and_a_rollback_holds_the_one_before() {
    let server = Server::start("").await;
    let viewer = server.token("ada", "viewer");
    let tools = || async {
        let listed = server.ask("GET", "/api/v1/tools", &viewer, None).await;
        listed.body["tools"].as_array().unwrap_or_else(|| panic!("{listed:?}")).len()
    };
    let run = || async {
        let call = json!({ "code": "print(1)" });
        server.ask("POST", "/api/v1/tools/execute_code", &viewer, Some(call)).await.status
    };
    let wait = |more: bool, before: usize| {
        let (tools, run) = (&tools, &run);
        async move {
            eventually("the policy is in force", || async {
                ((tools().await > before) == more).then_some(())
            })
            .await;
            assert_eq!(run().await, if more { 200 } else { 403 });
        }
    };
    let (file, started) = (server.dir.path().join("policy.toml"), server.config().await);
    let roomy = POLICY.replacen("calls_per_minute = 20\n", "calls_per_minute = 2000\n", 1);
    std::fs::write(&file, &roomy).unwrap();
    eventually("the viewer has room", || async {
        (server.config().await["version"] != started["version"]).then_some(())
    })
    .await;
    let before = tools().await;
    assert_eq!(run().await, 403);
    let version = server.config().await["version"].clone();

    let wider = roomy.replacen("[\"tools:read\"]", "[\"tools:read\", \"tools:execute\"]", 1);
    std::fs::write(&file, &wider).unwrap();
    wait(true, before).await;
    let config = server.config().await;
    assert_ne!(config["version"], version);
    assert_eq!(config["last_change"]["changes"][0]["key"], "policy", "{config}");
    assert!(!config.to_string().contains("calls_per_minute ="), "digests, not the text");
    let events = server.audited("config/reload").await;
    assert!(events.iter().any(|event| event.to_string().contains("\"policy\"")), "{events:?}");

    std::fs::write(&file, wider.replacen("tools:execute", "tools:exceute", 1)).unwrap();
    eventually("the mistake is shown", || async {
        server.config().await["problem"].to_string().contains("exceute").then_some(())
    })
    .await;
    assert_eq!(run().await, 200, "the last good one is in force");
    std::fs::write(&file, &wider).unwrap();
    eventually("the file is mended", || async {
        (server.config().await["problem"] == json!([])).then_some(())
    })
    .await;

    let back = server.ask("POST", "/api/v1/config/rollback", &server.admin, None).await;
    assert_eq!((back.status, &back.body["version"]), (200, &version), "{back:?}");
    wait(false, before).await;
    server.hangup();
    // Refused while the signal's own change is on its way.
    eventually("a patch reads the files too", || async {
        let patch = json!({ "admission.total_factor": 9 });
        let made = server.ask("PATCH", "/api/v1/config", &server.admin, Some(patch)).await;
        (made.status == 200).then_some(())
    })
    .await;
    wait(false, before).await;
    std::fs::write(&file, format!("{wider}\n")).unwrap();
    wait(true, before).await;
}

#[actix_web::test]
async fn only_administrators_see_and_change_the_configuration_and_nobody_sees_secrets() {
    let secret = "0123456789abcdef0123456789abcdef01234567";
    let server = Server::start(&format!("[redis]\npassword = \"{secret}\"\n")).await;
    let viewer = server.token("ada", "viewer");
    for (method, path) in [
        ("GET", "/api/v1/config"),
        ("PATCH", "/api/v1/config"),
        ("POST", "/api/v1/config/rollback"),
    ] {
        let refused = server.ask(method, path, &viewer, Some(json!({}))).await;
        assert_eq!((refused.status, refused.code()), (403, "forbidden"), "{refused:?}");
    }
    let nothing = server.ask("POST", "/api/v1/config/rollback", &server.admin, None).await;
    assert_eq!(nothing.status, 409, "nothing was changed since the start");
    let config = server.config().await.to_string();
    assert!(config.contains("[redacted]") && !config.contains(secret));
}
