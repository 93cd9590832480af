//! `run_tests` against a cell that answers from a function.

use serde_json::{Value, json};
use ultimate_mcp_sandbox::spec::{Artifact, RunReport, Status};

use super::*;
use crate::tools::Typed;
use crate::tools::artifacts::ArtifactOptions;
use crate::tools::cell::fake::{FakeCell, report};
use crate::tools::testing::{refusal, result};

fn tool(cell: FakeCell) -> (Typed<RunTests>, Arc<FakeCell>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::open_in(
        folder.path(),
        crate::tools::testing::node(),
        ArtifactOptions::default(),
    )
    .unwrap();
    let cell = Arc::new(cell);
    (Typed::new(RunTests::new(cell.clone(), store)), cell, folder)
}

fn with_report(run: RunReport, lines: &str) -> RunReport {
    let file = |name: &str, text: &str| Artifact {
        name: name.into(),
        sha256: sha256_hex(text.as_bytes()),
        content: text.into(),
    };
    let artifacts = vec![file(REPORT_FILE, lines), file("coverage.txt", "90 %")];
    RunReport { artifacts, ..run }
}

async fn run(run: RunReport, lines: &'static str) -> Value {
    let (tool, _, _folder) = tool(FakeCell::new(move |_| Ok(with_report(run.clone(), lines))));
    result(&tool, json!({"code": "def test_a(): pass"})).await
}

#[actix_rt::test]
async fn tests_are_listed_and_counted_and_the_reporters_file_is_no_artifact() {
    let lines = concat!(
        "{\"started\":\"t::a\"}\n",
        "{\"name\":\"t::a\",\"outcome\":\"passed\",\"duration_seconds\":0.5,\"message\":null}\n",
        "{\"name\":\"t::b\",\"outcome\":\"failed\",\"duration_seconds\":0.1,\"message\":\"1 == 2\"}\n",
        "{\"name\":\"t::c\",\"outcome\":\"skipped\",\"duration_seconds\":0,\"message\":\"later\"}\n",
        "{\"name\":\"t.py\",\"outcome\":\"error\",\"duration_seconds\":0,\"message\":\"import\"}\n",
    );
    let said = run(report(1, "2 failed"), lines).await;
    assert_eq!(said["status"], "error");
    assert_eq!(said["counts"], json!({"passed": 1, "failed": 1, "skipped": 1, "errors": 1}));
    assert_eq!(
        said["tests"][1],
        json!({"name": "t::b", "outcome": "failed", "duration_seconds": 0.1, "message": "1 == 2"})
    );
    assert_eq!(said["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(said["artifacts"][0]["name"], "coverage.txt");
    assert_eq!(said["notes"], json!([]));
}

#[actix_rt::test]
async fn a_cut_run_keeps_what_was_finished_and_names_the_test_that_was_running() {
    let lines = concat!(
        "{\"started\":\"t::a\"}\n",
        "{\"name\":\"t::a\",\"outcome\":\"passed\",\"duration_seconds\":0.5}\n",
        "{\"started\":\"t::hangs\"}\n{\"name\":\"t::ha",
    );
    let said = run(RunReport { status: Status::Timeout, ..report(0, "") }, lines).await;
    assert_eq!(said["status"], "timeout");
    assert_eq!(said["counts"]["passed"], 1);
    assert_eq!(said["tests"][1]["name"], "t::hangs");
    assert_eq!(said["tests"][1]["outcome"], "unfinished");
    assert!(said["notes"][0].as_str().unwrap().contains("cut (timeout)"));
}

#[actix_rt::test]
async fn a_forged_report_does_not_change_the_status_and_is_said() {
    let forged = "{\"name\":\"t::a\",\"outcome\":\"passed\",\"duration_seconds\":-1}\n";
    let said = run(report(1, ""), forged).await;
    assert_eq!(said["status"], "error");
    assert!(said["notes"][0].as_str().unwrap().contains("contradicts the exit code"));
    assert_eq!(said["tests"][0]["duration_seconds"], 0.0);
}

#[actix_rt::test]
async fn junk_in_the_report_is_passed_over_and_sizes_are_bounded() {
    let junk = "\u{0}\n[]\n{\"name\":1}\n{\"outcome\":\"passed\"}\nnull\n";
    let said = run(report(0, ""), junk).await;
    assert_eq!(said["tests"], json!([]));
    assert!(said["notes"][0].as_str().unwrap().contains("no tests were found"));
    let line = format!(
        "{{\"name\":\"{}\",\"outcome\":\"passed\",\"duration_seconds\":1}}\n",
        "é".repeat(4000)
    );
    let (counts, tests) = read(line.repeat(2100).as_bytes());
    assert_eq!((counts.passed, tests.len()), (2100, 2000));
    assert!(tests[0].name.len() <= 512);
}

#[actix_rt::test]
async fn a_missing_pytest_is_said() {
    let missing = RunReport {
        stderr: b"/usr/bin/python3: No module named pytest\n".to_vec(),
        ..report(1, "")
    };
    let said = run(missing, "").await;
    assert!(said["notes"][0].as_str().unwrap().starts_with("pytest is not installed"));
}

#[actix_rt::test]
async fn javascript_is_run_in_the_dialect_it_is_written_in() {
    for (code, name) in [
        ("import test from 'node:test'; test('a', () => {});", "code.test.mjs"),
        ("const test = require('node:test'); test('a', () => {});", "code.test.cjs"),
        ("// import x from 'y'\nconst { test } = require('node:test');", "code.test.cjs"),
        ("console.log(1)", "code.test.mjs"),
    ] {
        let (tool, cell, _folder) = tool(FakeCell::new(|_| Ok(report(0, ""))));
        result(&tool, json!({"code": code, "test_framework": "node:test"})).await;
        let spec = &cell.asked()[0];
        assert_eq!(spec.argv.last().map(String::as_str), Some(name), "{code}");
        assert!(spec.files.iter().any(|file| file.path == name && file.content == code.as_bytes()));
    }
}

#[actix_rt::test]
async fn bad_input_names_the_field_and_what_is_allowed() {
    let (tool, _, _folder) = tool(FakeCell::new(|_| panic!("bad input must not reach the cell")));
    let table = [
        (json!({}), "arguments: missing field `code`"),
        (
            json!({"code": "x", "test_framework": "jest"}),
            "test_framework: unknown variant `jest`, expected `pytest` or `node:test`",
        ),
        (json!({"code": "x", "timeout_seconds": 0.5}), "timeout_seconds: must be at least 1"),
        (json!({"code": "x", "timeout_seconds": 121}), "timeout_seconds: must be at most 120"),
        (
            json!({"code": "x", "timeout_seconds": 100}),
            "timeout_seconds: is 100; your roles allow at most 60",
        ),
        (
            json!({"code": "x", "files": [{"path": "test_code.py", "content": ""}]}),
            "files[0].path: is the name under which the code itself is stored",
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(refusal(&tool, arguments).await, expected);
    }
}
