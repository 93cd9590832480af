//! Rung 7: does a message belong to the stateless revision or to a session of 2025?
//!
//! Decided by what the message says about itself, never by memory, so that both eras share one URL.
//! An unknown revision counts as modern: its clients understand the error that names the known ones,
//! and do not fall back to `initialize` by mistake.

use actix_web::http::header::HeaderMap;

use super::failure::Failure;
use super::headers::{SESSION_ID, VersionHeader, single};
use crate::error::{ApiError, Code};

/// Where a message belongs.
#[derive(Debug, PartialEq, Eq)]
pub enum Era<'a> {
    /// 2026-07-28, or a revision from the future.
    Modern,
    /// `initialize`: a new legacy session.
    Initialize,
    /// The legacy session with this id.
    Session(&'a str),
}

/// The era of a message.
///
/// # Errors
/// HTTP 400 / -32600 for a legacy message without a session.
pub fn of_message<'a>(
    headers: &'a HeaderMap,
    declares_version: bool,
    method: Option<&str>,
) -> Result<Era<'a>, Failure> {
    if declares_version || VersionHeader::read(headers) == VersionHeader::Modern {
        return Ok(Era::Modern);
    }
    if method == Some("initialize") {
        return Ok(Era::Initialize);
    }
    match session_header(headers)? {
        Some(id) => Ok(Era::Session(id)),
        None => {
            let message = "send initialize first and then its Mcp-Session-Id, or speak 2026-07-28";
            Err(Failure::bad_request(ApiError::new(Code::InvalidRequest, message)))
        }
    }
}

/// The session a GET or DELETE is about; `None` when the request has no session or is modern.
///
/// # Errors
/// HTTP 400 / -32600 when the header is there twice or unreadable.
pub fn of_bodyless(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    match VersionHeader::read(headers) {
        VersionHeader::Modern => Ok(None),
        VersionHeader::Absent | VersionHeader::Legacy(_) => session_header(headers),
    }
}

fn session_header(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    single(headers, SESSION_ID).map_err(|_| {
        let message = "Mcp-Session-Id must be there once and be visible ASCII";
        Failure::bad_request(ApiError::new(Code::InvalidRequest, message))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    const SESSION: (&str, &str) = ("mcp-session-id", "s1");

    #[test]
    fn a_message_that_names_its_revision_is_modern_whatever_else_it_says() {
        let legacy = headers(&[("mcp-protocol-version", "2025-11-25"), SESSION]);
        assert_eq!(of_message(&legacy, true, Some("initialize")).unwrap(), Era::Modern);
        let unknown = headers(&[("mcp-protocol-version", "2030-01-01"), SESSION]);
        assert_eq!(of_message(&unknown, false, Some("ping")).unwrap(), Era::Modern);
    }

    #[test]
    fn a_legacy_message_needs_its_session_or_opens_one() {
        let none = headers(&[]);
        assert_eq!(of_message(&none, false, Some("initialize")).unwrap(), Era::Initialize);
        assert_eq!(of_message(&none, false, Some("ping")).unwrap_err().status, 400);
        let session = headers(&[SESSION]);
        assert_eq!(of_message(&session, false, Some("ping")).unwrap(), Era::Session("s1"));
        assert_eq!(of_message(&headers(&[SESSION, SESSION]), false, None).unwrap_err().status, 400);
    }

    #[test]
    fn a_modern_get_has_no_session() {
        assert_eq!(of_bodyless(&headers(&[SESSION])).unwrap(), Some("s1"));
        let modern = headers(&[SESSION, ("mcp-protocol-version", "2026-07-28")]);
        assert_eq!(of_bodyless(&modern).unwrap(), None);
    }
}
