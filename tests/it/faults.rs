//! The process dies, or a step fails, at each boundary of a call; afterwards every call has one outcome.
//!
//! Needs a build with fault points: `cargo test --features faults --test main faults::`.

use std::collections::HashMap;

use serde_json::{Value, json};
use ultimate_mcp_actors::faults::POINTS;

use crate::app::{Answer, TestApp, eventually, send_to};
use crate::tokens::Mint;

/// What a run prints anew each time it runs.
const ONCE: &str = "import time; print(time.time_ns())";

async fn arm(app: &TestApp, token: &str, point: &str, action: &str) -> Result<Answer, String> {
    let body = json!({ "action": action }).to_string().into_bytes();
    let path = format!("/api/v1/faults/{point}");
    let headers = [("Content-Type", "application/json")];
    send_to(&app.url, "PUT", &path, Some(token), &headers, body).await
}

/// A call under a key, which may lose its server.
async fn keyed(app: &TestApp, token: &str, key: &str) -> Result<Answer, String> {
    let body = json!({ "code": ONCE }).to_string().into_bytes();
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
    let path = "/api/v1/tools/execute_code";
    send_to(&app.url, "POST", path, Some(token), &headers, body).await
}

/// Intents and outcomes of every call of this tool, from an export that is proven first.
fn phases(app: &TestApp, tool: &str) -> HashMap<String, (usize, usize)> {
    let verified = app.cli(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let export = app.cli(&["audit", "export", "-"]);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let mut calls: HashMap<String, (usize, usize)> = HashMap::new();
    for line in String::from_utf8(export.stdout).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let Some(call) = event["call_id"].as_str().filter(|_| event["tool"] == tool) else {
            continue;
        };
        let (intents, outcomes) = calls.entry(call.to_owned()).or_default();
        match event["phase"].as_str() {
            Some("intent") => *intents += 1,
            // A replay or a refusal is one event, which is its own outcome.
            Some("outcome" | "single") => *outcomes += 1,
            other => panic!("{other:?}"),
        }
    }
    calls
}

/// What the boundary is, how it is armed, and what the same call under the same key hears afterwards: the
/// numbers step over the commits of arming itself.
const CRASHES: [(&str, &str, &[&str]); 8] = [
    ("idempotency.before_commit", "1*return(crash)", &["ran"]),
    ("idempotency.after_commit", "1*return(crash)", &["outcome_unknown"]),
    ("audit.before_commit", "1*off->1*return(crash)", &["ran", "outcome_unknown"]),
    ("audit.after_commit", "1*off->1*return(crash)", &["ran", "outcome_unknown"]),
    ("cell.before_run", "1*return(crash)", &["outcome_unknown"]),
    ("cell.after_run", "1*return(crash)", &["outcome_unknown"]),
    ("audit.before_commit", "2*off->1*return(crash)", &["outcome_unknown"]),
    ("audit.after_commit", "2*off->1*return(crash)", &["outcome_unknown"]),
];

#[actix_web::test]
async fn a_crash_at_any_boundary_of_a_call_leaves_one_outcome_and_never_a_second_run() {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, root) = (mint.token("ada", &["developer"]), mint.token("root", &["admin"]));
    for (n, (point, action, after)) in CRASHES.into_iter().enumerate() {
        let what = format!("{point} {action}");
        arm(&app, &root, point, action).await.unwrap();
        let key = format!("k-{n}");
        let cut = keyed(&app, &ada, &key).await;
        assert!(cut.is_err(), "{what}: {cut:?}");
        app.ended().await;
        app.restart();
        let again = keyed(&app, &ada, &key).await.unwrap();
        let heard = if again.status == 200 { "ran" } else { again.code() };
        assert!(after.contains(&heard), "{what}: {again:?}");
        // Asked once more it hears the same: the outcome is settled.
        let settled = keyed(&app, &ada, &key).await.unwrap();
        assert_eq!(
            (settled.status, &settled.body["stdout"]),
            (again.status, &again.body["stdout"]),
            "{what}"
        );
        eventually("every call has its outcome", || async {
            let calls = phases(&app, "execute_code");
            calls.values().all(|(_, outcomes)| *outcomes == 1).then_some(())
        })
        .await;
        for (call, (intents, outcomes)) in phases(&app, "execute_code") {
            assert!(intents <= 1 && outcomes == 1, "{what}: {call}: {intents}, {outcomes}");
        }
    }
}

#[actix_web::test]
async fn a_job_survives_a_crash_on_either_side_of_its_commit_once_it_is_acknowledged() {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, root) = (mint.token("ada", &["developer"]), mint.token("root", &["admin"]));
    let job = json!({ "tool": "execute_code", "arguments": { "code": "print('done')" }, "idempotent": true });
    for (n, (point, durable)) in
        [("jobs.before_commit", 0), ("jobs.after_commit", 1)].into_iter().enumerate()
    {
        arm(&app, &root, point, "1*return(crash)").await.unwrap();
        let key = format!("job-{n}");
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key.as_str())];
        let body = || job.to_string().into_bytes();
        let cut = send_to(&app.url, "POST", "/api/v1/jobs", Some(&ada), &headers, body()).await;
        assert!(cut.is_err(), "{point}: {cut:?}");
        app.ended().await;
        app.restart();
        let listed = || async {
            let page = app.send("GET", "/api/v1/jobs", Some(&ada), &[], None).await.body;
            page["jobs"].as_array().cloned().unwrap_or_default()
        };
        // What was not durable was acknowledged to nobody and is not there; what was, is.
        assert_eq!(listed().await.len(), n + durable, "{point}");
        let again = send_to(&app.url, "POST", "/api/v1/jobs", Some(&ada), &headers, body()).await;
        assert!([200, 202].contains(&again.as_ref().unwrap().status), "{point}: {again:?}");
        assert_eq!(listed().await.len(), n + 1, "{point}: the same key is the same job");
        eventually("every job ends", || async {
            listed().await.iter().all(|job| job["status"] == "completed").then_some(())
        })
        .await;
    }
}

#[actix_web::test]
async fn a_step_that_fails_is_told_to_its_caller_and_to_nobody_after() {
    let app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, root) = (mint.token("ada", &["developer"]), mint.token("root", &["admin"]));
    let call = || app.tool(&ada, "execute_code", json!({ "code": ONCE }));
    for (point, action, code) in [
        ("audit.before_commit", "1*off->1*return(error)", "unavailable"),
        ("cell.before_run", "1*return(error)", "deadline_exceeded"),
        ("cell.after_run", "1*return(error)", "deadline_exceeded"),
    ] {
        arm(&app, &root, point, action).await.unwrap();
        let failed = call().await;
        assert_eq!(failed.code(), code, "{point}: {failed:?}");
        let next = call().await;
        assert_eq!(next.status, 200, "{point}: {next:?}");
    }
    arm(&app, &root, "cell.before_run", "1*return(delay=300)").await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(call().await.status, 200);
    assert!(began.elapsed() >= std::time::Duration::from_millis(300));
}

#[actix_web::test]
async fn a_call_without_effects_whose_intent_was_not_written_is_told_what_its_outcome_says() {
    let app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, root) = (mint.token("ada", &["developer"]), mint.token("root", &["admin"]));
    for failed_commit in [1, 2] {
        // A linter takes longer than an intent waits for company, unless its answer is known: the two are
        // committed one after the other.
        let code = format!("import os\nrun = {failed_commit}\n");
        let call = || app.tool(&ada, "lint_code", json!({ "code": code, "language": "python" }));
        let action = format!("{failed_commit}*off->1*return(error)");
        arm(&app, &root, "audit.before_commit", &action).await.unwrap();
        let told = call().await;
        assert_eq!(app.send("DELETE", "/api/v1/faults", Some(&root), &[], None).await.status, 200);
        let path = "/api/v1/audit?user=ada&tool=lint_code&limit=50";
        let trail = app.send("GET", path, Some(&root), &[], None).await;
        let events = trail.body["events"].as_array().unwrap();
        let successes = events.iter().filter(|event| event["success"] == true).count();
        let expected = if failed_commit == 1 { (200, 1) } else { (503, 1) };
        assert_eq!((told.status, successes), expected, "{told:?} {events:?}");
    }
}

#[actix_web::test]
async fn a_failure_that_is_told_again_is_recorded_as_a_failure_again() {
    let app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, root) = (mint.token("ada", &["developer"]), mint.token("root", &["admin"]));
    // The run is over and its outcome cannot be written: nobody may hear that it succeeded.
    arm(&app, &root, "audit.before_commit", "2*off->1*return(error)").await.unwrap();
    let failed = keyed(&app, &ada, "k").await.unwrap();
    assert_eq!((failed.status, failed.code()), (503, "unavailable"), "{failed:?}");
    let again = keyed(&app, &ada, "k").await.unwrap();
    assert_eq!((again.status, again.code()), (503, "unavailable"), "{again:?}");
    let trail = app.send("GET", "/api/v1/audit?user=ada&limit=50", Some(&root), &[], None).await;
    let events = trail.body["events"].as_array().unwrap();
    let replayed: Vec<_> =
        events.iter().filter(|event| event["details"]["replayed"] == true).collect();
    assert_eq!((replayed.len(), &replayed[0]["success"]), (1, &json!(false)), "{replayed:?}");
}

#[actix_web::test]
async fn fault_points_are_armed_by_administrators_only_and_listed() {
    let app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, root) = (mint.token("ada", &["developer"]), mint.token("root", &["admin"]));
    assert_eq!(arm(&app, &ada, "cell.before_run", "off").await.unwrap().status, 403);
    for (point, action) in [("cell.nowhere", "off"), ("cell.before_run", "explode")] {
        let refused = arm(&app, &root, point, action).await.unwrap();
        assert_eq!((refused.status, refused.code()), (422, "invalid_arguments"), "{refused:?}");
    }
    assert_eq!(arm(&app, &root, "cell.before_run", "sleep(1)").await.unwrap().status, 200);
    let path = "/api/v1/faults";
    let listed = app.send("GET", path, Some(&root), &[], None).await.body;
    let points = listed["points"].as_array().unwrap();
    assert_eq!(points.len(), POINTS.len());
    let armed: Vec<_> = points.iter().filter(|point| !point["action"].is_null()).collect();
    assert_eq!(armed.len(), 1, "{listed}");
    assert_eq!(app.send("DELETE", path, Some(&root), &[], None).await.status, 200);
    let listed = app.send("GET", path, Some(&root), &[], None).await.body;
    assert!(listed["points"].as_array().unwrap().iter().all(|point| point["action"].is_null()));
}
