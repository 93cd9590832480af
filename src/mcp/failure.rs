//! A request that ends without a result, with the HTTP status that goes with it.
//!
//! The status depends on the era and on the rung of the ladder, not on the error alone: clients of
//! 2026-07-28 read 400 and 404 as "modern server, your mistake", clients of 2025 read any failed status
//! as a broken transport and 404 as "session gone" (docs/protocol.md has the table).

use serde_json::json;

use super::revision::Revision;
use crate::error::{ApiError, Code};

/// An error and its HTTP status.
#[derive(Debug)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// What went wrong; boxed because results carry it everywhere and it is rare.
    pub error: Box<ApiError>,
}

impl Failure {
    /// The status of the error's code, in any era: rungs 1 to 4, sessions.
    pub fn http(error: ApiError) -> Self {
        Self { status: error.code.http(), error: Box::new(error) }
    }

    /// HTTP 400, in any era: rungs 5 to 13.
    pub fn bad_request(error: ApiError) -> Self {
        Self { status: 400, error: Box::new(error) }
    }

    /// The status this revision's clients expect for an error of a method.
    pub fn of(revision: Revision, error: ApiError) -> Self {
        Self { status: status(revision, error.code), error: Box::new(error) }
    }

    /// Rung 8, 10, 13: a routing header and the body disagree.
    pub fn header_mismatch(message: impl Into<String>) -> Self {
        Self::bad_request(ApiError::new(Code::HeaderMismatch, message))
    }

    /// Rung 11: a revision that is not spoken here.
    pub fn unsupported(requested: &str) -> Self {
        let supported = Revision::ALL.map(Revision::as_str);
        let message = format!("protocol version {requested:?} is not supported");
        Self::bad_request(
            ApiError::new(Code::UnsupportedProtocolVersion, message)
                .with_data(json!({ "supported": supported, "requested": requested })),
        )
    }

    /// An array or a response where the revision takes exactly one request or notification.
    pub fn not_a_request() -> Self {
        let message = "the body must be exactly one JSON-RPC request or notification";
        Self::bad_request(ApiError::new(Code::InvalidRequest, message))
    }

    /// Rung 14: no such method in this revision.
    pub fn unknown_method(revision: Revision, method: &str) -> Self {
        let message = format!("no method {method:?} in {revision}");
        Self::of(revision, ApiError::new(Code::MethodNotFound, message))
    }

    /// Rung 16: parameters of the wrong shape.
    pub fn invalid_params(revision: Revision, message: impl Into<String>) -> Self {
        Self::of(revision, ApiError::new(Code::InvalidArguments, message))
    }
}

fn status(revision: Revision, code: Code) -> u16 {
    match code {
        // The transport's own answers, the same for everybody.
        Code::Unauthenticated
        | Code::Forbidden
        | Code::Banned
        | Code::OriginNotAllowed
        | Code::MethodNotAllowed
        | Code::NotAcceptable
        | Code::UnsupportedMediaType
        | Code::PayloadTooLarge
        | Code::RequestTimeout
        | Code::RateLimited
        | Code::Overloaded
        | Code::Unavailable => code.http(),
        // Answers of the method. -32602 and -32603 are 200 in every era (mcp.md §2.3).
        Code::InvalidArguments
        | Code::UnknownTool
        | Code::NotFound
        | Code::Conflict
        | Code::IdempotencyKeyReused
        | Code::CallInProgress
        | Code::OutcomeUnknown
        | Code::InputRequired
        | Code::Internal => 200,
        // Statuses that a legacy client would take for a broken transport or a lost session.
        Code::ParseError
        | Code::InvalidRequest
        | Code::MethodNotFound
        | Code::HeaderMismatch
        | Code::MissingClientCapability
        | Code::UnsupportedProtocolVersion
        | Code::DeadlineExceeded
        | Code::Crashed
        | Code::NodeGone
        | Code::IsolationUnavailable => {
            if revision.is_modern() {
                code.http()
            } else {
                200
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_a_method_is_a_500() {
        for revision in Revision::ALL {
            assert!(Code::ALL.iter().all(|code| status(revision, *code) != 500));
        }
    }

    #[test]
    fn a_legacy_client_never_takes_a_missing_method_for_a_lost_session() {
        assert_eq!(status(Revision::V2025_11_25, Code::MethodNotFound), 200);
        assert_eq!(status(Revision::V2026_07_28, Code::MethodNotFound), 404);
        assert!(Code::ALL.iter().all(|code| status(Revision::V2025_06_18, *code) != 404));
    }

    #[test]
    fn back_pressure_keeps_its_status_in_every_era() {
        for revision in Revision::ALL {
            let codes =
                [Code::Unauthenticated, Code::Forbidden, Code::RateLimited, Code::Overloaded];
            assert_eq!(codes.map(|code| status(revision, code)), [401, 403, 429, 503]);
        }
    }
}
