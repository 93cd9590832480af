//! From the cell's report to the client's result; artifacts are stored on the way.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_sandbox::spec::{Artifact, RunReport};

use crate::tools::artifacts::ArtifactStore;
use crate::tools::jobs::JobTicket;
use crate::tools::outcome::{IsolationReport, RunStatus, Truncated, text};

/// Result of `execute_code`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExecuteResult {
    /// How the run ended, as the supervisor saw it.
    pub status: RunStatus,
    /// Exit code, when the program exited by itself.
    pub return_code: Option<i32>,
    /// Signal number, when a signal ended the program.
    pub signal: Option<i32>,
    /// Standard output as text; bytes that are not UTF-8 appear as U+FFFD.
    pub stdout: String,
    /// Standard error as text; bytes that are not UTF-8 appear as U+FFFD.
    pub stderr: String,
    /// Which streams were cut at `limits.output_kb`.
    pub truncated: Truncated,
    /// Wall clock time of the program in seconds.
    pub duration_seconds: f64,
    /// Processor time of the whole process tree in seconds.
    pub cpu_seconds: f64,
    /// Highest memory use of the process tree in bytes; null where the host cannot tell.
    pub memory_peak_bytes: Option<u64>,
    /// Files the program left in `out/`.
    pub artifacts: Vec<ArtifactRef>,
    /// Names this run in logs and the audit.
    pub execution_id: String,
    /// SHA-256 of `code` in hexadecimal.
    pub code_hash: String,
    /// How strongly the run was confined.
    pub isolation: IsolationReport,
    /// Why the status is `sandbox_error` or `unsupported`; null otherwise.
    pub message: Option<String>,
    /// Files in `out/` that were not kept, one line each with the reason.
    pub notes: Vec<String>,
}

/// What `execute_code` answers: the result, or with `async` the job that will have it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ExecuteAnswer {
    /// It ran.
    Done(Box<ExecuteResult>),
    /// It will run.
    Queued(JobTicket),
}

/// One object schema, because clients of the older revisions know no other root: the result's, whose
/// fields are missing in the answer to `async`, and the ticket's.
impl JsonSchema for ExecuteAnswer {
    fn schema_name() -> Cow<'static, str> {
        "ExecuteAnswer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = ExecuteResult::json_schema(generator);
        let ticket = JobTicket::json_schema(generator);
        schema.insert("required".into(), json!(["status"]));
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("job_id".into(), ticket.as_value()["properties"]["job_id"].clone());
            properties.insert(
                "status".into(),
                json!({
                    "type": "string",
                    "description": "How the run ended, as the supervisor saw it: ok, error, timeout, \
                                    oom, output_limit, killed, compile_error, sandbox_error, \
                                    unsupported; or queued, with async.",
                }),
            );
        }
        schema
    }
}

/// A file the run left in `out/`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ArtifactRef {
    /// Path relative to `out/`.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// Where to read it; only its owner can, until it expires.
    pub uri: String,
}

/// Stores the artifacts and turns the report into the result.
pub async fn collect(
    report: RunReport,
    execution_id: String,
    code_hash: String,
    owner: &CallerId,
    store: &ArtifactStore,
) -> ExecuteResult {
    let mut notes = report.artifact_notes;
    let artifacts = keep(report.artifacts, &execution_id, owner, store, &mut notes).await;
    ExecuteResult {
        status: report.status.into(),
        return_code: report.return_code,
        signal: report.signal,
        stdout: text(&report.stdout, report.stdout_truncated),
        stderr: text(&report.stderr, report.stderr_truncated),
        truncated: Truncated { stdout: report.stdout_truncated, stderr: report.stderr_truncated },
        duration_seconds: report.duration.as_secs_f64(),
        cpu_seconds: report.cpu.as_secs_f64(),
        memory_peak_bytes: report.memory_peak_bytes,
        artifacts,
        execution_id,
        code_hash,
        isolation: report.isolation.into(),
        message: report.message,
        notes,
    }
}

/// Puts each file into the store, off the arbiter; what cannot be kept becomes a note, since the run
/// itself is done and its output must not be lost over it.
pub(in crate::tools) async fn keep(
    files: Vec<Artifact>,
    execution_id: &str,
    owner: &CallerId,
    store: &ArtifactStore,
    notes: &mut Vec<String>,
) -> Vec<ArtifactRef> {
    if files.is_empty() {
        return Vec::new();
    }
    let handles = store.clone();
    let (store, owner, run) = (store.clone(), owner.clone(), execution_id.to_owned());
    let stored = tokio::task::spawn_blocking(move || {
        let put = |file: Artifact| {
            let result = store.put(&owner, &run, &file.name, &file.content);
            (file.name, result)
        };
        files.into_iter().map(put).collect::<Vec<_>>()
    })
    .await
    .unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "storing artifacts crashed");
        notes.push("the artifacts could not be kept; the log has the details".to_owned());
        Vec::new()
    });
    let mut kept = Vec::with_capacity(stored.len());
    for (name, result) in stored {
        match result {
            Ok(record) => {
                let (uri, size_bytes) = (handles.uri(&record), record.size_bytes);
                kept.push(ArtifactRef { name, size_bytes, sha256: record.sha256, uri });
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "artifact not kept");
                notes.push(format!("{name}: {error}"));
            }
        }
    }
    kept
}
