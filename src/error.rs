//! The one mapping of failures to the wire: HTTP status, JSON-RPC code, `Retry-After`.
//!
//! Every module has its own error enum; all of them end here. A tool that ran and failed is not an
//! error but a result (`isError`), see [`crate::tools::ToolOutput`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ultimate_mcp_actors::fault::{Classify, Kind, Retry};

use crate::mcp::Wanted;

use crate::reload::Refusal;

/// What a client can branch on. The slug is contract; each has a page in `docs/errors/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The body is not JSON.
    ParseError,
    /// JSON, but not a request we understand.
    InvalidRequest,
    /// Arguments or parameters are out of range, of the wrong type, or unknown.
    InvalidArguments,
    /// The tool does not exist or is not visible to this caller.
    UnknownTool,
    /// The method does not exist in this revision.
    MethodNotFound,
    /// A routing header is missing or differs from the body.
    HeaderMismatch,
    /// The client did not declare a capability this needs.
    MissingClientCapability,
    /// The revision is not spoken here.
    UnsupportedProtocolVersion,
    /// `Host` or `Origin` is not allowed.
    OriginNotAllowed,
    /// No token, or one that does not verify.
    Unauthenticated,
    /// The caller lacks a permission.
    Forbidden,
    /// The caller is banned.
    Banned,
    /// The thing named does not exist or is not the caller's.
    NotFound,
    /// Wrong HTTP method.
    MethodNotAllowed,
    /// `Accept` excludes what we send.
    NotAcceptable,
    /// The body's media type is not JSON.
    UnsupportedMediaType,
    /// The body is larger than allowed.
    PayloadTooLarge,
    /// The body came too slowly.
    RequestTimeout,
    /// The request contradicts the present state.
    Conflict,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The call with this idempotency key is still running.
    CallInProgress,
    /// The call with this idempotency key began, and how it ended is unknown.
    OutcomeUnknown,
    /// Too many calls.
    RateLimited,
    /// More must be known before it can be done.
    InputRequired,
    /// A queue is full.
    Overloaded,
    /// A part of the engine is down, starting or draining.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// The part that handled the call crashed.
    Crashed,
    /// The node that what is named lives on is not there.
    NodeGone,
    /// This host cannot isolate code.
    IsolationUnavailable,
    /// A mistake of ours.
    Internal,
}

impl Code {
    /// Every code, for the test that keeps `docs/errors/` and this enum equal.
    pub const ALL: &'static [Code] = &[
        Code::ParseError,
        Code::InvalidRequest,
        Code::InvalidArguments,
        Code::UnknownTool,
        Code::MethodNotFound,
        Code::HeaderMismatch,
        Code::MissingClientCapability,
        Code::UnsupportedProtocolVersion,
        Code::OriginNotAllowed,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::Banned,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::NotAcceptable,
        Code::UnsupportedMediaType,
        Code::PayloadTooLarge,
        Code::RequestTimeout,
        Code::Conflict,
        Code::IdempotencyKeyReused,
        Code::CallInProgress,
        Code::OutcomeUnknown,
        Code::RateLimited,
        Code::InputRequired,
        Code::Overloaded,
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Crashed,
        Code::NodeGone,
        Code::IsolationUnavailable,
        Code::Internal,
    ];

    /// The code of this name; `None` when there is none.
    pub fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.slug() == slug)
    }

    /// The name on the wire and in `docs/errors/`.
    pub fn slug(self) -> &'static str {
        self.row().0
    }

    /// HTTP status (RFC 9110 §15).
    pub fn http(self) -> u16 {
        self.row().1
    }

    /// JSON-RPC 2.0 code. -32020…-32022 are MCP's (2026-07-28); ours lie outside the reserved range.
    pub fn json_rpc(self) -> i32 {
        self.row().2
    }

    fn row(self) -> (&'static str, u16, i32) {
        match self {
            Code::ParseError => ("parse_error", 400, -32700),
            Code::InvalidRequest => ("invalid_request", 400, -32600),
            Code::InvalidArguments => ("invalid_arguments", 422, -32602),
            Code::UnknownTool => ("unknown_tool", 404, -32602),
            Code::MethodNotFound => ("method_not_found", 404, -32601),
            Code::HeaderMismatch => ("header_mismatch", 400, -32020),
            Code::MissingClientCapability => ("missing_client_capability", 400, -32021),
            Code::UnsupportedProtocolVersion => ("unsupported_protocol_version", 400, -32022),
            Code::OriginNotAllowed => ("origin_not_allowed", 403, -31403),
            Code::Unauthenticated => ("unauthenticated", 401, -31401),
            Code::Forbidden => ("forbidden", 403, -31003),
            Code::Banned => ("banned", 403, -31004),
            Code::NotFound => ("not_found", 404, -31404),
            Code::MethodNotAllowed => ("method_not_allowed", 405, -31405),
            Code::NotAcceptable => ("not_acceptable", 406, -31406),
            Code::UnsupportedMediaType => ("unsupported_media_type", 415, -31415),
            Code::PayloadTooLarge => ("payload_too_large", 413, -31413),
            Code::RequestTimeout => ("request_timeout", 408, -31408),
            Code::Conflict => ("conflict", 409, -31409),
            Code::IdempotencyKeyReused => ("idempotency_key_reused", 409, -31410),
            Code::CallInProgress => ("call_in_progress", 409, -31411),
            Code::OutcomeUnknown => ("outcome_unknown", 409, -31412),
            Code::RateLimited => ("rate_limited", 429, -31429),
            Code::InputRequired => ("input_required", 428, -31428),
            Code::Overloaded => ("overloaded", 503, -31503),
            Code::Unavailable => ("unavailable", 503, -31504),
            Code::DeadlineExceeded => ("deadline_exceeded", 504, -31505),
            Code::Crashed => ("crashed", 503, -31506),
            Code::NodeGone => ("node_gone", 502, -31502),
            Code::IsolationUnavailable => ("isolation_unavailable", 503, -31507),
            Code::Internal => ("internal", 500, -32603),
        }
    }
}

impl From<Kind> for Code {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::InvalidInput => Code::InvalidArguments,
            Kind::NotFound => Code::NotFound,
            Kind::Conflict => Code::Conflict,
            Kind::LimitExceeded => Code::RateLimited,
            Kind::Overloaded => Code::Overloaded,
            Kind::Unavailable => Code::Unavailable,
            Kind::DeadlineExceeded => Code::DeadlineExceeded,
            Kind::Crashed => Code::Crashed,
            Kind::IsolationUnavailable => Code::IsolationUnavailable,
            Kind::Internal => Code::Internal,
        }
    }
}

/// One thing that is wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: a dotted path into the arguments, e.g. `limits.memory_mb` or `files[0].path`.
    pub path: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

/// A failure on its way to the client.
#[derive(Debug, thiserror::Error)]
#[error("{}: {public}", code.slug())]
pub struct ApiError {
    /// What kind of failure.
    pub code: Code,
    /// The message for the client: what was wrong and how to mend it.
    pub public: String,
    /// Whether the same request may be sent again.
    pub retry: Retry,
    /// What exactly is wrong with the input, when it is the input.
    pub problems: Vec<Problem>,
    /// Protocol data of the JSON-RPC error (`data`), e.g. `supported` versions; boxed as it is rare.
    pub data: Option<Box<serde_json::Value>>,
    /// The JSON-RPC code of the one method and revision that has its own; else the code's. Narrow, so that
    /// errors stay small: the reserved range begins at `i16::MIN`.
    pub json_rpc: Option<i16>,
    /// Permissions (scopes) the operation needs, for the 403 challenge.
    pub scopes: Box<[String]>,
    /// What must be known before it can be done; boxed as it is rare.
    pub wanted: Option<Box<Wanted>>,
    /// The cause, for the log only.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    /// More must be known before it can be done: asked of clients that can be asked; to others the message says
    /// what to do instead.
    pub fn input_required(wanted: Wanted, public: impl Into<String>) -> Self {
        Self { wanted: Some(Box::new(wanted)), ..Self::new(Code::InputRequired, public) }
    }

    /// The time that the client gave its call was over before anything began.
    pub fn not_begun() -> Self {
        let text = "the time that the call was given was over before it began; nothing was run";
        Self { retry: Retry::Safe, ..Self::new(Code::DeadlineExceeded, text) }
    }

    /// An error of this kind with a message for the client.
    pub fn new(code: Code, public: impl Into<String>) -> Self {
        let retry = match code {
            Code::Overloaded | Code::Unavailable | Code::RateLimited | Code::CallInProgress => {
                Retry::After(Duration::from_secs(1))
            }
            Code::DeadlineExceeded | Code::Crashed | Code::OutcomeUnknown | Code::Internal => {
                Retry::Unsafe
            }
            Code::RequestTimeout => Retry::Safe,
            _ => Retry::Never,
        };
        Self {
            code,
            public: public.into(),
            retry,
            problems: Vec::new(),
            data: None,
            json_rpc: None,
            scopes: Box::default(),
            wanted: None,
            source: None,
        }
    }

    /// The arguments are wrong, and this is all that is wrong with them.
    pub fn invalid_arguments(problems: Vec<Problem>) -> Self {
        let list: Vec<String> =
            problems.iter().map(|p| format!("{}: {}", p.path, p.problem)).collect();
        Self { problems, ..Self::new(Code::InvalidArguments, list.join("; ")) }
    }

    /// Tells the client when to come back.
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry = Retry::After(span);
        self
    }

    /// Attaches protocol data.
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// Replaces the JSON-RPC code.
    pub fn with_json_rpc(mut self, code: i16) -> Self {
        self.json_rpc = Some(code);
        self
    }

    /// Attaches the cause for the log.
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whole seconds for `Retry-After` (RFC 9110 §10.2.3), rounded up, at least 1.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self.retry {
            Retry::After(span) => Some((span.as_millis().div_ceil(1000) as u64).max(1)),
            _ => None,
        }
    }

    /// `safe` | `after` | `unsafe` | `never`, as the client reads it.
    pub fn retry_slug(&self) -> &'static str {
        match self.retry {
            Retry::Safe => "safe",
            Retry::After(_) => "after",
            Retry::Unsafe => "unsafe",
            Retry::Never => "never",
        }
    }

    /// The JSON-RPC `error` object.
    pub fn to_json_rpc(&self) -> serde_json::Value {
        let mut data = match &self.data {
            Some(data) => (**data).clone(),
            None => serde_json::json!({}),
        };
        if let Some(map) = data.as_object_mut() {
            map.insert("code".into(), self.code.slug().into());
            map.insert("retry".into(), self.retry_slug().into());
            if let Some(seconds) = self.retry_after_seconds() {
                map.insert("retryAfterSeconds".into(), seconds.into());
            }
            if !self.problems.is_empty() {
                map.insert("problems".into(), serde_json::json!(self.problems));
            }
        }
        let code = self.json_rpc.map_or_else(|| self.code.json_rpc(), i32::from);
        serde_json::json!({ "code": code, "message": self.public, "data": data })
    }

    /// The body of a REST answer.
    pub fn to_rest(&self) -> serde_json::Value {
        let mut error = serde_json::json!({
            "code": self.code.slug(),
            "message": self.public,
            "retry": self.retry_slug(),
        });
        if let Some(seconds) = self.retry_after_seconds() {
            error["retry_after_seconds"] = seconds.into();
        }
        if !self.problems.is_empty() {
            error["problems"] = serde_json::json!(self.problems);
        }
        if !self.scopes.is_empty() {
            error["required_permissions"] = serde_json::json!(self.scopes);
        }
        serde_json::json!({ "error": error })
    }
}

impl ApiError {
    /// A change of the configuration that was refused, with one problem per key.
    pub fn of_config(refusal: Refusal) -> Self {
        let problems = match &refusal {
            Refusal::Invalid(error) => error
                .mistakes
                .iter()
                .map(|m| Problem {
                    path: m.key.clone(),
                    problem: format!("{}: {}", m.source, m.problem),
                })
                .collect(),
            Refusal::NeedsRestart(keys) => keys
                .iter()
                .map(|key| Problem {
                    path: key.clone(),
                    problem: "needs a restart: write it into a --config file".to_owned(),
                })
                .collect(),
            _ => return refusal.into(),
        };
        Self::invalid_arguments(problems).caused_by(refusal)
    }
}

impl<E: Classify> From<E> for ApiError {
    fn from(error: E) -> Self {
        let mut api = Self::new(error.kind().into(), error.public());
        api.retry = error.retry();
        if api.code == Code::Internal {
            tracing::error!(error = &error as &dyn std::error::Error, "internal error");
        }
        api.caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_its_own_slug_and_a_status_that_is_an_error() {
        let slugs: HashSet<_> = Code::ALL.iter().map(|c| c.slug()).collect();
        assert_eq!(slugs.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|c| (400..600).contains(&c.http())));
    }
}
