//! Births, ends and losses: of runs, of launchers, of servers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::options::SPARES_DEFAULT;
use ultimate_mcp_sandbox::spec::{Language, Status};
use ultimate_mcp_sandbox::{CellError, LauncherOptions, Link};

use crate::harness::{bash, link, options, run, spec, text, try_run};

/// Waits until `what` holds; the bound only limits how long a broken promise takes to show.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A launcher without spare sandboxes, whose children are runs and nothing else.
async fn bare_link() -> Link {
    Link::spawn(LauncherOptions { spares: 0, ..options() }).await.unwrap()
}

fn launcher(link: &Link) -> Pid {
    Pid::from_raw(link.launcher_pid().cast_signed()).unwrap()
}

/// Host processes below a process.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(pid) = waiting.pop() {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let list = fs::read_to_string(path).unwrap_or_default();
        for child in list.split_whitespace().filter_map(|word| word.parse().ok()) {
            found.push(child);
            waiting.push(child);
        }
    }
    found
}

fn alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Directories of a launcher in all control group hierarchies.
fn cgroups_of(launcher: u32) -> Vec<std::path::PathBuf> {
    fn walk(dir: &Path, name: &str, depth: u32, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if !path.is_dir() || path.is_symlink() {
                continue;
            }
            if entry.file_name().to_string_lossy().starts_with(name) {
                found.push(path.clone());
            }
            if depth > 0 {
                walk(&path, name, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &format!("ultimate-mcp-cell-{launcher}-"), 6, &mut found);
    found
}

/// Control groups of runs, and of sandboxes that wait for one.
fn run_groups(launcher: u32) -> usize {
    let tops = cgroups_of(launcher);
    let entries = tops.iter().flat_map(|top| fs::read_dir(top).into_iter().flatten().flatten());
    entries.filter(|entry| entry.path().is_dir()).count()
}

fn hierarchies(launcher: u32) -> usize {
    cgroups_of(launcher).len()
}

fn fds_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Descriptors that a launcher at rest holds: while it prepares a sandbox it holds some for a moment.
pub async fn steady_fds_of(launcher: u32) -> usize {
    let (mut held, mut same) = (fds_of(launcher), 0);
    while same < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = fds_of(launcher);
        (held, same) = (now, if now == held { same + 1 } else { 0 });
    }
    held
}

#[tokio::test]
async fn sixteen_runs_at_once_keep_their_own_output() {
    let link = link().await;
    let runs: Vec<_> = (0..16)
        .map(|n| {
            let link = link.clone();
            let code = format!(
                "sleep 0.1; echo {n}; head -c 100000 /dev/zero | tr '\\0' {n:x} | tail -c 5"
            );
            tokio::spawn(async move { bash(&link, &code).await })
        })
        .collect();
    for (n, run) in runs.into_iter().enumerate() {
        let digit = format!("{n:x}");
        assert_eq!(text(&run.await.unwrap().stdout), format!("{n}\n{}", digit.repeat(5)));
    }
}

#[tokio::test]
async fn more_runs_than_slots_are_refused_as_busy_and_slots_come_back() {
    let link = Link::spawn(LauncherOptions { runs_max: 1, spares: 0, ..options() }).await.unwrap();
    let first = {
        let link = link.clone();
        tokio::spawn(async move { bash(&link, "sleep 1").await })
    };
    eventually("the first run has begun", || !descendants(link.launcher_pid()).is_empty()).await;
    assert!(matches!(try_run(&link, spec(Language::Bash, "")).await, Err(CellError::Busy)));
    assert_eq!(first.await.unwrap().status, Status::Ok);
    assert_eq!(bash(&link, "").await.status, Status::Ok);
}

#[tokio::test]
async fn dropping_a_run_kills_its_tree() {
    let link = bare_link().await;
    let code = "for i in 1 2 3; do setsid sleep 100 & done; wait";
    let run = Box::pin(link.run(spec(Language::Bash, code), RunOptions::default()));
    let launcher = link.launcher_pid();
    tokio::select! {
        report = run => panic!("it ended: {report:?}"),
        () = eventually("the tree has grown", || descendants(launcher).len() >= 5) => {}
    }
    eventually("the tree is gone", || descendants(launcher).is_empty()).await;
    eventually("its control groups are gone", || run_groups(launcher) == 0).await;
    assert_eq!(bash(&link, "echo still here").await.status, Status::Ok);
}

#[tokio::test]
async fn a_launcher_killed_loses_only_the_runs_in_hand_and_their_trees_die() {
    // Without control groups nobody else can be what ends the tree: other launchers clean those up.
    for without_cgroups in [false, true] {
        let options = LauncherOptions {
            spares: 0,
            without_cgroups,
            allow_degraded: without_cgroups,
            ..options()
        };
        let link = Link::spawn(options.clone()).await.unwrap();
        let in_hand = {
            let link = link.clone();
            let run = spec(Language::Bash, "setsid sleep 100 & sleep 100");
            tokio::spawn(async move { try_run(&link, run).await })
        };
        let pid = link.launcher_pid();
        eventually("the run has begun", || descendants(pid).len() >= 4).await;
        let tree = descendants(pid);
        kill_process(launcher(&link), Signal::KILL).unwrap();
        assert!(matches!(in_hand.await.unwrap(), Err(CellError::LauncherLost)));
        link.closed().await;
        assert!(link.is_closed());
        let refused = try_run(&link, spec(Language::Bash, "")).await;
        assert!(matches!(refused, Err(CellError::LauncherLost)));
        eventually("its runs are dead", || tree.iter().all(|pid| !alive(*pid))).await;
        let next = Link::spawn(options).await.unwrap();
        assert_eq!(bash(&next, "echo on").await.status, Status::Ok);
        assert!(cgroups_of(pid).is_empty(), "left behind: {:?}", cgroups_of(pid));
    }
}

#[tokio::test]
async fn a_launcher_asked_to_end_cleans_up() {
    for dropped in [false, true] {
        let link = bare_link().await;
        let pid = link.launcher_pid();
        let in_hand = {
            let link = link.clone();
            tokio::spawn(async move { try_run(&link, spec(Language::Bash, "sleep 100")).await })
        };
        eventually("the run has begun", || descendants(pid).len() >= 2).await;
        let tree = descendants(pid);
        if dropped {
            in_hand.abort();
            let _ = in_hand.await;
            drop(link);
        } else {
            kill_process(launcher(&link), Signal::TERM).unwrap();
            assert!(in_hand.await.unwrap().is_err());
        }
        eventually("the launcher is gone", || !alive(pid)).await;
        assert!(tree.iter().all(|pid| !alive(*pid)));
        assert!(cgroups_of(pid).is_empty(), "left behind: {:?}", cgroups_of(pid));
    }
}

#[tokio::test]
async fn a_server_killed_takes_its_launcher_and_runs_along() {
    // The control socket of a dead server closes, whatever killed it: the same as dropping our end.
    let options = options();
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let mut child = std::process::Command::new(&options.program)
        .args(&options.args)
        .env_clear()
        .stdin(theirs)
        .spawn()
        .unwrap();
    drop(ours);
    eventually("the launcher has left", || !alive(child.id())).await;
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn a_launcher_that_is_spoken_to_in_gibberish_leaves() {
    let options = options();
    for gibberish in [&b"\x00"[..], b"hello", &[0x55, 0x43, 9, 9, 1], &[0xff; 4096]] {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let mut command = std::process::Command::new(&options.program);
        command.args(&options.args).env_clear().stdin(theirs).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        drop(command);
        rustix::io::write(&ours, gibberish).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{gibberish:?}");
    }
}

#[tokio::test]
async fn two_hundred_runs_leave_nothing_behind() {
    let link = link().await;
    let launcher = link.launcher_pid();
    let spares = usize::from(SPARES_DEFAULT);
    let settled = || {
        let groups = spares * hierarchies(launcher);
        descendants(launcher).len() == spares && run_groups(launcher) == groups
    };
    bash(&link, "").await;
    eventually("the first run is swept, the spares wait", settled).await;
    let before = (steady_fds_of(launcher).await, fds_of(std::process::id()), mounts(launcher));
    for round in 0..25 {
        let runs: Vec<_> = (0..8)
            .map(|n| {
                let link = link.clone();
                let kind = (round + n) % 4;
                tokio::spawn(async move {
                    let code = ["echo hi", "exit 3", "yes", "setsid sleep 9 & sleep 9"][kind];
                    let mut short = spec(Language::Bash, code);
                    (short.limits.output_bytes, short.limits.wall) =
                        (10_000, Duration::from_millis(400));
                    let _ = run(&link, short).await;
                })
            })
            .collect();
        for run in runs {
            run.await.unwrap();
        }
    }
    eventually("no process and no control group is left but the spares'", settled).await;
    eventually("no descriptor and no mount is left", || {
        let now = (fds_of(launcher), fds_of(std::process::id()), mounts(launcher));
        // Other tests of this binary open descriptors of their own meanwhile.
        now.0 == before.0 && now.1 <= before.1 + 200 && now.2 == before.2
    })
    .await;
}

fn mounts(pid: u32) -> usize {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default().lines().count()
}
