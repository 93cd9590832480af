//! `sandbox_close` and `sandbox_list`.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::ExecutionId;
use ultimate_mcp_actors::sandboxes::SandboxInfo;

use super::create::SandboxLanguage;
use super::{HANDLE_BYTES_MAX, Parts, descriptor, handle_of};
use crate::error::ApiError;
use crate::tools::execute::{ArtifactRef, keep};
use crate::tools::{Answer, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Arguments of `sandbox_close`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with sandbox_id")]
pub struct SandboxCloseArgs {
    /// The sandbox, as `sandbox_create` named it.
    #[garde(length(bytes, min = 1, max = HANDLE_BYTES_MAX))]
    pub sandbox_id: String,
}

/// Result of `sandbox_close`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SandboxClosed {
    /// Why it ended: `closed`, unless something else came first.
    pub ended: String,
    /// Steps taken in it.
    pub steps: u64,
    /// Files in `out/` that no step brought back.
    pub artifacts: Vec<ArtifactRef>,
    /// Files in `out/` that were not kept, one line each with the reason.
    pub notes: Vec<String>,
}

/// The tool that closes.
pub(super) struct SandboxClose(pub(super) Parts);

impl TypedTool for SandboxClose {
    type Args = SandboxCloseArgs;
    type Output = SandboxClosed;

    fn describe(&self) -> ToolDescriptor {
        let title = "Close a sandbox";
        let event = EventType::CodeExecution;
        let mut close = descriptor("sandbox_close", title, CLOSE, event, Effects::Durable);
        close.annotations.destructive_hint = true;
        close
    }

    fn handle_argument(&self) -> Option<&'static str> {
        Some("sandbox_id")
    }

    async fn run(
        &self,
        args: SandboxCloseArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<SandboxClosed>, ApiError> {
        let handle = handle_of(&args.sandbox_id)?;
        let owner = call.permit.caller().id();
        let closed = self.0.sandboxes.close(&handle, owner, call.deadline).await?;
        let (mut notes, run) = (closed.artifact_notes, ExecutionId::new().to_string());
        let artifacts = keep(closed.artifacts, &run, owner, &self.0.artifacts, &mut notes).await;
        let (ended, steps) = (closed.end.slug().to_owned(), closed.steps);
        let kept = artifacts.len();
        let output = SandboxClosed { ended: ended.clone(), steps, artifacts, notes };
        Ok(Answer::from(output)
            .fact("sandbox_id", args.sandbox_id)
            .fact("execution_id", run)
            .fact("ended", ended)
            .fact("steps", steps)
            .fact("artifacts", kept))
    }
}

/// Arguments of `sandbox_list`: none.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an empty object")]
pub struct SandboxListArgs {}

/// Result of `sandbox_list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SandboxesListed {
    /// Your open sandboxes on this node, oldest first.
    pub sandboxes: Vec<SandboxEntry>,
    /// Sandboxes you may have open at once.
    pub open_max: usize,
}

/// One open sandbox.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SandboxEntry {
    /// Names it.
    pub sandbox_id: String,
    /// Language of its interpreter.
    pub language: SandboxLanguage,
    /// Steps taken.
    pub steps: u64,
    /// Whether a call is at work in it.
    pub busy: bool,
    /// Seconds until it ends, however busy it is.
    pub expires_in_seconds: f64,
    /// Seconds since it was used last.
    pub idle_for_seconds: f64,
    /// Its memory limit in MiB.
    pub memory_mb: u64,
}

impl From<SandboxInfo> for SandboxEntry {
    fn from(info: SandboxInfo) -> Self {
        Self {
            sandbox_id: info.handle.to_string(),
            language: SandboxLanguage::Python,
            steps: info.steps,
            busy: info.busy,
            expires_in_seconds: info.left.as_secs_f64(),
            idle_for_seconds: info.idle.as_secs_f64(),
            memory_mb: info.limits.memory_bytes >> 20,
        }
    }
}

/// The tool that lists.
pub(super) struct SandboxList(pub(super) Parts);

impl TypedTool for SandboxList {
    type Args = SandboxListArgs;
    type Output = SandboxesListed;

    fn describe(&self) -> ToolDescriptor {
        let title = "List your sandboxes";
        descriptor("sandbox_list", title, LIST, EventType::DataRead, Effects::None)
    }

    async fn run(
        &self,
        _: SandboxListArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<SandboxesListed>, ApiError> {
        let sandboxes = &self.0.sandboxes;
        let own = sandboxes.list(call.permit.caller().id(), call.deadline).await?;
        let sandboxes_open: Vec<SandboxEntry> = own.into_iter().map(SandboxEntry::from).collect();
        let count = sandboxes_open.len();
        let open_max = sandboxes.options().per_caller_max;
        let output = SandboxesListed { sandboxes: sandboxes_open, open_max };
        Ok(Answer::from(output).fact("sandboxes", count))
    }
}

const CLOSE: &str = "\
Ends a sandbox at once, whatever it is doing: its processes, variables and files are gone. Files in \
`out/` that no step brought back come back as artifacts.

Example: {\"sandbox_id\": \"sbx_a1b2c3d4e5f6_01890a5d-ac96-774b-bcce-b302099a8057\"} gives {\"ended\": \
\"closed\", \"steps\": 3, …}.";

const LIST: &str = "\
Lists your open sandboxes on this node, with what is left of their lives. Other callers' sandboxes are \
never shown.

Example: {} gives {\"sandboxes\": [{\"sandbox_id\": \"sbx_…\", \"steps\": 3, …}], \"open_max\": 4}.";
