//! From an outcome to an HTTP answer: the only place of this layer that builds one.
//!
//! An answer whose first event is the response is plain JSON with the status of the outcome, as all
//! are today; a stream begins only when something is sent before the response. Cancellation needs no
//! code: a modern call is awaited inside the handler, and the server drops the handler when the client
//! hangs up.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::ALLOW;
use serde_json::value::RawValue;
use ultimate_mcp_actors::ids::SessionId;

use super::failure::Failure;
use super::headers::SESSION_ID;
use super::wire;
use crate::error::{ApiError, Code};
use crate::http::Advice;

/// An answer, not yet HTTP.
#[derive(Debug)]
pub struct Reply {
    status: u16,
    body: Option<Vec<u8>>,
    advice: Advice,
    session: Option<SessionId>,
    allow: Option<&'static str>,
}

impl Reply {
    fn new(status: u16, body: Option<Vec<u8>>) -> Self {
        Self { status, body, advice: Advice::default(), session: None, allow: None }
    }

    /// The answer to a request: 200 with its result, or its failure.
    pub fn to_request(id: &RawValue, outcome: Result<Vec<u8>, Failure>) -> Self {
        match outcome {
            Ok(body) => Self::new(200, Some(body)),
            Err(failure) => Self::failure(Some(id), &failure),
        }
    }

    /// A failure; without an id when no message was read (rungs 1 to 4).
    pub fn failure(id: Option<&RawValue>, failure: &Failure) -> Self {
        let body = wire::failure(id, &failure.error);
        Self { advice: Advice::of(&failure.error), ..Self::new(failure.status, Some(body)) }
    }

    /// 200 with this JSON.
    pub fn json(body: Vec<u8>) -> Self {
        Self::new(200, Some(body))
    }

    /// 202: a notification or response was taken.
    pub fn accepted() -> Self {
        Self::new(202, None)
    }

    /// 204: the session is over.
    pub fn gone() -> Self {
        Self::new(204, None)
    }

    /// 405 with the methods that would do.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let error = ApiError::new(Code::MethodNotAllowed, format!("this endpoint takes {allow}"));
        Self { allow: Some(allow), ..Self::failure(None, &Failure::http(error)) }
    }

    /// Names the session that was opened.
    pub fn with_session(mut self, id: SessionId) -> Self {
        self.session = Some(id);
        self
    }

    /// The JSON, for batches.
    pub fn into_body(self) -> Option<Vec<u8>> {
        self.body
    }
}

impl From<Reply> for HttpResponse {
    fn from(reply: Reply) -> Self {
        // Every status here is one of ours, from a constant.
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
        let mut response = HttpResponse::build(status);
        reply.advice.write(&mut response);
        if let Some(session) = &reply.session {
            response.insert_header((SESSION_ID, session.as_str()));
        }
        if let Some(allow) = reply.allow {
            response.insert_header((ALLOW, allow));
        }
        match reply.body {
            Some(body) => response.content_type("application/json").body(body),
            None => response.finish(),
        }
    }
}
