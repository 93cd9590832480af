//! One message of a WebSocket: what it is, and the answer to a request.
//!
//! The ladder without its headers: there are none per message, so nothing needs to repeat the body.

use serde_json::value::RawValue;

use super::endpoint::Exchange;
use super::failure::Failure;
use super::input;
use super::meta::{self, Meta};
use super::notify::Listening;
use super::params::Params;
use super::respond::Reply;
use super::revision::Revision;
use super::wire::{Message, Request, Response};
use super::ws::Shared;
use super::{Host, methods};
use crate::error::{ApiError, Code};
use crate::http::RequestId;

/// What a frame holds.
pub enum Incoming<'a> {
    /// A request; `modern` when it names its revision.
    Request { id: &'a RawValue, modern: bool },
    /// `notifications/cancelled`.
    Cancelled { id: &'a RawValue },
    /// An answer to a request of ours.
    Response(Response<'a>),
    /// What needs no answer: other notifications.
    Nothing,
    /// What is refused.
    Malformed(Reply),
}

/// Looks at a frame.
pub fn read(text: &[u8]) -> Incoming<'_> {
    match Message::parse(text) {
        Ok(Message::Request(request)) => {
            let modern = Meta::read(&Params::read(request.params)).declares_version();
            Incoming::Request { id: request.id, modern }
        }
        Ok(Message::Notification(note)) => {
            let id = Params::read(note.params).request_id;
            match id.filter(|_| note.method == "notifications/cancelled") {
                Some(id) => Incoming::Cancelled { id },
                None => Incoming::Nothing,
            }
        }
        Ok(Message::Response(response)) => Incoming::Response(response),
        Ok(Message::Batch(_)) => {
            Incoming::Malformed(Reply::failure(Some(RawValue::NULL), &Failure::not_a_request()))
        }
        Err(malformed) => {
            Incoming::Malformed(Reply::failure(Some(malformed.id), &malformed.failure))
        }
    }
}

/// Answers the request in this frame.
pub async fn answer<H: Host>(shared: &Shared<H>, text: &[u8]) -> Reply {
    let Ok(Message::Request(request)) = Message::parse(text) else { return Reply::nothing() };
    let reply = judge(shared, &request).await;
    reply.unwrap_or_else(|failure| Reply::failure(Some(request.id), &failure))
}

async fn judge<H: Host>(shared: &Shared<H>, request: &Request<'_>) -> Result<Reply, Failure> {
    let endpoint = shared.endpoint.clone();
    let mut origin = shared.origin.clone();
    origin.request_id = RequestId::mint();
    // Rung 2 for every request: roles, revocations and bans are those of now.
    let caller =
        endpoint.host.authenticate(&shared.headers, &origin).await.map_err(Failure::http)?;
    let params = Params::read(request.params);
    let meta = Meta::read(&params);
    origin.trace = meta.trace().or(origin.trace);
    origin.idempotency_key = meta.idempotency_key()?;
    let (revision, listening) = (Revision::V2026_07_28, Listening::default());
    let mut exchange = Exchange { endpoint, caller, origin, revision, listening };
    if meta.declares_version() {
        params.check_shape(revision)?;
        meta::check_supported(&meta.require()?)?;
        meta.check_optional()?;
        input::open(&mut exchange, &meta, &params, &request.method)?;
        exchange.listening = meta.listening();
        return Ok(methods::modern(exchange, &shared.headers, request, &params).await);
    }
    if request.method == "initialize" {
        return initialize(shared, exchange, request.id, &params).await;
    }
    let Some((session, revision)) = shared.session.borrow().clone() else {
        let message = "send initialize first, or speak 2026-07-28";
        return Err(Failure::bad_request(ApiError::new(Code::InvalidRequest, message)));
    };
    exchange.revision = revision;
    exchange.listening.progress_token = meta.listening().progress_token;
    (exchange.listening.level, exchange.listening.can) = exchange.endpoint.live.declared(&session);
    exchange.origin.session_id = Some(session);
    Ok(methods::legacy(exchange, request, &params).await)
}

/// The session of the connection, once.
async fn initialize<H: Host>(
    shared: &Shared<H>,
    exchange: Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Reply, Failure> {
    let again = || {
        let message = "this connection has its session already";
        Failure::bad_request(ApiError::new(Code::InvalidRequest, message))
    };
    if shared.session.borrow().is_some() {
        return Err(again());
    }
    let (endpoint, caller) = (exchange.endpoint.clone(), exchange.caller.clone());
    let mut reply = methods::initialize(exchange, id, params).await;
    if let Some(session) = reply.take_session() {
        let revision =
            endpoint.host.touch_session(&caller, &session).await.map_err(Failure::http)?;
        let revision = revision.ok_or_else(again)?;
        // Of two that came at once the first stays.
        if shared.session.borrow().is_some() {
            let _ = endpoint.host.remove_session(&caller, &session).await;
            return Err(again());
        }
        *shared.session.borrow_mut() = Some((session, revision));
    }
    Ok(reply)
}
