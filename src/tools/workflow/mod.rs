//! Tools over workflows: `workflow_run` starts one, `workflow_status` looks at one.
//!
//! A caller sees its own workflows only: of somebody else's these tools say what they say of none.

mod run;
mod status;

pub use run::WorkflowRun;
pub use status::WorkflowStatus;

use serde_json::Value;
use ultimate_mcp_actors::ids::JobId;
use ultimate_mcp_actors::jobs::{JobStatus, JobsHandle};

use super::{Answer, ToolCall};
use crate::error::{ApiError, Code};
use crate::workflow::{Entry, Progress, RUN, WorkflowReport};

/// What the journal of a workflow tells.
async fn progress(jobs: &JobsHandle, id: JobId) -> Result<Progress, ApiError> {
    let mut progress = Progress::default();
    for text in jobs.journal(id).await? {
        let entry: Entry = serde_json::from_str(&text).map_err(|error| {
            ApiError::new(Code::Internal, "the workflow's journal cannot be read").caused_by(error)
        })?;
        progress.apply(&entry);
    }
    Ok(progress)
}

/// How the job of a workflow of this caller stands; `None` when there is none.
async fn standing(
    jobs: &JobsHandle,
    id: JobId,
    call: &ToolCall<'_>,
) -> Result<Option<JobStatus>, ApiError> {
    let view = jobs.get(id, Some(call.permit.caller().id())).await?;
    Ok(view.filter(|view| view.job.spec.tool == RUN).map(|view| view.job.status))
}

/// The report with the facts the audit keeps of it.
fn told(report: WorkflowReport) -> Answer<WorkflowReport> {
    let failed = report.is_failure();
    let facts: [(&str, Value); 4] = [
        ("workflow_id", report.workflow_id.clone().into()),
        ("workflow", report.name.clone().into()),
        ("status", report.status.clone().into()),
        ("steps", report.steps.len().into()),
    ];
    facts
        .into_iter()
        .fold(Answer::from(report), |answer, (name, value)| answer.fact(name, value))
        .failed_if(failed)
}
