//! `X-Request-Id`: the client's when it is harmless, ours otherwise. Echoed in every answer, written
//! in audit and log.

use std::fmt;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;

/// The header's name.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// Longest accepted identifier, in bytes: a UUID has 36, load balancers' own up to about 100.
const BYTES_MAX: usize = 128;

/// Identifies one HTTP request in answers, audit and log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The client's id when there is exactly one valid one, a new UUIDv7 otherwise.
    pub fn accept_or_mint(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(REQUEST_ID_HEADER);
        match (values.next().map(|value| Self::parse(value.as_bytes())), values.next()) {
            (Some(Some(id)), None) => id,
            _ => Self::mint(),
        }
    }

    /// A new identifier, ordered by time (UUIDv7, RFC 9562 §5.7).
    pub fn mint() -> Self {
        let mut buffer = uuid::Uuid::encode_buffer();
        Self((&*uuid::Uuid::now_v7().hyphenated().encode_lower(&mut buffer)).into())
    }

    /// An id that was accepted or minted before.
    pub fn known(text: &str) -> Option<Self> {
        Self::parse(text.as_bytes())
    }

    /// Letters, digits and `-._:/+=@` only, so that an id can neither split a header nor forge a log line.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"-._:/+=@".contains(b);
        if bytes.is_empty() || bytes.len() > BYTES_MAX || !bytes.iter().all(harmless) {
            return None;
        }
        std::str::from_utf8(bytes).ok().map(|text| Self(text.into()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(HeaderName::from_static(REQUEST_ID_HEADER), value);
        }
        map
    }

    #[test]
    fn a_harmless_request_id_is_kept() {
        let id = RequestId::accept_or_mint(&headers(&["edge/7f3a:1"]));
        assert_eq!(id.as_str(), "edge/7f3a:1");
    }

    #[test]
    fn a_doubtful_request_id_is_replaced_by_a_new_one() {
        let long = "x".repeat(BYTES_MAX + 1);
        for bad in [&[""][..], &["a b"], &["a\"b"], &["é"], &[&long], &["a", "b"], &[]] {
            let id = RequestId::accept_or_mint(&headers(bad));
            assert!(uuid::Uuid::parse_str(id.as_str()).is_ok(), "{bad:?} became {id}");
        }
    }
}
