//! What is recorded: the kinds of events, what a caller hands in, what a reader gets back.
//!
//! Made by the face for every call and by the engine for its own incidents. Refuses nothing: texts
//! and details that exceed their bounds are cut (see [`super::prepared`]), because an event that is
//! too long is still an event that happened.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{CallId, CallerId, SessionId};

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What kind of thing happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum EventType {
            $($(#[$doc])* $variant,)+
        }

        impl EventType {
            /// Every type, in the order of the documentation.
            pub const ALL: &'static [EventType] = &[$(EventType::$variant,)+];

            /// The name in files, queries and answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(EventType::$variant => $name,)+
                }
            }
        }
    };
}

event_types! {
    /// A token was accepted.
    AuthSuccess = "auth_success",
    /// A token was missing, malformed, expired or forged.
    AuthFailure = "auth_failure",
    /// A permission was asked for and granted.
    AuthzGranted = "authz_granted",
    /// A permission was asked for and refused.
    AuthzDenied = "authz_denied",
    /// Code ran in the cell.
    CodeExecution = "code_execution",
    /// Code was linted.
    CodeLint = "code_lint",
    /// Tests ran in the cell.
    CodeTest = "code_test",
    /// Code was generated from a template.
    CodeGeneration = "code_generation",
    /// The graph was read.
    GraphQuery = "graph_query",
    /// The graph was changed.
    GraphUpsert = "graph_upsert",
    /// Somebody tried what nobody may do.
    SecurityViolation = "security_violation",
    /// A token was inspected, issued or refreshed.
    TokenValidation = "token_validation",
    /// Stored data was read.
    DataRead = "data_read",
    /// Stored data was written.
    DataWrite = "data_write",
    /// Stored data was deleted.
    DataDelete = "data_delete",
    /// A rate or quota was used up.
    RateLimitExceeded = "rate_limit_exceeded",
    /// A part of the engine failed.
    SystemError = "system_error",
    /// Policy, roles or settings changed.
    ConfigChange = "config_change",
    /// A supervised part crashed, restarted or was given up.
    Supervision = "supervision",
    /// A circuit breaker changed its state.
    Breaker = "breaker",
}

impl EventType {
    /// Finds the type of this name; `None` when there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

/// Where in a call's life the event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Written before a call runs; its outcome follows.
    Intent,
    /// How a call ended.
    Outcome,
    /// An event that stands alone.
    Single,
}

impl Phase {
    /// The name in files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Intent => "intent",
            Phase::Outcome => "outcome",
            Phase::Single => "single",
        }
    }

    /// Finds the phase of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Phase::Intent, Phase::Outcome, Phase::Single].into_iter().find(|p| p.as_str() == name)
    }
}

/// An event as its author knows it; id, time and place in the chain are added on the way.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What kind of thing happened.
    pub event_type: EventType,
    /// Where in a call's life it stands.
    pub phase: Phase,
    /// The call it belongs to; ties an outcome to its intent.
    pub call_id: Option<CallId>,
    /// Who did it; `None` when nobody was authenticated.
    pub user_id: Option<CallerId>,
    /// Where the request came from.
    pub ip_address: Option<IpAddr>,
    /// `User-Agent` of the request.
    pub user_agent: Option<Arc<str>>,
    /// What it was done to, e.g. a route or a label.
    pub resource: Option<Cow<'static, str>>,
    /// The tool that was called.
    pub tool: Option<Cow<'static, str>>,
    /// What was done, e.g. `tools/call`.
    pub action: Cow<'static, str>,
    /// Whether it succeeded; `None` while nobody knows.
    pub success: Option<bool>,
    /// Whatever else belongs to it; no secrets.
    pub details: Map<String, Value>,
    /// The request's id.
    pub request_id: Option<Arc<str>>,
    /// The legacy session.
    pub session_id: Option<SessionId>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// What went wrong, for the reader of the trail.
    pub error_message: Option<String>,
    /// W3C trace id, 32 hexadecimal digits.
    pub trace_id: Option<Arc<str>>,
}

impl NewEvent {
    /// An event with everything optional left empty.
    pub fn new(event_type: EventType, phase: Phase, action: impl Into<Cow<'static, str>>) -> Self {
        Self {
            event_type,
            phase,
            call_id: None,
            user_id: None,
            ip_address: None,
            user_agent: None,
            resource: None,
            tool: None,
            action: action.into(),
            success: None,
            details: Map::new(),
            request_id: None,
            session_id: None,
            duration_ms: None,
            error_message: None,
            trace_id: None,
        }
    }
}

/// An event as it stands in the trail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Position in the chain, from 1 without gaps.
    pub seq: i64,
    /// UUIDv7.
    pub event_id: String,
    /// What kind of thing happened.
    pub event_type: EventType,
    /// Where in a call's life it stands.
    pub phase: Phase,
    /// When, in UTC (RFC 3339, microseconds).
    pub timestamp: String,
    /// The call it belongs to.
    pub call_id: Option<String>,
    /// Who did it.
    pub user_id: Option<String>,
    /// The tool that was called.
    pub tool: Option<String>,
    /// Whether it succeeded.
    pub success: Option<bool>,
    /// Whether a person was erased from it: what named them is gone, the event is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// Everything that no query filters by.
    #[serde(flatten)]
    pub body: Body,
    /// Hash of the event before, in hexadecimal.
    pub prev_hash: String,
    /// Keyed hash of this event and the one before, in hexadecimal.
    pub hash: String,
}

/// The fields of an event that no query filters by; stored as JSON, those that tell of a person apart
/// from the others so that they can be erased.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// What was done.
    pub action: String,
    /// What it was done to.
    #[serde(default)]
    pub resource: Option<String>,
    /// Where the request came from.
    #[serde(default)]
    pub ip_address: Option<String>,
    /// `User-Agent` of the request.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// The request's id.
    #[serde(default)]
    pub request_id: Option<String>,
    /// The legacy session.
    #[serde(default)]
    pub session_id: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<f64>,
    /// What went wrong.
    #[serde(default)]
    pub error_message: Option<String>,
    /// W3C trace id.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// Whatever else belongs to it.
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// What tells of a person beside the user's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Who {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

impl Body {
    /// From what is stored; events of the first format hold everything in the body. `None` when it is
    /// not readable.
    pub(crate) fn parse(body: &str, who: Option<&str>) -> Option<Self> {
        let mut body: Self = serde_json::from_str(body).ok()?;
        if let Some(who) = who {
            let who: Who = serde_json::from_str(who).ok()?;
            body.ip_address = who.ip_address.or(body.ip_address);
            body.user_agent = who.user_agent.or(body.user_agent);
            body.session_id = who.session_id.or(body.session_id);
        }
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_files_and_in_json_are_the_same() {
        assert_eq!(EventType::ALL.len(), 20);
        for kind in EventType::ALL {
            assert_eq!(serde_json::json!(kind), kind.as_str());
            assert_eq!(EventType::parse(kind.as_str()), Some(*kind));
        }
        for phase in [Phase::Intent, Phase::Outcome, Phase::Single] {
            assert_eq!(serde_json::json!(phase), phase.as_str());
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
        assert_eq!(EventType::parse("code_exec"), None);
    }
}
