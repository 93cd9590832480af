//! Jobs as their users meet them: over REST and MCP, on the real server with its embedded queue.

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp, eventually};
use crate::tokens::Mint;

static APP: Shared = Shared::new();

async fn post(app: &TestApp, token: &str, path: &str, body: Value) -> Answer {
    app.send("POST", path, Some(token), &[], Some(&body)).await
}

async fn get(app: &TestApp, token: &str, path: &str) -> Answer {
    app.send("GET", path, Some(token), &[], None).await
}

async fn enqueue(app: &TestApp, token: &str, body: Value) -> String {
    let answer = post(app, token, "/api/v1/jobs", body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.body["job_id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(&*format!("/api/v1/jobs/{id}")));
    id
}

async fn until(app: &TestApp, token: &str, id: &str, status: &str) -> Value {
    eventually(&format!("job {id} is {status}"), || async {
        let job = get(app, token, &format!("/api/v1/jobs/{id}")).await;
        assert_eq!(job.status, 200, "{job:?}");
        (job.body["status"] == status).then_some(job.body)
    })
    .await
}

fn python(code: &str) -> Value {
    json!({ "tool": "execute_code", "arguments": { "code": code, "timeout_seconds": 60 } })
}

#[actix_web::test]
async fn a_job_runs_like_the_call_it_is_and_the_audit_ties_it_to_its_enqueue() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let token = mint.token("runner", &["developer"]);
    let id = enqueue(&app, &token, python("print(6*7)")).await;
    let job = until(&app, &token, &id, "completed").await;
    assert_eq!(job["result"]["stdout"], "42\n");
    assert_eq!((&job["attempt"], &job["owner"]), (&json!(1), &json!("runner")));
    let admin = mint.token("root", &["admin"]);
    let trail = get(&app, &admin, "/api/v1/audit?user=runner&limit=50").await.body;
    let events = trail["events"].as_array().unwrap();
    let of = |event: &&Value, action: &str| event["action"] == action && event["phase"] != "intent";
    let enqueued = events.iter().find(|event| of(event, "jobs/enqueue")).expect("the enqueue");
    assert_eq!(enqueued["resource"], format!("job:{id}"));
    let run = events.iter().find(|event| of(event, "tools/call")).expect("the run");
    assert_eq!(
        (&run["details"]["job_id"], &run["details"]["transport"]),
        (&json!(id), &json!("job"))
    );
    assert_eq!(run["tool"], "execute_code");
}

#[actix_web::test]
async fn other_peoples_jobs_do_not_exist_but_for_administrators() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let (ada, eve) = (mint.token("ada", &["developer"]), mint.token("eve", &["developer"]));
    let mut delayed = python("print(1)");
    delayed["delay_seconds"] = json!(3600);
    let id = enqueue(&app, &ada, delayed).await;
    let path = format!("/api/v1/jobs/{id}");
    for path in [path.clone(), format!("{path}/events")] {
        assert_eq!(get(&app, &eve, &path).await.status, 404);
    }
    assert_eq!(post(&app, &eve, &format!("{path}/cancel"), json!({})).await.status, 404);
    let tool = app.tool(&eve, "job_status", json!({ "job_id": id })).await;
    assert_eq!((tool.status, tool.code()), (404, "not_found"));
    let listed = get(&app, &eve, "/api/v1/jobs").await.body;
    assert!(!listed.to_string().contains(&id));
    assert_eq!(get(&app, &eve, "/api/v1/jobs?all=true").await.status, 422);
    let root = mint.token("root", &["admin"]);
    assert_eq!(get(&app, &root, &path).await.body["owner"], "ada");
    let cancelled = post(&app, &root, &format!("{path}/cancel"), json!({})).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{cancelled:?}");
    let listed = get(&app, &ada, "/api/v1/jobs?state=cancelled").await.body;
    assert!(listed.to_string().contains(&id), "{listed}");
}

#[actix_web::test]
async fn the_same_idempotency_key_is_the_same_job() {
    let app = APP.get(TestApp::start);
    let token = Mint::of(&app).token("twice", &["developer"]);
    let send = |body: Value| {
        let (app, token) = (app.clone(), token.clone());
        async move {
            let key = [("Idempotency-Key", "k-1")];
            app.send("POST", "/api/v1/jobs", Some(&token), &key, Some(&body)).await
        }
    };
    let first = send(python("print(1)")).await;
    let second = send(python("print(1)")).await;
    assert_eq!((first.status, second.status), (202, 202), "{first:?} {second:?}");
    assert_eq!(first.body["job_id"], second.body["job_id"]);
    let other = send(python("print(2)")).await;
    assert_eq!((other.status, other.code()), (409, "conflict"));
}

#[actix_web::test]
async fn what_cannot_be_a_job_is_refused_and_says_why() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let token = mint.token("wrong", &["developer"]);
    let code = json!({ "code": "1", "async": true });
    for (body, status, code) in [
        (json!({}), 422, "invalid_arguments"),
        (json!({ "tool": "nothing" }), 404, "unknown_tool"),
        (json!({ "tool": "job_status" }), 422, "invalid_arguments"),
        (json!({ "tool": "execute_code", "arguments": code }), 422, "invalid_arguments"),
        (json!({ "tool": "graph_upsert" }), 403, "forbidden"),
        (json!({ "tool": "run_tests", "run_at": "tomorrow" }), 422, "invalid_arguments"),
        (json!({ "tool": "run_tests", "priority": "now" }), 422, "invalid_arguments"),
        (json!({ "tool": "run_tests", "colour": "red" }), 422, "invalid_arguments"),
    ] {
        let answer = post(&app, &token, "/api/v1/jobs", body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{body}: {answer:?}");
    }
    let bad = json!({ "tool": "execute_code", "arguments": { "colour": "red" } });
    let id = enqueue(&app, &token, bad).await;
    let job = until(&app, &token, &id, "failed").await;
    assert_eq!(job["error"]["code"], "invalid_arguments");
    assert_eq!(job["dead_letter"], Value::Null, "the caller's mistake is nobody else's to look at");
    let cron = json!({ "tool": "run_tests", "cron": "whenever" });
    assert_eq!(post(&app, &token, "/api/v1/schedules", cron).await.status, 422);
}

#[actix_web::test]
async fn a_running_job_is_killed_and_the_stream_tells_it_to_the_end() {
    let app = APP.get(TestApp::start);
    let token = Mint::of(&app).token("stopper", &["developer"]);
    let id = enqueue(&app, &token, python("import time\ntime.sleep(50)")).await;
    until(&app, &token, &id, "running").await;
    let path = format!("/api/v1/jobs/{id}");
    let stopped = post(&app, &token, &format!("{path}/cancel"), json!({})).await;
    assert_eq!(stopped.body["status"], "cancel_requested");
    until(&app, &token, &id, "cancelled").await;
    let stream = get(&app, &token, &format!("{path}/events")).await;
    assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(stream.bytes).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["queued", "running", "cancel_requested", "cancelled"]);
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", "3")];
    let rest = app.send("GET", &format!("{path}/events"), Some(&token), &headers, None).await;
    let text = String::from_utf8(rest.bytes).unwrap();
    assert!(text.starts_with("id: 4\nevent: cancelled\ndata: {"), "{text}");
}

#[actix_web::test]
async fn tools_leave_work_to_the_queue_and_fetch_it() {
    let app = APP.get(TestApp::start);
    let token = Mint::of(&app).token("agent", &["developer"]);
    let asked = json!({ "code": "print('later')", "async": true });
    let ticket = app.tool(&token, "execute_code", asked).await;
    assert_eq!((ticket.status, &ticket.body["status"]), (200, &json!("queued")), "{ticket:?}");
    let wanted = json!({ "job_id": ticket.body["job_id"], "wait_seconds": 20 });
    let done = app.tool(&token, "job_result", wanted).await.body;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["result"]["stdout"], "later\n");
    let ticket = app.tool(&token, "run_tests_async", json!({ "code": "def test(): pass" })).await;
    let id = ticket.body["job_id"].clone();
    let done = app.tool(&token, "job_result", json!({ "job_id": id, "wait_seconds": 30 })).await;
    assert_eq!(done.body["tool"], "run_tests", "{done:?}");
    let over = app.tool(&token, "job_cancel", json!({ "job_id": id })).await.body;
    assert_eq!(over["status"], done.body["status"]);
}

#[actix_web::test]
async fn jobs_of_a_caller_whose_tokens_were_revoked_end_forbidden() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let (token, root) = (mint.token("leaver", &["developer"]), mint.token("root", &["admin"]));
    let mut delayed = python("print(1)");
    delayed["delay_seconds"] = json!(2);
    let id = enqueue(&app, &token, delayed).await;
    let revoked = post(&app, &root, "/api/v1/auth/revoke", json!({ "user_id": "leaver" })).await;
    assert!(revoked.status < 300, "{revoked:?}");
    let job = until(&app, &root, &id, "forbidden").await;
    assert_eq!(job["error"]["code"], "forbidden");
}

#[actix_web::test]
async fn schedules_are_the_callers_own() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let (token, eve) = (mint.token("planner", &["developer"]), mint.token("eve", &["developer"]));
    let plan = json!({ "name": "tick", "cron": "* * * * * *", "tool": "list_prompts" });
    let made = post(&app, &token, "/api/v1/schedules", plan.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").unwrap().to_owned();
    eventually("the schedule makes jobs", || async {
        let jobs = get(&app, &token, "/api/v1/jobs?state=completed").await.body;
        (jobs["jobs"].as_array().unwrap().len() >= 2).then_some(())
    })
    .await;
    for method in ["GET", "DELETE"] {
        assert_eq!(app.send(method, &path, Some(&eve), &[], None).await.status, 404);
    }
    let mut off = plan;
    off["enabled"] = json!(false);
    let replaced = app.send("PUT", &path, Some(&token), &[], Some(&off)).await;
    assert_eq!((replaced.status, &replaced.body["enabled"]), (200, &json!(false)));
    assert_eq!(app.send("DELETE", &path, Some(&token), &[], None).await.status, 204);
    assert_eq!(get(&app, &token, &path).await.status, 404);
}

#[actix_web::test]
async fn a_run_cut_off_by_a_crash_is_a_dead_letter_until_an_operator_decides() {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let (token, root) = (mint.token("unlucky", &["developer"]), mint.token("root", &["admin"]));
    let unknown = enqueue(&app, &token, python("import time\ntime.sleep(3)")).await;
    let mut repeatable = python("import time\ntime.sleep(3)\nprint('again')");
    repeatable["idempotent"] = json!(true);
    let again = enqueue(&app, &token, repeatable).await;
    let mut later = python("print('later')");
    later["delay_seconds"] = json!(1);
    let waiting = enqueue(&app, &token, later).await;
    until(&app, &token, &unknown, "running").await;
    until(&app, &token, &again, "running").await;
    app.stop("-KILL");
    app.restart();
    let job = until(&app, &token, &unknown, "outcome_unknown").await;
    assert_eq!(job["dead_letter"], "outcome_unknown");
    assert_eq!(until(&app, &token, &again, "completed").await["result"]["stdout"], "again\n");
    assert_eq!(until(&app, &token, &waiting, "completed").await["result"]["stdout"], "later\n");
    let letters = get(&app, &root, "/api/v1/dead-letters").await.body;
    assert_eq!(letters["dead_letters"][0]["job_id"], unknown, "{letters}");
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 1);
    assert!(!letters.to_string().contains("time.sleep"), "arguments are nobody else's");
    let ask = json!({ "action": "show", "job_id": unknown });
    assert_eq!(app.tool(&token, "dead_letters", ask.clone()).await.status, 403);
    let shown = app.tool(&root, "dead_letters", ask).await.body;
    assert_eq!(shown["dead_letters"][0]["dead_letter"], "outcome_unknown", "{shown}");
    let listed = app.cli(&["dead-letters", "list"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["job_id"], unknown, "{listed}");
    let path = format!("/api/v1/dead-letters/{unknown}");
    assert_eq!(get(&app, &token, &path).await.status, 403);
    assert_eq!(post(&app, &root, &format!("{path}/replay"), json!({})).await.status, 200);
    until(&app, &token, &unknown, "completed").await;
    let again = app.tool(&root, "dead_letters", json!({ "action": "replay", "job_id": unknown }));
    assert_eq!(again.await.status, 404, "what was replayed is a dead letter no more");
    assert_eq!(app.send("DELETE", &path, Some(&root), &[], None).await.status, 404);
}
