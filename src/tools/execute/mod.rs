//! `execute_code`: runs a program in the cell and says truthfully what happened.
//!
//! Called through the registry. Refuses limits beyond the caller's roles, paths that leave the
//! working directory, and languages the cell does not know.

mod result;

use std::sync::Arc;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::ExecutionId;
use ultimate_mcp_actors::jobs::JobsHandle;
use ultimate_mcp_sandbox::spec::{Language, RunReport};

use super::artifacts::ArtifactStore;
use super::cell::Cell;
use super::files::{FILES_MAX, FileArg, decode};
use super::hash::sha256_hex;
use super::jobs::{Queued, enqueue};
use super::limits::{LimitArgs, resolve};
use super::links::names_of;
use super::live::Live;
use super::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};
use crate::error::ApiError;
pub(super) use result::keep;
pub use result::{ArtifactRef, ExecuteAnswer, ExecuteResult, collect};

/// Most bytes of code in one call.
pub const CODE_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of standard input in one call.
pub const STDIN_BYTES_MAX: usize = 1024 * 1024;
/// Wall time when none is asked for, in seconds.
const TIMEOUT_DEFAULT_SECONDS: f64 = 8.0;

/// A language `execute_code` runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecuteLanguage {
    /// CPython 3 with its standard library.
    #[default]
    Python,
    /// Node.js with its standard library.
    JavaScript,
    /// GNU Bash with the core utilities.
    Bash,
}

impl From<ExecuteLanguage> for Language {
    fn from(language: ExecuteLanguage) -> Self {
        match language {
            ExecuteLanguage::Python => Language::Python,
            ExecuteLanguage::JavaScript => Language::JavaScript,
            ExecuteLanguage::Bash => Language::Bash,
        }
    }
}

impl ExecuteLanguage {
    fn slug(self) -> &'static str {
        match self {
            ExecuteLanguage::Python => "python",
            ExecuteLanguage::JavaScript => "javascript",
            ExecuteLanguage::Bash => "bash",
        }
    }
}

/// Arguments of `execute_code`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with code")]
pub struct ExecuteArgs {
    /// The program, at most 1 MiB. It starts in an empty working directory with no network.
    #[garde(length(bytes, min = 1, max = CODE_BYTES_MAX))]
    pub code: String,
    /// Language of the program.
    #[serde(default)]
    #[garde(skip)]
    pub language: ExecuteLanguage,
    /// Fed to standard input, then closed; at most 1 MiB.
    #[garde(length(bytes, max = STDIN_BYTES_MAX))]
    pub stdin: Option<String>,
    /// Files placed in the working directory first: at most 64, together 4 MiB.
    #[serde(default)]
    #[garde(length(max = FILES_MAX), dive)]
    pub files: Vec<FileArg>,
    /// Wall clock time in seconds after which the whole process tree is killed; default 8.
    #[garde(range(min = 0.5, max = 60.0))]
    #[schemars(extend("default" = TIMEOUT_DEFAULT_SECONDS))]
    pub timeout_seconds: Option<f64>,
    /// Further bounds of the run; your roles may narrow them.
    #[serde(default)]
    #[garde(dive)]
    pub limits: LimitArgs,
    /// True: do not wait. The answer is a `job_id`; `job_status` and `job_result` take it.
    #[serde(default, rename = "async")]
    #[garde(skip)]
    pub later: bool,
    /// Only with `async`: the program may be run again when nobody knows whether it ran.
    #[serde(default)]
    #[garde(skip)]
    pub idempotent: bool,
}

/// The tool.
pub struct ExecuteCode {
    cell: Arc<dyn Cell>,
    artifacts: ArtifactStore,
    jobs: JobsHandle,
}

impl ExecuteCode {
    /// A tool that runs in `cell`, keeps artifacts in `artifacts` and leaves runs for later to `jobs`.
    pub fn new(cell: Arc<dyn Cell>, artifacts: ArtifactStore, jobs: JobsHandle) -> Self {
        Self { cell, artifacts, jobs }
    }
}

impl TypedTool for ExecuteCode {
    type Args = ExecuteArgs;
    type Output = ExecuteAnswer;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "execute_code",
            title: "Run code in the cell",
            description: DESCRIPTION.to_owned(),
            input_schema: serde_json::Value::Null,
            output_schema: serde_json::Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                destructive_hint: false,
                idempotent_hint: false,
                open_world_hint: false,
            },
            permission: "tools:execute",
            event_type: EventType::CodeExecution,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    fn room(&self, call: &ToolCall<'_>) -> Result<(), ApiError> {
        let full = self.cell.room(call.permit.caller().id(), call.deadline);
        // What is left for later needs no place now.
        full.or_else(|full| if is_for_later(call.arguments) { Ok(()) } else { Err(full) })
    }

    async fn run(
        &self,
        args: ExecuteArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<ExecuteAnswer>, ApiError> {
        let caps = call.permit.caps();
        let limits = resolve(args.timeout_seconds, TIMEOUT_DEFAULT_SECONDS, &args.limits, caps)?;
        if args.later {
            let queued = Queued { tool: "execute_code", idempotent: args.idempotent };
            return Ok(enqueue(&self.jobs, queued, call).await?.map(ExecuteAnswer::Queued));
        }
        let language = Language::from(args.language);
        let files = decode(args.files, &[language.main_file()])?;
        let owner = call.permit.caller().id();
        let code_hash = sha256_hex(args.code.as_bytes());
        let code_bytes = args.code.len();
        let execution_id = ExecutionId::new().to_string();
        let stdin = args.stdin.unwrap_or_default().into_bytes();
        let spec = language.run_spec(execution_id.clone(), &args.code, files, stdin, limits);
        let report = match spec {
            Ok(spec) => {
                let live = Live::of(call.events);
                let run = self.cell.run(spec, owner, call.deadline, Live::sink(&live));
                Live::watch(&live, run).await?
            }
            Err(unavailable) => RunReport::unsupported(unavailable.to_string()),
        };
        let output = collect(report, execution_id, code_hash, owner, &self.artifacts).await;
        Ok(answer(output, args.language, code_bytes)
            .map(|done| ExecuteAnswer::Done(Box::new(done))))
    }
}

/// Whether these arguments say `async`. Wrong ones do not: whether they are is told when there is room.
fn is_for_later(arguments: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Later {
        #[serde(default, rename = "async")]
        later: bool,
    }
    serde_json::from_str(arguments.get()).is_ok_and(|Later { later }| later)
}

/// The result with the facts the audit keeps of it.
fn answer(
    output: ExecuteResult,
    language: ExecuteLanguage,
    code_bytes: usize,
) -> Answer<ExecuteResult> {
    let produced = names_of(&output.artifacts);
    let artifact_bytes: u64 = output.artifacts.iter().map(|a| a.size_bytes).sum();
    let failed = output.status.is_our_failure();
    let facts = [
        ("execution_id", output.execution_id.clone().into()),
        ("code_hash", output.code_hash.clone().into()),
        ("code_bytes", code_bytes.into()),
        ("language", language.slug().into()),
        ("status", output.status.slug().into()),
        ("return_code", output.return_code.into()),
        ("duration_seconds", output.duration_seconds.into()),
        ("artifacts", output.artifacts.len().into()),
        ("artifact_bytes", artifact_bytes.into()),
        ("isolation", output.isolation.class.clone().into()),
        ("degraded", (!output.isolation.degraded.is_empty()).into()),
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
Runs a program in an isolated, single-use cell: no network, no access to the host, an empty private \
working directory, hard limits. Nothing survives the call except files the program leaves in `out/`: \
they come back as `artifacts` with a URI (kept for a limited time, readable only by you).

`status` is `ok` (exit code 0), `error` (other exit code), `timeout`, `oom`, `output_limit`, `killed`, \
`compile_error`, `sandbox_error` or `unsupported`. Output written before a kill is kept. Your program's \
own failure is a normal result, not a protocol error: read `status`, `return_code` and `stderr`.

Only the languages' standard libraries are installed. Each call starts afresh: send data by `stdin` or \
`files`, get data back by stdout or `out/`.

Example: {\"language\": \"python\", \"code\": \"import sys\\nprint(sum(int(l) for l in sys.stdin))\", \
\"stdin\": \"1\\n2\\n\", \"timeout_seconds\": 5} gives {\"status\": \"ok\", \"return_code\": 0, \
\"stdout\": \"3\\n\", …}.";

#[cfg(test)]
mod tests;
