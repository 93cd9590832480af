//! `workflow_status`: how a workflow of the caller stands, step by step.

use std::time::Duration;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::jobs::JobsHandle;

use super::{progress, standing, told};
use crate::error::{ApiError, Code};
use crate::tools::jobs::job_id;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};
use crate::workflow::WorkflowReport;

/// How often a waiting call looks again when nothing on this node moved: another node may have.
const LOOK: Duration = Duration::from_millis(500);

/// Arguments of `workflow_status`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with workflow_id")]
pub struct WorkflowStatusArgs {
    /// The workflow, as workflow_run said.
    #[garde(length(bytes, min = 1, max = 64))]
    pub workflow_id: String,
    /// Seconds to wait for its end; default 0.
    #[serde(default)]
    #[garde(range(min = 0.0, max = 30.0))]
    pub wait_seconds: f64,
    /// True: with the results of the steps. Together they may be 4 MiB.
    #[serde(default)]
    #[garde(skip)]
    pub results: bool,
}

/// The tool.
pub struct WorkflowStatus {
    jobs: JobsHandle,
}

impl WorkflowStatus {
    /// A tool over this queue.
    pub fn new(jobs: JobsHandle) -> Self {
        Self { jobs }
    }
}

impl TypedTool for WorkflowStatus {
    type Args = WorkflowStatusArgs;
    type Output = WorkflowReport;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "workflow_status",
            title: "How a workflow stands",
            description: DESCRIPTION.to_owned(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations::READS,
            permission: "tools:read",
            event_type: EventType::DataRead,
            effects: Effects::None,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: WorkflowStatusArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<WorkflowReport>, ApiError> {
        let none =
            || ApiError::new(Code::NotFound, "you have no such workflow; it may have expired");
        let id = job_id(&args.workflow_id).map_err(|_| none())?;
        let until = Deadline::after(Duration::from_secs_f64(args.wait_seconds));
        let mut job = standing(&self.jobs, id, call).await?.ok_or_else(none)?;
        while !job.state.is_final() && !until.is_past() && !call.deadline.is_past() {
            self.jobs.moved(LOOK.min(until.remaining())).await;
            job = standing(&self.jobs, id, call).await?.ok_or_else(none)?;
        }
        let progress = progress(&self.jobs, id).await?;
        // That a workflow failed is what was asked for, not a failure of this call.
        let report = WorkflowReport::of(id, Some(&job), &progress, args.results);
        Ok(told(report).failed_if(false))
    }
}

const DESCRIPTION: &str = "\
Tells how a workflow of yours stands: each step with status, attempts, times and error, and with `results` what \
its tool answered. With `wait_seconds` it waits that long for the end. job_cancel with the same id ends a \
workflow at once: what runs is killed, nothing is compensated.

Example: {\"workflow_id\": \"01930000-0000-7000-8000-000000000000\", \"wait_seconds\": 10} gives {\"status\": \
\"running\", \"steps\": [{\"id\": \"lint\", \"status\": \"completed\", …}, …], …}.";
