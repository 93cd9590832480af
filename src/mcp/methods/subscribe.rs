//! `resources/subscribe` and `resources/unsubscribe` (legacy): of which resources the session's stream
//! tells changes. 2026-07-28 has `subscriptions/listen` instead.

use serde_json::value::RawValue;

use super::resources::not_found;
use crate::error::{ApiError, Code};
use crate::mcp::Host;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::live::SUBSCRIPTIONS_MAX;
use crate::mcp::params::Params;
use crate::mcp::wire::{self, text};

/// Answers `resources/subscribe`.
///
/// # Errors
/// -32002 for what is not there or not the caller's to read; a session has as many as it may have.
pub fn subscribe<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let (endpoint, revision) = (&exchange.endpoint, exchange.revision);
    let uri = uri(exchange, params)?;
    if !endpoint.host.may_watch(&exchange.caller, &uri) {
        let error = ApiError::new(Code::NotFound, "no such resource, or it is not yours");
        return Err(Failure::of(revision, not_found(error, &uri, revision)));
    }
    let session = exchange.origin.session_id.as_ref();
    if session.is_some_and(|session| !endpoint.live.subscribe(session, &uri)) {
        let message = format!("the session has {SUBSCRIPTIONS_MAX} subscriptions, the most it may");
        return Err(Failure::invalid_params(revision, message));
    }
    done(exchange, id)
}

/// Answers `resources/unsubscribe`; what was not subscribed to is none afterwards either.
///
/// # Errors
/// -32602 without a URI.
pub fn unsubscribe<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let uri = uri(exchange, params)?;
    if let Some(session) = &exchange.origin.session_id {
        exchange.endpoint.live.unsubscribe(session, &uri);
    }
    done(exchange, id)
}

fn uri<H: Host>(exchange: &Exchange<H>, params: &Params<'_>) -> Result<String, Failure> {
    let refusal = || Failure::invalid_params(exchange.revision, "uri must be a string");
    params.uri.and_then(text).map(|uri| uri.into_owned()).ok_or_else(refusal)
}

fn done<H: Host>(exchange: &Exchange<H>, id: &RawValue) -> Result<Vec<u8>, Failure> {
    let nothing = serde_json::Map::new();
    wire::success(id, nothing).map_err(|error| Failure::of(exchange.revision, error))
}
