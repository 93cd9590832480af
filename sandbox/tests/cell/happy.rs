//! Ordinary programs do what they do anywhere.

use ultimate_mcp_sandbox::spec::{Language, Status};

use crate::harness::{bash, link, python, run, spec, text};

#[tokio::test]
async fn python_prints_and_ends() {
    let link = link().await;
    let report = python(&link, "print(1)").await;
    assert_eq!((report.status, text(&report.stdout).as_str()), (Status::Ok, "1\n"), "{report:?}");
    assert_eq!(report.return_code, Some(0));
}

#[tokio::test]
async fn javascript_prints_and_ends() {
    let link = link().await;
    let report = run(&link, spec(Language::JavaScript, "console.log(1)")).await;
    assert_eq!((report.status, text(&report.stdout).as_str()), (Status::Ok, "1\n"), "{report:?}");
}

#[tokio::test]
async fn bash_prints_and_ends() {
    let link = link().await;
    let report = bash(&link, "echo 1 | cat").await;
    assert_eq!((report.status, text(&report.stdout).as_str()), (Status::Ok, "1\n"), "{report:?}");
}
