//! The headers by which a 2026-07-28 request can be routed without reading its body (rungs 8 and 10):
//! they must be there, once, and say what the body says.

use std::borrow::Cow;

use actix_web::http::header::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::failure::Failure;
use super::params::Params;
use super::revision::Revision;

/// The revision, in every era.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The legacy session.
pub const SESSION_ID: &str = "mcp-session-id";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// What the version header says about the era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionHeader {
    /// Not sent.
    Absent,
    /// A revision with sessions.
    Legacy(Revision),
    /// Anything else: the modern revision, an unknown one, several, unreadable bytes.
    Modern,
}

impl VersionHeader {
    /// Reads the header.
    pub fn read(headers: &HeaderMap) -> Self {
        match single(headers, PROTOCOL_VERSION) {
            Ok(None) => VersionHeader::Absent,
            Ok(Some(text)) => match Revision::parse_legacy(text) {
                Some(revision) => VersionHeader::Legacy(revision),
                None => VersionHeader::Modern,
            },
            Err(_) => VersionHeader::Modern,
        }
    }
}

/// Rung 8: `Mcp-Method` and `Mcp-Name` are present and equal to the body.
///
/// # Errors
/// HTTP 400 / -32020.
pub fn check_routing(
    headers: &HeaderMap,
    method: &str,
    params: &Params<'_>,
) -> Result<(), Failure> {
    match single(headers, METHOD)? {
        Some(header) if header == method => {}
        Some(_) => return Err(differs("Mcp-Method", method)),
        None => return Err(missing("Mcp-Method")),
    }
    let Some(name) = params.routed_name(method) else { return Ok(()) };
    match single(headers, NAME)? {
        Some(header) if decode(header)? == name => Ok(()),
        Some(_) => Err(differs("Mcp-Name", &name)),
        None => Err(missing("Mcp-Name")),
    }
}

/// Rung 10: `MCP-Protocol-Version` is present and equal to the one in `_meta`.
///
/// # Errors
/// HTTP 400 / -32020.
pub fn check_version(headers: &HeaderMap, version: &str) -> Result<(), Failure> {
    match single(headers, PROTOCOL_VERSION)? {
        Some(header) if header == version => Ok(()),
        Some(_) => Err(differs("MCP-Protocol-Version", version)),
        None => Err(missing("MCP-Protocol-Version")),
    }
}

/// The header's only value without surrounding white space.
///
/// # Errors
/// It is there twice (a proxy may have routed by the other one) or is not visible ASCII.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::header_mismatch(format!("the header {name} is there more than once")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim_matches([' ', '\t']))),
        Err(_) => Err(Failure::header_mismatch(format!("the header {name} is not visible ASCII"))),
    }
}

/// `=?base64?…?=` decoded (markers are case-sensitive, padding and alphabet strict); anything else as
/// it stands.
///
/// # Errors
/// Marked as Base64 and not Base64 of UTF-8.
pub fn decode(value: &str) -> Result<Cow<'_, str>, Failure> {
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(inner) = inner else { return Ok(Cow::Borrowed(value)) };
    let decoded = STANDARD.decode(inner).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map(Cow::Owned).ok_or_else(|| {
        Failure::header_mismatch("a header value between =?base64? and ?= is not Base64 of UTF-8")
    })
}

fn missing(header: &str) -> Failure {
    Failure::header_mismatch(format!("the header {header} is missing"))
}

/// Longest part of a body value that a message repeats, in characters.
const REPEATED_CHARS_MAX: usize = 80;

fn differs(header: &str, body: &str) -> Failure {
    let body: String = body.chars().take(REPEATED_CHARS_MAX).collect();
    Failure::header_mismatch(format!("the header {header} differs from the body's {body:?}"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::error::Code;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn routing(pairs: &[(&str, &str)], method: &str, params: &str) -> Result<(), Failure> {
        let raw: &RawValue = serde_json::from_str(params).unwrap();
        check_routing(&headers(pairs), method, &Params::read(Some(raw)))
    }

    #[test]
    fn headers_that_say_what_the_body_says_pass() {
        let add = r#"{"name":"add"}"#;
        assert!(routing(&[("mcp-method", "tools/list")], "tools/list", "{}").is_ok());
        let plain = [("Mcp-Method", "tools/call"), ("MCP-NAME", " add\t")];
        assert!(routing(&plain, "tools/call", add).is_ok());
        let encoded = [("mcp-method", "tools/call"), ("mcp-name", "=?base64?YWRk?=")];
        assert!(routing(&encoded, "tools/call", add).is_ok());
        // A name of the wrong type is told at rung 16, not as a mismatch.
        assert!(routing(&[("mcp-method", "tools/call")], "tools/call", r#"{"name":7}"#).is_ok());
    }

    #[test]
    fn headers_that_are_missing_doubled_or_different_are_a_mismatch() {
        let add = r#"{"name":"add"}"#;
        let method = ("mcp-method", "tools/call");
        for bad in [
            &[][..],
            &[("mcp-method", "Tools/call"), ("mcp-name", "add")],
            &[method],
            &[method, ("mcp-name", "Add")],
            &[method, ("mcp-name", "add"), ("mcp-name", "add")],
            &[method, method, ("mcp-name", "add")],
            &[method, ("mcp-name", "=?base64?YWRk=?=")],
            &[method, ("mcp-name", "=?base64?_w==?=")],
            &[method, ("mcp-name", "=?BASE64?YWRk?=")],
            &[method, ("mcp-name", "é")],
        ] {
            let failure = routing(bad, "tools/call", add).unwrap_err();
            assert_eq!(
                (failure.status, failure.error.code),
                (400, Code::HeaderMismatch),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn the_version_header_decides_between_eras() {
        let read = |pairs: &[(&str, &str)]| VersionHeader::read(&headers(pairs));
        assert_eq!(read(&[]), VersionHeader::Absent);
        let legacy = VersionHeader::Legacy(Revision::V2025_06_18);
        assert_eq!(read(&[("mcp-protocol-version", "2025-06-18")]), legacy);
        for modern in ["2026-07-28", "2024-11-05", "", "é"] {
            let header = ("mcp-protocol-version", modern);
            assert_eq!(read(&[header]), VersionHeader::Modern, "{modern}");
        }
        let twice = ("mcp-protocol-version", "2025-06-18");
        assert_eq!(read(&[twice, twice]), VersionHeader::Modern);
    }

    proptest! {
        #[test]
        fn no_header_value_panics_and_base64_round_trips(name in "\\PC{0,30}", junk in "[ -~]{0,40}") {
            let _ = decode(&junk);
            let encoded = format!("=?base64?{}?=", STANDARD.encode(&name));
            prop_assert_eq!(decode(&encoded).unwrap(), name);
        }
    }
}
