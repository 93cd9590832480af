//! Each limit stops the run, says so, and keeps what was printed before.

use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::CellError;
use ultimate_mcp_sandbox::spec::{Language, Status};

use crate::harness::{link, run, spec, text, try_run};

#[tokio::test]
async fn the_wall_clock_ends_a_sleeper_on_time_and_keeps_its_output() {
    let link = link().await;
    let mut sleeper = spec(Language::Python, "import time\nprint('before')\ntime.sleep(60)");
    sleeper.limits.wall = Duration::from_millis(500);
    let report = run(&link, sleeper).await;
    assert_eq!((report.status, text(&report.stdout).as_str()), (Status::Timeout, "before\n"));
    // 10 ms is typical; a loaded machine gets more before this counts as broken.
    let over = report.duration.saturating_sub(Duration::from_millis(500));
    assert!(over < Duration::from_millis(150), "{over:?} over");
}

#[tokio::test]
async fn the_wall_clock_ends_a_tree_that_ignores_signals_and_detaches() {
    let link = link().await;
    let code = "trap '' TERM INT HUP; for i in 1 2 3; do setsid sh -c 'trap \"\" TERM; sleep 60' & done; sleep 60";
    let mut tree = spec(Language::Bash, code);
    tree.limits.wall = Duration::from_millis(300);
    let began = Instant::now();
    assert_eq!(run(&link, tree).await.status, Status::Timeout);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_daemon_left_behind_ends_with_the_program() {
    let link = link().await;
    let began = Instant::now();
    let report = run(&link, spec(Language::Bash, "(setsid sleep 60 &) ; echo done")).await;
    assert_eq!((report.status, text(&report.stdout).as_str()), (Status::Ok, "done\n"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn processor_time_of_the_whole_tree_is_bounded() {
    let link = link().await;
    let mut busy = spec(Language::Bash, "for i in 1 2 3 4; do (while :; do :; done) & done; wait");
    busy.limits.cpu = Duration::from_millis(400);
    let report = run(&link, busy).await;
    assert_eq!(report.status, Status::Timeout, "{report:?}");
    assert!(report.message.unwrap().contains("processor time"));
    assert!(
        report.cpu >= Duration::from_millis(400) && report.cpu < Duration::from_millis(700),
        "{:?}",
        report.cpu
    );
}

#[tokio::test]
async fn the_processor_share_is_bounded() {
    let link = link().await;
    let mut busy =
        spec(Language::Python, "import time\nt=time.time()\nwhile time.time()-t<1: pass");
    busy.limits.cpu_milli = 200;
    let report = run(&link, busy).await;
    assert!(
        report.cpu < Duration::from_millis(450),
        "{:?} of processor time in a second",
        report.cpu
    );
}

#[tokio::test]
async fn memory_is_bounded_and_its_end_has_a_name() {
    let link = link().await;
    let mut hungry = spec(Language::Python, "print('before')\nx = bytearray(500 << 20)");
    hungry.limits.memory_bytes = 64 << 20;
    let report = run(&link, hungry).await;
    assert_eq!(
        (report.status, text(&report.stdout).as_str()),
        (Status::Oom, "before\n"),
        "{report:?}"
    );
    assert!(report.memory_peak_bytes.unwrap() <= 65 << 20);
}

#[tokio::test]
async fn memory_on_private_file_systems_counts_too() {
    let link = link().await;
    let mut hungry = spec(Language::Bash, "head -c 200M /dev/zero > /dev/shm/x");
    (hungry.limits.memory_bytes, hungry.limits.disk_bytes) = (48 << 20, 400 << 20);
    let report = run(&link, hungry).await;
    assert_eq!(report.status, Status::Oom, "{report:?}");
}

#[tokio::test]
async fn processes_are_bounded() {
    let link = link().await;
    let code = "import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0:\n      time.sleep(20)\n      os._exit(0)\n    n += 1\nexcept OSError as e:\n  print(n, e.errno)";
    let mut forks = spec(Language::Python, code);
    forks.limits.pids = 10;
    let report = run(&link, forks).await;
    assert_eq!(text(&report.stdout), "9 11\n", "{report:?}");
}

#[tokio::test]
async fn a_fork_bomb_is_over_with_its_run() {
    let link = link().await;
    let mut bomb = spec(Language::Bash, ":(){ :|:& };:; sleep 10");
    (bomb.limits.wall, bomb.limits.pids) = (Duration::from_millis(400), 64);
    let began = Instant::now();
    let report = run(&link, bomb).await;
    assert!(matches!(report.status, Status::Timeout | Status::OutputLimit), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(run(&link, spec(Language::Bash, "echo next")).await.status, Status::Ok);
}

#[tokio::test]
async fn output_is_kept_to_the_byte_and_then_ends_the_run() {
    let link = link().await;
    for (code, exact) in [("yes", false), ("yes >&2", false), ("head -c 10000 /dev/zero", true)] {
        let mut loud = spec(Language::Bash, code);
        loud.limits.output_bytes = 10_000;
        let began = Instant::now();
        let report = run(&link, loud).await;
        let kept = report.stdout.len().max(report.stderr.len());
        assert_eq!(kept, 10_000, "{code}");
        let (status, cut) = if exact { (Status::Ok, false) } else { (Status::OutputLimit, true) };
        assert_eq!(report.status, status, "{code}");
        assert_eq!(report.stdout_truncated || report.stderr_truncated, cut, "{code}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn disk_and_files_are_bounded_over_all_private_places() {
    let link = link().await;
    let code = "for d in /box /tmp /dev/shm; do head -c 3M /dev/zero > $d/x 2>/dev/null || echo full $d; done\n\
        i=0; while : > /tmp/f$i; do i=$((i+1)); done 2>/dev/null; [ $i -lt 20000 ] && echo bounded";
    let mut full = spec(Language::Bash, code);
    full.limits.disk_bytes = 4 << 20;
    let report = run(&link, full).await;
    assert_eq!(text(&report.stdout), "full /tmp\nfull /dev/shm\nbounded\n", "{report:?}");
}

#[tokio::test]
async fn a_run_described_wrongly_is_refused_with_the_mending() {
    let link = link().await;
    let mut bad = spec(Language::Bash, "");
    bad.limits.wall = Duration::ZERO;
    let error = try_run(&link, bad).await.unwrap_err();
    assert!(matches!(&error, CellError::InvalidSpec(m) if m.contains("limits.wall")), "{error}");
    let mut bad = spec(Language::Bash, &"x".repeat(2 << 20));
    bad.limits.disk_bytes = 1 << 20;
    let error = try_run(&link, bad).await.unwrap_err();
    assert!(matches!(&error, CellError::InvalidSpec(m) if m.contains("disk_bytes")), "{error}");
    let mut bad = spec(Language::Bash, "");
    bad.argv = vec!["bash".into()];
    assert!(matches!(try_run(&link, bad).await, Err(CellError::InvalidSpec(_))));
}
