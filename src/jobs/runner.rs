//! Runs a job as the call it is: the caller of then with the rights of now, through [`tools_call`].
//!
//! Called by the engine's workers. Refuses callers whose token was revoked; what roles no longer grant
//! admission refuses.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::value::RawValue;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::fault::Retry;
use ultimate_mcp_actors::jobs::{Identity, JobFault, Order, RunEnd, Runner};

use crate::auth::{Caller, Standing};
use crate::error::{ApiError, Code};
use crate::origin::Origin;
use crate::record::described;
use crate::state::AppState;
use crate::tools::ToolRequest;
use crate::tools_call::tools_call;

/// When a job comes back that met a node about to end.
const LEAVING: Duration = Duration::from_secs(1);

/// The engine's way back into the face.
pub struct JobRunner {
    /// Weak: the state holds the engine, which holds this.
    state: Weak<AppState>,
}

impl JobRunner {
    /// A runner over this state.
    pub fn new(state: &Arc<AppState>) -> Self {
        Self { state: Arc::downgrade(state) }
    }
}

impl Runner for JobRunner {
    fn run(&self, order: Order) -> LocalBoxFuture<'static, RunEnd> {
        let state = self.state.upgrade();
        async move {
            match state {
                Some(state) => run(&state, order).await,
                None => turned_away(JobFault::new("unavailable", "the node is ending"), LEAVING),
            }
        }
        .boxed_local()
    }

    fn stands(&self, identity: &Identity) -> bool {
        let Some(state) = self.state.upgrade() else { return true };
        let Identity { caller, token_id, issued_at, .. } = identity;
        let standing = state.engine.authorization.snapshot();
        !Standing::is_revoked(&*standing, token_id.as_deref(), caller, *issued_at)
    }
}

/// The caller of work left for later, with the rights of now.
///
/// # Errors
/// The token was revoked, or the caller is banned; recorded.
pub fn resumed(
    state: &AppState,
    origin: &Origin,
    identity: &Identity,
    tool: &str,
) -> Result<Caller, ApiError> {
    let standing = state.engine.authorization.snapshot();
    let caller = Caller::resume(identity, &*standing).map_err(|error| {
        let mut event = described(origin, "jobs/run", EventType::AuthzDenied);
        event.user_id = Some(identity.caller.clone());
        event.tool = Some(tool.to_owned().into());
        event.success = Some(false);
        event.error_message = Some(error.to_string());
        state.note(&event);
        ApiError::new(Code::Forbidden, "the token that enqueued the job was revoked")
    })?;
    match standing.ban_of_user(caller.id(), chrono::Utc::now().timestamp()) {
        Some(ban) => Err(state.refuse_banned(origin, Some(&caller), ban)),
        None => Ok(caller),
    }
}

async fn run(state: &AppState, order: Order) -> RunEnd {
    let Order { job, arguments, deadline, .. } = order;
    let origin = Origin::of_job(&job);
    let caller = match resumed(state, &origin, &job.spec.identity, &job.spec.tool) {
        Ok(caller) => caller,
        Err(refusal) => {
            let fault = JobFault::new(refusal.code.slug(), refusal.public);
            return RunEnd::Forbidden { fault };
        }
    };
    let Ok(arguments) = RawValue::from_string(arguments) else {
        let fault = JobFault::new("internal", "the stored arguments are not JSON");
        return RunEnd::Failed { fault, retry: Retry::Never, callers_fault: false };
    };
    let name = job.spec.tool.as_str();
    let request = ToolRequest { name, arguments: &arguments, deadline, events: None };
    let answer = tools_call(state, &caller, &origin, request).await;
    match answer {
        Ok(output) => {
            let result = String::from(Box::<str>::from(output.structured));
            RunEnd::Done { result, is_error: output.is_error }
        }
        Err(error) => judged(error),
    }
}

/// From the one error type of the face to what it means for the job.
fn judged(error: ApiError) -> RunEnd {
    let fault = JobFault::new(error.code.slug(), error.public);
    match (error.code, error.retry) {
        (Code::Forbidden, _) => RunEnd::Forbidden { fault },
        // Turned away before anything happened: the queue is where to wait, and no attempt is spent.
        (Code::RateLimited | Code::Overloaded | Code::Unavailable, Retry::After(after)) => {
            turned_away(fault, after)
        }
        // A launcher that died may have taken a run with it that had begun: safe for the engine, which
        // runs nothing twice by itself, but not to be repeated unasked.
        (Code::Crashed, _) => failed(fault, Retry::Unsafe, false),
        (
            Code::ParseError
            | Code::InvalidRequest
            | Code::InvalidArguments
            | Code::UnknownTool
            | Code::NotFound
            | Code::Conflict
            | Code::PayloadTooLarge,
            retry,
        ) => failed(fault, retry, true),
        (_, retry) => failed(fault, retry, false),
    }
}

fn turned_away(fault: JobFault, after: Duration) -> RunEnd {
    RunEnd::TurnedAway { fault, after }
}

fn failed(fault: JobFault, retry: Retry, callers_fault: bool) -> RunEnd {
    RunEnd::Failed { fault, retry, callers_fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_costs_no_attempt_and_a_crash_is_not_repeated_unasked() {
        let full = judged(ApiError::new(Code::Overloaded, "full"));
        assert!(matches!(full, RunEnd::TurnedAway { .. }), "{full:?}");
        let crash = ApiError { retry: Retry::Safe, ..ApiError::new(Code::Crashed, "gone") };
        let crash = judged(crash);
        assert!(matches!(crash, RunEnd::Failed { retry: Retry::Unsafe, .. }), "{crash:?}");
        let wrong = judged(ApiError::new(Code::InvalidArguments, "no"));
        assert!(matches!(wrong, RunEnd::Failed { callers_fault: true, retry: Retry::Never, .. }));
        let unrecorded = ApiError { retry: Retry::Unsafe, ..ApiError::new(Code::Unavailable, "") };
        let unrecorded = judged(unrecorded);
        assert!(matches!(unrecorded, RunEnd::Failed { retry: Retry::Unsafe, .. }));
    }
}
