//! `run_tests`: runs tests in the cell and reports each of them.
//!
//! Called through the registry. Status, exit code and times come from the supervisor; counts and tests
//! come from a reporter that runs inside the test process, where the code under test could forge
//! them: the result says so when the two disagree.

mod framework;
mod summary;

use std::sync::Arc;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::ExecutionId;
use ultimate_mcp_sandbox::spec::RunSpec;

use super::artifacts::ArtifactStore;
use super::cell::Cell;
use super::execute::{CODE_BYTES_MAX, ExecuteResult, collect};
use super::files::{FILES_MAX, FileArg, decode};
use super::hash::sha256_hex;
use super::limits::{LimitArgs, resolve};
use super::links::names_of;
use super::live::Live;
use super::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};
use crate::error::{ApiError, Code};
pub use framework::TestFramework;
use framework::{MODULE_FILES, REPORT_FILE, program};
pub use summary::{Counts, TestCase, TestOutcome};
use summary::{notes_on, read};

/// Wall time when none is asked for, in seconds.
const TIMEOUT_DEFAULT_SECONDS: f64 = 15.0;

/// Arguments of `run_tests`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with code")]
pub struct RunTestsArgs {
    /// The test file, at most 1 MiB; the code under test may stand in it or in `files`.
    #[garde(length(bytes, min = 1, max = CODE_BYTES_MAX))]
    pub code: String,
    /// Who runs the tests.
    #[serde(default)]
    #[garde(skip)]
    pub test_framework: TestFramework,
    /// Modules and data placed beside the test file: at most 64, together 4 MiB.
    #[serde(default)]
    #[garde(length(max = FILES_MAX), dive)]
    pub files: Vec<FileArg>,
    /// Wall clock time in seconds after which the whole process tree is killed; default 15.
    #[garde(range(min = 1.0, max = 120.0))]
    #[schemars(extend("default" = TIMEOUT_DEFAULT_SECONDS))]
    pub timeout_seconds: Option<f64>,
    /// Further bounds of the run; your roles may narrow them.
    #[serde(default)]
    #[garde(dive)]
    pub limits: LimitArgs,
}

/// Result of `run_tests`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunTestsResult {
    /// Who ran the tests.
    pub test_framework: TestFramework,
    /// How many tests ended how, as the test process reported it.
    pub counts: Counts,
    /// The tests in the order they ended, at most 2000, as the test process reported them.
    pub tests: Vec<TestCase>,
    /// The run as a whole; `status` is `ok` when the framework exited with 0: every test passed.
    #[serde(flatten)]
    pub run: ExecuteResult,
}

/// The tool.
pub struct RunTests {
    cell: Arc<dyn Cell>,
    artifacts: ArtifactStore,
}

impl RunTests {
    /// A tool that runs in `cell` and keeps artifacts in `artifacts`.
    pub fn new(cell: Arc<dyn Cell>, artifacts: ArtifactStore) -> Self {
        Self { cell, artifacts }
    }
}

impl TypedTool for RunTests {
    type Args = RunTestsArgs;
    type Output = RunTestsResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "run_tests",
            title: "Run tests",
            description: DESCRIPTION.to_owned(),
            input_schema: serde_json::Value::Null,
            output_schema: serde_json::Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                destructive_hint: false,
                idempotent_hint: false,
                open_world_hint: false,
            },
            permission: "tools:test",
            event_type: EventType::CodeTest,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    fn room(&self, call: &ToolCall<'_>) -> Result<(), ApiError> {
        self.cell.room(call.permit.caller().id(), call.deadline)
    }

    async fn run(
        &self,
        args: RunTestsArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<RunTestsResult>, ApiError> {
        let RunTestsArgs { code, test_framework, files, timeout_seconds, limits } = args;
        let caps = call.permit.caps();
        let limits = resolve(timeout_seconds, TIMEOUT_DEFAULT_SECONDS, &limits, caps)?;
        let files = decode(files, MODULE_FILES)?;
        let owner = call.permit.caller().id();
        let (code_hash, code_bytes) = (sha256_hex(code.as_bytes()), code.len());
        let execution_id = ExecutionId::new().to_string();
        // Finding out which dialect of JavaScript it is means parsing it.
        let program =
            tokio::task::spawn_blocking(move || program(test_framework, code)).await.map_err(
                |error| ApiError::new(Code::Crashed, "reading the tests crashed").caused_by(error),
            )?;
        let spec = RunSpec {
            execution_id: execution_id.clone(),
            argv: program.argv,
            env: program.env,
            profile: program.profile,
            files: program.files.into_iter().chain(files).collect(),
            stdin: Vec::new(),
            compile_signal: false,
            limits,
        };
        let live = Live::of(call.events);
        let run = self.cell.run(spec, owner, call.deadline, Live::sink(&live));
        let mut report = Live::watch(&live, run).await?;
        let position = report.artifacts.iter().position(|file| file.name == REPORT_FILE);
        let written = position.map(|at| report.artifacts.swap_remove(at).content);
        let (counts, tests) = read(written.as_deref().unwrap_or_default());
        let mut run = collect(report, execution_id, code_hash, owner, &self.artifacts).await;
        run.notes.extend(notes_on(test_framework, &run, &counts, tests.len()));
        Ok(answer(RunTestsResult { test_framework, counts, tests, run }, code_bytes))
    }
}

/// The result with the facts the audit keeps of it.
fn answer(output: RunTestsResult, code_bytes: usize) -> Answer<RunTestsResult> {
    let failed = output.run.status.is_our_failure();
    let produced = names_of(&output.run.artifacts);
    let facts = [
        ("execution_id", output.run.execution_id.clone().into()),
        ("code_hash", output.run.code_hash.clone().into()),
        ("code_bytes", code_bytes.into()),
        ("test_framework", output.test_framework.slug().into()),
        ("status", output.run.status.slug().into()),
        ("return_code", output.run.return_code.into()),
        ("duration_seconds", output.run.duration_seconds.into()),
        ("passed", output.counts.passed.into()),
        ("failed", output.counts.failed.into()),
        ("isolation", output.run.isolation.class.clone().into()),
        ("degraded", (!output.run.isolation.degraded.is_empty()).into()),
    ];
    facts
        .into_iter()
        .fold(Answer::from(output), |answer, (name, value): (_, serde_json::Value)| {
            answer.fact(name, value)
        })
        .produced(produced)
        .failed_if(failed)
}

const DESCRIPTION: &str = "\
Runs a test file in an isolated, single-use cell (no network, no host access) and reports every test: \
name, outcome, duration, message. `pytest` runs `code` as test_code.py; `node:test` runs it as an ES module \
or CommonJS, whichever it is written in. Put the code under test into `code` or, as modules, into `files`.

`status`, `return_code` and the times are what the supervisor saw: `ok` means the framework exited with 0. \
`counts` and `tests` are what the test process wrote about itself; code under test can forge them, and \
`notes` says when they contradict the exit code. When the run is cut (`timeout`, `oom`, …), tests that had \
finished are still listed, and one that was running is `unfinished`.

Example: {\"code\": \"from calc import add\\ndef test_add():\\n    assert add(1, 2) == 3\\n\", \"files\": \
[{\"path\": \"calc.py\", \"content\": \"def add(a, b):\\n    return a + b\\n\"}]} gives {\"status\": \"ok\", \
\"counts\": {\"passed\": 1, …}, \"tests\": [{\"name\": \"test_code.py::test_add\", \"outcome\": \"passed\", …}], …}.";

#[cfg(test)]
mod tests;
