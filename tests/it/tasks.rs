//! Calls that are left to the queue, as tasks of the MCP extension.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp};
use crate::streams::{next, post};

static APP: Shared = Shared::new();

fn capabilities() -> Value {
    json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })
}

/// A request of a client that knows tasks.
async fn ask(app: &TestApp, token: &str, method: &str, mut params: Value) -> Answer {
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities();
    app.mcp(token, method, params).await
}

async fn begin(app: &TestApp, token: &str, code: &str) -> Value {
    begin_within(app, token, code, 30.0).await
}

async fn begin_within(app: &TestApp, token: &str, code: &str, seconds: f64) -> Value {
    let arguments = json!({ "code": code, "async": true, "timeout_seconds": seconds });
    let params = json!({ "name": "execute_code", "arguments": arguments });
    let answer = ask(app, token, "tools/call", params).await;
    let result = answer.body["result"].clone();
    assert_eq!(result["resultType"], "task", "{answer:?}");
    result
}

async fn get(app: &TestApp, token: &str, task: &Value) -> Value {
    let answer = ask(app, token, "tasks/get", json!({ "taskId": task["taskId"] })).await;
    assert_eq!(answer.body["result"]["taskId"], task["taskId"], "{answer:?}");
    answer.body["result"].clone()
}

/// The task once it has ended.
async fn ended(app: &TestApp, token: &str, task: &Value) -> Value {
    for _ in 0..600 {
        let now = get(app, token, task).await;
        if now["status"] != "working" {
            return now;
        }
        actix_web::rt::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{task} goes on");
}

#[actix_web::test]
async fn a_call_that_goes_on_is_a_task_whose_result_is_fetched_later() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    let task = begin(&app, &token, "print(6*7)").await;
    assert_eq!(task["status"], "working");
    for key in ["result", "error", "inputRequests", "content", "requestState"] {
        assert!(task.get(key).is_none(), "{key} in {task}");
    }
    get(&app, &token, &task).await;
    let done = ended(&app, &token, &task).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["result"]["isError"], false);
    assert_eq!(done["result"]["structuredContent"]["stdout"], "42\n");
    assert!(done["result"]["content"][0]["text"].as_str().unwrap().contains("42"));
    assert!(done["ttlMs"].as_u64().unwrap() > 60_000, "{done}");
    // Ending what has ended changes nothing, and answers to what was not asked are ignored.
    for (method, more) in [("tasks/cancel", json!({})), ("tasks/update", json!({ "k": {} }))] {
        let params = json!({ "taskId": task["taskId"], "inputResponses": more });
        let told = ask(&app, &token, method, params).await;
        assert_eq!(told.body["result"]["resultType"], "complete", "{told:?}");
    }
    assert_eq!(get(&app, &token, &task).await["status"], "completed");
    // The same job by the tools of clients that know no tasks.
    let job = json!({ "job_id": task["taskId"] });
    assert_eq!(app.tool(&token, "job_status", job).await.body["status"], "completed");
}

#[actix_web::test]
async fn a_failed_program_is_a_completed_task_and_a_cancelled_one_is_cancelled() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    let task = begin_within(&app, &token, "while True: pass", 0.5).await;
    let done = ended(&app, &token, &task).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["result"]["structuredContent"]["status"], "timeout");

    let task = begin(&app, &token, "import time; time.sleep(60)").await;
    let told = ask(&app, &token, "tasks/cancel", json!({ "taskId": task["taskId"] })).await;
    assert_eq!(told.body["result"]["resultType"], "complete", "{told:?}");
    let over = ended(&app, &token, &task).await;
    assert_eq!(over["status"], "cancelled");
    assert!(over.get("result").is_none(), "{over}");
}

#[actix_web::test]
async fn a_task_is_its_callers_alone_and_only_of_clients_that_declared_tasks() {
    let app = APP.get(TestApp::start);
    let (ada, bob) = (app.token("ada", "developer"), app.token("bob", "developer"));
    let task = begin(&app, &ada, "print(1)").await;
    let made_up = json!("00000000-0000-4000-8000-000000000000");
    for id in [task["taskId"].clone(), made_up, json!("none"), json!("x".repeat(500))] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let params = json!({ "taskId": id, "inputResponses": {} });
            let answer = ask(&app, &bob, method, params).await;
            assert_eq!(answer.body["error"]["code"], -32602, "{method} {id}: {answer:?}");
        }
    }
    let undeclared = app.mcp(&ada, "tasks/get", json!({ "taskId": task["taskId"] })).await;
    assert_eq!((undeclared.status, &undeclared.body["error"]["code"]), (400, &json!(-32021)));
    let arguments = json!({ "code": "print(1)", "async": true });
    let call = json!({ "name": "execute_code", "arguments": arguments });
    let plain = app.mcp(&ada, "tools/call", call).await;
    assert_eq!(plain.body["result"]["resultType"], "complete");
    assert_eq!(plain.body["result"]["structuredContent"]["status"], "queued", "{plain:?}");
    ended(&app, &ada, &task).await;
}

#[actix_web::test]
async fn who_listens_to_a_task_is_told_of_its_end() {
    let app = APP.get(TestApp::start);
    let token = app.token("ada", "developer");
    let task = begin(&app, &token, "import time; time.sleep(1)").await;
    let wanted = json!({ "taskIds": [task["taskId"], "somebody-elses"] });
    let params = json!({
        "notifications": wanted,
        "_meta": { "io.modelcontextprotocol/clientCapabilities": capabilities() },
    });
    let mut stream = post(&app, &token, "subscriptions/listen", params, "");
    let first = next(&mut stream);
    assert_eq!(first["params"]["notifications"]["taskIds"], json!([task["taskId"]]), "{first}");
    loop {
        let told = next(&mut stream);
        assert_eq!(told["method"], "notifications/tasks", "{told}");
        assert_eq!(told["params"]["taskId"], task["taskId"]);
        assert!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].is_number());
        if told["params"]["status"] == "completed" {
            break;
        }
    }
}
