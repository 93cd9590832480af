//! The face's side of the job queue: what may be queued, how a job is run, how it is shown.
//!
//! Used by the routes of `/api/v1/jobs` and the job tools; the runner is handed to the engine at start.
//! Refuses to queue what is asynchronous itself and what only this node could do.

mod dead;
mod runner;
mod view;

use serde_json::Value;
use ultimate_mcp_actors::jobs::JobsEngine;

pub use dead::{dead_letter, dead_letter_id, settle};
pub use runner::{JobRunner, resumed};
pub use view::{EventView, JobBrief, JobError, ScheduleView, full, time};

use crate::error::{ApiError, Problem};
use crate::tools::ToolDescriptor;

/// Whether a call of this tool can be a job.
///
/// # Errors
/// It is asynchronous itself, or works on what only this node has.
pub fn queueable(
    tool: &ToolDescriptor,
    arguments: &Value,
    engine: JobsEngine,
    graph_is_shared: bool,
) -> Result<(), ApiError> {
    let wrong = |path: &str, problem: &str| {
        let (path, problem) = (path.to_owned(), problem.to_owned());
        Err(ApiError::invalid_arguments(vec![Problem { path, problem }]))
    };
    match tool.name {
        name if name.starts_with("job_") || name == "dead_letters" || name == "workflow_status" => {
            wrong("tool", "works on jobs and cannot be one")
        }
        "run_tests_async" => wrong("tool", "is asynchronous itself; queue `run_tests`"),
        "execute_code" | "workflow_run" if arguments["async"] == true => {
            wrong("arguments.async", "must be left out: a job is asynchronous already")
        }
        name if name.starts_with("graph_") && engine == JobsEngine::Redis && !graph_is_shared => {
            wrong(
                "tool",
                "works on the graph of one node, and any node may run a shared job; call it directly",
            )
        }
        name if name.starts_with("sandbox_") && engine == JobsEngine::Redis => wrong(
            "tool",
            "works on a sandbox of one node, and any node may run a shared job; call it directly",
        ),
        _ => Ok(()),
    }
}
