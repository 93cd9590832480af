//! Asking in a session of 2025, whose clients know no `input_required`: the call sends them requests of its own on
//! its stream, waits for their responses, and is carried out again with those.
//!
//! The tool is the same as for 2026-07-28. What it wants to remember stays here. A client is asked at most
//! [`ROUNDS_MAX`] times in one call, and given [`PATIENCE`] for each answer; `notifications/cancelled` ends the wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;

use super::{Ask, Input, Remembered, Wanted};
use crate::error::{ApiError, Code};
use crate::mcp::Host;
use crate::mcp::endpoint::Exchange;
use crate::mcp::revision::Revision;

/// Times that one call may ask.
pub const ROUNDS_MAX: usize = 8;
/// How long a client may take to answer one request: as long as people take, not programs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Requests on their way to the client, in the stream of the call that asks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Asks(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    filled: Notify,
}

impl Asks {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, message: Vec<u8>) {
        self.waiting().push_back(message);
        self.0.filled.notify_one();
    }

    /// The next request, a JSON object.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.waiting().pop_front()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Waits for one.
    pub async fn ready(&self) {
        loop {
            let filled = self.0.filled.notified();
            if !self.is_empty() {
                return;
            }
            filled.await;
        }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: &'a str,
    method: &'static str,
    params: Value,
}

/// Asks the client of this call's session, one thing after the other.
///
/// # Errors
/// It cannot be asked this, it refused, or did not answer in time.
pub async fn ask<H: Host>(
    exchange: &Exchange<H>,
    asks: &Asks,
    wanted: Wanted,
) -> Result<Input, ApiError> {
    let can = exchange.origin.input.as_ref().map(|input| input.can).unwrap_or_default();
    let unable = |what: &str| {
        let message = format!("the client {what}; nothing was done");
        ApiError::new(Code::Conflict, message)
    };
    let Some(session) = &exchange.origin.session_id else {
        return Err(unable("cannot be asked"));
    };
    let mut responses = BTreeMap::new();
    for (key, question) in wanted.asks {
        let (capability, declared) = question.capability(can);
        if !declared {
            return Err(unable(&format!("did not declare the capability {capability}")));
        }
        let asked = exchange.endpoint.live.ask(session);
        let params = params_for(&question, exchange.revision);
        let request = Request { jsonrpc: "2.0", id: &asked.id, method: question.method(), params };
        let message = serde_json::to_vec(&request).map_err(|error| {
            ApiError::new(Code::Internal, "a question could not be encoded").caused_by(error)
        })?;
        asks.push(message);
        match tokio::time::timeout(PATIENCE, asked.answer()).await {
            Ok(Some(response)) => responses.insert(key, response),
            Ok(None) => return Err(unable("answered the question with an error")),
            Err(_) => return Err(unable("did not answer the question in time")),
        };
    }
    Ok(Input { can, responses, remembered: wanted.state.map(Remembered::here) })
}

/// `mode` came with 2025-11-25.
fn params_for(question: &Ask, revision: Revision) -> Value {
    let mut params = question.params();
    if revision != Revision::V2025_11_25
        && let Some(params) = params.as_object_mut()
        && matches!(question, Ask::Form { .. })
    {
        params.remove("mode");
    }
    params
}
