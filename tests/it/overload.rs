//! More runs than the cell has room for: who is turned away costs one event and waits for nothing.

use futures_util::future::join3;
use serde_json::{Value, json};

use crate::app::{TestApp, eventually};

#[actix_rt::test]
async fn a_run_that_is_turned_away_is_one_event_while_known_answers_and_jobs_go_on() {
    let few = [("ULTIMATE_MCP__CELL__CONCURRENCY", "1"), ("ULTIMATE_MCP__CELL__QUEUE_MAX", "1")];
    let app = TestApp::start_with(&few);
    let (ada, root) = (app.token("ada", "developer"), app.token("root", "admin"));
    let (bob, cid) = (app.token("bob", "developer"), app.token("cid", "developer"));
    let once = json!({ "code": "print('once')" });
    let first = app.tool_once(&ada, "k", "execute_code", once.clone()).await;
    assert_eq!(first.status, 200, "{first:?}");

    let held = || json!({ "code": "import time; time.sleep(3)" });
    let turned_away = async {
        eventually("one runs and one waits", || async {
            let metrics = app.send("GET", "/metrics", Some(&root), &[], None).await;
            let text = String::from_utf8(metrics.bytes).unwrap();
            text.lines().any(|line| line == "cell_queue 1").then_some(())
        })
        .await;
        let refused = app.tool(&ada, "execute_code", once.clone()).await;
        assert_eq!((refused.status, refused.code()), (503, "overloaded"), "{refused:?}");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        let known = app.tool_once(&ada, "k", "execute_code", once).await;
        assert_eq!((known.status, &known.body), (200, &first.body));
        let later = json!({ "code": "print(1)", "async": true });
        let later = app.tool(&ada, "execute_code", later).await;
        assert!(later.body["job_id"].is_string(), "{later:?}");
    };
    let runs = (app.tool(&bob, "execute_code", held()), app.tool(&cid, "execute_code", held()));
    let (one, other, ()) = join3(runs.0, runs.1, turned_away).await;
    assert_eq!((one.status, other.status), (200, 200), "{one:?} {other:?}");

    let path = "/api/v1/audit?user=ada&tool=execute_code&limit=50";
    let trail = app.send("GET", path, Some(&root), &[], None).await.body;
    let events = trail["events"].as_array().unwrap();
    let turned_away = |event: &&Value| {
        event["details"]["code"] == "overloaded" && event["details"]["transport"] == "rest"
    };
    let refused: Vec<_> = events.iter().filter(turned_away).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    let (phase, kind) = (&refused[0]["phase"], &refused[0]["event_type"]);
    assert_eq!((phase, kind), (&json!("single"), &json!("code_execution")));
}
