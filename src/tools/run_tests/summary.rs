//! Reads what the reporters wrote. It comes from untrusted code: everything in it is bounded, and
//! lines that are not a report are passed over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::framework::TestFramework;
use crate::tools::execute::ExecuteResult;
use crate::tools::outcome::RunStatus;

/// Most tests listed; all are counted.
const TESTS_MAX: usize = 2000;
/// Longest name and message kept, in bytes.
const NAME_BYTES_MAX: usize = 512;
const MESSAGE_BYTES_MAX: usize = 4096;

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u32,
    /// Tests whose own code failed.
    pub failed: u32,
    /// Tests skipped or expected to fail.
    pub skipped: u32,
    /// Tests and files whose preparation failed, and tests that did not finish.
    pub errors: u32,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestOutcome {
    /// It passed.
    Passed,
    /// Its own code failed.
    Failed,
    /// It was skipped, or expected to fail and did.
    Skipped,
    /// Its preparation, clean-up or file failed.
    Error,
    /// It was running when the run was cut.
    Unfinished,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TestCase {
    /// Its name: `test_code.py::test_add[1]`, or `suite > test`.
    pub name: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Started {
        started: String,
    },
    Ended {
        name: String,
        outcome: TestOutcome,
        duration_seconds: f64,
        #[serde(default)]
        message: Option<String>,
    },
}

/// Counts and tests of a report.
pub fn read(report: &[u8]) -> (Counts, Vec<TestCase>) {
    let mut tests: Vec<TestCase> = Vec::new();
    let mut counts = Counts::default();
    let mut running: Option<String> = None;
    for line in report.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Started { started }) => running = Some(started),
            Ok(Line::Ended { name, outcome, duration_seconds, message }) => {
                running = None;
                let message = message.map(|text| cut(text, MESSAGE_BYTES_MAX));
                let duration_seconds = duration_seconds.max(0.0);
                add(&mut counts, &mut tests, name, outcome, duration_seconds, message);
            }
            Err(_) => {}
        }
    }
    if let Some(name) = running {
        let message = Some("it was running when the run ended".to_owned());
        add(&mut counts, &mut tests, name, TestOutcome::Unfinished, 0.0, message);
    }
    (counts, tests)
}

fn add(
    counts: &mut Counts,
    tests: &mut Vec<TestCase>,
    name: String,
    outcome: TestOutcome,
    duration_seconds: f64,
    message: Option<String>,
) {
    match outcome {
        TestOutcome::Passed => counts.passed += 1,
        TestOutcome::Failed => counts.failed += 1,
        TestOutcome::Skipped => counts.skipped += 1,
        TestOutcome::Error | TestOutcome::Unfinished => counts.errors += 1,
    }
    if tests.len() < TESTS_MAX {
        let name = cut(name, NAME_BYTES_MAX);
        tests.push(TestCase { name, outcome, duration_seconds, message });
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// What a reader of this result should know.
pub fn notes_on(
    framework: TestFramework,
    run: &ExecuteResult,
    counts: &Counts,
    listed: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    let bad = counts.failed + counts.errors;
    let total = counts.passed + counts.skipped + bad;
    let exited = matches!(run.status, RunStatus::Ok | RunStatus::Error);
    if framework == TestFramework::Pytest && run.stderr.contains("No module named pytest") {
        notes.push("pytest is not installed on this server; an operator can add it".to_owned());
    } else if total == 0 && exited {
        notes.push("no tests were found, or the file failed before any ran; see stderr".to_owned());
    } else if exited && (run.status == RunStatus::Ok) != (bad == 0) {
        notes.push(
            "the tests' own report contradicts the exit code, which is what counts: code under \
             test can forge its report"
                .to_owned(),
        );
    }
    if total as usize > listed {
        notes.push(format!("only the first {listed} of {total} tests are listed"));
    }
    if !exited {
        let status = run.status.slug();
        notes.push(format!("the run was cut ({status}): tests that had not begun are missing"));
    }
    notes
}
