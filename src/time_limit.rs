//! The time a client gives its own call: a header, or a key of `_meta`. It only ever shortens.
//!
//! Called at the border, by REST and MCP alike; from there on it is part of the call's deadline and goes
//! with it through every hop. HTTP has no such header; the meaning is that of gRPC's `grpc-timeout`: a span
//! that begins when the request arrives, not a point in time, so that clocks need not agree.

use std::time::Duration;

use actix_web::http::header::HeaderMap;

use crate::error::{ApiError, Code};

/// The header, in milliseconds.
pub const HEADER: &str = "x-request-timeout-ms";

/// Digits that are read; thirty years have twelve.
const DIGITS_MAX: usize = 12;

/// What is wrong with a limit.
pub const MALFORMED: &str = "must be a number of milliseconds, 1 to 12 digits and nothing else";

/// The limit in the header.
///
/// # Errors
/// 400 for two of them, or anything but digits.
pub fn of_headers(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let mut all = headers.get_all(HEADER);
    let Some(value) = all.next() else { return Ok(None) };
    let limit = value.to_str().ok().and_then(parse).filter(|_| all.next().is_none());
    let malformed =
        || ApiError::new(Code::InvalidRequest, format!("X-Request-Timeout-Ms {MALFORMED}"));
    limit.map(Some).ok_or_else(malformed)
}

/// Decimal digits as milliseconds.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok().map(Duration::from_millis)).flatten()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_limit_is_digits_and_nothing_else() {
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("250"), Some(Duration::from_millis(250)));
        assert_eq!(parse("999999999999").map(|limit| limit.as_secs()), Some(999_999_999));
        for bad in ["", "-1", "+1", "1.5", "1s", " 1", "1e3", "0x1", "1234567890123", "\u{661}"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_headers_are_refused_and_none_is_no_limit() {
        let none = TestRequest::default().to_http_request();
        assert_eq!(of_headers(none.headers()).unwrap(), None);
        let two = TestRequest::default().append_header((HEADER, "1")).append_header((HEADER, "1"));
        let refused = of_headers(two.to_http_request().headers()).unwrap_err();
        assert_eq!(refused.code, Code::InvalidRequest);
    }
}
