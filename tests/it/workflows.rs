//! Workflows as their users meet them, on the real server.

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp, eventually};
use crate::tokens::Mint;

static APP: Shared = Shared::new();

/// A graph of one's own, linters in the cell.
fn start() -> TestApp {
    let tools = std::env::var("ULTIMATE_MCP__CELL__TOOLS_DIR").unwrap_or_default();
    TestApp::start_with(&[("ULTIMATE_MCP__CELL__TOOLS_DIR", &tools)])
}

async fn run(app: &TestApp, token: &str, arguments: Value) -> Answer {
    app.tool(token, "workflow_run", arguments).await
}

/// The report of a workflow that was accepted.
async fn report(app: &TestApp, token: &str, arguments: Value) -> Value {
    let answer = run(app, token, arguments).await;
    // A workflow that failed is a result; over REST such a result comes with 422.
    let failed = answer.body["status"] == "failed";
    assert_eq!(answer.status, if failed { 422 } else { 200 }, "{}", answer.body);
    assert!(answer.body["workflow_id"].is_string(), "{}", answer.body);
    answer.body
}

/// `phase id status` of each call.
fn told(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    steps
        .map(|step| [text(step, "phase"), text(step, "id"), text(step, "status")].join(" "))
        .collect()
}

/// The JSON blocks of the page.
fn examples() -> Vec<Value> {
    let page = include_str!("../../docs/workflows.md");
    let blocks = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| serde_json::from_str(block).unwrap()).collect()
}

#[actix_web::test]
async fn the_example_of_the_page_runs_and_answers_as_the_page_says() {
    let app = APP.get(start);
    let token = Mint::of(&app).token("reader", &["developer"]);
    let [call, output] = examples().try_into().unwrap();
    let report = report(&app, &token, call).await;
    assert_eq!((&report["status"], &report["output"]), (&json!("completed"), &output), "{report}");
    assert_eq!(report["name"], "squares");
}

#[actix_web::test]
async fn steps_are_calls_of_the_caller_with_a_trail_that_leads_to_the_workflow() {
    let app = APP.get(start);
    let mint = Mint::of(&app);
    let (token, root) = (mint.token("steps", &["developer"]), mint.token("root", &["admin"]));
    // The caller may run code and may not write to the graph.
    let report = report(&app, &token, json!({ "definition": { "steps": [
        { "id": "may", "tool": "execute_code", "arguments": { "code": "print(1)" } },
        { "id": "may_not", "tool": "graph_upsert", "needs": ["may"], "arguments": { "nodes": [{ "key": "k" }] },
          "retry": { "attempts": 3 } },
    ] } }))
    .await;
    assert_eq!(told(&report), ["step may completed", "step may_not failed"]);
    assert_eq!(
        (&report["status"], &report["error"]["code"]),
        (&json!("failed"), &json!("forbidden"))
    );
    assert_eq!(report["steps"][1]["attempts"], 1, "no retry mends it");
    let path = "/api/v1/audit?user=steps&limit=100";
    let trail = app.send("GET", path, Some(&root), &[], None).await.body;
    let events = trail["events"].as_array().unwrap();
    let of = |tool: &str, phase: &str| {
        let found: Vec<&Value> = events
            .iter()
            .filter(|event| event["tool"] == tool && event["phase"] == phase)
            .collect();
        found
    };
    let step = of("execute_code", "outcome")[0];
    assert_eq!(step["details"]["workflow_id"], report["workflow_id"]);
    assert_eq!(
        (&step["details"]["step"], &step["details"]["transport"]),
        (&json!("step:may"), &json!("workflow"))
    );
    let refused = of("graph_upsert", "single")[0];
    assert_eq!(refused["details"]["step"], "step:may_not");
    // The parent is the run of the job, which is a recorded call as well.
    let parents = of("workflow_run", "outcome");
    let parent = parents.iter().find(|event| event["call_id"] == step["details"]["parent_call_id"]);
    assert_eq!(parent.unwrap()["details"]["job_id"], report["workflow_id"]);
}

#[actix_web::test]
async fn a_definition_is_refused_with_all_its_mistakes_and_starts_nothing() {
    let app = APP.get(start);
    let token = Mint::of(&app).token("wrong", &["developer"]);
    let refused = run(&app, &token, json!({ "definition": { "steps": [
        { "id": "a", "tool": "workflow_run" },
        { "id": "b", "tool": "run_tests_async", "needs": ["a", "c"] },
        { "id": "c", "tool": "execute_code", "needs": ["b"], "arguments": { "code": "1", "async": true } },
        { "id": "a", "tool": "job_cancel" },
        { "id": "d", "tool": "nothing", "arguments": { "x": { "$from": "/steps/a/result" } } },
        { "id": "e", "tool": "lint_code" },
        { "id": "f", "tool": "lint_code", "needs": ["e"], "arguments": { "code": { "$from": "/steps/e/result/fixed_code" } } },
    ] }, "inputs": { "unknown": 1 } }))
    .await;
    assert_eq!((refused.status, refused.code()), (422, "invalid_arguments"), "{refused:?}");
    let said = refused.body.to_string();
    for part in [
        "steps[0].tool",
        "steps[1].tool",
        "steps[2].tool",
        "steps[3].id",
        "steps[3].tool",
        "steps[4].tool",
        "in a circle: b, c",
        "add a to needs",
        "no field fixed_code",
        "inputs.unknown",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    for (arguments, part) in [
        (json!({}), "name or definition"),
        (json!({ "name": "nothing" }), "there are: generate_execute_persist, lint_fix_test, query"),
        (json!({ "definition": { "steps": [], "more": 1 } }), "unknown field"),
    ] {
        let refused = run(&app, &token, arguments).await;
        assert!(refused.status == 422 && refused.body.to_string().contains(part), "{refused:?}");
    }
    let jobs = app.send("GET", "/api/v1/jobs", Some(&token), &[], None).await.body;
    assert_eq!(jobs["jobs"], json!([]));
}

#[actix_web::test]
async fn a_failed_workflow_leaves_the_graph_as_it_was() {
    let app = APP.get(start);
    let token = Mint::of(&app).token("saga", &["admin"]);
    let node = |key: &str| json!({ "nodes": [{ "key": key, "labels": ["Saga"] }] });
    let undo = |key: &str| json!({ "tool": "graph_delete", "arguments": { "nodes": [key] } });
    let report = report(&app, &token, json!({ "definition": {
        "steps": [
            { "id": "one", "tool": "graph_upsert", "arguments": node("saga-1"), "compensate": undo("saga-1") },
            { "id": "two", "tool": "graph_upsert", "needs": ["one"], "arguments": node("saga-2"), "compensate": undo("saga-2") },
            { "id": "three", "tool": "execute_code", "needs": ["two"], "arguments": { "code": "exit(3)" },
              "expect": { "eq": [{ "$from": "/steps/three/result/return_code" }, 0] } },
            { "id": "four", "tool": "graph_upsert", "needs": ["three"], "arguments": node("saga-4") },
        ],
        "on_failure": [{ "id": "note", "tool": "graph_upsert", "arguments": { "nodes": [
            { "key": "saga-note", "labels": ["Note"], "properties": { "why": { "$from": "/failure/code" } } }] } }],
    } }))
    .await;
    assert_eq!(
        told(&report),
        [
            "step one completed",
            "step two completed",
            "step three failed",
            "step four not_run",
            "compensate two completed",
            "compensate one completed",
            "on_failure note completed",
        ]
    );
    assert_eq!(report["steps"][2]["result"]["return_code"], 3, "what it answered is there");
    let rows = |cypher: &str| app.tool(&token, "graph_query", json!({ "cypher": cypher }));
    assert_eq!(rows("MATCH (n:Saga) RETURN n.key").await.body["row_count"], 0);
    let note = rows("MATCH (n:Note) RETURN n.why AS why").await.body;
    assert_eq!(note["rows"][0]["why"], "unexpected_result");
}

#[actix_web::test]
async fn a_workflow_left_to_itself_shows_its_progress_and_is_cancelled_at_once() {
    let app = APP.get(start);
    let mint = Mint::of(&app);
    let (token, eve) = (mint.token("later", &["developer"]), mint.token("eve", &["developer"]));
    let begun = report(&app, &token, json!({ "async": true, "definition": { "steps": [
        { "id": "quick", "tool": "execute_code", "arguments": { "code": "print('done')" } },
        { "id": "slow", "tool": "execute_code", "needs": ["quick"],
          "arguments": { "code": "import time; time.sleep(50)", "timeout_seconds": 60 } },
        { "id": "never", "tool": "execute_code", "needs": ["slow"], "arguments": { "code": "print(1)" } },
    ] } }))
    .await;
    assert_eq!((&begun["status"], begun["steps"].as_array().unwrap().len()), (&json!("queued"), 3));
    let id = begun["workflow_id"].as_str().unwrap();
    let look = |token: &str, results: bool| {
        let (app, token) = (app.clone(), token.to_owned());
        async move {
            app.tool(&token, "workflow_status", json!({ "workflow_id": id, "results": results }))
                .await
        }
    };
    eventually("the slow step runs", || async {
        let report = look(&token, true).await.body;
        let there = report["steps"][0]["result"]["stdout"] == "done\n";
        (there && report["steps"][1]["status"] == "running").then_some(())
    })
    .await;
    assert_eq!(look(&token, false).await.body["steps"][0]["result"], Value::Null);
    let foreign = look(&eve, true).await;
    assert_eq!((foreign.status, foreign.code()), (404, "not_found"));
    let cancelled = app.tool(&token, "job_cancel", json!({ "job_id": id })).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let wait = json!({ "workflow_id": id, "wait_seconds": 20 });
    let report = app.tool(&token, "workflow_status", wait).await.body;
    assert_eq!(report["status"], "cancelled");
    assert_eq!(
        told(&report),
        ["step quick completed", "step slow interrupted", "step never not_run"]
    );
}

#[actix_web::test]
async fn more_workflows_wait_than_calls_may_run_and_all_of_them_end() {
    let app = APP.get(start);
    let token = Mint::of(&app).token("crowd", &["admin"]);
    let one = json!({ "definition": { "steps": [
        { "id": "a", "tool": "list_prompts" }, { "id": "b", "tool": "execute_code", "arguments": { "code": "print(1)" } },
    ] } });
    let all = (0..20).map(|_| run(&app, &token, one.clone()));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.body["status"], "completed", "{answer:?}");
    }
}

#[actix_web::test]
async fn lint_fix_test_mends_what_the_linter_can_and_proves_it() {
    let app = APP.get(start);
    let token = Mint::of(&app).token("mender", &["developer"]);
    let code = "import os\nimport sys\n\n\ndef size(x):\n    unused = 1\n    return len(x)\n";
    let tests = "from shop import size\ndef test_size():\n    assert size('abc') == 3\n";
    let inputs = json!({ "code": code, "tests": tests, "path": "shop.py" });
    let mended = report(&app, &token, json!({ "name": "lint_fix_test", "inputs": inputs })).await;
    assert_eq!(mended["status"], "completed", "{mended}");
    let output = &mended["output"];
    let fixed = output["code"].as_str().unwrap();
    assert!(!fixed.contains("import os") && !fixed.contains("import sys"), "{fixed}");
    assert!(fixed.contains("def size(x):"), "{fixed}");
    assert_eq!(output["tests"]["passed"], 1);
    // What has no safe fix stays, and is told.
    let rules = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|d| d["rule"].as_str().unwrap().to_owned()).collect()
    };
    let left = rules(&output["left"]);
    assert!(left.contains(&"F841".to_owned()) && !left.contains(&"F401".to_owned()), "{left:?}");
    assert!(rules(&output["found"]).contains(&"F401".to_owned()));
    let broken = "from shop import size\ndef test_size():\n    assert size('abc') == 4\n";
    let inputs =
        json!({ "code": "def size(x):\n    return len(x)\n", "tests": broken, "path": "shop.py" });
    let failed = report(&app, &token, json!({ "name": "lint_fix_test", "inputs": inputs })).await;
    assert_eq!((&failed["status"], &failed["error"]["step"]), (&json!("failed"), &json!("test")));
    assert!(told(&failed).contains(&"step fix skipped".to_owned()), "{failed}");
}

#[actix_web::test]
async fn generate_execute_persist_keeps_what_the_program_printed() {
    let app = APP.get(start);
    let token = Mint::of(&app).token("maker", &["admin"]);
    let inputs = json!({ "key": "made-1", "template": "print({{ a }} * {{ b }})", "context": { "a": 6, "b": 7 } });
    let made =
        report(&app, &token, json!({ "name": "generate_execute_persist", "inputs": inputs })).await;
    assert_eq!(made["status"], "completed", "{made}");
    assert_eq!(made["output"]["stdout"], "42\n");
    let kept = json!({ "cypher": "MATCH (n:Generated) RETURN n.key AS key, n.stdout AS stdout" });
    let kept = app.tool(&token, "graph_query", kept).await.body;
    assert_eq!(kept["rows"], json!([{ "key": "made-1", "stdout": "42\n" }]));
    let inputs = json!({ "key": "made-2", "template": "raise SystemExit(1)" });
    let failed =
        report(&app, &token, json!({ "name": "generate_execute_persist", "inputs": inputs })).await;
    assert_eq!(
        told(&failed),
        ["step generate completed", "step execute failed", "step persist not_run"]
    );
}

#[actix_web::test]
async fn query_analyse_visualise_ends_in_a_chart() {
    let app = APP.get(start);
    let token = Mint::of(&app).token("analyst", &["admin"]);
    let nodes: Vec<_> = [("oslo", 3), ("rome", 9), ("kyiv", 6)]
        .iter()
        .map(
            |(key, size)| json!({ "key": key, "labels": ["City"], "properties": { "size": size } }),
        )
        .collect();
    assert_eq!(app.tool(&token, "graph_upsert", json!({ "nodes": nodes })).await.status, 200);
    let cypher = "MATCH (c:City) RETURN c.key AS city, c.size AS size ORDER BY city";
    let inputs = json!({ "cypher": cypher, "title": "Cities <by size>" });
    let drawn =
        report(&app, &token, json!({ "name": "query_analyse_visualise", "inputs": inputs })).await;
    assert_eq!(drawn["status"], "completed", "{drawn}");
    let analysis: Value =
        serde_json::from_str(drawn["output"]["analysis"].as_str().unwrap()).unwrap();
    assert_eq!(analysis["columns"]["size"]["mean"], 6.0);
    assert_eq!(analysis["columns"]["city"]["distinct"], 3);
    let uri = drawn["output"]["chart"]["uri"].as_str().unwrap();
    let id = uri.rsplit('/').next().unwrap();
    let chart = app.send("GET", &format!("/api/v1/artifacts/{id}"), Some(&token), &[], None).await;
    let svg = String::from_utf8(chart.bytes).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.contains("Cities &lt;by size&gt;: size"),
        "{uri}: {svg}"
    );
    assert_eq!(svg.matches("<rect").count(), 3);
}
