//! What may be done to a dead letter, for the routes and the tool: look, replay, discard.
//!
//! Who may is the caller's question; here everybody's dead letters are the same.

use ultimate_mcp_actors::ids::JobId;
use ultimate_mcp_actors::jobs::{JobView, JobsHandle};

use crate::error::{ApiError, Code};

/// The id in this text; the error of a dead letter that is not there otherwise.
pub fn dead_letter_id(text: &str) -> Result<JobId, ApiError> {
    uuid::Uuid::parse_str(text).map(JobId::from).map_err(|_| none())
}

/// The dead letter of this id.
///
/// # Errors
/// There is none, the store.
pub async fn dead_letter(jobs: &JobsHandle, id: JobId) -> Result<JobView, ApiError> {
    let view = jobs.get(id, None).await?;
    view.filter(|view| view.job.status.dead.is_some()).ok_or_else(none)
}

/// Queues it again (`replay`) or drops it; says what it is now: `queued` or `discarded`.
///
/// # Errors
/// There is none, the store.
pub async fn settle(jobs: &JobsHandle, id: JobId, replay: bool) -> Result<&'static str, ApiError> {
    let (changed, status) = match replay {
        true => (jobs.replay(id).await?, "queued"),
        false => (jobs.discard(id).await?, "discarded"),
    };
    changed.then_some(status).ok_or_else(none)
}

fn none() -> ApiError {
    ApiError::new(Code::NotFound, "there is no such dead letter")
}
