//! The life of one `tools/call`, whatever its transport: HTTP, REST, jobs and, later, WebSocket and
//! workflows all enter here. There is no second path with fewer checks.
//!
//! authenticated caller → admission → room (with an idempotency key: run before?) → intent in the audit → run within
//! the deadline → outcome in the audit → answer. Admission is a look at snapshots in memory, so the intent already states its
//! verdict: an admitted call is an intent and an outcome, a refused one a single event.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::value::RawValue;
use ultimate_mcp_actors::node::NodeId;
use ultimate_mcp_actors::resilience::{Priority, Requester};

use crate::admission::Permit;
use crate::auth::Caller;
use crate::error::{ApiError, Code};
use crate::once::Once;
use crate::origin::{Origin, Transport};
use crate::record::Record;
use crate::state::AppState;
use crate::tools::{Effects, Tool, ToolCall, ToolOutput, ToolRequest};

/// Runs one tool for one verified caller and answers only after the outcome is durable.
///
/// # Errors
/// Unknown tool, refusal, wrong arguments, a part of the engine that is down, the deadline. A tool
/// that ran and failed is an `Ok` with `is_error`.
pub async fn tools_call(
    state: &AppState,
    caller: &Caller,
    origin: &Origin,
    request: ToolRequest<'_>,
) -> Result<ToolOutput, ApiError> {
    // What comes from a queue waits for nobody.
    let priority = match origin.transport {
        Transport::Job => Priority::Background,
        _ => Priority::Interactive,
    };
    let requester = Requester::of(caller.id().clone(), priority);
    // On the heap: bound to a task it would take its room on the stack a second time.
    let call = Box::pin(carried_out(state, caller, origin, request));
    requester.scope(call).await
}

/// The call itself, on behalf of its caller in whatever it reaches.
async fn carried_out(
    state: &AppState,
    caller: &Caller,
    origin: &Origin,
    request: ToolRequest<'_>,
) -> Result<ToolOutput, ApiError> {
    let ToolRequest { name, arguments, deadline, .. } = request;
    let meant = state.tool_for(caller, name);
    // What runs is recorded, whatever name it was called by.
    let named = meant.map_or(name, |tool| tool.descriptor().name);
    let record = Record::of_tool(&state.engine.audit, caller, origin, named);
    // However little time the client gives: what is to be recorded is.
    let recording = state.call_deadline();
    let Some(tool) = meant else {
        let unknown = ApiError::new(Code::UnknownTool, format!("unknown tool: {}", clip(name)));
        // Each guess costs an event in the audit, so guesses have a rate as well.
        let refusal = state.admission.admit_own(caller).await.err().unwrap_or(unknown);
        return Err(record.refused(refusal, recording).await);
    };
    if let Some(node) = elsewhere(state, tool, arguments) {
        // On the heap, as few calls go there and all others would carry its room on their stacks.
        return Box::pin(sent_on(state, caller, origin, &record, &node, tool, request)).await;
    }
    let descriptor = tool.descriptor();
    let permit = match state.admission.admit(caller, descriptor, record.call_id()).await {
        Ok(permit) => permit,
        Err(refusal) => return Err(record.refused(refusal, recording).await),
    };
    let record = record.kind(descriptor.event_type);
    if deadline.is_past() {
        return Err(record.refused(ApiError::not_begun(), recording).await);
    }
    let Some(key) = &origin.idempotency_key else {
        // Not with a key: its answer may be known, and then nothing is run.
        let call = called(&permit, origin, &request);
        if let Err(full) = tool.room(&call) {
            state.metrics.tool_finished(descriptor.name, full.code.slug(), Duration::ZERO);
            return Err(record.turned_away(full));
        }
        return recorded(state, tool, &permit, &record, origin, request).await;
    };
    let record = record.keyed(key);
    let keys = &state.engine.idempotency;
    let once = Once { keys, caller, key, tool: descriptor, arguments, deadline };
    // On the heap: few calls come with a key, and all others would carry its room on their stacks.
    let work = Box::pin(recorded(state, tool, &permit, &record, origin, request));
    Box::pin(once.run(&record, work)).await
}

/// Runs an admitted call between its intent and its outcome.
async fn recorded(
    state: &AppState,
    tool: &dyn Tool,
    permit: &Permit,
    record: &Record,
    origin: &Origin,
    request: ToolRequest<'_>,
) -> Result<ToolOutput, ApiError> {
    let descriptor = tool.descriptor();
    let started = Instant::now();
    let work = async {
        let result = run(tool, permit, origin, request).await;
        state.metrics.tool_finished(descriptor.name, status(&result), started.elapsed());
        result
    };
    match descriptor.effects {
        // The intent must be durable before anything can happen.
        Effects::Durable => {
            let open = record.begin(state.call_deadline()).await?;
            let result = work.await;
            open.close((&result).into(), started.elapsed()).await.and(result)
        }
        // Nothing can happen. A call that never waits is over before anybody could ask for its intent:
        // both events go together. Any other is announced while it runs.
        Effects::None => {
            let open = record.open();
            let mut work = pin!(work);
            if let Poll::Ready(result) = futures_util::poll!(work.as_mut()) {
                let recorded = open.close_with_intent((&result).into(), started.elapsed()).await;
                return recorded.and(result);
            }
            let rest = async {
                let result = work.await;
                open.close((&result).into(), started.elapsed()).await.and(result)
            };
            // Without its intent the outcome still says everything, and what it says is what happened: a
            // caller who heard of a failure instead would be contradicted by the trail.
            let intent = record.intent_in_company(state.call_deadline());
            let (_, result) = futures_util::join!(intent, rest);
            result
        }
    }
}

/// The other node that what the call works on lives on.
fn elsewhere(state: &AppState, tool: &dyn Tool, arguments: &RawValue) -> Option<NodeId> {
    let name = tool.handle_argument()?;
    let arguments: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(arguments.get()).ok()?;
    let handle: Cow<'_, str> = serde_json::from_str(arguments.get(name)?.get()).ok()?;
    state.forwarder.elsewhere(&handle)
}

/// Sends the call to the node it belongs to, which admits and records it: one path, not two. What does
/// not get there is recorded here, within a rate as every guess. What it says while it runs stays there.
async fn sent_on(
    state: &AppState,
    caller: &Caller,
    origin: &Origin,
    record: &Record,
    node: &NodeId,
    tool: &dyn Tool,
    request: ToolRequest<'_>,
) -> Result<ToolOutput, ApiError> {
    let ToolRequest { arguments, deadline, .. } = request;
    let name = tool.descriptor().name;
    let answer = state.forwarder.tool(origin, node, name, arguments, deadline).await;
    state.metrics.forwarded(status(&answer));
    match answer {
        Err(error) if error.code == Code::NodeGone => {
            let refusal = state.admission.admit_own(caller).await.err().unwrap_or(error);
            Err(record.refused(refusal, state.call_deadline()).await)
        }
        answer => answer,
    }
}

/// Runs the tool within its deadline; a panic becomes an error to this caller alone.
async fn run(
    tool: &dyn Tool,
    permit: &Permit,
    origin: &Origin,
    request: ToolRequest<'_>,
) -> Result<ToolOutput, ApiError> {
    let deadline = request.deadline;
    if deadline.is_past() {
        return Err(ApiError::not_begun());
    }
    let call = called(permit, origin, &request);
    let call = AssertUnwindSafe(tool.call(call)).catch_unwind();
    match tokio::time::timeout_at(deadline.instant(), call).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => {
            Err(ApiError::new(Code::Crashed, "the tool crashed; whether it had effects is unknown"))
        }
        Err(_elapsed) => Err(ApiError::new(
            Code::DeadlineExceeded,
            "the call did not finish by its deadline; whether it had effects is unknown",
        )),
    }
}

/// The request as its tool gets it.
fn called<'a>(permit: &'a Permit, origin: &'a Origin, request: &ToolRequest<'a>) -> ToolCall<'a> {
    let ToolRequest { arguments, deadline, events, .. } = *request;
    ToolCall { permit, origin, arguments, deadline, events }
}

/// How a call ended, for metrics.
fn status(result: &Result<ToolOutput, ApiError>) -> &'static str {
    match result {
        Ok(output) if output.is_error => "tool_error",
        Ok(_) => "ok",
        Err(error) => error.code.slug(),
    }
}

/// Names come from clients: bounded before they reach a message.
fn clip(name: &str) -> String {
    name.chars().take(64).collect()
}
