//! What sandboxes promise, with real launchers: this test binary, started again.

use std::path::PathBuf;

use ultimate_mcp_sandbox::spec::Status;

use super::actor::Crash;
use super::*;
use crate::execution::ExecutionOptions;
use crate::fault::{Classify, Kind};
use crate::testing::{caller, root, soon};

/// Run with these words this binary is a launcher; see `execution::tests`.
fn words() -> Vec<String> {
    let test = "execution::tests::a_launcher_whose_server_is_gone_leaves";
    let words = [test, "--exact", "--test-threads=1", "--nocapture", "-q"];
    words.map(str::to_owned).to_vec()
}

struct Bench {
    sandboxes: SandboxesHandle,
    execution: ExecutionHandle,
    _root: Supervisor,
}

async fn bench(options: SandboxesOptions, concurrency: usize) -> Bench {
    let root = root();
    let cell = ExecutionOptions {
        launcher: Some((PathBuf::from("/proc/self/exe"), words())),
        allow_degraded: true,
        concurrency,
        spares: 1,
        sandboxes_max: options.total_max,
        ..ExecutionOptions::default()
    };
    let execution = ExecutionHandle::start(&root, cell).await.unwrap();
    let node = NodeId::parse("here").unwrap();
    let sandboxes = SandboxesHandle::start(&root, options, node, execution.clone()).await.unwrap();
    Bench { sandboxes, execution, _root: root }
}

fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(60),
        cpu: Duration::from_secs(30),
        memory_bytes: 64 << 20,
        pids: 16,
        output_bytes: 64 << 10,
        disk_bytes: 8 << 20,
        cpu_milli: 1000,
    }
}

impl Bench {
    async fn open(&self, owner: &CallerId) -> Handle {
        let made = self.sandboxes.create(owner, Language::Python, limits(), soon()).await;
        made.unwrap().handle
    }

    async fn step(
        &self,
        handle: &Handle,
        owner: &CallerId,
        code: &str,
    ) -> Result<StepReport, SandboxesError> {
        let wall = Duration::from_secs(10);
        self.sandboxes.execute(handle, owner, code.to_owned(), wall, soon()).await
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = soon();
        while !holds(self) {
            assert!(!until.is_past(), "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn text(report: StepReport) -> String {
    assert_eq!(report.status, Status::Ok, "{report:?}");
    report.value.map(|value| value.text).unwrap_or_default()
}

#[actix::test]
async fn a_sandbox_is_its_owners_alone_and_keeps_its_variables() {
    let bench = bench(SandboxesOptions::default(), 2).await;
    let (ada, eve) = (caller("ada"), caller("eve"));
    let handle = bench.open(&ada).await;
    assert!(handle.to_string().starts_with("sbx_here_"), "{handle}");
    bench.step(&handle, &ada, "x = 41").await.unwrap();
    assert_eq!(text(bench.step(&handle, &ada, "x + 1").await.unwrap()), "42");
    let other = Handle { node: NodeId::parse("there").unwrap(), ..handle.clone() };
    for (handle, caller) in [(&handle, &eve), (&other, &ada)] {
        let error = bench.step(handle, caller, "x").await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        let sandboxes = &bench.sandboxes;
        let all = [
            sandboxes.close(handle, caller, soon()).await.map(drop),
            sandboxes.read_file(handle, caller, "x".into(), 1, soon()).await.map(drop),
            sandboxes.list_files(handle, caller, String::new(), soon()).await.map(drop),
            sandboxes.write_files(handle, caller, vec![], soon()).await,
        ];
        for result in all {
            assert_eq!(result.unwrap_err().kind(), Kind::NotFound);
        }
    }
    assert!(bench.sandboxes.list(&eve, soon()).await.unwrap().is_empty());
    let own = bench.sandboxes.list(&ada, soon()).await.unwrap();
    assert_eq!((own.len(), own[0].steps, own[0].busy), (1, 2, false));
    let closed = bench.sandboxes.close(&handle, &ada, soon()).await.unwrap();
    assert_eq!((closed.end, closed.steps), (End::Closed, 2));
    let error = bench.step(&handle, &ada, "x").await.unwrap_err();
    assert!(matches!(error, SandboxesError::Ended(End::Closed)), "{error}");
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(bench.step(&handle, &eve, "x").await.unwrap_err().kind(), Kind::NotFound);
    let stats = bench.sandboxes.stats();
    assert_eq!((stats.open, stats.created, stats.steps, stats.ended["closed"]), (0, 1, 2, 1));
}

#[actix::test]
async fn caps_hold_and_what_ended_makes_room() {
    let options = SandboxesOptions { per_caller_max: 2, total_max: 3, ..Default::default() };
    let bench = bench(options, 2).await;
    let (ada, bob) = (caller("ada"), caller("bob"));
    let (first, _second) = (bench.open(&ada).await, bench.open(&ada).await);
    let create =
        async |owner| bench.sandboxes.create(owner, Language::Python, limits(), soon()).await;
    let error = create(&ada).await.unwrap_err();
    assert!(matches!(error, SandboxesError::TooManyOfCaller(2)), "{error}");
    bench.open(&bob).await;
    assert_eq!(create(&bob).await.unwrap_err().kind(), Kind::Overloaded);
    let report = bench.step(&first, &ada, "import os; os._exit(3)").await.unwrap();
    assert_eq!(report.ended, Some(End::Exited(3)));
    create(&ada).await.unwrap();
    let large = Limits { memory_bytes: 4 << 30, ..limits() };
    let error = bench.sandboxes.create(&caller("eve"), Language::Python, large, soon()).await;
    assert!(matches!(error, Err(SandboxesError::CallerMemory(2048))), "{error:?}");
    let error = bench.sandboxes.create(&caller("eve"), Language::Bash, limits(), soon()).await;
    assert_eq!(error.unwrap_err().kind(), Kind::InvalidInput);
}

#[actix::test]
async fn one_step_at_a_time_and_others_wait_no_longer_than_they_may() {
    let options = SandboxesOptions { turn_wait_ms: 100, ..Default::default() };
    let bench = bench(options, 2).await;
    let ada = caller("ada");
    let handle = bench.open(&ada).await;
    let first = {
        let (sandboxes, handle, ada) = (bench.sandboxes.clone(), handle.clone(), ada.clone());
        let wall = Duration::from_millis(500);
        actix::spawn(async move {
            let code = "import time; time.sleep(50)".to_owned();
            sandboxes.execute(&handle, &ada, code, wall, soon()).await
        })
    };
    bench.eventually("the step holds its place", |b| b.execution.stats().running == 1).await;
    let error = bench.step(&handle, &ada, "1").await.unwrap_err();
    assert!(matches!(error, SandboxesError::Busy), "{error}");
    // Reading and listing look from outside and wait for nobody.
    bench.sandboxes.list_files(&handle, &ada, String::new(), soon()).await.unwrap();
    assert!(bench.sandboxes.list(&ada, soon()).await.unwrap()[0].busy);
    assert_eq!(first.await.unwrap().unwrap().status, Status::Timeout);
    assert_eq!(text(bench.step(&handle, &ada, "1").await.unwrap()), "1");
}

#[actix::test]
async fn steps_take_places_as_runs_do_and_idle_sandboxes_none() {
    let bench = bench(SandboxesOptions::default(), 1).await;
    let (ada, bob) = (caller("ada"), caller("bob"));
    let (of_ada, of_bob) = (bench.open(&ada).await, bench.open(&bob).await);
    assert_eq!(bench.execution.stats().running, 0);
    let (sandboxes, handle, owner) = (bench.sandboxes.clone(), of_ada.clone(), ada.clone());
    let first = actix::spawn(async move {
        let (code, wall) = ("import time; time.sleep(0.3)".to_owned(), Duration::from_secs(5));
        sandboxes.execute(&handle, &owner, code, wall, soon()).await
    });
    bench.eventually("the step holds its place", |b| b.execution.stats().running == 1).await;
    let second = bench.step(&of_bob, &bob, "1");
    tokio::pin!(second);
    tokio::select! {
        done = &mut second => panic!("two at once in one place: {done:?}"),
        () = bench.eventually("the other waits", |b| b.execution.stats().queued == 1) => {}
    }
    assert_eq!(text(second.await.unwrap()), "1");
    first.await.unwrap().unwrap();
}

#[actix::test]
async fn a_caller_who_leaves_interrupts_the_step_and_the_sandbox_lives_on() {
    let bench = bench(SandboxesOptions::default(), 1).await;
    let ada = caller("ada");
    let handle = bench.open(&ada).await;
    bench.step(&handle, &ada, "kept = 5").await.unwrap();
    {
        let step = bench.step(&handle, &ada, "while True: x = 1");
        tokio::pin!(step);
        tokio::select! {
            done = step => panic!("it ended: {done:?}"),
            () = bench.eventually("the step runs", |b| b.execution.stats().running == 1) => {}
        }
    }
    bench.eventually("its place is free", |b| b.execution.stats().running == 0).await;
    assert_eq!(text(bench.step(&handle, &ada, "kept").await.unwrap()), "5");
}

#[actix::test]
async fn what_nobody_uses_ends_and_so_does_what_lived_its_life() {
    let options =
        SandboxesOptions { idle_seconds: 1, sweep_period_seconds: 1, ..Default::default() };
    let bench = bench(options, 2).await;
    let ada = caller("ada");
    let idle = bench.open(&ada).await;
    let short = Limits { wall: Duration::from_millis(300), ..limits() };
    let made = bench.sandboxes.create(&ada, Language::Python, short, soon()).await.unwrap();
    bench.eventually("both ended", |b| b.sandboxes.stats().open == 0).await;
    let error = bench.step(&idle, &ada, "1").await.unwrap_err();
    assert!(matches!(error, SandboxesError::Ended(End::Idle)), "{error}");
    let error = bench.step(&made.handle, &ada, "1").await.unwrap_err();
    assert!(matches!(error, SandboxesError::Ended(End::Lifetime)), "{error}");
}

#[actix::test]
async fn an_actor_that_crashes_comes_back_empty_and_its_sandboxes_are_dead() {
    let bench = bench(SandboxesOptions::default(), 2).await;
    let ada = caller("ada");
    let handle = bench.open(&ada).await;
    assert!(bench.sandboxes.child.ask(Crash, soon()).await.is_err());
    bench.eventually("its room is free", |b| b.sandboxes.stats().open == 0).await;
    let error = bench.step(&handle, &ada, "1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    let again = bench.open(&ada).await;
    assert_eq!(text(bench.step(&again, &ada, "1").await.unwrap()), "1");
}

#[actix::test]
async fn a_launcher_killed_ends_every_sandbox_with_a_word() {
    let bench = bench(SandboxesOptions::default(), 2).await;
    let ada = caller("ada");
    let handle = bench.open(&ada).await;
    let pid = bench.execution.stats().launcher_pid.unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
    bench.eventually("the loss is seen", |b| b.execution.stats().launcher_losses == 1).await;
    // The step learns of it by itself when it comes before the news.
    match bench.step(&handle, &ada, "1").await {
        Ok(report) => assert_eq!(report.ended, Some(End::LauncherLost)),
        Err(error) => {
            assert!(matches!(error, SandboxesError::Ended(End::LauncherLost)), "{error}");
        }
    }
    let again = bench.open(&ada).await;
    assert_eq!(text(bench.step(&again, &ada, "1").await.unwrap()), "1");
}
