//! Sandboxes that stay: what lives on between steps, what ends them, and what they cannot do to their
//! supervisor.

use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::client::files::{EntryKind, FileError};
use ultimate_mcp_sandbox::client::{Session, Step, WriteError};
use ultimate_mcp_sandbox::spec::{InputFile, Language, Limits, Status};
use ultimate_mcp_sandbox::step::{End, StepReport};
use ultimate_mcp_sandbox::{CellError, LauncherOptions, Link};

use crate::harness::{limits, link, options, text};

/// Left of the processors between steps.
const REST: u32 = 100;

fn life() -> Limits {
    Limits { wall: Duration::from_secs(60), cpu: Duration::from_secs(30), ..limits() }
}

async fn open_with(link: &Link, limits: Limits) -> Result<Session, CellError> {
    let spec = Language::Python.sandbox_spec("test".into(), limits).expect("installed");
    link.open(spec.expect("Python has a driver"), REST).await
}

async fn open(link: &Link) -> Session {
    open_with(link, life()).await.expect("the sandbox opens")
}

async fn step_in(session: &Session, code: &str, wall: Duration) -> StepReport {
    let step = Step { code: code.into(), wall, output_bytes: 64 << 10 };
    session.step(&step).await.expect("the sandbox lives")
}

async fn step(session: &Session, code: &str) -> StepReport {
    step_in(session, code, Duration::from_secs(10)).await
}

/// The text of the value of a step that must succeed.
async fn value(session: &Session, code: &str) -> String {
    let report = step(session, code).await;
    assert_eq!(report.status, Status::Ok, "{code}: {report:?}\n{}", text(&report.stderr));
    report.value.map(|value| value.text).unwrap_or_default()
}

#[tokio::test]
async fn variables_live_on_and_the_last_value_comes_back() {
    let link = link().await;
    let session = open(&link).await;
    assert_eq!(value(&session, "import math; x = 20").await, "");
    assert_eq!(value(&session, "x += 1\nx * 2").await, "42");
    let report = step(&session, "print('out'); import sys; print('err', file=sys.stderr); x").await;
    assert_eq!((text(&report.stdout), text(&report.stderr)), ("out\n".into(), "err\n".into()));
    assert!(report.cpu > Duration::ZERO && report.duration > Duration::ZERO, "{report:?}");
    assert!(report.memory_peak_bytes.is_some_and(|peak| peak > 1 << 20), "{report:?}");
    let defined = "class A:\n  def __repr__(self): return 'an A'\n  def _repr_html_(self): return '<b>A</b>'\n  \
                   def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\nrest'\nA()";
    let report = step(&session, defined).await.value.unwrap();
    assert_eq!((report.text.as_str(), report.html.as_deref()), ("an A", Some("<b>A</b>")));
    assert_eq!(report.png.as_deref(), Some(b"\x89PNG\r\n\x1a\nrest".as_slice()));
    let long = step(&session, "'x' * 1_000_000").await.value.unwrap();
    assert!(long.text_truncated && long.text.len() == 256 << 10, "{}", long.text.len());
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_sandbox_alive() {
    let link = link().await;
    let session = open(&link).await;
    let report = step(&session, "kept = 7\ndef f():\n    raise ValueError('no')\nf()").await;
    assert_eq!(report.status, Status::Error);
    let error = report.error.unwrap();
    assert_eq!((error.name.as_str(), error.message.as_str()), ("ValueError", "no"));
    let told = text(&report.stderr);
    assert!(told.contains("line 3, in f\n    raise ValueError('no')"), "{told}");
    assert!(!told.contains("<string>"), "the driver shows: {told}");
    let report = step(&session, "x = (").await;
    assert_eq!(
        (report.status, report.error.unwrap().name.as_str()),
        (Status::Error, "SyntaxError")
    );
    for (code, status, left) in [
        ("import sys; sys.exit()", Status::Ok, 0),
        ("exit(3)", Status::Error, 3),
        ("raise SystemExit('bye')", Status::Error, 1),
    ] {
        let report = step(&session, code).await;
        assert_eq!((report.status, report.return_code), (status, Some(left)), "{code}");
    }
    assert_eq!(value(&session, "kept").await, "7");
}

#[tokio::test]
async fn a_step_past_its_deadline_is_interrupted_and_the_sandbox_lives_on() {
    let link = link().await;
    let session = open(&link).await;
    for code in [
        "kept = 1\nwhile True: pass",
        "import time; time.sleep(50)",
        "import os; os.system('sleep 50')",
        "import subprocess; subprocess.run(['sleep', '50'])",
        "class A:\n  def __repr__(self):\n    while True: pass\nA()",
    ] {
        let began = Instant::now();
        let report = step_in(&session, code, Duration::from_millis(300)).await;
        assert_eq!((report.status, &report.ended), (Status::Timeout, &None), "{code}: {report:?}");
        assert!(began.elapsed() < Duration::from_millis(1300), "{code}: {:?}", began.elapsed());
    }
    assert_eq!(value(&session, "kept").await, "1");
}

#[tokio::test]
async fn an_interrupt_that_comes_before_its_step_has_begun_is_not_lost_and_reaches_no_other() {
    let link = link().await;
    let session = open(&link).await;
    // Long, so that its interrupt comes while it is still being read.
    let endless = format!("#{}\nwhile True: pass", "x".repeat(500_000));
    for micros in (0..2000).step_by(40) {
        let report = step_in(&session, &endless, Duration::from_micros(micros)).await;
        assert_eq!(
            (report.status, &report.ended),
            (Status::Timeout, &None),
            "{micros}: {report:?}"
        );
        assert_eq!(value(&session, "1 + 1").await, "2", "after {micros}");
        // Its end and its interrupt may cross: either way the next one is left alone.
        let _ = step_in(&session, "pass", Duration::from_micros(micros)).await;
        assert_eq!(value(&session, "1 + 1").await, "2", "after {micros}");
    }
}

#[tokio::test]
async fn a_step_that_ignores_its_interrupt_takes_the_sandbox_with_it() {
    let link = link().await;
    for code in [
        "import time\nwhile True:\n  try: time.sleep(50)\n  except KeyboardInterrupt: pass",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {2})\nwhile True: pass",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    ] {
        let session = open(&link).await;
        let began = Instant::now();
        let report = step_in(&session, code, Duration::from_millis(200)).await;
        assert_eq!(
            (report.status, report.ended),
            (Status::Timeout, Some(End::StepOverran)),
            "{code}"
        );
        assert!(began.elapsed() < Duration::from_millis(2500), "{code}: {:?}", began.elapsed());
        assert_eq!(session.end(), Some(End::StepOverran));
        let again = Step { code: "1".into(), wall: Duration::from_secs(1), output_bytes: 1 };
        assert_eq!(session.step(&again).await.unwrap_err(), End::StepOverran);
    }
}

#[tokio::test]
async fn a_step_that_floods_its_output_is_cut_and_interrupted() {
    let link = link().await;
    let session = open(&link).await;
    let report = step(&session, "while True: print('x' * 1000)").await;
    assert_eq!(
        (report.status, report.stdout.len()),
        (Status::OutputLimit, 64 << 10),
        "{:?}",
        report.message
    );
    assert!(report.stdout_truncated && !report.stderr_truncated && report.ended.is_none());
    assert_eq!(value(&session, "1 + 1").await, "2");
}

#[tokio::test]
async fn limits_hold_for_the_whole_life_and_name_the_end() {
    let link = link().await;
    let small = || Limits { memory_bytes: 64 << 20, ..life() };
    let session = open_with(&link, small()).await.unwrap();
    assert_eq!(value(&session, "a = bytearray(20 << 20)").await, "");
    let report = step(&session, "b = bytearray(100 << 20)").await;
    assert_eq!((report.status, report.ended), (Status::Oom, Some(End::Memory)));

    let session =
        open_with(&link, Limits { cpu: Duration::from_millis(400), ..life() }).await.unwrap();
    assert_eq!(value(&session, "1").await, "1");
    let report = step(&session, "while True: pass").await;
    assert_eq!((report.status, report.ended), (Status::Timeout, Some(End::CpuTime)));

    let session =
        open_with(&link, Limits { wall: Duration::from_millis(700), ..life() }).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(10), session.ended()).await;
    assert_eq!(end, Ok(End::Lifetime));

    let report = step(&open(&link).await, "import os; os._exit(9)").await;
    assert_eq!((report.ended, report.return_code), (Some(End::Exited(9)), Some(9)));
    let report = step(&open(&link).await, "import os, signal; os.kill(os.getpid(), 11)").await;
    assert_eq!((report.status, report.ended), (Status::Killed, Some(End::Signalled(11))));
}

#[tokio::test]
async fn background_work_goes_on_between_steps_with_a_small_share() {
    let link = link().await;
    let session = open(&link).await;
    let code = "import threading\nn = 0\ndef count():\n  global n\n  while True: n += 1\n\
                threading.Thread(target=count, daemon=True).start()";
    value(&session, code).await;
    let before: u64 = value(&session, "n").await.parse().unwrap();
    let until = Instant::now() + Duration::from_millis(1000);
    tokio::time::sleep_until(until.into()).await;
    let report = step(&session, "n").await;
    let after: u64 = report.value.unwrap().text.parse().unwrap();
    assert!(after > before, "{before} {after}");
    // A tenth of one processor over a second, and what the two steps themselves took.
    assert!(report.cpu < Duration::from_millis(400), "{:?}", report.cpu);
}

#[tokio::test]
async fn files_go_in_and_come_out_without_following_anything() {
    let link = link().await;
    let session = open(&link).await;
    let file =
        |path: &str, content: &[u8]| InputFile { path: path.into(), content: content.to_vec() };
    let wall = Duration::from_secs(5);
    let files = [file("data/in.csv", b"a,b\n"), file("empty", b""), file("big", &vec![7; 3 << 20])];
    session.write_files(&files, wall).await.unwrap();
    assert_eq!(
        value(&session, "open('data/in.csv').read(), len(open('big','rb').read())").await,
        "('a,b\\n', 3145728)"
    );
    assert_eq!(session.read_file("data/in.csv".into(), 100).await.unwrap(), b"a,b\n");
    let too_large = session.read_file("big".into(), 100).await.unwrap_err();
    assert_eq!(too_large, FileError::TooLarge { bytes: 3 << 20, most: 100 });
    let traps = "import os\nos.symlink('/etc/passwd', 'link')\nos.symlink('/etc', 'dir')\nos.mkfifo('fifo')\n\
                 os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 20 << 20)\nos.symlink('link', 'data/x')";
    value(&session, traps).await;
    for (path, most) in [
        ("link", 1 << 20),
        ("dir/passwd", 1 << 20),
        ("fifo", 1 << 20),
        ("sparse", 1 << 20),
        ("data", 10),
        ("absent", 10),
    ] {
        assert!(session.read_file(path.into(), most).await.is_err(), "{path} was read");
    }
    for path in ["/etc/passwd", "../x", "a/../../x", "", "."] {
        assert!(
            matches!(session.read_file(path.into(), 9).await, Err(FileError::Path(_))),
            "{path}"
        );
        assert!(session.write_files(&[file(path, b"x")], wall).await.is_err(), "{path}");
    }
    // What stands in the way is replaced or refused, never written through.
    session.write_files(&[file("link", b"mine"), file("fifo", b"plain")], wall).await.unwrap();
    assert_eq!(session.read_file("link".into(), 10).await.unwrap(), b"mine");
    for path in ["dir/passwd", "data"] {
        let error = session.write_files(&[file(path, b"x")], wall).await.unwrap_err();
        assert!(matches!(error, WriteError::Refused(_)), "{path}: {error}");
    }
    let listing = session.list_files(String::new()).await.unwrap();
    let kind =
        |path: &str| listing.entries.iter().find(|e| e.path == path).map(|e| (e.kind, e.bytes));
    assert_eq!(kind("data/in.csv"), Some((EntryKind::File, 4)));
    assert_eq!(kind("dir"), Some((EntryKind::Other, 0)));
    assert_eq!(kind("out"), Some((EntryKind::Directory, 0)));
    assert!(!listing.truncated && listing.entries.iter().all(|e| !e.path.starts_with("dir/")));
    assert_eq!(session.list_files("data".into()).await.unwrap().entries.len(), 2);
}

#[tokio::test]
async fn what_is_new_in_out_comes_with_each_step_and_with_the_close() {
    let link = link().await;
    let session = open(&link).await;
    let names =
        |report: &StepReport| report.artifacts.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
    let report = step(&session, "open('out/a', 'w').write('1')").await;
    assert_eq!(names(&report), ["a"]);
    let report = step(&session, "open('out/b', 'w').write('2')").await;
    assert_eq!(names(&report), ["b"]);
    assert!(step(&session, "1").await.artifacts.is_empty());
    let report = step(&session, "open('out/a', 'w').write('3')").await;
    assert_eq!(
        (names(&report), report.artifacts[0].content.as_slice()),
        (vec!["a".into()], b"3".as_slice())
    );
    value(&session, "import threading, time\ndef late():\n  time.sleep(0.2)\n  open('out/late', 'w').close()\nthreading.Thread(target=late).start()").await;
    let until = Instant::now() + Duration::from_secs(5);
    while session.read_file("out/late".into(), 1).await.is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (end, (files, _)) = session.close(End::Closed).await;
    assert_eq!((end, files.len(), files[0].name.as_str()), (End::Closed, 1, "late"));
}

#[tokio::test]
async fn forks_threads_and_children_of_the_user_neither_answer_nor_take_requests() {
    let link = link().await;
    let session = open(&link).await;
    assert_eq!(
        value(&session, "import os\npid = os.fork()\n'parent' if pid else 'child'").await,
        "'parent'"
    );
    assert_eq!(value(&session, "os.waitpid(pid, 0)[1]").await, "0");
    assert_eq!(value(&session, "from multiprocessing import get_context\nimport math\nwith get_context('fork').Pool(2) as p: r = p.map(math.sqrt, [1, 4, 9])\nr").await, "[1.0, 2.0, 3.0]");
    assert_eq!(value(&session, "import subprocess; subprocess.run('ls /proc/self/fd', shell=True, capture_output=True, text=True).stdout.split()").await.matches('\'').count(), 8);
    assert_eq!(value(&session, "import sys; sys.stdin.read()").await, "''");
}

#[tokio::test]
async fn a_launcher_killed_ends_every_sandbox_with_its_name() {
    let link = Link::spawn(LauncherOptions { spares: 0, ..options() }).await.unwrap();
    let (idle, busy) = (open(&link).await, open(&link).await);
    let pid = rustix::process::Pid::from_raw(link.launcher_pid().cast_signed()).unwrap();
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (report, ()) = tokio::join!(step(&busy, "while True: pass"), kill);
    assert_eq!((report.status, report.ended), (Status::SandboxError, Some(End::LauncherLost)));
    assert_eq!(idle.ended().await, End::LauncherLost);
}
