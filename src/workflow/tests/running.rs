//! The runner with tools that remember what they did, cut off at every entry of its journal.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::{CallId, JobId};

use super::{definition, known};
use crate::auth::Caller;
use crate::error::{ApiError, Code};
use crate::origin::{Origin, Transport};
use crate::tools::ToolOutput;
use crate::workflow::calls::{KnownTool, StepOrder, Steps};
use crate::workflow::report::WorkflowReport;
use crate::workflow::{Definition, Entry, Journal, Progress, Run};

/// What became of a key: began, or ended with this answer.
type Keys = BTreeMap<String, Option<Value>>;

/// Tools that take a second, keep what they answered under a key, and fail where told to.
#[derive(Default)]
struct Tools {
    keys: Mutex<Keys>,
    /// Runs, by `tool n`.
    runs: Mutex<Vec<String>>,
    /// How often a call of this `n` is turned away first.
    turned_away: Mutex<BTreeMap<u64, u32>>,
}

impl Tools {
    fn runs_of(&self, what: &str) -> usize {
        self.runs.lock().unwrap().iter().filter(|run| *run == what).count()
    }
}

fn output(value: &Value, is_error: bool) -> ToolOutput {
    let structured = serde_json::value::to_raw_value(value).unwrap();
    ToolOutput { structured, text: None, is_error, audit: Map::new() }
}

impl Steps for Tools {
    fn known(&self, tool: &str, arguments: &Map<String, Value>) -> Result<KnownTool, String> {
        known(tool, arguments)
    }

    fn call<'a>(&'a self, order: StepOrder<'a>) -> BoxFuture<'a, Result<ToolOutput, ApiError>> {
        Box::pin(async move {
            let arguments: Value = serde_json::from_str(order.arguments.get()).unwrap();
            let n = arguments["n"].as_u64().unwrap_or(0);
            if let Some(left) =
                self.turned_away.lock().unwrap().get_mut(&n).filter(|left| **left > 0)
            {
                *left -= 1;
                return Err(ApiError::new(Code::Overloaded, "full"));
            }
            let key = order.origin.idempotency_key.as_ref().map(|key| key.as_str().to_owned());
            assert_eq!(
                key.is_none(),
                order.tool == "look",
                "what leaves something behind has a key"
            );
            if let Some(key) = &key {
                match self.keys.lock().unwrap().get(key) {
                    Some(Some(answer)) => return Ok(output(answer, false)),
                    Some(None) => return Err(ApiError::new(Code::OutcomeUnknown, "began")),
                    None => {}
                }
                self.keys.lock().unwrap().insert(key.clone(), None);
            }
            self.runs.lock().unwrap().push(format!("{} {n}", order.tool));
            let time = Duration::from_millis(arguments["ms"].as_u64().unwrap_or(1_000));
            if tokio::time::timeout(order.deadline.remaining(), tokio::time::sleep(time))
                .await
                .is_err()
            {
                return Err(ApiError::new(Code::DeadlineExceeded, "late"));
            }
            let answer = json!({ "n": n + 1, "saw": arguments });
            if let Some(key) = key {
                self.keys.lock().unwrap().insert(key, Some(answer.clone()));
            }
            Ok(output(&answer, arguments["fail"] == true))
        })
    }
}

/// A journal in memory that breaks down at an entry.
struct Memory {
    entries: Mutex<Vec<String>>,
    breaks_at: u32,
}

impl Journal for Memory {
    fn note<'a>(&'a self, entry: u32, text: &'a str) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let mut entries = self.entries.lock().unwrap();
            assert_eq!(entry as usize, entries.len(), "entries are numbered in order");
            if entry == self.breaks_at {
                return Err(ApiError::new(Code::Unavailable, "the disk is gone"));
            }
            entries.push(text.to_owned());
            Ok(())
        })
    }
}

struct Bench {
    tools: Tools,
    id: JobId,
    began: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { tools: Tools::default(), id: JobId::new(), began: Instant::now() }
    }

    /// Runs until the journal breaks at this entry, from what an earlier journal says.
    async fn run(
        &self,
        definition: &Definition,
        before: &[String],
        breaks_at: u32,
    ) -> (Vec<String>, Result<Progress, ApiError>) {
        let journal = Memory { entries: Mutex::new(before.to_vec()), breaks_at };
        let request = actix_web::test::TestRequest::default().to_http_request();
        let origin = Origin::of(&request, Transport::Job);
        let now = || self.began.elapsed().as_millis() as i64;
        let run = Run {
            steps: &self.tools,
            journal: &journal,
            id: self.id,
            identity: Caller::for_tests("ada").identity(),
            origin: &origin,
            parent: CallId::new(),
            deadline: Deadline::after(Duration::from_secs(600)),
            now: &now,
        };
        let entries: Vec<Entry> =
            before.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let progress = match entries.is_empty() {
            true => run.open(definition.clone(), Map::new()).await,
            false => Ok(Progress::of(&entries)),
        };
        let result = match progress {
            Ok(progress) => run.go_on(progress).await,
            Err(error) => Err(error),
        };
        (journal.entries.into_inner().unwrap(), result)
    }

    async fn report(&self, definition: &Definition) -> Value {
        let (_, progress) = self.run(definition, &[], u32::MAX).await;
        json!(WorkflowReport::of(self.id, None, &progress.unwrap(), true))
    }
}

fn diamond() -> Definition {
    definition(json!({
        "steps": [
            { "id": "a", "tool": "write", "arguments": { "n": 1 } },
            { "id": "b", "tool": "write", "needs": ["a"], "arguments": { "n": 10, "a": { "$from": "/steps/a/result/n" } } },
            { "id": "c", "tool": "put", "needs": ["a"], "arguments": { "n": 20 } },
            { "id": "d", "tool": "look", "needs": ["b", "c"], "arguments": { "n": { "$from": "/steps/c/result/n" } } },
        ],
        "output": [{ "$from": "/steps/b/result/saw/a" }, { "$from": "/steps/d/result/n" }],
    }))
}

#[tokio::test(start_paused = true)]
async fn steps_run_in_order_and_side_by_side_and_hand_results_on() {
    let bench = Bench::new();
    let report = bench.report(&diamond()).await;
    assert_eq!((&report["status"], &report["output"]), (&json!("completed"), &json!([2, 22])));
    // Three layers of a second each, not four steps.
    let took = bench.began.elapsed();
    assert!(took < Duration::from_millis(3_500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_cut_off_it_goes_on_and_nothing_runs_twice_that_may_not() {
    let whole = Bench::new().run(&diamond(), &[], u32::MAX).await.0.len() as u32;
    assert!(whole >= 10, "{whole}");
    for breaks_at in 0..whole {
        let bench = Bench::new();
        let (entries, cut) = bench.run(&diamond(), &[], breaks_at).await;
        assert_eq!(cut.unwrap_err().code, Code::Unavailable, "at {breaks_at}");
        assert_eq!(entries.len(), breaks_at as usize);
        let (_, progress) = bench.run(&diamond(), &entries, u32::MAX).await;
        let report = json!(WorkflowReport::of(bench.id, None, &progress.unwrap(), true));
        for once in ["write 1", "write 10"] {
            assert!(bench.tools.runs_of(once) <= 1, "{once} at {breaks_at}");
        }
        assert!(bench.tools.runs_of("put 20") <= 2, "at {breaks_at}");
        if report["status"] == "completed" {
            assert_eq!(report["output"], json!([2, 22]), "at {breaks_at}");
            continue;
        }
        // Then it says what nobody knows, and of nothing else.
        assert_eq!(report["status"], "failed", "at {breaks_at}: {report}");
        assert_eq!(report["error"]["code"], "outcome_unknown", "at {breaks_at}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_undoes_what_completed_in_reverse_and_then_runs_on_failure() {
    let failing = definition(json!({
        "steps": [
            { "id": "a", "tool": "write", "arguments": { "n": 1, "ms": 10 },
              "compensate": { "tool": "put", "arguments": { "n": { "$from": "/steps/a/result/n" } } } },
            { "id": "b", "tool": "write", "needs": ["a"], "arguments": { "n": 10, "ms": 10 },
              "compensate": { "tool": "put", "arguments": { "n": 50, "fail": true }, "retry": { "attempts": 2 } } },
            { "id": "c", "tool": "write", "needs": ["b"], "arguments": { "n": 20, "fail": true },
              "retry": { "attempts": 3, "delay_ms": 100 },
              "compensate": { "tool": "put", "arguments": { "n": 60 } } },
            { "id": "slow", "tool": "write", "needs": ["b"], "arguments": { "n": 30, "ms": 5000 },
              "compensate": { "tool": "put", "arguments": { "n": 70 } } },
            { "id": "never", "tool": "write", "needs": ["c"] },
        ],
        "on_failure": [{ "id": "tell", "tool": "put", "arguments": { "n": 80, "why": { "$from": "/failure/step" } } }],
    }));
    let bench = Bench::new();
    let report = bench.report(&failing).await;
    assert_eq!(report["status"], "failed");
    let failure =
        json!({ "step": "c", "code": "tool_failed", "message": "the tool reported a failure" });
    assert_eq!(report["error"], failure);
    let runs = bench.tools.runs.lock().unwrap().clone();
    let after: Vec<&str> =
        runs.iter().map(String::as_str).skip_while(|run| *run != "put 70").collect();
    // What failed is not undone; what was running was waited for; an undoing that fails stops nothing.
    assert_eq!(after, ["put 70", "put 50", "put 50", "put 2", "put 80"]);
    assert_eq!(bench.tools.runs_of("write 20"), 3);
    let steps = report["steps"].as_array().unwrap();
    let told: Vec<_> = steps
        .iter()
        .map(|step| format!("{} {} {}", step["phase"], step["id"], step["status"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "step a completed",
            "step b completed",
            "step c failed",
            "step slow completed",
            "step never not_run",
            "compensate slow completed",
            "compensate b failed",
            "compensate a completed",
            "on_failure tell completed",
        ]
    );
    assert_eq!(steps[8]["result"]["saw"]["why"], "c");
}

#[tokio::test(start_paused = true)]
async fn time_is_over_for_steps_but_not_for_undoing_them() {
    let late = definition(json!({
        "timeout_seconds": 3,
        "steps": [
            { "id": "a", "tool": "write", "arguments": { "n": 1 },
              "compensate": { "tool": "put", "arguments": { "n": 5, "ms": 4000 } } },
            { "id": "b", "tool": "look", "needs": ["a"], "arguments": { "n": 2, "ms": 60000 },
              "retry": { "attempts": 5 } },
        ],
    }));
    let bench = Bench::new();
    let report = bench.report(&late).await;
    assert_eq!(report["status"], "timed_out", "{report}");
    let statuses: Vec<_> =
        report["steps"].as_array().unwrap().iter().map(|step| step["status"].clone()).collect();
    assert_eq!(statuses, ["completed", "failed", "completed"]);
    assert_eq!(report["steps"][1]["error"]["code"], "deadline_exceeded");
}

#[tokio::test(start_paused = true)]
async fn being_turned_away_spends_no_attempt_and_expectations_do() {
    let bench = Bench::new();
    bench.tools.turned_away.lock().unwrap().insert(7, 3);
    let picky = definition(json!({
        "steps": [
            { "id": "a", "tool": "write", "arguments": { "n": 7 } },
            { "id": "b", "tool": "put", "arguments": { "n": 8 }, "retry": { "attempts": 2 },
              "expect": { "eq": [{ "$from": "/steps/b/result/n" }, 0] }, "continue_on_failure": true },
            { "id": "c", "tool": "look", "needs": ["b"], "arguments": { "n": { "$from": "/steps/b/result/m", "default": 3 } } },
            { "id": "d", "tool": "look", "needs": ["c"], "arguments": { "n": { "$from": "/steps/c/result/open/x" } }, "continue_on_failure": true },
            { "id": "e", "tool": "look", "needs": ["d"], "if": { "eq": [{ "$from": "/steps/d/status" }, "completed"] } },
        ],
    }));
    let report = bench.report(&picky).await;
    assert_eq!(report["status"], "completed", "{report}");
    let told: Vec<_> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let code = step["error"]["code"].as_str().unwrap_or("-");
            format!("{} {} {}", step["status"].as_str().unwrap(), step["attempts"], code)
        })
        .collect();
    assert_eq!(
        told,
        [
            "completed 1 -",
            "failed 2 unexpected_result",
            "completed 1 -",
            "failed 1 bad_reference",
            "skipped 0 -"
        ]
    );
    assert_eq!(bench.tools.runs_of("write 7"), 1);
}
