//! What a run leaves in `out/` comes back; what it sets as a trap there does not spring.

use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::spec::{Language, RunReport, Status};

use crate::harness::{bash, link, python, run, spec};

fn names(report: &RunReport) -> Vec<&str> {
    report.artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
}

#[tokio::test]
async fn files_come_back_with_their_content_and_hash() {
    let link = link().await;
    let report =
        bash(&link, "mkdir -p out/a/b; printf one > out/a/b/x.txt; printf '' > out/empty").await;
    assert_eq!(names(&report), ["a/b/x.txt", "empty"]);
    assert_eq!(report.artifacts[0].content, b"one");
    // printf one | sha256sum
    let one = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    assert_eq!(report.artifacts[0].sha256, one);
    assert!(report.artifact_notes.is_empty());
}

#[tokio::test]
async fn artifacts_of_a_killed_run_come_back_too() {
    let link = link().await;
    let mut killed = spec(Language::Bash, "echo part > out/x; sleep 60");
    killed.limits.wall = Duration::from_millis(300);
    let report = run(&link, killed).await;
    assert_eq!((report.status, names(&report)), (Status::Timeout, vec!["x"]));
}

#[tokio::test]
async fn links_fifos_and_sockets_are_left_out_and_nothing_waits() {
    let link = link().await;
    let code = "import os, socket\nos.chdir('out')\nos.symlink('/etc/passwd', 'passwd')\nos.symlink('/proc/self/root', 'root')\n\
        os.symlink('..', 'up')\nos.mkfifo('fifo')\nsocket.socket(socket.AF_UNIX).bind('sock')\n\
        open('../secret','w').write('s')\nos.link('../secret', 'hard')\nos.symlink('hard', 'soft')\nopen('good','w').write('g')";
    let began = Instant::now();
    let report = python(&link, code).await;
    assert_eq!(names(&report), ["good", "hard"], "{report:?}");
    assert_eq!(report.artifact_notes.len(), 6, "{:?}", report.artifact_notes);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn out_itself_replaced_by_a_link_yields_nothing() {
    let link = link().await;
    for trap in ["ln -s /etc out", "ln -s /proc/1/root out", "mkfifo out", "echo x > out"] {
        let report = bash(&link, &format!("rmdir out; {trap}")).await;
        assert!(report.artifacts.is_empty(), "{trap}: {:?}", report.artifacts);
        assert_eq!(report.artifact_notes.len(), 1, "{trap}");
    }
    assert!(bash(&link, "rmdir out").await.artifact_notes.is_empty());
}

#[tokio::test]
async fn too_large_too_many_and_too_deep_are_left_out_with_a_note() {
    let link = link().await;
    let report = bash(
        &link,
        "truncate -s 20M out/sparse; head -c 9M /dev/zero > out/large; echo x > out/ok",
    )
    .await;
    assert_eq!(names(&report), ["ok"]);
    assert_eq!(report.artifact_notes.len(), 2, "{:?}", report.artifact_notes);
    let report = bash(&link, "for i in $(seq 100); do echo > out/$i; done").await;
    assert_eq!((report.artifacts.len(), report.artifact_notes.len()), (64, 21));
    let report = python(&link, "import os\nos.chdir('out')\nfor i in range(200):\n  os.mkdir('d'); os.chdir('d')\nopen('x','w')").await;
    assert!(
        report.artifacts.is_empty() && report.artifact_notes[0].contains("deeper"),
        "{report:?}"
    );
}

#[tokio::test]
async fn names_cannot_write_to_a_terminal() {
    let link = link().await;
    let report = python(
        &link,
        "open('out/\\x1b[2J\\n\\u202egnp', 'w'); open(b'out/\\xff', 'w'); open(b'out/\\xfe', 'w')",
    )
    .await;
    assert_eq!(names(&report), ["\\u{1b}[2J\\u{a}\\u{202e}gnp", "\\xfe", "\\xff"]);
}

#[tokio::test]
async fn files_nobody_may_read_do_no_harm() {
    let link = link().await;
    let report = bash(
        &link,
        "echo x > out/x; chmod 000 out/x; mkdir out/d; echo y > out/d/y; chmod 000 out/d",
    )
    .await;
    assert_eq!(report.status, Status::Ok);
    assert_eq!(report.artifacts.len() + report.artifact_notes.len(), 2, "{report:?}");
}
