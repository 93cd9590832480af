//! `_meta` of a 2026-07-28 request: the keys that replace the session (rungs 9, 11 and 12).

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use ultimate_mcp_actors::idempotency::{IdempotencyError, IdempotencyKey};

use super::failure::Failure;
use super::input::ClientCan;
use super::notify::Listening;
use super::params::Params;
use super::revision::Revision;
use super::wire::{is_object, object, present, text};
use crate::error::{ApiError, Code};
use crate::telemetry::TraceParent;
use crate::time_limit;
use crate::tools::events::LogLevel;

/// Required: the revision of this request.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Required: what the client can do, for this request only.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Optional: what the header `Idempotency-Key` is to REST.
pub const IDEMPOTENCY_KEY: &str = "io.ultimate-mcp/idempotencyKey";

/// Longest progress token, in bytes of JSON: it is repeated in every progress.
const PROGRESS_TOKEN_BYTES_MAX: usize = 256;

/// Optional: what the header `X-Request-Timeout-Ms` is to REST.
pub const TIMEOUT_MS: &str = "io.ultimate-mcp/timeoutMs";

/// The keys of `_meta` that are read here; still raw, so that each is judged at its own rung.
#[derive(Default, Deserialize)]
pub struct Meta<'a> {
    #[serde(
        borrow,
        default,
        rename = "io.modelcontextprotocol/protocolVersion",
        deserialize_with = "present"
    )]
    protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    client_capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    log_level: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    traceparent: Option<&'a RawValue>,
    #[serde(
        borrow,
        default,
        rename = "io.ultimate-mcp/idempotencyKey",
        deserialize_with = "present"
    )]
    idempotency_key: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.ultimate-mcp/timeoutMs", deserialize_with = "present")]
    timeout_ms: Option<&'a RawValue>,
}

impl<'a> Meta<'a> {
    /// Reads the keys; a `_meta` that is no object, or names one of them twice, has none.
    pub fn read(params: &Params<'a>) -> Self {
        params.meta.and_then(object).unwrap_or_default()
    }

    /// What may be asked of the client, for this request only.
    pub fn client_can(&self) -> ClientCan {
        ClientCan::read(self.client_capabilities)
    }

    /// Whether the body says that it is modern (era rule 1): the key is there, whatever its value.
    pub fn declares_version(&self) -> bool {
        self.protocol_version.is_some()
    }

    /// The client's trace; an invalid one is none.
    pub fn trace(&self) -> Option<TraceParent> {
        self.traceparent.and_then(text).and_then(|value| TraceParent::parse(&value))
    }

    /// The client's own name for a call that must be run once, of whatever revision.
    ///
    /// # Errors
    /// HTTP 400 / -32602.
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Failure> {
        let Some(raw) = self.idempotency_key else { return Ok(None) };
        let key = text(raw).ok_or(IdempotencyError::BadKey).and_then(|t| IdempotencyKey::parse(&t));
        key.map(Some).map_err(|error| invalid(format!("{IDEMPOTENCY_KEY}: {error}")))
    }

    /// What the sender wants to hear before the answer, in its own words; what is not well-formed is not
    /// wanted ([`Meta::check_optional`] refuses it where a revision demands that).
    pub fn listening(&self) -> Listening {
        let token = self.progress_token.filter(|token| is_progress_token(token));
        Listening {
            progress_token: token.map(ToOwned::to_owned),
            level: self.level(),
            ..Listening::default()
        }
    }

    fn level(&self) -> Option<LogLevel> {
        self.log_level.and_then(text).and_then(|name| LogLevel::parse(&name))
    }

    /// How long the client waits, from now: the header's limit or this key's, whichever is shorter.
    ///
    /// # Errors
    /// HTTP 400 / -32602.
    pub fn time_limit(&self, headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
        let by_header = time_limit::of_headers(headers).map_err(|error| invalid(error.public))?;
        let Some(raw) = self.timeout_ms else { return Ok(by_header) };
        let malformed = || invalid(format!("{TIMEOUT_MS} {}", time_limit::MALFORMED));
        let own = time_limit::parse(raw.get()).ok_or_else(malformed)?;
        Ok(Some(by_header.map_or(own, |by_header| by_header.min(own))))
    }

    /// Rung 9: the required keys, with their types. Returns the revision the request says it speaks.
    ///
    /// # Errors
    /// HTTP 400 / -32602 naming every key that is missing or of the wrong type.
    pub fn require(&self) -> Result<Cow<'a, str>, Failure> {
        let version = self.protocol_version.and_then(text);
        let capabilities = self.client_capabilities.is_some_and(is_object);
        if let (Some(version), true) = (&version, capabilities) {
            return Ok(version.clone());
        }
        let mut missing = Vec::new();
        if version.is_none() {
            missing.push(format!("{PROTOCOL_VERSION} (a string)"));
        }
        if !capabilities {
            missing.push(format!("{CLIENT_CAPABILITIES} (an object)"));
        }
        Err(invalid(format!("params._meta lacks {}", missing.join(" and "))))
    }

    /// Rung 12: well-formed optional keys.
    ///
    /// # Errors
    /// HTTP 400 / -32602.
    pub fn check_optional(&self) -> Result<(), Failure> {
        if self.log_level.is_some() && self.level().is_none() {
            let levels = LogLevel::ALL.map(LogLevel::as_str).join(", ");
            return Err(invalid(format!(
                "io.modelcontextprotocol/logLevel must be one of {levels}"
            )));
        }
        if let Some(token) = self.progress_token
            && !is_progress_token(token)
        {
            let message = "progressToken must be a string or an integer of at most 256 bytes";
            return Err(invalid(message.to_owned()));
        }
        Ok(())
    }
}

/// Rung 11: a revision that is spoken without a session here.
///
/// # Errors
/// HTTP 400 / -32022 with the revisions that are.
pub fn check_supported(version: &str) -> Result<(), Failure> {
    match Revision::parse(version) {
        Some(revision) if revision.is_modern() => Ok(()),
        _ => Err(Failure::unsupported(version)),
    }
}

fn is_progress_token(token: &RawValue) -> bool {
    let text = token.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.len() <= PROGRESS_TOKEN_BYTES_MAX
        && (text.starts_with('"') || digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn invalid(message: String) -> Failure {
    Failure::bad_request(ApiError::new(Code::InvalidArguments, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn require(json: &str) -> Result<(), Failure> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let meta = Meta::read(&Params::read(Some(raw)));
        meta.require().and_then(|version| check_supported(&version))?;
        meta.check_optional()
    }

    fn with(rest: &str) -> String {
        format!(
            r#"{{"_meta":{{"{PROTOCOL_VERSION}":"2026-07-28","{CLIENT_CAPABILITIES}":{{}}{rest}}}}}"#
        )
    }

    #[test]
    fn every_missing_key_is_named() {
        for json in ["{}", r#"{"_meta":{}}"#, r#"{"_meta":7}"#, r#"{"_meta":null}"#] {
            let failure = require(json).unwrap_err();
            assert_eq!((failure.status, failure.error.code), (400, Code::InvalidArguments));
            assert!(failure.error.public.contains(PROTOCOL_VERSION), "{json}");
            assert!(failure.error.public.contains(CLIENT_CAPABILITIES), "{json}");
        }
        let half = format!(r#"{{"_meta":{{"{PROTOCOL_VERSION}":"2026-07-28"}}}}"#);
        let message = require(&half).unwrap_err().error.public;
        assert!(!message.contains(PROTOCOL_VERSION) && message.contains(CLIENT_CAPABILITIES));
    }

    #[test]
    fn a_revision_that_is_not_modern_is_answered_with_those_that_are_spoken() {
        let json = with("").replace("2026-07-28", "2031-01-01");
        let failure = require(&json).unwrap_err();
        assert_eq!(failure.error.code, Code::UnsupportedProtocolVersion);
        let data = failure.error.data.unwrap();
        assert_eq!(data["requested"], "2031-01-01");
        assert_eq!(data["supported"][0], "2026-07-28");
    }

    #[test]
    fn optional_keys_must_be_well_formed() {
        assert!(require(&with("")).is_ok());
        for good in [
            r#","io.modelcontextprotocol/logLevel":"debug""#,
            r#","progressToken":"t""#,
            r#","progressToken":-3"#,
        ] {
            assert!(require(&with(good)).is_ok(), "{good}");
        }
        for bad in [
            r#","io.modelcontextprotocol/logLevel":"loud""#,
            r#","io.modelcontextprotocol/logLevel":3"#,
            r#","progressToken":1.5"#,
            r#","progressToken":[]"#,
        ] {
            assert_eq!(require(&with(bad)).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn an_idempotency_key_is_a_bounded_text() {
        let read = |value: &str| {
            let json = format!(r#"{{"_meta":{{"{IDEMPOTENCY_KEY}":{value}}}}}"#);
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            let key = Meta::read(&Params::read(Some(raw))).idempotency_key();
            key.map(|key| key.unwrap().as_str().to_owned()).map_err(|failure| failure.status)
        };
        assert_eq!(read(r#""a-1""#), Ok("a-1".to_owned()));
        for bad in ["7", "null", r#""""#, r#""a b""#, &format!("\"{}\"", "x".repeat(129))] {
            assert_eq!(read(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn a_broken_trace_is_ignored() {
        let good = r#"{"_meta":{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}"#;
        let raw: &RawValue = serde_json::from_str(good).unwrap();
        assert!(Meta::read(&Params::read(Some(raw))).trace().is_some());
        let raw: &RawValue = serde_json::from_str(r#"{"_meta":{"traceparent":5}}"#).unwrap();
        assert!(Meta::read(&Params::read(Some(raw))).trace().is_none());
    }

    #[test]
    fn the_shorter_of_header_and_key_is_the_limit_and_anything_but_a_number_is_refused() {
        let limit = |json: &str, header: Option<&'static str>| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let mut request = actix_web::test::TestRequest::default();
            if let Some(value) = header {
                request = request.insert_header((time_limit::HEADER, value));
            }
            Meta::read(&Params::read(Some(raw))).time_limit(request.to_http_request().headers())
        };
        let key = |value: &str| format!(r#"{{"_meta":{{"{TIMEOUT_MS}":{value}}}}}"#);
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(limit("{}", None).ok().unwrap(), None);
        assert_eq!(limit(&key("200"), None).ok().unwrap(), ms(200));
        assert_eq!(limit(&key("200"), Some("100")).ok().unwrap(), ms(100));
        assert_eq!(limit(&key("0"), Some("100")).ok().unwrap(), ms(0));
        for bad in ["null", "-1", "1.5", "\"100\"", "[]", "true", "1e3", "1234567890123"] {
            assert!(limit(&key(bad), None).is_err(), "{bad}");
        }
        assert!(limit("{}", Some("soon")).is_err());
    }
}
