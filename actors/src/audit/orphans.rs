//! Every intent gets an outcome: what to write for calls whose own outcome will not come.
//!
//! At start these are the calls a crash cut off; while running, calls that are long overdue.

use std::borrow::Cow;
use std::path::Path;

use super::chain::AuditKey;
use super::error::AuditError;
use super::event::{Body, EventType, NewEvent, Phase};
use super::prepared::Prepared;
use super::store::{OpenCall, Store};
use crate::ids::{CallId, CallerId, SessionId};

/// Said of calls that a stop of the server cut off.
pub const STOPPED: &str = "the server stopped before the outcome was recorded; effects unknown";
/// Said of calls that never reported back.
pub const OVERDUE: &str = "no outcome was recorded in time; effects unknown";

/// Outcomes written per transaction.
const CHUNK: usize = 512;

/// Gives every call that an earlier process left open an outcome; returns how many there were, and the
/// seq of the last event. Only for the start of a process: while it runs, an open call may still end.
pub(crate) fn sweep(
    path: &Path,
    key: &AuditKey,
    wal_pages: u32,
) -> Result<(usize, i64), AuditError> {
    let mut store = Store::open(path, key.clone(), wal_pages)?;
    let mut swept = 0;
    loop {
        let calls = store.overdue(i64::MAX, 0, CHUNK);
        if calls.is_empty() {
            return Ok((swept, store.head().seq));
        }
        let outcomes = outcomes_for(&store, &calls, STOPPED)?;
        store.append(&outcomes)?;
        swept += outcomes.len();
    }
}

/// The outcomes to append for these calls.
pub(crate) fn outcomes_for(
    store: &Store,
    calls: &[OpenCall],
    message: &'static str,
) -> Result<Vec<Prepared>, AuditError> {
    let mut outcomes = Vec::with_capacity(calls.len());
    for call in calls {
        let intent = store.intent(call.seq).map_err(AuditError::read)?.unwrap_or_default();
        let body = Body::parse(&intent.body, intent.who.as_deref()).unwrap_or_default();
        let kind = EventType::parse(&intent.event_type).unwrap_or(EventType::SystemError);
        let mut event = NewEvent::new(kind, Phase::Outcome, body.action);
        event.call_id = Some(CallId::from(call.call_id));
        event.user_id = intent.user_id.as_deref().and_then(|user| CallerId::parse(user).ok());
        event.tool = intent.tool.map(Cow::Owned);
        event.success = Some(false);
        event.error_message = Some(message.to_owned());
        event.resource = body.resource.map(Cow::Owned);
        event.ip_address = body.ip_address.and_then(|ip| ip.parse().ok());
        event.user_agent = body.user_agent.map(Into::into);
        event.request_id = body.request_id.map(Into::into);
        event.session_id = body.session_id.as_deref().and_then(|id| SessionId::parse(id).ok());
        event.trace_id = body.trace_id.map(Into::into);
        outcomes.push(Prepared::new(&event));
    }
    Ok(outcomes)
}
