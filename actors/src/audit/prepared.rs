//! An event made ready on its author's thread: bounded, serialised, stamped.
//!
//! The writer thread then only hashes and inserts. Called by [`super::AuditHandle`] and by the sweep
//! of orphans. Oversized texts are cut at a character, oversized details are replaced by their size
//! and SHA-256.

use std::borrow::Cow;

use serde::Serialize;
use uuid::Uuid;

use super::chain::Salt;
use super::event::{EventType, NewEvent, Phase};
use crate::hex;
use crate::ids::{CallId, EventId};

/// Most bytes of serialised `details`; chosen so that a batch of a thousand events stays below 32 MiB.
pub const DETAILS_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of an error message.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Most bytes of every other text.
pub const TEXT_BYTES_MAX: usize = 1024;

/// An event that lacks nothing but its place in the chain.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub event_id: EventId,
    /// Microseconds since the epoch, UTC.
    pub ts_us: i64,
    pub event_type: EventType,
    pub phase: Phase,
    pub call_id: Option<CallId>,
    pub user_id: Option<String>,
    pub tool: Option<Cow<'static, str>>,
    pub success: Option<bool>,
    /// JSON object: the fields of [`super::event::Body`] that tell of no person.
    pub body: String,
    /// JSON object: those that do ([`super::event::Who`]).
    pub who: Option<String>,
    /// Random; makes the commitment to the two above unlike any other.
    pub salt: Salt,
}

/// Writes what [`super::event::Body`] reads; `details` follow by hand.
#[derive(Serialize)]
struct BodyRef<'a> {
    action: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Cow<'a, str>>,
}

/// Writes what [`super::event::Who`] reads.
#[derive(Serialize)]
struct WhoRef<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
}

impl Prepared {
    /// Stamps the event with id and time, bounds and serialises it.
    pub(crate) fn new(event: &NewEvent) -> Self {
        Self {
            event_id: EventId::new(),
            ts_us: chrono::Utc::now().timestamp_micros(),
            event_type: event.event_type,
            phase: event.phase,
            call_id: event.call_id,
            user_id: event.user_id.as_ref().map(|user| user.as_str().to_owned()),
            tool: event.tool.as_ref().map(|tool| match tool {
                Cow::Borrowed(name) => cut(name, TEXT_BYTES_MAX),
                Cow::Owned(name) => Cow::Owned(cut(name, TEXT_BYTES_MAX).into_owned()),
            }),
            success: event.success,
            body: body_of(event),
            who: who_of(event),
            // 122 random bits from a generator seeded by the kernel.
            salt: Uuid::new_v4().into_bytes(),
        }
    }

    /// Whether it tells of a person.
    pub(crate) fn is_personal(&self) -> bool {
        self.user_id.is_some() || self.who.is_some()
    }

    /// Bytes it occupies, roughly; for the bound on a batch.
    pub(crate) fn weight(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        160 + self.body.len() + length(&self.user_id) + length(&self.who)
    }

    pub(crate) fn call_uuid(&self) -> Option<Uuid> {
        self.call_id.map(|id| id.as_uuid())
    }
}

fn body_of(event: &NewEvent) -> String {
    let text = |value: &'_ str| cut_owned(value, TEXT_BYTES_MAX);
    let body = BodyRef {
        action: cut(&event.action, TEXT_BYTES_MAX),
        resource: event.resource.as_deref().map(|value| cut(value, TEXT_BYTES_MAX)),
        request_id: event.request_id.as_deref().map(|value| cut(value, TEXT_BYTES_MAX)),
        // JSON has neither infinity nor NaN.
        duration_ms: event.duration_ms.filter(|ms| ms.is_finite()).map(micros_exact),
        error_message: event.error_message.as_deref().map(|m| cut(m, ERROR_MESSAGE_BYTES_MAX)),
        trace_id: event.trace_id.as_deref().map(|value| text(value).into()),
    };
    let mut json = Vec::with_capacity(320);
    let written = serde_json::to_writer(&mut json, &body);
    debug_assert!(written.is_ok(), "writing strings and numbers into memory cannot fail");
    if !event.details.is_empty() {
        json.pop();
        json.extend_from_slice(b",\"details\":");
        append_details(&mut json, event);
        json.push(b'}');
    }
    String::from_utf8(json).unwrap_or_else(|_| r#"{"action":"unprintable"}"#.to_owned())
}

fn who_of(event: &NewEvent) -> Option<String> {
    let who = WhoRef {
        ip_address: event.ip_address,
        user_agent: event.user_agent.as_deref().map(|value| cut(value, TEXT_BYTES_MAX)),
        session_id: event.session_id.as_ref().map(|id| id.as_str()),
    };
    let empty = who.ip_address.is_none() && who.user_agent.is_none() && who.session_id.is_none();
    if empty { None } else { serde_json::to_string(&who).ok() }
}

fn append_details(json: &mut Vec<u8>, event: &NewEvent) {
    let start = json.len();
    let fits = serde_json::to_writer(&mut *json, &event.details).is_ok()
        && json.len() - start <= DETAILS_BYTES_MAX;
    if fits {
        return;
    }
    let bytes = json.len() - start;
    let sha256 = hex::sha256(&json[start..]);
    json.truncate(start);
    let stub = format!(r#"{{"truncated":{{"bytes":{bytes},"sha256":"{sha256}"}}}}"#);
    json.extend_from_slice(stub.as_bytes());
}

/// Rounds milliseconds to whole microseconds: no digits that were never measured.
fn micros_exact(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}

/// The longest beginning of `text` that has at most `bytes_max` bytes and ends at a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    match text.len() <= bytes_max {
        true => Cow::Borrowed(text),
        false => {
            let end = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
            Cow::Owned(format!("{}…", &text[..end]))
        }
    }
}

fn cut_owned(text: &str, bytes_max: usize) -> String {
    cut(text, bytes_max).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::Body;

    fn event() -> NewEvent {
        NewEvent::new(EventType::CodeExecution, Phase::Outcome, "tools/call")
    }

    #[test]
    fn oversized_texts_and_details_are_cut_and_the_body_stays_json() {
        let mut event = event();
        event.error_message = Some("é".repeat(ERROR_MESSAGE_BYTES_MAX));
        event.user_agent = Some("x".repeat(TEXT_BYTES_MAX + 1).into());
        event.details.insert("blob".into(), "y".repeat(DETAILS_BYTES_MAX).into());
        event.duration_ms = Some(f64::NAN);
        let prepared = Prepared::new(&event);
        let body = Body::parse(&prepared.body, prepared.who.as_deref()).unwrap();
        assert!(body.error_message.unwrap().len() <= ERROR_MESSAGE_BYTES_MAX);
        assert_eq!(body.user_agent.unwrap().len(), TEXT_BYTES_MAX);
        assert_eq!(body.duration_ms, None);
        let stub = &body.details["truncated"];
        assert_eq!(stub["bytes"], DETAILS_BYTES_MAX + "{\"blob\":\"\"}".len());
        assert_eq!(stub["sha256"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn details_within_the_bound_are_kept_as_they_are() {
        let mut event = event();
        event.details.insert("a\"b".into(), serde_json::json!([1, null, "é"]));
        event.duration_ms = Some(1.23456);
        let body: Body = serde_json::from_str(&Prepared::new(&event).body).unwrap();
        assert_eq!(body.details, event.details);
        assert_eq!(body.duration_ms, Some(1.235));
    }
}
