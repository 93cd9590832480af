//! Jobs as the tasks of MCP: what a call leaves to the queue is a task for clients that know tasks, under the same
//! id. Looking and cancelling are calls of `job_result` and `job_cancel`, with all that belongs to a call.
//!
//! Called by the protocol layer. A job asks nothing: what a tool wants to know it asks before it is queued.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{LocalBoxStream, unfold};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, json};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::{CallerId, JobId};
use ultimate_mcp_actors::jobs::{JobsHandle, State};

use crate::auth::Caller;
use crate::error::{ApiError, Code};
use crate::jobs::{JobBrief, JobError};
use crate::mcp::{Called, Task, TaskState};
use crate::origin::Origin;
use crate::state::AppState;
use crate::tools::{ToolOutput, ToolRequest};
use crate::tools_call::tools_call;

/// How often a task is looked at whose job another node may work.
const LOOK: Duration = Duration::from_millis(500);

/// What a call left to the queue says.
#[derive(Deserialize)]
struct Ticket {
    #[serde(alias = "workflow_id")]
    job_id: Option<String>,
    status: String,
}

/// The job that this call left its work to, if it did.
pub fn ticket(tool: &str, output: &ToolOutput) -> Option<JobId> {
    if output.is_error || !["execute_code", "run_tests_async", "workflow_run"].contains(&tool) {
        return None;
    }
    let ticket: Ticket = serde_json::from_str(output.structured.get()).ok()?;
    let id = ticket.job_id.filter(|_| ticket.status == "queued")?;
    uuid::Uuid::parse_str(&id).ok().map(JobId::from)
}

/// The task that a call has just become.
///
/// # Errors
/// The store.
pub async fn made(state: &AppState, caller: &Caller, id: JobId) -> Result<Task, ApiError> {
    let view = state.engine.jobs.get(id, Some(caller.id())).await?;
    view.map(|view| standing(JobBrief::from(&view.job))).ok_or_else(none)
}

/// How a task stands, with what it came to.
///
/// # Errors
/// As a call of `job_result`.
pub async fn get(
    state: &AppState,
    caller: &Caller,
    origin: &Origin,
    id: &str,
    deadline: Deadline,
) -> Result<Task, ApiError> {
    let output = call(state, caller, origin, "job_result", id, deadline).await?;
    let unread =
        |error| ApiError::new(Code::Internal, "the job could not be read").caused_by(error);
    let job: JobBrief = serde_json::from_str(output.structured.get()).map_err(unread)?;
    let Found { result } = serde_json::from_str(output.structured.get()).map_err(unread)?;
    let is_error = job.is_error;
    let mut task = standing(job);
    if let TaskState::Completed(called) = &mut task.state {
        **called = result_of(result.unwrap_or_else(|| RawValue::NULL.to_owned()), is_error);
    }
    Ok(task)
}

/// Ends a task.
///
/// # Errors
/// As a call of `job_cancel`.
pub async fn cancel(
    state: &AppState,
    caller: &Caller,
    origin: &Origin,
    id: &str,
    deadline: Deadline,
) -> Result<(), ApiError> {
    call(state, caller, origin, "job_cancel", id, deadline).await.map(drop)
}

/// Answers for a task, which asks nothing: they are ignored.
///
/// # Errors
/// As a call of `job_status`.
pub async fn answer(
    state: &AppState,
    caller: &Caller,
    origin: &Origin,
    id: &str,
    deadline: Deadline,
) -> Result<(), ApiError> {
    call(state, caller, origin, "job_status", id, deadline).await.map(drop)
}

/// How a task stands each time that changes, until its end; without results.
pub fn changes(jobs: JobsHandle, owner: CallerId, id: &str) -> LocalBoxStream<'static, Task> {
    let Ok(id) = uuid::Uuid::parse_str(id) else {
        return futures_util::stream::empty().boxed_local();
    };
    let follow = Follow { jobs, owner, id: JobId::from(id), told: None };
    unfold(follow, |mut follow| async move { Some((follow.next().await?, follow)) }).boxed_local()
}

struct Follow {
    jobs: JobsHandle,
    owner: CallerId,
    id: JobId,
    told: Option<State>,
}

impl Follow {
    async fn next(&mut self) -> Option<Task> {
        loop {
            if self.told.is_some_and(State::is_final) {
                return None;
            }
            match self.jobs.get(self.id, Some(&self.owner)).await {
                Ok(None) => return None,
                Ok(Some(view)) if self.told != Some(view.job.status.state) => {
                    self.told = Some(view.job.status.state);
                    return Some(standing(JobBrief::from(&view.job)));
                }
                // The store is away for a moment, or nothing is new.
                Ok(Some(_)) | Err(_) => self.jobs.moved(LOOK).await,
            }
        }
    }
}

async fn call(
    state: &AppState,
    caller: &Caller,
    origin: &Origin,
    tool: &str,
    id: &str,
    deadline: Deadline,
) -> Result<ToolOutput, ApiError> {
    let arguments = to_raw_value(&json!({ "job_id": id })).map_err(|error| {
        ApiError::new(Code::Internal, "the id could not be encoded").caused_by(error)
    })?;
    // A key names the call that made the task, not each look at it.
    let origin = Origin { idempotency_key: None, ..origin.clone() };
    let request = ToolRequest { name: tool, arguments: &arguments, deadline, events: None };
    tools_call(state, caller, &origin, request).await.map_err(|error| match error.code {
        // An id that no job can have is one that there is not.
        Code::InvalidArguments => none(),
        _ => error,
    })
}

fn none() -> ApiError {
    ApiError::new(Code::NotFound, "there is no such task of yours")
}

/// What `job_result` says beside how the job stands.
#[derive(Deserialize)]
struct Found {
    result: Option<Box<RawValue>>,
}

fn standing(job: JobBrief) -> Task {
    let message = match (&job.error, job.status.as_str()) {
        (Some(error), _) => Some(error.message.clone()),
        (None, "queued" | "running") => Some(job.status.clone()),
        _ => None,
    };
    let ttl_ms = job.expires_at.as_deref().and_then(|end| span_ms(&job.created_at, end));
    let updated = job.finished_at.clone().or_else(|| job.started_at.clone());
    Task {
        state: state_of(&job),
        message,
        updated_at: updated.unwrap_or_else(|| job.created_at.clone()),
        created_at: job.created_at,
        ttl_ms,
        id: job.job_id,
    }
}

fn state_of(job: &JobBrief) -> TaskState {
    match State::parse(&job.status) {
        Some(State::Completed) => {
            TaskState::Completed(Box::new(result_of(RawValue::NULL.to_owned(), job.is_error)))
        }
        Some(State::Cancelled) => TaskState::Cancelled,
        Some(State::Failed | State::Forbidden | State::OutcomeUnknown) => {
            TaskState::Failed(Box::new(fault(job.error.as_ref())))
        }
        Some(State::Queued | State::Claimed | State::Running) | None => TaskState::Working,
    }
}

fn result_of(structured: Box<RawValue>, is_error: bool) -> Called {
    ToolOutput { structured, text: None, is_error, audit: Map::new() }.into()
}

fn fault(error: Option<&JobError>) -> ApiError {
    match error {
        Some(error) => {
            let code = Code::of_slug(&error.code).unwrap_or(Code::Internal);
            ApiError::new(code, error.message.clone())
        }
        None => ApiError::new(Code::Internal, "the job failed"),
    }
}

fn span_ms(from: &str, to: &str) -> Option<u64> {
    let at = |text| chrono::DateTime::parse_from_rfc3339(text).ok();
    u64::try_from((at(to)? - at(from)?).num_milliseconds()).ok()
}
