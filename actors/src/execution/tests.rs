//! The actor with real launchers: this test binary, started again.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use ultimate_mcp_sandbox::client::Stream;
use ultimate_mcp_sandbox::spec::{Language, Limits, RunSpec, Status};

use super::actor::Crash;
use super::*;
use crate::fault::{Classify, Kind, Retry};
use crate::testing::{caller, root, soon};

const LAUNCHER_TEST: &str = "execution::tests::a_launcher_whose_server_is_gone_leaves";

/// Run with these words this binary runs that one test, on its main thread.
fn words() -> Vec<String> {
    let words = [LAUNCHER_TEST, "--exact", "--test-threads=1", "--nocapture", "-q"];
    words.map(str::to_owned).to_vec()
}

/// Also what the launcher of the tests below does: started with [`words`] on a control socket it is one.
#[test]
fn a_launcher_whose_server_is_gone_leaves() {
    let asked = std::env::args().any(|word| word == "--exact");
    let stdin = std::fs::metadata("/proc/self/fd/0");
    if asked && stdin.is_ok_and(|stdin| stdin.file_type().is_socket()) {
        let control = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        ultimate_mcp_sandbox::launcher::main(control);
        return;
    }
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut launcher = std::process::Command::new("/proc/self/exe");
    launcher.args(words()).env_clear().stdin(OwnedFd::from(theirs));
    let mut launcher = launcher.stdout(Stdio::null()).spawn().unwrap();
    drop(ours);
    assert!(launcher.wait().unwrap().success());
}

fn options() -> ExecutionOptions {
    ExecutionOptions {
        launcher: Some((PathBuf::from("/proc/self/exe"), words())),
        allow_degraded: true,
        concurrency: 2,
        spares: 1,
        ..ExecutionOptions::default()
    }
}

async fn start(options: ExecutionOptions) -> (Supervisor, ExecutionHandle) {
    let root = root();
    let handle = ExecutionHandle::start(&root, options).await.unwrap();
    (root, handle)
}

fn bash(code: &str) -> RunSpec {
    let limits = Limits {
        wall: Duration::from_secs(15),
        cpu: Duration::from_secs(10),
        memory_bytes: 64 << 20,
        pids: 16,
        output_bytes: 64 << 10,
        disk_bytes: 8 << 20,
        cpu_milli: 1000,
    };
    Language::Bash.run_spec("test".into(), code, vec![], vec![], limits).unwrap()
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Deadline::after(Duration::from_secs(20));
    while !holds() {
        assert!(!until.is_past(), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn kill(pid: u32) {
    let done = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(done.success());
}

#[actix::test]
async fn a_run_comes_back_with_its_report_and_is_counted() {
    let (_root, handle) = start(options()).await;
    assert!(handle.capabilities().can_isolate, "{:#?}", handle.capabilities());
    let report = handle.run(bash("echo hi"), &caller("ada"), soon()).await.unwrap();
    assert_eq!((report.status, report.stdout.as_slice()), (Status::Ok, &b"hi\n"[..]));
    handle.run(bash("exit 3"), &caller("ada"), soon()).await.unwrap();
    let stats = handle.stats();
    assert_eq!((stats.finished["ok"], stats.finished["error"], stats.failed), (1, 1, 0));
    assert_eq!((stats.running, stats.queued, stats.launcher_starts), (0, 0, 1));
}

#[actix::test]
async fn output_is_seen_while_the_run_goes_on_and_all_of_it_is_in_the_report() {
    let (_root, handle) = start(options()).await;
    let (seen, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let sink: OutputSink = Arc::new(move |stream, bytes: &[u8]| {
        let _ = seen.send((stream, bytes.to_vec()));
    });
    let (owner, spec) = (caller("ada"), bash("echo first; sleep 0.5; echo last; echo bad >&2"));
    let mut run = Box::pin(handle.run_watched(spec, &owner, soon(), Some(sink)));
    let early = tokio::select! {
        biased;
        ended = &mut run => panic!("over before its output was seen: {ended:?}"),
        chunk = arrived.recv() => chunk.unwrap(),
    };
    assert_eq!(early, (Stream::Stdout, b"first\n".to_vec()));
    let report = run.await.unwrap();
    let mut rest = Vec::new();
    while let Some(chunk) = arrived.recv().await {
        rest.push(chunk);
    }
    let of = |wanted| {
        let chunks = rest.iter().filter(|(stream, _)| *stream == wanted);
        chunks.flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<u8>>()
    };
    assert_eq!([early.1, of(Stream::Stdout)].concat(), report.stdout);
    assert_eq!(of(Stream::Stderr), report.stderr);
}

#[actix::test]
async fn a_launcher_killed_loses_the_run_in_hand_alone_and_another_takes_over() {
    let (_root, handle) = start(options()).await;
    let in_hand = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.run(bash("sleep 60"), &caller("ada"), soon()).await })
    };
    eventually("the run holds its place", || handle.stats().running == 1).await;
    kill(handle.stats().launcher_pid.unwrap());
    let error = in_hand.await.unwrap().unwrap_err();
    assert!(matches!(error, ExecutionError::LauncherLost), "{error}");
    assert_eq!((error.kind(), error.retry()), (Kind::Crashed, Retry::Safe));
    let report = handle.run(bash("echo again"), &caller("ada"), soon()).await.unwrap();
    assert_eq!(report.stdout, b"again\n");
    let stats = handle.stats();
    assert_eq!((stats.launcher_starts, stats.launcher_losses, stats.failed), (2, 1, 1));
}

#[actix::test]
async fn a_caller_who_leaves_frees_the_place_and_ends_the_run() {
    let (_root, handle) = start(ExecutionOptions { concurrency: 1, ..options() }).await;
    let owner = caller("ada");
    let run = Box::pin(handle.run(bash("sleep 60"), &owner, soon()));
    tokio::select! {
        report = run => panic!("it ended: {report:?}"),
        () = eventually("the run holds its place", || handle.stats().running == 1) => {}
    }
    eventually("the place is free", || handle.stats().running == 0).await;
    let report = handle.run(bash("echo next"), &owner, soon()).await.unwrap();
    assert_eq!(report.stdout, b"next\n");
}

#[actix::test]
async fn runs_beyond_the_places_wait_their_turn() {
    let (_root, handle) = start(options()).await;
    let runs: Vec<_> = (0..6)
        .map(|n| {
            let handle = handle.clone();
            let code = format!("sleep 0.05; echo {n}");
            tokio::spawn(async move { handle.run(bash(&code), &caller("ada"), soon()).await })
        })
        .collect();
    eventually("two run, others wait", || {
        let stats = handle.stats();
        assert!(stats.running <= 2);
        stats.running == 2 && stats.queued > 0
    })
    .await;
    for (n, run) in runs.into_iter().enumerate() {
        assert_eq!(run.await.unwrap().unwrap().stdout, format!("{n}\n").as_bytes());
    }
}

#[actix::test]
async fn a_run_that_would_outlast_its_deadline_ends_just_before_it() {
    let (_root, handle) = start(options()).await;
    let deadline = Deadline::after(Duration::from_millis(700));
    let report = handle.run(bash("echo part; sleep 60"), &caller("ada"), deadline).await.unwrap();
    assert_eq!((report.status, report.stdout.as_slice()), (Status::Timeout, &b"part\n"[..]));
    let past = handle.run(bash(""), &caller("ada"), Deadline::after(Duration::ZERO)).await;
    assert_eq!(past.unwrap_err().kind(), Kind::DeadlineExceeded);
}

#[actix::test]
async fn an_actor_that_crashes_comes_back_with_a_new_launcher() {
    let (_root, handle) = start(options()).await;
    assert!(handle.child.ask(Crash, soon()).await.is_err());
    eventually("another launcher runs", || handle.stats().launcher_starts == 2).await;
    let report = handle.run(bash("echo back"), &caller("ada"), soon()).await.unwrap();
    assert_eq!(report.stdout, b"back\n");
}

#[actix::test]
async fn a_server_without_a_launcher_starts_and_says_why_nothing_runs() {
    let absent = Some((PathBuf::from("/no/such/program"), Vec::new()));
    let (_root, handle) = start(ExecutionOptions { launcher: absent, ..options() }).await;
    assert!(!handle.capabilities().can_isolate);
    assert_eq!(handle.capabilities().missing().len(), 1);
    let deadline = Deadline::after(Duration::from_millis(200));
    let error = handle.run(bash(""), &caller("ada"), deadline).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}

#[actix::test]
async fn a_run_described_wrongly_is_the_callers_mistake() {
    let (_root, handle) = start(options()).await;
    let mut bad = bash("");
    bad.limits.pids = 0;
    let error = handle.run(bad, &caller("ada"), soon()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::InvalidInput, Retry::Never));
    assert!(error.public().contains("limits.pids"), "{}", error.public());
}
