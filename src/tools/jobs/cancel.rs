//! `job_cancel`: ends a job of the caller.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::jobs::{CancelOutcome, JobsHandle};

use super::{JobArgs, job_id, no_such_job};
use crate::error::ApiError;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Result of `job_cancel`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobCancelResult {
    /// Names the job.
    pub job_id: String,
    /// `cancelled`; `cancel_requested` while its run is being killed; or the status it had ended with.
    pub status: String,
}

/// How a cancel is told.
pub fn status_of(outcome: CancelOutcome) -> &'static str {
    match outcome {
        CancelOutcome::Cancelled => "cancelled",
        CancelOutcome::Requested => "cancel_requested",
        CancelOutcome::Over(state) => state.as_str(),
    }
}

/// The tool.
pub struct JobCancel {
    jobs: JobsHandle,
}

impl JobCancel {
    /// A tool over this queue.
    pub fn new(jobs: JobsHandle) -> Self {
        Self { jobs }
    }
}

impl TypedTool for JobCancel {
    type Args = JobArgs;
    type Output = JobCancelResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "job_cancel",
            title: "Cancel a job",
            description: DESCRIPTION.to_owned(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                destructive_hint: true,
                idempotent_hint: true,
                open_world_hint: false,
            },
            permission: "tools:read",
            event_type: EventType::DataWrite,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: JobArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<JobCancelResult>, ApiError> {
        let id = job_id(&args.job_id)?;
        let outcome = self.jobs.cancel(id, Some(call.permit.caller().id())).await?;
        let status = status_of(outcome.ok_or_else(no_such_job)?).to_owned();
        let JobArgs { job_id } = args;
        let answer = Answer::from(JobCancelResult { job_id: job_id.clone(), status });
        Ok(answer.fact("job_id", job_id))
    }
}

const DESCRIPTION: &str = "\
Cancels a job of yours. One that waits never runs; one that runs is killed within seconds (`cancel_requested`, \
then `cancelled`); of one that has ended the final status is returned and nothing changes.

Example: {\"job_id\": \"01930000-0000-7000-8000-000000000000\"} gives {\"status\": \"cancelled\", …}.";
