//! Hostile descriptions of a run, as a careless or captured server might pass them on: paths, names,
//! arguments and bounds. Each is refused or runs harmlessly; the launcher lives and nothing is written
//! outside the cell.

use std::path::Path;
use std::time::Duration;

use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::spec::{InputFile, Language, Limits, RunReport, RunSpec, Status};
use ultimate_mcp_sandbox::{CellError, Link};

use crate::host::{self, Host};
use crate::options;

fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(10),
        cpu: Duration::from_secs(10),
        memory_bytes: 256 << 20,
        pids: 64,
        output_bytes: 64 << 10,
        disk_bytes: 16 << 20,
        cpu_milli: 2000,
    }
}

fn spec(code: &str, files: Vec<InputFile>) -> RunSpec {
    Language::Bash
        .run_spec("test".into(), code, files, vec![], limits())
        .expect("bash is installed")
}

async fn link() -> Link {
    Link::spawn(options(true)).await.expect("the launcher starts")
}

async fn run(link: &Link, spec: RunSpec) -> Result<RunReport, CellError> {
    tokio::time::timeout(Duration::from_secs(60), link.run(spec, RunOptions::default()))
        .await
        .expect("an answer within a minute")
}

fn file(path: impl Into<String>, content: &[u8]) -> InputFile {
    InputFile { path: path.into(), content: content.to_vec() }
}

/// The launcher still carries out an ordinary run.
async fn alive(link: &Link) {
    let report = run(link, spec("echo alive", vec![])).await.expect("the launcher lives");
    assert_eq!((report.status, report.stdout.as_slice()), (Status::Ok, b"alive\n".as_slice()));
}

#[tokio::test]
async fn input_files_cannot_leave_the_working_directory() {
    let (link, mut host) = (link().await, Host::new());
    let target = host.folder("target").join("planted");
    let absolute = target.to_str().expect("a plain path").to_owned();
    let up = format!("{}{absolute}", "../".repeat(40));
    for path in [absolute.clone(), up, format!("a/../../..{absolute}"), "..".into(), "a/..".into()]
    {
        let error = run(&link, spec("echo ran", vec![file(path.clone(), b"x")])).await.unwrap_err();
        assert!(matches!(error, CellError::InvalidSpec(_)), "{path}: {error}");
    }
    for path in ["", ".", "/", "a//b", "a/", "./a", "a\0b", "a/./b"] {
        let error = run(&link, spec("echo ran", vec![file(path, b"x")])).await.unwrap_err();
        assert!(matches!(error, CellError::InvalidSpec(_)), "{path:?}: {error}");
    }
    assert!(!target.exists());
    assert_eq!(host.damage(), Vec::<String>::new());
    alive(&link).await;
}

#[tokio::test]
async fn colliding_and_odd_input_files_harm_nobody() {
    let link = link().await;
    let long = "d".repeat(255);
    let cases = [
        vec![file("a", b"1"), file("a/b", b"2")],
        vec![file("a/b", b"1"), file("a", b"2")],
        vec![file("a", b"1"), file("a", b"2")],
        vec![file("out", b"a file where the folder should be")],
        vec![file("out/planted", b"an artifact that no program made")],
        vec![file("main.sh", b"echo replaced")],
        vec![file("main.sh/x", b"a folder where the program should be")],
        vec![file(format!("{long}/{long}/{long}"), b"long")],
        vec![file("x".repeat(256), b"too long for one name")],
        vec![file("new\nline\u{1b}[31m\u{202e}", b"control characters")],
        vec![file("proc/self/root/etc/planted", b"looks like a link")],
        (0..1024).map(|n| file(format!("{n}/{n}/{n}"), b"")).collect(),
        (0..20_000).map(|n| file(n.to_string(), b"")).collect(),
        vec![file("huge", &vec![b'x'; 17 << 20])],
        vec![file(vec!["d"; 600].join("/"), b"deep")],
    ];
    for files in cases {
        let first = files[0].path.escape_debug().to_string();
        let shown: String = first.chars().take(40).collect();
        match run(&link, spec("echo ran; echo replaced > out/x", files)).await {
            Err(CellError::InvalidSpec(_)) => {}
            Err(error) => assert!(
                !matches!(error, CellError::LauncherLost | CellError::Busy),
                "{shown}: {error}"
            ),
            Ok(report) => {
                let code = report.return_code;
                assert!(!report.stdout.starts_with(b"replaced"), "{shown}: {report:?}");
                assert!(code == Some(0) || report.status != Status::Ok, "{shown}: {report:?}");
            }
        }
        alive(&link).await;
    }
}

#[tokio::test]
async fn the_name_of_an_execution_is_never_a_path() {
    let (link, mut host) = (link().await, Host::new());
    let target = host.folder("named");
    let path = target.join("x").to_str().expect("a plain path").to_owned();
    for name in [
        path.as_str(),
        "../../../../../tmp",
        "..",
        "",
        "a/b",
        "new\nline",
        "\0",
        &"x".repeat(70_000),
    ] {
        let mut spec = spec("echo ran", vec![]);
        spec.execution_id = name.to_owned();
        match run(&link, spec).await {
            Ok(report) => assert_eq!(report.stdout, b"ran\n"),
            Err(error) => assert!(matches!(error, CellError::InvalidSpec(_)), "{name:?}: {error}"),
        }
    }
    assert_eq!(std::fs::read_dir(&target).expect("still a folder").count(), 0);
    assert_eq!(host.damage(), Vec::<String>::new());
    alive(&link).await;
}

#[tokio::test]
async fn hostile_arguments_and_variables_stay_inside() {
    let link = link().await;
    let programs =
        ["/proc/self/exe", "/box/out", "/dev/null", "/nothing", "bash", "", "/usr/../../bin/sh\n"];
    for program in programs {
        let mut spec = spec("echo ran", vec![]);
        spec.argv = vec![program.to_owned()];
        match run(&link, spec).await {
            Ok(report) => assert_ne!(report.status, Status::Ok, "{program}: {report:?}"),
            Err(error) => assert!(matches!(error, CellError::InvalidSpec(_)), "{program}: {error}"),
        }
    }
    for variable in [("A=B", "x"), ("", "x"), ("A\0", "x"), ("A", "x\0LD_PRELOAD=/box/evil.so")] {
        let mut spec = spec("env", vec![]);
        spec.env.push((variable.0.to_owned(), variable.1.to_owned()));
        let error = run(&link, spec).await.unwrap_err();
        assert!(matches!(error, CellError::InvalidSpec(_)), "{variable:?}: {error}");
    }
    let mut many = spec("echo ran", vec![]);
    many.argv.extend((0..100_000).map(|n| n.to_string()));
    assert!(matches!(run(&link, many).await, Err(CellError::InvalidSpec(_))));
    let mut long = spec("echo ran", vec![]);
    long.argv.push("x".repeat(400_000));
    match run(&link, long).await {
        Err(CellError::InvalidSpec(_)) => {}
        other => assert!(other.is_ok_and(|report| report.status != Status::Ok)),
    }
    alive(&link).await;
}

#[tokio::test]
async fn bounds_at_their_edges_neither_hang_nor_open_the_cell() {
    let link = link().await;
    let change: [fn(&mut Limits); 12] = [
        |l| l.wall = Duration::ZERO,
        |l| l.wall = Duration::MAX,
        |l| l.wall = Duration::from_nanos(1),
        |l| l.cpu = Duration::ZERO,
        |l| l.memory_bytes = 0,
        |l| l.memory_bytes = u64::MAX,
        |l| l.pids = 0,
        |l| l.pids = u32::MAX,
        |l| l.output_bytes = 0,
        |l| l.disk_bytes = 0,
        |l| l.disk_bytes = u64::MAX,
        |l| l.cpu_milli = 0,
    ];
    for (number, change) in change.into_iter().enumerate() {
        let mut spec = spec("echo ran", vec![]);
        change(&mut spec.limits);
        match run(&link, spec).await {
            Ok(report) => assert!(report.stdout.len() <= 4, "{number}: {report:?}"),
            Err(CellError::LauncherLost) => panic!("{number}: the launcher died"),
            Err(_) => {}
        }
        alive(&link).await;
    }
}

#[tokio::test]
async fn a_dropped_run_dies_at_once_and_its_slot_is_free_again() {
    let link = link().await;
    for turn in 0..6 {
        let mark = format!("drop{:x}-{turn}", std::process::id() & 0xffff);
        let code = format!(
            "echo started; (setsid bash -c 'exec -a {mark} sleep 60' &); exec -a {mark} sleep 60"
        );
        let ready = std::sync::Arc::new(tokio::sync::Notify::new());
        let told = std::sync::Arc::clone(&ready);
        let sink: ultimate_mcp_sandbox::client::OutputSink =
            std::sync::Arc::new(move |_, _| told.notify_one());
        let options = RunOptions { sink: Some(sink), ..RunOptions::default() };
        tokio::select! {
            report = link.run(spec(&code, vec![]), options) => panic!("ended: {report:?}"),
            () = ready.notified() => {}
        }
        assert!(crate::soon(|| host::survivors(&mark).is_empty()).await, "{mark} lives on");
    }
    alive(&link).await;
}

#[tokio::test]
async fn a_killed_launcher_takes_its_runs_along() {
    let link = link().await;
    let mark = format!("lost{:x}", std::process::id() & 0xffff);
    let code = format!(
        "echo started; (setsid bash -c 'exec -a {mark} sleep 60' &); exec -a {mark} sleep 60"
    );
    let ready = std::sync::Arc::new(tokio::sync::Notify::new());
    let told = std::sync::Arc::clone(&ready);
    let sink: ultimate_mcp_sandbox::client::OutputSink =
        std::sync::Arc::new(move |_, _| told.notify_one());
    let options = RunOptions { sink: Some(sink), ..RunOptions::default() };
    let launcher = link.launcher_pid();
    let kill = async {
        ready.notified().await;
        let pid = i32::try_from(launcher).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    };
    let (result, ()) = tokio::join!(link.run(spec(&code, vec![]), options), kill);
    assert!(matches!(result, Err(CellError::LauncherLost)), "{result:?}");
    assert!(crate::soon(|| host::survivors(&mark).is_empty()).await, "the run lives on");
    assert!(crate::soon(|| !Path::new(&format!("/proc/{launcher}")).exists()).await);
}
