//! What the workers promise, on a real store with a runner that does as the job's arguments say.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::value::RawValue;

use super::*;
use crate::deadline::Deadline;
use crate::fault::Retry;
use crate::ids::ScheduleId;
use crate::jobs::actor::Crash;
use crate::jobs::{
    CancelOutcome, DeadReason, JobFault, JobRequest, JobView, JobsHandle, JobsOptions, Order,
    RunEnd, Runner, ScheduleRequest, Sealer, SqliteJobs, State,
};
use crate::testing::{root, soon};

/// Does what `{"do": …}` says and counts the runs of each job.
#[derive(Default)]
struct Puppet {
    runs: Mutex<HashMap<JobId, u32>>,
    /// Callers whose token was revoked.
    revoked: Mutex<Vec<String>>,
}

impl Runner for Puppet {
    fn run(&self, order: Order) -> LocalBoxFuture<'static, RunEnd> {
        *self.runs.lock().unwrap().entry(order.job.id()).or_default() += 1;
        let script: serde_json::Value = serde_json::from_str(&order.arguments).unwrap();
        let fault = JobFault::new("code", "message");
        let failed = |retry| RunEnd::Failed { fault: fault.clone(), retry, callers_fault: false };
        let end = match script["do"].as_str().unwrap() {
            "answer" => RunEnd::Done { result: order.arguments.clone(), is_error: false },
            "fail safely" => failed(Retry::Safe),
            "fail unsafely" => failed(Retry::Unsafe),
            "fail for good" => failed(Retry::Never),
            "turn away once" if order.job.status.grip < 2 => {
                RunEnd::TurnedAway { fault, after: Duration::from_millis(1) }
            }
            "turn away once" => RunEnd::Done { result: "{}".to_owned(), is_error: false },
            "forbid" => RunEnd::Forbidden { fault },
            "hang" => return std::future::pending().boxed_local(),
            "panic" => return async { panic!("the run panics on purpose") }.boxed_local(),
            other => panic!("{other}"),
        };
        async move { end }.boxed_local()
    }

    fn stands(&self, identity: &Identity) -> bool {
        !self.revoked.lock().unwrap().iter().any(|name| name == identity.caller.as_str())
    }
}

struct Bench {
    jobs: JobsHandle,
    puppet: Arc<Puppet>,
    store: Arc<dyn JobStore>,
    _dir: tempfile::TempDir,
}

async fn bench(options: JobsOptions) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store: Arc<dyn JobStore> = Arc::new(SqliteJobs::open(&path, options.rules()).unwrap());
    let sealer = Sealer::new([[5; 32]]).unwrap();
    let jobs = JobsHandle::start(&root(), store.clone(), sealer, options).await.unwrap();
    let puppet = Arc::new(Puppet::default());
    jobs.attach(puppet.clone());
    Bench { jobs, puppet, store, _dir: dir }
}

fn quick() -> JobsOptions {
    JobsOptions { retry_initial_ms: 1, retry_max_ms: 5, ..JobsOptions::default() }
}

fn request(arguments: &RawValue) -> JobRequest<'_> {
    JobRequest {
        id: JobId::new(),
        identity: identity("ada"),
        tool: "puppet".to_owned(),
        arguments,
        lane: Lane::Normal,
        run_at: None,
        idempotent: false,
        max_attempts: Some(2),
        ttl_seconds: None,
        trace: None,
        request_id: None,
        dedupe: None,
    }
}

fn script(what: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(&serde_json::json!({ "do": what })).unwrap()
}

impl Bench {
    async fn enqueue(&self, what: &str, idempotent: bool) -> JobId {
        let script = script(what);
        let request = JobRequest { idempotent, ..request(&script) };
        self.jobs.enqueue(request).await.unwrap().id()
    }

    async fn until(&self, id: JobId, wanted: impl Fn(&JobView) -> bool) -> JobView {
        let end = soon();
        loop {
            let view = self.jobs.get(id, None).await.unwrap().unwrap();
            if wanted(&view) {
                return view;
            }
            assert!(!end.is_past(), "still {:?}", view.job.status);
            self.jobs.moved(Duration::from_millis(20)).await;
        }
    }

    async fn end(&self, id: JobId) -> JobView {
        self.until(id, |view| view.job.status.state.is_final()).await
    }

    fn runs(&self, id: JobId) -> u32 {
        self.puppet.runs.lock().unwrap().get(&id).copied().unwrap_or(0)
    }
}

#[actix::test]
async fn a_job_is_run_and_only_its_owner_finds_the_result() {
    let bench = bench(quick()).await;
    let id = bench.enqueue("answer", false).await;
    let view = bench.end(id).await;
    assert_eq!(view.job.status.state, State::Completed);
    assert_eq!(view.result.unwrap().get(), "{\"do\":\"answer\"}");
    assert!(bench.jobs.get(id, Some(&caller("eve"))).await.unwrap().is_none());
    assert!(bench.jobs.get(id, Some(&caller("ada"))).await.unwrap().is_some());
    assert_eq!(bench.runs(id), 1);
}

#[actix::test]
async fn arguments_and_results_lie_sealed_on_the_disk() {
    let bench = bench(quick()).await;
    let marker = "a-secret-nobody-may-read";
    let arguments = serde_json::json!({ "do": "answer", "marker": marker });
    let arguments = serde_json::value::to_raw_value(&arguments).unwrap();
    let id = bench.jobs.enqueue(request(&arguments)).await.unwrap().id();
    let view = bench.end(id).await;
    assert!(view.result.unwrap().get().contains(marker));
    for file in std::fs::read_dir(bench._dir.path()).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap();
        let found = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
        assert!(!found, "{:?} holds the text", file.path());
    }
}

#[actix::test]
async fn what_failed_safely_is_tried_again_and_then_becomes_a_dead_letter() {
    let bench = bench(quick()).await;
    let id = bench.enqueue("fail safely", false).await;
    let status = bench.end(id).await.job.status;
    assert_eq!((status.state, status.attempt), (State::Failed, 2));
    assert_eq!(status.dead, Some(DeadReason::AttemptsExhausted));
    assert_eq!(bench.runs(id), 2);
}

#[actix::test]
async fn what_may_have_had_effects_is_repeated_only_when_the_caller_said_so() {
    let bench = bench(quick()).await;
    for (what, state) in
        [("fail unsafely", State::OutcomeUnknown), ("panic", State::OutcomeUnknown)]
    {
        let once = bench.enqueue(what, false).await;
        assert_eq!(bench.end(once).await.job.status.state, state, "{what}");
        assert_eq!(bench.runs(once), 1, "{what}");
        let twice = bench.enqueue(what, true).await;
        assert_eq!(bench.end(twice).await.job.status.state, State::Failed, "{what}");
        assert_eq!(bench.runs(twice), 2, "{what}");
    }
}

#[actix::test]
async fn refusals_and_lasting_failures_are_final_and_a_full_house_costs_no_attempt() {
    let bench = bench(quick()).await;
    let forbidden = bench.enqueue("forbid", true).await;
    let status = bench.end(forbidden).await.job.status;
    assert_eq!((status.state, status.dead), (State::Forbidden, None));
    let lasting = bench.enqueue("fail for good", true).await;
    let status = bench.end(lasting).await.job.status;
    assert_eq!((status.state, status.dead), (State::Failed, Some(DeadReason::Permanent)));
    assert_eq!(bench.runs(lasting), 1);
    let away = bench.enqueue("turn away once", false).await;
    let status = bench.end(away).await.job.status;
    assert_eq!((status.state, status.attempt), (State::Completed, 1));
}

#[actix::test]
async fn a_running_job_is_killed_on_demand_and_at_its_limit() {
    let bench = bench(JobsOptions { run_seconds_max: 1, ..quick() }).await;
    let limited = bench.enqueue("hang", false).await;
    let hanging = bench.enqueue("hang", false).await;
    bench.until(hanging, |view| view.job.status.state == State::Running).await;
    let cancelled = bench.jobs.cancel(hanging, Some(&caller("ada"))).await.unwrap();
    assert_eq!(cancelled, Some(CancelOutcome::Requested));
    assert_eq!(bench.end(hanging).await.job.status.state, State::Cancelled);
    let status = bench.end(limited).await.job.status;
    assert_eq!(status.state, State::OutcomeUnknown);
    assert_eq!(status.fault.unwrap().code, "deadline_exceeded");
}

#[actix::test]
async fn a_run_outlives_a_crash_of_the_actor_and_work_goes_on_after_it() {
    let bench = bench(quick()).await;
    let hanging = bench.enqueue("hang", false).await;
    bench.until(hanging, |view| view.job.status.state == State::Running).await;
    bench.jobs.child.ask(Crash, soon()).await.unwrap_err();
    let after = bench.enqueue("answer", false).await;
    assert_eq!(bench.end(after).await.job.status.state, State::Completed);
    // The end of a job is seen before its worker lets go of it.
    let still_one = async {
        while bench.jobs.stats().in_hand != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), still_one).await.expect("still in hand");
    bench.jobs.cancel(hanging, None).await.unwrap();
    assert_eq!(bench.end(hanging).await.job.status.state, State::Cancelled);
}

#[actix::test]
async fn a_lease_is_kept_alive_while_the_run_lasts() {
    let bench = bench(JobsOptions { lease_seconds: 1, ..quick() }).await;
    let hanging = bench.enqueue("hang", false).await;
    let begun = bench.until(hanging, |view| view.job.status.state == State::Running).await;
    let first = begun.job.status.lease_until.unwrap();
    // Three heartbeats later its first lease is long over.
    bench.until(hanging, |view| view.job.status.lease_until.unwrap() > first + 1_500).await;
    let status = bench.until(hanging, |_| true).await.job.status;
    assert_eq!((status.state, status.attempt), (State::Running, 1));
}

#[actix::test]
async fn a_node_that_stops_lets_runs_end_and_says_what_became_of_the_rest() {
    let bench = bench(quick()).await;
    let unknown = bench.enqueue("hang", false).await;
    let again = bench.enqueue("hang", true).await;
    for id in [unknown, again] {
        bench.until(id, |view| view.job.status.state == State::Running).await;
    }
    bench.jobs.retire(Deadline::after(Duration::from_secs(3))).await;
    assert_eq!(bench.jobs.stats().in_hand, 0);
    let state = |view: JobView| view.job.status.state;
    assert_eq!(state(bench.until(unknown, |_| true).await), State::OutcomeUnknown);
    assert_eq!(state(bench.until(again, |_| true).await), State::Queued, "another node's");
    let late = bench.enqueue("answer", false).await;
    assert_eq!(state(bench.until(late, |_| true).await), State::Queued, "nothing more is taken");
}

#[actix::test]
async fn a_job_that_waited_too_long_is_not_begun() {
    let bench = bench(JobsOptions { wait_seconds_max: 1, ..quick() }).await;
    let mut old = super::job(crate::jobs::now_ms() - 10_000);
    old.spec.tool = "puppet".to_owned();
    let id = bench.store.enqueue(old).await.unwrap().id();
    let status = bench.end(id).await.job.status;
    assert_eq!((status.state, status.dead), (State::Failed, Some(DeadReason::WaitedTooLong)));
    assert_eq!(bench.runs(id), 0);
}

#[actix::test]
async fn a_schedule_makes_jobs_until_its_callers_token_is_revoked() {
    let bench = bench(quick()).await;
    let answer = script("answer");
    let schedule = ScheduleRequest {
        id: ScheduleId::new(),
        name: String::new(),
        cron: "* * * * * *".to_owned(),
        enabled: true,
        job: request(&answer),
    };
    let id = bench.jobs.put_schedule(schedule).await.unwrap().unwrap().id;
    let end = soon();
    let made = loop {
        let page = crate::jobs::JobFilter { limit: 9, ..Default::default() };
        let jobs = bench.jobs.list(page).await.unwrap().jobs;
        if jobs.len() >= 2 {
            break jobs;
        }
        assert!(!end.is_past(), "{jobs:?}");
        bench.jobs.moved(Duration::from_millis(100)).await;
    };
    assert!(made.iter().all(|job| job.spec.schedule == Some(id)));
    assert_ne!(made[0].spec.created_at / 1000, made[1].spec.created_at / 1000);
    bench.puppet.revoked.lock().unwrap().push("ada".to_owned());
    let end = soon();
    while bench.jobs.schedule(id, None).await.unwrap().unwrap().enabled {
        assert!(!end.is_past(), "the schedule of a revoked token goes on");
        bench.jobs.moved(Duration::from_millis(100)).await;
    }
}
