//! Legacy sessions as this layer sees them: an id in a header, a revision behind it. The sessions
//! themselves live in the engine.

use actix_web::http::header::HeaderMap;
use ultimate_mcp_actors::ids::SessionId;

use super::failure::Failure;
use super::live::LiveSessions;
use super::revision::Revision;
use super::{Host, era};
use crate::error::{ApiError, Code};

/// The session with this id, if it is the caller's.
///
/// # Errors
/// HTTP 404 when there is none, so that the client sends `initialize` again; or the host's own error.
pub async fn find<H: Host>(
    host: &H,
    caller: &H::Caller,
    id: &str,
) -> Result<(SessionId, Revision), Failure> {
    let Ok(id) = SessionId::parse(id) else { return Err(unknown()) };
    match host.touch_session(caller, &id).await.map_err(Failure::http)? {
        Some(revision) => Ok((id, revision)),
        None => Err(unknown()),
    }
}

/// DELETE: ends the session and forgets what was kept for it here. `false` when the request names none and the method is not allowed.
///
/// # Errors
/// HTTP 404 for a session that does not exist.
pub async fn end<H: Host>(
    host: &H,
    caller: &H::Caller,
    headers: &HeaderMap,
    live: &LiveSessions,
) -> Result<bool, Failure> {
    let Some(id) = era::of_bodyless(headers)? else { return Ok(false) };
    let Ok(id) = SessionId::parse(id) else { return Err(unknown()) };
    match host.remove_session(caller, &id).await.map_err(Failure::http)? {
        true => {
            live.forget(&id);
            Ok(true)
        }
        false => Err(unknown()),
    }
}

fn unknown() -> Failure {
    let message = "no such session; it may have expired: send initialize again";
    Failure::http(ApiError::new(Code::NotFound, message))
}
