//! From an outcome to an HTTP answer: the only place of this layer that builds one.
//!
//! An answer whose first event is the response is plain JSON with the status of the outcome; a stream
//! begins only when something is sent before the response (`stream.rs`). Cancellation needs no code: a
//! modern call is awaited inside the handler or the body, and the server drops both when the client
//! hangs up.

use std::convert::Infallible;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, HeaderName};
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::StreamExt;
use serde_json::value::RawValue;
use ultimate_mcp_actors::ids::SessionId;

use super::failure::Failure;
use super::headers::SESSION_ID;
use super::stream::{Part, Parts};
use super::{sse, wire};
use crate::error::{ApiError, Code};
use crate::http::Advice;

/// An answer, not yet HTTP.
pub struct Reply {
    status: u16,
    body: Option<Vec<u8>>,
    parts: Option<Parts>,
    advice: Advice,
    session: Option<SessionId>,
    allow: Option<&'static str>,
}

impl Reply {
    fn new(status: u16, body: Option<Vec<u8>>) -> Self {
        let (advice, session, allow) = (Advice::default(), None, None);
        Self { status, body, parts: None, advice, session, allow }
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

    /// 200 with messages, one after the other.
    pub fn stream(parts: Parts) -> Self {
        Self { parts: Some(parts), ..Self::new(200, None) }
    }

    /// 200 and not a word: the answer of a call that its client cancelled (MCP, Cancellation).
    pub fn nothing() -> Self {
        Self::stream(futures_util::stream::empty().boxed_local())
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

    /// The session that was opened, once.
    pub fn take_session(&mut self) -> Option<SessionId> {
        self.session.take()
    }

    /// The messages when they are streamed, else the JSON if there is any.
    pub fn into_messages(self) -> Result<Parts, Option<Vec<u8>>> {
        self.parts.ok_or(self.body)
    }

    /// The JSON; `None` when there is none, or when it is streamed.
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
        match (reply.body, reply.parts) {
            (_, Some(parts)) => streamed(response, parts),
            (Some(body), None) => response.content_type("application/json").body(body),
            (None, None) => response.finish(),
        }
    }
}

/// The headers keep proxies from collecting the stream before they pass it on.
fn streamed(mut response: HttpResponseBuilder, parts: Parts) -> HttpResponse {
    let frames = parts.map(|part| {
        Ok::<_, Infallible>(match part {
            Part::Message(json) => sse::event(None, &json),
            Part::Event(id, json) => sse::event(Some(&id.to_string()), &json),
            Part::Beat => sse::BEAT,
        })
    });
    response
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(frames)
}
