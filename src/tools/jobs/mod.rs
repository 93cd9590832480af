//! Tools over the job queue, for MCP clients: `run_tests_async`, `job_status`, `job_result`,
//! `job_cancel`, `dead_letters`; and what `execute_code` does with `async`.
//!
//! A caller sees its own jobs only (an administrator all dead letters): of somebody else's these tools say
//! what they say of none.

mod cancel;
mod dead_letters;
mod look;
mod run_tests_async;
#[cfg(test)]
pub mod testing;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ultimate_mcp_actors::ids::JobId;
use ultimate_mcp_actors::jobs::{JobRequest, JobsHandle, Lane};

pub use cancel::{JobCancel, status_of};
pub use dead_letters::DeadLetters;
pub use look::{JobResult, JobStatusTool};
pub use run_tests_async::RunTestsAsync;

use super::{Answer, ToolCall};
use crate::error::{ApiError, Code, Problem};
use crate::origin::Transport;

/// The answer of a tool that left its work to the queue.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobTicket {
    /// Names the job; with `async` only.
    pub job_id: String,
    /// Where it stands: `queued`.
    pub status: String,
}

/// Arguments of tools that take a job.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with job_id")]
pub struct JobArgs {
    /// The job, as the tool that made it said.
    #[garde(length(bytes, min = 1, max = 64))]
    pub job_id: String,
}

/// What a tool leaves to the queue.
pub struct Queued {
    /// The tool to call.
    pub tool: &'static str,
    /// Whether it may be repeated.
    pub idempotent: bool,
}

/// Leaves this very call to the queue, without what makes it asynchronous.
///
/// # Errors
/// The call is a job's run already; the queue is full or away.
pub async fn enqueue(
    jobs: &JobsHandle,
    queued: Queued,
    call: &ToolCall<'_>,
) -> Result<Answer<JobTicket>, ApiError> {
    if matches!(call.origin.transport, Transport::Job | Transport::Workflow) {
        return Err(wrong("async", "a job or a step of a workflow is asynchronous already"));
    }
    let mut arguments: Value = serde_json::from_str(call.arguments.get())
        .map_err(|error| ApiError::new(Code::ParseError, "not JSON").caused_by(error))?;
    if let Some(map) = arguments.as_object_mut() {
        map.remove("async");
        map.remove("idempotent");
    }
    let arguments = serde_json::value::to_raw_value(&arguments)
        .map_err(|error| ApiError::new(Code::Internal, "not JSON").caused_by(error))?;
    let request = JobRequest {
        id: JobId::new(),
        identity: call.permit.caller().identity(),
        tool: queued.tool.to_owned(),
        arguments: &arguments,
        lane: Lane::Interactive,
        run_at: None,
        idempotent: queued.idempotent,
        max_attempts: None,
        ttl_seconds: None,
        trace: call.origin.traceparent(),
        request_id: Some(call.origin.request_id.as_str().to_owned()),
        dedupe: None,
    };
    let job_id = jobs.enqueue(request).await?.id().to_string();
    let ticket = JobTicket { job_id: job_id.clone(), status: "queued".to_owned() };
    Ok(Answer::from(ticket).fact("job_id", job_id))
}

/// The id, or the error everybody gets who names no job of his own.
pub(in crate::tools) fn job_id(text: &str) -> Result<JobId, ApiError> {
    uuid::Uuid::parse_str(text).map(JobId::from).map_err(|_| no_such_job())
}

/// Said of jobs that are not there and of those of others.
pub fn no_such_job() -> ApiError {
    ApiError::new(Code::NotFound, "you have no such job; it may have expired")
}

fn wrong(path: &str, problem: &str) -> ApiError {
    let (path, problem) = (path.to_owned(), problem.to_owned());
    ApiError::invalid_arguments(vec![Problem { path, problem }])
}
