//! Rung 4: what the client sends and what it says it can take.

use actix_web::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use super::failure::Failure;
use crate::error::{ApiError, Code};

/// Checks `Content-Type`, `Content-Encoding` and `Accept` of a POST.
///
/// # Errors
/// 415 or 406.
pub fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    if !content_type.is_some_and(is_json) {
        return Err(refuse(Code::UnsupportedMediaType, "Content-Type must be application/json"));
    }
    let coding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes());
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(refuse(Code::UnsupportedMediaType, "send the body without Content-Encoding"));
    }
    let accepted = headers.get_all(ACCEPT).map(|value| value.to_str().unwrap_or(""));
    let (json, stream) = accepted.fold((false, false), |(json, stream), value| {
        let (also_json, also_stream) = accepts(value);
        (json || also_json, stream || also_stream)
    });
    if !(json && stream) {
        let message = "Accept must list application/json and text/event-stream";
        return Err(refuse(Code::NotAcceptable, message));
    }
    Ok(())
}

/// Checks `Accept` of a GET.
///
/// # Errors
/// 406.
pub fn check_stream(headers: &HeaderMap) -> Result<(), Failure> {
    let mut accepted = headers.get_all(ACCEPT).map(|value| value.to_str().unwrap_or(""));
    match accepted.any(|value| accepts(value).1) {
        true => Ok(()),
        false => Err(refuse(Code::NotAcceptable, "Accept must list text/event-stream")),
    }
}

fn refuse(code: Code, message: &str) -> Failure {
    Failure::http(ApiError::new(code, message))
}

/// `application/json`, in UTF-8 if it says an encoding (RFC 8259 §8.1).
pub fn is_json(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else { return false };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("");
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    essence.eq_ignore_ascii_case("application/json") && parts.all(utf8)
}

/// Whether the list takes JSON, and whether it takes an event stream (RFC 9110 §12.5.1).
fn accepts(accept: &str) -> (bool, bool) {
    let (mut json, mut stream) = (false, false);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or("").to_ascii_lowercase();
        let refused = parts.any(|parameter| {
            let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
            quality.is_some_and(|quality| quality.parse() == Ok(0.0f32))
        });
        if refused {
            continue;
        }
        json |= matches!(essence.as_str(), "*/*" | "application/*" | "application/json");
        stream |= matches!(essence.as_str(), "*/*" | "text/*" | "text/event-stream");
    }
    (json, stream)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn refused(content_type: &'static str, accept: &'static str) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        check(&headers).err().map(|failure| failure.status)
    }

    #[test]
    fn clients_that_take_both_kinds_of_answer_are_served() {
        for accept in [
            "application/json, text/event-stream",
            "text/event-stream;q=0.5,Application/JSON",
            "*/*",
            "application/*, text/*;q=0.1",
        ] {
            assert_eq!(refused("application/json", accept), None, "{accept}");
        }
        assert_eq!(refused("Application/JSON; charset=\"UTF-8\"", "*/*"), None);
    }

    #[test]
    fn clients_that_take_one_kind_only_are_told() {
        for accept in ["", "application/json", "text/event-stream", "text/html", "*/*;q=0"] {
            assert_eq!(refused("application/json", accept), Some(406), "{accept}");
        }
        assert_eq!(check(&HeaderMap::new()).unwrap_err().status, 415);
    }

    #[test]
    fn only_json_in_utf8_without_coding_is_read() {
        for content_type in
            ["text/plain", "", "application/json; charset=latin1", "application/jsonp"]
        {
            assert_eq!(refused(content_type, "*/*"), Some(415), "{content_type}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(check(&headers).unwrap_err().status, 415);
    }

    proptest! {
        #[test]
        fn no_header_panics(accept in "\\PC{0,60}", content_type in "\\PC{0,30}") {
            let _ = accepts(&accept);
            let _ = is_json(content_type.as_bytes());
        }
    }
}
