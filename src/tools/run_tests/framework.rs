//! Test frameworks: how each is started, and the reporter that rides along.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_sandbox::spec::{InputFile, Profile};

use crate::tools::lint::is_es_module;

/// Where the cell puts the files (`sandbox::spec::InputFile`).
const HELPERS: &str = "/box/.ultimate_mcp";
/// The reporters' file, relative to `out/`.
pub const REPORT_FILE: &str = "ultimate_mcp_report.jsonl";
/// Names under which the test file itself may be stored.
pub const MODULE_FILES: &[&str] =
    &["test_code.py", "code.test.mjs", "code.test.cjs", "out/ultimate_mcp_report.jsonl"];

/// A test framework.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TestFramework {
    /// pytest, for Python.
    #[default]
    #[serde(rename = "pytest")]
    Pytest,
    /// Node's own test runner, for JavaScript.
    #[serde(rename = "node:test")]
    Node,
}

impl TestFramework {
    /// The name on the wire.
    pub fn slug(self) -> &'static str {
        match self {
            TestFramework::Pytest => "pytest",
            TestFramework::Node => "node:test",
        }
    }
}

/// What a framework needs of a run.
pub struct TestProgram {
    /// Absolute program inside the cell, then its arguments.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// The seccomp allow-list.
    pub profile: Profile,
    /// The test file and the reporter.
    pub files: Vec<InputFile>,
}

/// The run of this test file. Parses JavaScript: call it off the arbiter.
pub fn program(framework: TestFramework, code: String) -> TestProgram {
    match framework {
        TestFramework::Pytest => pytest(code),
        TestFramework::Node => node(code),
    }
}

fn file(path: &str, content: impl Into<Vec<u8>>) -> InputFile {
    InputFile { path: path.to_owned(), content: content.into() }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `-p no:cacheprovider`: nothing is kept between runs. Autoload of plugins would only cost time.
fn pytest(code: String) -> TestProgram {
    let argv = [
        "/usr/bin/python3",
        "-B",
        "-m",
        "pytest",
        "-p",
        "ultimate_mcp_report",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        "--color=no",
        "--continue-on-collection-errors",
    ];
    let env = [
        ("PYTHONPATH", format!("/opt/tools/python:{HELPERS}")),
        ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1".to_owned()),
    ];
    TestProgram {
        argv: strings(&argv),
        env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        profile: Profile::Python,
        files: vec![
            file("test_code.py", code),
            file(".ultimate_mcp/ultimate_mcp_report.py", include_str!("pytest_report.py")),
        ],
    }
}

fn node(code: String) -> TestProgram {
    let name = if is_es_module(&code) { "code.test.mjs" } else { "code.test.cjs" };
    let reporter = format!("--test-reporter={HELPERS}/report.mjs");
    let argv = [
        "/usr/bin/node",
        "--test-reporter=spec",
        "--test-reporter-destination=stdout",
        &reporter,
        // It writes its own file and nothing here.
        "--test-reporter-destination=stderr",
        name,
    ];
    TestProgram {
        argv: strings(&argv),
        env: vec![("NO_COLOR".to_owned(), "1".to_owned())],
        profile: Profile::Node,
        files: vec![
            file(name, code),
            file(".ultimate_mcp/report.mjs", include_str!("node_report.mjs")),
        ],
    }
}
