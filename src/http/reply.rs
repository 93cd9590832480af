//! How a failure looks over HTTP: status, headers and a typed JSON body. REST and the edge use it; MCP
//! takes the same [`Advice`] for its own bodies.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};

use crate::error::{ApiError, Code};

/// What the headers of a failed answer say beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// `Retry-After`, in seconds.
    pub retry_after_seconds: Option<u64>,
    /// `WWW-Authenticate`.
    pub challenge: Option<String>,
}

impl Advice {
    /// What this error advises.
    pub fn of(error: &ApiError) -> Self {
        Self { retry_after_seconds: error.retry_after_seconds(), challenge: challenge(error) }
    }

    /// Writes the headers.
    pub fn write(&self, response: &mut HttpResponseBuilder) {
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(challenge) = &self.challenge {
            response.insert_header((WWW_AUTHENTICATE, challenge.as_str()));
        }
    }
}

/// The bearer challenge (RFC 6750 §3). For a 401 the edge adds `error="invalid_token"` when a token
/// was presented; for a 403 the scopes are all that the operation needs.
fn challenge(error: &ApiError) -> Option<String> {
    match error.code {
        Code::Unauthenticated => Some("Bearer".to_owned()),
        Code::Forbidden if !error.scopes.is_empty() => {
            let scopes: Vec<&str> =
                error.scopes.iter().map(String::as_str).filter(is_scope).collect();
            Some(format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" ")))
        }
        _ => None,
    }
}

/// RFC 6749 §3.3: printable ASCII without space, quote and backslash.
fn is_scope(text: &&str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// The answer for this error: `{"error":{code,message,retry,…}}` with the status of its code.
pub fn error_response(error: &ApiError) -> HttpResponse {
    error_response_with_status(error, status_of(error))
}

/// As [`error_response`], under a status that was decided elsewhere.
pub fn error_response_with_status(error: &ApiError, status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    Advice::of(error).write(&mut response);
    response.content_type("application/json").body(error.to_rest().to_string())
}

/// 405 with the methods that would do, e.g. `"GET, POST"` (RFC 9110 §15.5.6 demands `Allow`).
pub fn method_not_allowed(allow: &'static str) -> HttpResponse {
    let error = ApiError::new(Code::MethodNotAllowed, format!("this path takes {allow}"));
    let mut response = error_response(&error);
    let value = actix_web::http::header::HeaderValue::from_static(allow);
    response.headers_mut().insert(ALLOW, value);
    response
}

fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        status_of(self)
    }

    fn error_response(&self) -> HttpResponse {
        error_response(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn header(response: &HttpResponse, name: &str) -> Option<String> {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_missing_permission_names_every_scope_the_operation_needs() {
        let mut error = ApiError::new(Code::Forbidden, "missing permission");
        error.scopes =
            Box::new(["tools:execute".into(), "bad\"scope".into(), "graph:query".into()]);
        let response = error_response(&error);
        assert_eq!(response.status(), 403);
        let challenge = header(&response, "www-authenticate").unwrap();
        let expected = "Bearer error=\"insufficient_scope\", scope=\"tools:execute graph:query\"";
        assert_eq!(challenge, expected);
    }

    #[test]
    fn a_refusal_for_now_says_when_to_come_back() {
        let error = ApiError::new(Code::RateLimited, "too many calls")
            .retry_after(Duration::from_millis(1200));
        let response = error_response(&error);
        assert_eq!(
            (response.status().as_u16(), header(&response, "retry-after").unwrap()),
            (429, "2".into())
        );
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = method_not_allowed("GET, POST");
        assert_eq!(header(&response, "allow").unwrap(), "GET, POST");
        assert_eq!(response.status(), 405);
    }
}
