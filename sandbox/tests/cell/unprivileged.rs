//! The cell as an ordinary user without rights over control groups: refused unless allowed, and then
//! honest about what is best effort. Runs this binary again as uid 65534.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ultimate_mcp_sandbox::spec::{Language, Status};
use ultimate_mcp_sandbox::{CellError, LauncherOptions, Link};

use crate::harness::{bash, options, python, run, spec, text, try_run};

/// Repeats one test of this binary as nobody; true when this is already the repetition.
fn as_nobody(test: &str) -> bool {
    as_nobody_in(test, None)
}

/// The same, inside a control group.
fn as_nobody_in(test: &str, group: Option<&Path>) -> bool {
    if std::env::var_os("CELL_TEST_AS_NOBODY").is_some() {
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    // The build directory may lie where others cannot look: copy both programs to a place of theirs.
    let place = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    };
    open(place.path());
    let test_binary = place.path().join("test");
    let launcher = place.path().join("launcher");
    for (from, to) in
        [(std::env::current_exe().unwrap(), &test_binary), (options().program, &launcher)]
    {
        std::fs::copy(from, to).unwrap();
        open(to);
    }
    let enter = "[ -z \"$0\" ] || echo $$ > \"$0/cgroup.procs\"; exec setpriv \"$@\"";
    let output = Command::new("sh")
        .args(["-c", enter])
        .arg(group.unwrap_or(Path::new("")))
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"])
        .arg(&test_binary)
        .args(["--exact", "--nocapture", test])
        .env("CELL_TEST_AS_NOBODY", "1")
        .env("CELL_TEST_LAUNCHER", &launcher)
        .current_dir("/")
        .output()
        .expect("setpriv is installed (util-linux)");
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

async fn degraded() -> Link {
    Link::spawn(LauncherOptions { allow_degraded: true, ..options() }).await.unwrap()
}

#[tokio::test]
async fn an_ordinary_user_is_refused_until_degraded_is_allowed() {
    if !as_nobody("unprivileged::an_ordinary_user_is_refused_until_degraded_is_allowed") {
        return;
    }
    let link = Link::spawn(options()).await.unwrap();
    let capabilities = link.capabilities();
    assert!(capabilities.can_isolate && !capabilities.hard_limits, "{capabilities:#?}");
    let error = try_run(&link, spec(Language::Bash, "")).await.unwrap_err();
    let CellError::IsolationUnavailable(message) = error else { panic!("{error}") };
    assert!(message.contains("allow_degraded"), "{message}");
    let report = python(&degraded().await, "print(1)").await;
    assert_eq!((report.status, text(&report.stdout).as_str()), (Status::Ok, "1\n"), "{report:?}");
    assert!(
        !report.isolation.hard_limits && report.isolation.degraded.len() >= 3,
        "{:?}",
        report.isolation
    );
}

#[tokio::test]
async fn an_ordinary_users_cell_confines_all_the_same() {
    if !as_nobody("unprivileged::an_ordinary_users_cell_confines_all_the_same") {
        return;
    }
    let link = degraded().await;
    let code = "id -u; grep CapEff /proc/self/status; ls / | tr '\\n' ' '; touch /usr/x 2>/dev/null || echo ro\n\
        ls -d /proc/[0-9]* | wc -l; cat /proc/1/environ 2>/dev/null | wc -c; kill -9 1 2>/dev/null; echo alive";
    let report = bash(&link, code).await;
    let out = text(&report.stdout);
    assert!(out.starts_with("1000\nCapEff:\t0000000000000000\n"), "{report:?}");
    assert!(out.contains("\nro\n") || out.contains(" ro\n"), "{out}");
    assert!(out.ends_with("\n0\nalive\n") && !out.contains("home"), "{out}");
}

#[tokio::test]
async fn an_ordinary_users_limits_hold_as_far_as_they_go() {
    if !as_nobody("unprivileged::an_ordinary_users_limits_hold_as_far_as_they_go") {
        return;
    }
    let link = degraded().await;
    let mut sleeper = spec(Language::Bash, "echo x; sleep 60");
    sleeper.limits.wall = Duration::from_millis(400);
    assert_eq!(run(&link, sleeper).await.status, Status::Timeout);
    let mut busy = spec(Language::Bash, "for i in 1 2; do (while :; do :; done) & done; wait");
    busy.limits.cpu = Duration::from_millis(500);
    assert_eq!(run(&link, busy).await.status, Status::Timeout);
    let code = "import os, time\nx = bytearray(40 << 20)\nfor i in range(4):\n  if os.fork() == 0:\n    y = bytearray(b'x' * (40 << 20))\n    time.sleep(20)\ntime.sleep(20)";
    let mut hungry = spec(Language::Python, code);
    hungry.limits.memory_bytes = 128 << 20;
    assert_eq!(run(&link, hungry).await.status, Status::Oom);
    let code = "import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0:\n      time.sleep(20)\n    n += 1\nexcept OSError as e:\n  print(n < 12, e.errno)";
    let mut forks = spec(Language::Python, code);
    forks.limits.pids = 10;
    assert_eq!(text(&run(&link, forks).await.stdout), "True 11\n");
}

#[tokio::test]
async fn a_launcher_killed_takes_an_ordinary_users_runs_along() {
    if !as_nobody("unprivileged::a_launcher_killed_takes_an_ordinary_users_runs_along") {
        return;
    }
    let link = degraded().await;
    let pid = rustix::process::Pid::from_raw(link.launcher_pid().cast_signed()).unwrap();
    let sink_link = link.clone();
    let (begun, on_begun) = tokio::sync::oneshot::channel();
    let begun = std::sync::Mutex::new(Some(begun));
    let options = ultimate_mcp_sandbox::client::RunOptions {
        sink: Some(std::sync::Arc::new(move |_, _: &[u8]| {
            if let Some(begun) = begun.lock().unwrap().take() {
                let _ = begun.send(());
            }
        })),
        ..Default::default()
    };
    let in_hand = tokio::spawn(async move {
        sink_link.run(spec(Language::Bash, "echo; sleep 100"), options).await
    });
    on_begun.await.unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // The pipes' writers are the run itself: the answer comes only once its tree is dead.
    assert!(matches!(in_hand.await.unwrap(), Err(CellError::LauncherLost)));
}

#[tokio::test]
async fn without_control_groups_root_is_refused_too() {
    let without = || LauncherOptions { without_cgroups: true, ..options() };
    let link = Link::spawn(without()).await.unwrap();
    assert!(matches!(
        try_run(&link, spec(Language::Bash, "")).await,
        Err(CellError::IsolationUnavailable(_))
    ));
    let link = Link::spawn(LauncherOptions { allow_degraded: true, ..without() }).await.unwrap();
    let report = bash(&link, "echo 1").await;
    assert_eq!(report.status, Status::Ok);
    assert!(report.isolation.degraded.iter().any(|line| line.contains("memory")), "{report:?}");
}

#[test]
fn the_doctor_names_each_missing_thing_with_its_remedy() {
    let without = LauncherOptions { without_cgroups: true, ..options() };
    let capabilities = ultimate_mcp_sandbox::probe::capabilities(&without).unwrap();
    assert!(capabilities.can_isolate && !capabilities.hard_limits);
    for item in capabilities.items {
        assert_eq!(item.available, item.remedy.is_empty(), "{item:?}");
        assert!(!item.remedy.contains('\n') && !item.detail.contains('\n'));
    }
}

/// A v2 group of its own, given to nobody as a service manager gives one away (cgroup(7), "Delegation").
struct Delegated(PathBuf);

impl Delegated {
    /// `None` where there is no v2 hierarchy, or no right to make a group in it.
    fn new(name: &str, whole: bool) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let point = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let point = words.next()?;
            (words.next() == Some("cgroup2")).then(|| PathBuf::from(point))
        })?;
        let group = point.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir(&group).ok()?;
        let group = Self(group);
        let files = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
        for file in if whole { &files[..] } else { &files[..1] } {
            std::os::unix::fs::chown(group.0.join(file), Some(65534), Some(65534)).unwrap();
        }
        Some(group)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        // The last of its processes may still be on their way out.
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir(&self.0).is_err() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_delegated_group_is_used_for_what_it_grants() {
    let group = Delegated::new("cell-test-whole", true);
    let group = group.as_ref().map(|group| group.0.as_path());
    if !as_nobody_in("unprivileged::a_delegated_group_is_used_for_what_it_grants", group) {
        return;
    }
    let link = degraded().await;
    let capabilities = link.capabilities();
    let kill = capabilities.items.iter().find(|item| item.name == "atomic kill").unwrap();
    assert!(kill.available, "{capabilities:#?}");
    assert_eq!(bash(&link, "echo 1").await.status, Status::Ok);
}

#[tokio::test]
async fn a_group_that_cannot_be_joined_is_not_relied_on() {
    let group = Delegated::new("cell-test-half", false);
    let group = group.as_ref().map(|group| group.0.as_path());
    if !as_nobody_in("unprivileged::a_group_that_cannot_be_joined_is_not_relied_on", group) {
        return;
    }
    let link = degraded().await;
    let capabilities = link.capabilities();
    let kill = capabilities.items.iter().find(|item| item.name == "atomic kill").unwrap();
    assert!(!kill.available && kill.detail.starts_with("not usable"), "{capabilities:#?}");
    assert_eq!(bash(&link, "echo 1").await.status, Status::Ok);
}
