//! From a step's report to the client's result; artifacts and images are stored on the way.

use schemars::JsonSchema;
use serde::Serialize;
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_sandbox::spec::Artifact;
use ultimate_mcp_sandbox::step::{StepReport, StepValue};

use crate::tools::artifacts::ArtifactStore;
use crate::tools::execute::{ArtifactRef, keep};
use crate::tools::hash::sha256_hex;
use crate::tools::outcome::{RunStatus, Truncated, text};

/// What the image of a value is called among the artifacts.
const IMAGE_NAME: &str = "value.png";

/// Result of `sandbox_execute`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepResult {
    /// How the step ended: `ok`; `error` (an exception, a nonzero exit); `timeout`, `oom`,
    /// `output_limit`, `killed`, `sandbox_error` as the supervisor saw it.
    pub status: RunStatus,
    /// The value of the last expression; null when there is none or it is `None`.
    pub value: Option<ValueResult>,
    /// The exception that ended the step; its traceback is in `stderr`.
    pub error: Option<ErrorResult>,
    /// What the code passed to `sys.exit`, or how the interpreter exited; else null.
    pub return_code: Option<i32>,
    /// Standard output since the last step, as text.
    pub stdout: String,
    /// Standard error since the last step, as text.
    pub stderr: String,
    /// Which streams were cut at `limits.output_kb`.
    pub truncated: Truncated,
    /// Wall clock time of the step in seconds.
    pub duration_seconds: f64,
    /// Processor time of the whole sandbox since the last step, in seconds.
    pub cpu_seconds: f64,
    /// Highest memory use of the sandbox in its life, in bytes; null where the host cannot tell.
    pub memory_peak_bytes: Option<u64>,
    /// Files in `out/` that are new or changed since the last step.
    pub artifacts: Vec<ArtifactRef>,
    /// Names this step in logs and the audit.
    pub execution_id: String,
    /// SHA-256 of `code` in hexadecimal.
    pub code_hash: String,
    /// Why the sandbox ended with this step; null while it lives on.
    pub ended: Option<String>,
    /// What the supervisor did or saw; null otherwise.
    pub message: Option<String>,
    /// Files in `out/` that were not kept, one line each with the reason.
    pub notes: Vec<String>,
}

/// The value of a step's last expression.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ValueResult {
    /// `repr(value)`, at most 256 KiB.
    pub text: String,
    /// Whether the text was cut.
    pub text_truncated: bool,
    /// `value._repr_html_()`, where it has that; at most 1 MiB. Untrusted: sanitise before showing it.
    pub html: Option<String>,
    /// `value._repr_png_()`, where it has that, kept as an artifact; at most 4 MiB.
    pub png: Option<ArtifactRef>,
}

/// The exception that ended a step.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorResult {
    /// Its type, e.g. `ValueError`.
    pub name: String,
    /// Its message.
    pub message: String,
}

/// Stores what is to be stored and makes the result.
pub(super) async fn collect(
    report: StepReport,
    execution_id: String,
    code_hash: String,
    owner: &CallerId,
    store: &ArtifactStore,
) -> StepResult {
    let mut notes = report.artifact_notes;
    let value = match report.value {
        Some(value) => Some(show(value, &execution_id, owner, store, &mut notes).await),
        None => None,
    };
    let artifacts = keep(report.artifacts, &execution_id, owner, store, &mut notes).await;
    let error = report.error;
    StepResult {
        status: report.status.into(),
        value,
        error: error.map(|error| ErrorResult { name: error.name, message: error.message }),
        return_code: report.return_code,
        stdout: text(&report.stdout, report.stdout_truncated),
        stderr: text(&report.stderr, report.stderr_truncated),
        truncated: Truncated { stdout: report.stdout_truncated, stderr: report.stderr_truncated },
        duration_seconds: report.duration.as_secs_f64(),
        cpu_seconds: report.cpu.as_secs_f64(),
        memory_peak_bytes: report.memory_peak_bytes,
        artifacts,
        execution_id,
        code_hash,
        ended: report.ended.map(|end| end.slug().to_owned()),
        message: report.message,
        notes,
    }
}

async fn show(
    value: StepValue,
    execution_id: &str,
    owner: &CallerId,
    store: &ArtifactStore,
    notes: &mut Vec<String>,
) -> ValueResult {
    let StepValue { text, text_truncated, html, png } = value;
    let image = png.map(|content| Artifact {
        name: IMAGE_NAME.to_owned(),
        sha256: sha256_hex(&content),
        content,
    });
    let kept = keep(image.into_iter().collect(), execution_id, owner, store, notes).await;
    ValueResult { text, text_truncated, html, png: kept.into_iter().next() }
}
