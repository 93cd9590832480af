//! `sandbox_execute`: one step in a sandbox that stays.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::ExecutionId;

use super::result::{StepResult, collect};
use super::{HANDLE_BYTES_MAX, Parts, descriptor, handle_of};
use crate::error::ApiError;
use crate::tools::execute::CODE_BYTES_MAX;
use crate::tools::hash::sha256_hex;
use crate::tools::limits::{LimitArgs, resolve};
use crate::tools::{Answer, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Wall time of a step when none is asked for, in seconds.
const TIMEOUT_DEFAULT_SECONDS: f64 = 8.0;

/// Arguments of `sandbox_execute`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with sandbox_id and code")]
pub struct SandboxExecuteArgs {
    /// The sandbox, as `sandbox_create` named it.
    #[garde(length(bytes, min = 1, max = HANDLE_BYTES_MAX))]
    pub sandbox_id: String,
    /// The code of this step, at most 1 MiB. The value of a last expression comes back.
    #[garde(length(bytes, min = 1, max = CODE_BYTES_MAX))]
    pub code: String,
    /// Wall clock time in seconds after which the step is interrupted (KeyboardInterrupt), and a second
    /// later the sandbox is killed; default 8.
    #[garde(range(min = 0.5, max = 60.0))]
    #[schemars(extend("default" = TIMEOUT_DEFAULT_SECONDS))]
    pub timeout_seconds: Option<f64>,
}

/// The tool.
pub(super) struct SandboxExecute(pub(super) Parts);

impl TypedTool for SandboxExecute {
    type Args = SandboxExecuteArgs;
    type Output = StepResult;

    fn describe(&self) -> ToolDescriptor {
        let title = "Run code in a sandbox that stays";
        let event = EventType::CodeExecution;
        descriptor("sandbox_execute", title, DESCRIPTION, event, Effects::Durable)
    }

    fn handle_argument(&self) -> Option<&'static str> {
        Some("sandbox_id")
    }

    async fn run(
        &self,
        args: SandboxExecuteArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<StepResult>, ApiError> {
        let handle = handle_of(&args.sandbox_id)?;
        let (none, caps) = (LimitArgs::default(), call.permit.caps());
        let wall = resolve(args.timeout_seconds, TIMEOUT_DEFAULT_SECONDS, &none, caps)?.wall;
        let owner = call.permit.caller().id();
        let (code_hash, code_bytes) = (sha256_hex(args.code.as_bytes()), args.code.len());
        let execution_id = ExecutionId::new().to_string();
        let sandboxes = &self.0.sandboxes;
        let report = sandboxes.execute(&handle, owner, args.code, wall, call.deadline).await?;
        let output = collect(report, execution_id, code_hash, owner, &self.0.artifacts).await;
        Ok(answer(output, args.sandbox_id, code_bytes))
    }
}

/// The result with the facts the audit keeps of it.
fn answer(output: StepResult, sandbox_id: String, code_bytes: usize) -> Answer<StepResult> {
    let artifact_bytes: u64 = output.artifacts.iter().map(|a| a.size_bytes).sum();
    let failed = output.status.is_our_failure();
    let facts: [(&str, Value); 10] = [
        ("sandbox_id", sandbox_id.into()),
        ("execution_id", output.execution_id.clone().into()),
        ("code_hash", output.code_hash.clone().into()),
        ("code_bytes", code_bytes.into()),
        ("status", output.status.slug().into()),
        ("return_code", output.return_code.into()),
        ("duration_seconds", output.duration_seconds.into()),
        ("artifacts", output.artifacts.len().into()),
        ("artifact_bytes", artifact_bytes.into()),
        ("ended", output.ended.clone().into()),
    ];
    let answer = Answer::from(output);
    facts
        .into_iter()
        .fold(answer, |answer, (name, value)| answer.fact(name, value))
        .failed_if(failed)
}

const DESCRIPTION: &str = "\
Runs code in a sandbox opened by sandbox_create. Variables, imports and files of earlier steps are there; \
the value of a last expression comes back as text and, where the object has `_repr_html_` or \
`_repr_png_`, as HTML and as an image artifact. stdout and stderr are those of the step; files left in \
`out/` come back as artifacts when they are new or changed.

An exception or `sys.exit` ends the step only: read `status`, `error` and `stderr`, and go on. A step \
past its timeout is interrupted; variables stay. `ended` tells when the sandbox itself is gone (it \
ignored the interrupt, used up its memory, or exited): then create another. One step at a time.

Example: {\"sandbox_id\": \"sbx_a1b2c3d4e5f6_01890a5d-ac96-774b-bcce-b302099a8057\", \"code\": \
\"x = 20\\nx + 1\"} gives {\"status\": \"ok\", \"value\": {\"text\": \"21\", …}, …}.";
