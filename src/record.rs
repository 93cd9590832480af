//! The audit's view of one call: who, what, from where; intent, outcome, refusal.
//!
//! Used by [`crate::tools_call`] for tools and by the administration routes for what they change. Holds
//! no code, data or secrets: tools hand in facts (sizes, hashes, status) of their own choice.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use serde_json::{Map, Value};
use ultimate_mcp_actors::audit::{AuditHandle, EventType, NewEvent, Phase};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::fault::Retry;
use ultimate_mcp_actors::idempotency::IdempotencyKey;
use ultimate_mcp_actors::ids::CallId;

use crate::auth::Caller;
use crate::error::{ApiError, Code};
use crate::origin::Origin;
use crate::tools::ToolOutput;
use crate::tools::hash::sha256_hex;

/// How long an outcome may take to be recorded. Its own time, not the call's: the deadline may be what
/// ended the call.
const OUTCOME_MAX: Duration = Duration::from_secs(10);

/// One call, as its events describe it.
#[derive(Clone)]
pub struct Record {
    audit: AuditHandle,
    call_id: CallId,
    /// Every event of the call starts as a copy of this one.
    template: Arc<NewEvent>,
}

impl Record {
    /// Describes a call of `tool` by `caller`.
    pub fn of_tool(audit: &AuditHandle, caller: &Caller, origin: &Origin, tool: &str) -> Self {
        let mut record =
            Self::of_action(audit, caller, origin, "tools/call", EventType::AuthzDenied);
        let event = Arc::make_mut(&mut record.template);
        event.tool = Some(Cow::Owned(tool.chars().take(128).collect()));
        record
    }

    /// Describes an administrative action.
    pub fn of_action(
        audit: &AuditHandle,
        caller: &Caller,
        origin: &Origin,
        action: &'static str,
        kind: EventType,
    ) -> Self {
        let call_id = CallId::new();
        let mut event = described(origin, action, kind);
        event.call_id = Some(call_id);
        event.user_id = Some(caller.id().clone());
        Self { audit: audit.clone(), call_id, template: Arc::new(event) }
    }

    /// The call, as in the audit.
    pub fn call_id(&self) -> CallId {
        self.call_id
    }

    /// States what kind of event the call's intent and outcome are.
    pub fn kind(mut self, kind: EventType) -> Self {
        Arc::make_mut(&mut self.template).event_type = kind;
        self
    }

    /// Names what the call works on.
    pub fn on(mut self, resource: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.template).resource = Some(resource.into());
        self
    }

    /// Records that the call was refused and hands the refusal on. A refusal that cannot be recorded is
    /// still a refusal: the log says so.
    pub async fn refused(&self, refusal: ApiError, deadline: Deadline) -> ApiError {
        let event = self.refusal(&refusal);
        if let Err(error) = self.audit.append(event, deadline).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a refusal was not recorded");
        }
        refusal
    }

    /// The same for want of room, which nobody waits for: it is durable a few milliseconds after the answer,
    /// together with others. Where a commit each would cost what the refusal is there to save.
    pub fn turned_away(&self, refusal: ApiError) -> ApiError {
        if let Err(error) = self.audit.record(&self.refusal(&refusal)) {
            tracing::error!(error = &error as &dyn std::error::Error, "a refusal was not recorded");
        }
        refusal
    }

    fn refusal(&self, refusal: &ApiError) -> NewEvent {
        let mut event = self.event(Phase::Single);
        event.event_type = match refusal.code {
            Code::RateLimited => EventType::RateLimitExceeded,
            Code::NodeGone => EventType::SystemError,
            Code::IdempotencyKeyReused
            | Code::CallInProgress
            | Code::OutcomeUnknown
            | Code::DeadlineExceeded
            | Code::Overloaded
            | Code::Conflict => event.event_type,
            _ => EventType::AuthzDenied,
        };
        event.success = Some(false);
        event.error_message = Some(refusal.public.clone());
        event.details.extend(reason(refusal));
        event
    }

    /// Names the idempotency key the call came with, by its digest: keys are the callers' own.
    pub fn keyed(mut self, key: &IdempotencyKey) -> Self {
        let digest = sha256_hex(key.as_str().as_bytes());
        let details = &mut Arc::make_mut(&mut self.template).details;
        details.insert("idempotency_key_sha256".into(), digest.into());
        self
    }

    /// Records that the call was answered from what an earlier run had answered; durable when this
    /// returns.
    ///
    /// # Errors
    /// The audit is down: the answer must not be sent as if it were recorded.
    pub async fn replayed(&self, answer: Outcome, deadline: Deadline) -> Result<(), ApiError> {
        let mut event = self.event(Phase::Single);
        event.success = Some(answer.success);
        event.error_message = answer.error;
        event.details.extend(answer.details);
        event.details.insert("replayed".into(), true.into());
        self.audit.append(event, deadline).await?;
        Ok(())
    }

    /// Records that the call is about to run; durable when this returns.
    ///
    /// # Errors
    /// The audit is down or overloaded: then the call must not run.
    async fn intent(&self, deadline: Deadline) -> Result<(), ApiError> {
        self.audit.append(self.event(Phase::Intent), deadline).await?;
        Ok(())
    }

    /// Records the intent and hands out the guard that owes the outcome. The guard exists before the
    /// intent is on its way, so that a client who leaves in between cannot leave an intent alone.
    ///
    /// # Errors
    /// As [`Record::intent`]; nothing is owed then.
    pub async fn begin(&self, deadline: Deadline) -> Result<Open, ApiError> {
        let open = self.open();
        match self.intent(deadline).await {
            Ok(()) => Ok(open),
            Err(unrecorded) => {
                open.owes_nothing();
                Err(unrecorded)
            }
        }
    }

    /// The same for a call without lasting effects, whose outcome is awaited together with it: it may
    /// wait a few milliseconds for that outcome and then shares its commit.
    ///
    /// # Errors
    /// As [`Record::intent`].
    pub async fn intent_in_company(&self, deadline: Deadline) -> Result<(), ApiError> {
        self.audit.append_deferred(self.event(Phase::Intent), deadline).await?;
        Ok(())
    }

    /// A guard that owes the outcome. Dropped without [`Open::close`], the call was abandoned and the
    /// outcome says so.
    pub fn open(&self) -> Open {
        Open { record: Some(self.clone()) }
    }

    fn event(&self, phase: Phase) -> NewEvent {
        NewEvent { phase, ..(*self.template).clone() }
    }
}

/// An event with everything the origin tells filled in.
pub fn described(origin: &Origin, action: &'static str, kind: EventType) -> NewEvent {
    let mut event = NewEvent::new(kind, Phase::Single, action);
    event.ip_address = origin.ip;
    event.user_agent = origin.user_agent.clone();
    event.request_id = Some(origin.request_id.as_str().into());
    event.session_id = origin.session_id.clone();
    event.trace_id = origin.trace_id().map(Into::into);
    if let Some(node) = &origin.passage.forwarded_by {
        event.details.insert("forwarded_by".into(), node.as_str().into());
    }
    event.details.insert("transport".into(), origin.transport.as_str().into());
    if let Some(job) = origin.job {
        event.details.insert("job_id".into(), job.id.to_string().into());
    }
    if let Some(step) = &origin.step {
        let details = &mut event.details;
        details.insert("workflow_id".into(), step.workflow.to_string().into());
        details.insert("step".into(), step.step.clone().into());
        details.insert("attempt".into(), step.attempt.into());
        details.insert("parent_call_id".into(), step.parent.to_string().into());
    }
    event
}

/// What the outcome of a call says.
pub struct Outcome {
    success: bool,
    error: Option<String>,
    details: Map<String, Value>,
}

impl From<&Result<ToolOutput, ApiError>> for Outcome {
    fn from(result: &Result<ToolOutput, ApiError>) -> Self {
        match result {
            Ok(output) => Self {
                success: !output.is_error,
                error: output.is_error.then(|| "the tool reported a failure".to_owned()),
                details: output.audit.clone(),
            },
            Err(error) => Self::failed(error),
        }
    }
}

impl Outcome {
    /// It worked; these are the facts.
    pub fn done(details: Map<String, Value>) -> Self {
        Self { success: true, error: None, details }
    }

    /// It failed.
    pub fn failed(error: &ApiError) -> Self {
        Self { success: false, error: Some(error.public.clone()), details: reason(error) }
    }
}

/// Owes one outcome to the audit.
pub struct Open {
    /// `None` once the outcome is on its way.
    record: Option<Record>,
}

impl Open {
    /// Records intent and outcome of a call that is already over and had no lasting effects; both durable
    /// when this returns.
    ///
    /// # Errors
    /// The audit is down: the answer must not be sent as if it were recorded.
    pub async fn close_with_intent(self, outcome: Outcome, took: Duration) -> Result<(), ApiError> {
        self.end(outcome, took, true).await
    }

    /// Records the outcome; durable when this returns. It has a time of its own: the call's deadline
    /// may be what ended the call.
    ///
    /// # Errors
    /// The audit is down: the answer must not be sent as if it were recorded.
    pub async fn close(self, outcome: Outcome, took: Duration) -> Result<(), ApiError> {
        self.end(outcome, took, false).await
    }

    async fn end(
        mut self,
        outcome: Outcome,
        took: Duration,
        with_intent: bool,
    ) -> Result<(), ApiError> {
        let Some(record) = self.record.take() else { return Ok(()) };
        let intent = with_intent.then(|| record.event(Phase::Intent));
        let mut event = record.event(Phase::Outcome);
        event.success = Some(outcome.success);
        event.error_message = outcome.error;
        event.details.extend(outcome.details);
        event.duration_ms = Some(took.as_secs_f64() * 1e3);
        // A client that goes away now must not take the outcome with it.
        let recorded = Unstoppable::new(append(record.audit, intent.as_ref(), event)).await;
        recorded.then_some(()).ok_or_else(|| {
            let message = "the call ran but its outcome could not be recorded; effects are unknown";
            ApiError { retry: Retry::Unsafe, ..ApiError::new(Code::Unavailable, message) }
        })
    }

    /// Nothing happened after all: the intent could not be recorded, so the call was not run.
    fn owes_nothing(mut self) {
        self.record = None;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let mut event = record.event(Phase::Outcome);
        event.success = Some(false);
        event.error_message = Some("the client went away; the work was cancelled".to_owned());
        actix_rt::spawn(append(record.audit, None, event));
    }
}

/// Work that is finished even when nobody waits for it any more: who drops it half done leaves it to a
/// task of its own. While somebody waits, there is no such task, nor the wake-ups it costs.
struct Unstoppable<F: Future<Output: 'static> + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: 'static> + 'static> Unstoppable<F> {
    fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output: 'static> + 'static> Future for Unstoppable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<F::Output> {
        // Taken out meanwhile: work that panics is not polled again.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(task);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<F: Future<Output: 'static> + 'static> Drop for Unstoppable<F> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            actix_rt::spawn(work);
        }
    }
}

/// Records an outcome whether or not anybody still waits for it; says whether it is durable.
fn append(
    audit: AuditHandle,
    intent: Option<&NewEvent>,
    outcome: NewEvent,
) -> impl Future<Output = bool> + use<> {
    let deadline = Deadline::after(OUTCOME_MAX);
    let recorded = match intent {
        Some(intent) => Either::Left(audit.append_pair(intent, &outcome, deadline)),
        None => Either::Right(audit.append(outcome, deadline)),
    };
    recorded.map(|recorded| match recorded {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an outcome was not recorded"
            );
            false
        }
    })
}

/// The failure in the audit's words.
fn reason(error: &ApiError) -> Map<String, Value> {
    let mut details = Map::new();
    details.insert("code".into(), error.code.slug().into());
    if !error.scopes.is_empty() {
        details.insert("required_permissions".into(), serde_json::json!(error.scopes));
    }
    details
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::sync::oneshot;

    use super::*;

    fn work(done: &Rc<Cell<bool>>) -> (oneshot::Sender<()>, impl Future<Output = bool> + use<>) {
        let (go, gone) = oneshot::channel();
        let done = done.clone();
        let work = async move {
            gone.await.unwrap();
            done.set(true);
            true
        };
        (go, work)
    }

    #[actix_rt::test]
    async fn an_outcome_is_recorded_when_its_client_leaves_before_or_while_it_is_waited_for() {
        for polled in [false, true] {
            let done = Rc::default();
            let (go, work) = work(&done);
            let mut outcome = Unstoppable::new(work);
            if polled {
                assert!((&mut outcome).now_or_never().is_none());
            }
            drop(outcome);
            go.send(()).unwrap();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(done.get(), "left behind; polled: {polled}");
        }
    }

    #[actix_rt::test]
    async fn an_outcome_that_is_waited_for_answers_and_is_over() {
        let done = Rc::default();
        let (go, work) = work(&done);
        go.send(()).unwrap();
        assert!(Unstoppable::new(work).await && done.get());
    }
}
