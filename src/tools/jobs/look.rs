//! `job_status` and `job_result`: how a job of the caller stands, and what came of it.

use std::time::Duration;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::jobs::{JobView, JobsHandle};

use super::{JobArgs, job_id, no_such_job};
use crate::error::ApiError;
use crate::jobs::JobBrief;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

const READING: Annotations = Annotations::READS;
/// How often a waiting call looks again when nothing on this node moved: another node may have.
const LOOK: Duration = Duration::from_millis(500);

/// The tool `job_status`.
pub struct JobStatusTool {
    jobs: JobsHandle,
}

impl JobStatusTool {
    /// A tool over this queue.
    pub fn new(jobs: JobsHandle) -> Self {
        Self { jobs }
    }
}

fn descriptor(name: &'static str, title: &'static str, description: &str) -> ToolDescriptor {
    ToolDescriptor {
        name,
        title,
        description: description.to_owned(),
        input_schema: Value::Null,
        output_schema: Value::Null,
        annotations: READING,
        permission: "tools:read",
        event_type: EventType::DataRead,
        effects: Effects::None,
        edition: Edition::ONLY,
    }
}

impl TypedTool for JobStatusTool {
    type Args = JobArgs;
    type Output = JobBrief;

    fn describe(&self) -> ToolDescriptor {
        descriptor("job_status", "How a job stands", STATUS)
    }

    async fn run(&self, args: JobArgs, call: &ToolCall<'_>) -> Result<Answer<JobBrief>, ApiError> {
        let view = own(&self.jobs, &args.job_id, call).await?;
        Ok(Answer::from(JobBrief::from(&view.job)).fact("job_id", args.job_id))
    }
}

/// Arguments of `job_result`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with job_id")]
pub struct JobResultArgs {
    /// The job, as the tool that made it said.
    #[garde(length(bytes, min = 1, max = 64))]
    pub job_id: String,
    /// Seconds to wait for the job to end; default 0.
    #[serde(default)]
    #[garde(range(min = 0.0, max = 30.0))]
    pub wait_seconds: f64,
}

/// Result of `job_result`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobResultView {
    /// How the job stands.
    #[serde(flatten)]
    pub job: JobBrief,
    /// What its tool answered; null unless `status` is `completed`.
    pub result: Value,
}

/// The tool `job_result`.
pub struct JobResult {
    jobs: JobsHandle,
}

impl JobResult {
    /// A tool over this queue.
    pub fn new(jobs: JobsHandle) -> Self {
        Self { jobs }
    }
}

impl TypedTool for JobResult {
    type Args = JobResultArgs;
    type Output = JobResultView;

    fn describe(&self) -> ToolDescriptor {
        descriptor("job_result", "Result of a job", RESULT)
    }

    async fn run(
        &self,
        args: JobResultArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<JobResultView>, ApiError> {
        let until = Deadline::after(Duration::from_secs_f64(args.wait_seconds));
        let mut view = own(&self.jobs, &args.job_id, call).await?;
        while !view.job.status.state.is_final() && !until.is_past() && !call.deadline.is_past() {
            self.jobs.moved(LOOK.min(until.remaining())).await;
            view = own(&self.jobs, &args.job_id, call).await?;
        }
        let result = match &view.result {
            Some(result) => serde_json::from_str(result.get()).unwrap_or(Value::Null),
            None => Value::Null,
        };
        let job = JobBrief::from(&view.job);
        Ok(Answer::from(JobResultView { job, result }).fact("job_id", args.job_id))
    }
}

async fn own(jobs: &JobsHandle, id: &str, call: &ToolCall<'_>) -> Result<JobView, ApiError> {
    let view = jobs.get(job_id(id)?, Some(call.permit.caller().id())).await?;
    view.ok_or_else(no_such_job)
}

const STATUS: &str = "\
Tells how a job of yours stands: `queued`, `claimed`, `running`, or how it ended: `completed`, `failed`, \
`cancelled`, `forbidden`, `outcome_unknown` (its worker died while it ran; it may have had effects and is not \
run again).

Example: {\"job_id\": \"01930000-0000-7000-8000-000000000000\"} gives {\"status\": \"running\", \"attempt\": 1, …}.";

const RESULT: &str = "\
Returns what a job of yours came to: the fields of job_status, and in `result` what the job's tool answered. \
With `wait_seconds` it waits that long for the job to end. Results are kept for a limited time.

Example: {\"job_id\": \"01930000-0000-7000-8000-000000000000\", \"wait_seconds\": 10} gives {\"status\": \
\"completed\", \"result\": {\"status\": \"ok\", …}, …}.";
