//! The edge: what holds for every request, whatever its path.
//!
//! One middleware, in this order: request id and trace → Host/Origin guard → the handler, with panics
//! caught → typed JSON for answers that have none → headers → metrics. Refuses what the guard refuses
//! and nothing else; authentication is the handlers' work.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use futures_util::FutureExt;
use ultimate_mcp_actors::network::Network;

use super::guard::Guard;
use super::metrics::{Instruments, method_label};
use super::reply::{error_response, error_response_with_status};
use super::request_id::{REQUEST_ID_HEADER, RequestId};
use super::resource_metadata::ResourceMetadata;
use crate::error::{ApiError, Code};
use crate::telemetry::TraceParent;

static REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID_HEADER);

/// Target of the access log. A line costs 7 to 10 µs, so it is off unless the filter names it
/// (`info,http.access=debug`).
const ACCESS_LOG: &str = "http.access";

/// What the edge learned of a request; handlers read it with [`RequestContext::of`].
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Echoed as `X-Request-Id`.
    pub request_id: RequestId,
    /// The client's trace, when its header is valid.
    pub trace: Option<TraceParent>,
    /// The client's address; behind a trusted proxy the one the proxy saw.
    pub client_ip: Option<IpAddr>,
}

impl RequestContext {
    /// The context of this request; a fresh one when no edge is installed (unit tests of handlers).
    pub fn of(request: &HttpRequest) -> Self {
        let known = request.extensions().get::<Self>().cloned();
        known.unwrap_or_else(|| {
            Self::read(request.headers(), request.peer_addr().map(|peer| peer.ip()), &[])
        })
    }

    fn read(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &[Network]) -> Self {
        let mut traces = headers.get_all("traceparent");
        let trace = match (traces.next(), traces.next()) {
            (Some(value), None) => value.to_str().ok().and_then(TraceParent::parse),
            _ => None,
        };
        let client_ip = peer.map(|peer| client_ip(headers, peer, trusted));
        Self { request_id: RequestId::accept_or_mint(headers), trace, client_ip }
    }
}

/// The last address in `X-Forwarded-For` that is not a trusted proxy's: whatever stands before it, the
/// client may have written itself. An entry that is no address ends the search at the proxy before it.
fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").filter_map(|line| line.to_str().ok()).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Ok(hop) = entry.trim().parse::<IpAddr>() else { break };
        client = hop.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// What the middleware needs; one per worker.
#[derive(Debug)]
pub struct Edge {
    guard: Guard,
    trusted_proxies: Vec<Network>,
    instruments: Instruments,
}

impl Edge {
    /// An edge with this guard that believes these proxies, counting on the global meter.
    pub fn new(guard: Guard, trusted_proxies: Vec<Network>) -> Self {
        Self { guard, trusted_proxies, instruments: Instruments::new() }
    }

    /// The middleware; see the module's description.
    pub async fn pass(
        self: Rc<Self>,
        request: ServiceRequest,
        next: Next<BoxBody>,
    ) -> Result<ServiceResponse<BoxBody>, Error> {
        let started = Instant::now();
        let method = method_label(request.method());
        let access_log = tracing::enabled!(target: ACCESS_LOG, tracing::Level::DEBUG);
        let path = access_log.then(|| request.path().to_owned());
        let token_presented = request.headers().contains_key(AUTHORIZATION);
        let peer = request.peer_addr().map(|peer| peer.ip());
        let context = RequestContext::read(request.headers(), peer, &self.trusted_proxies);
        let request_id = context.request_id.clone();
        request.extensions_mut().insert(context);

        let answered = match self.guard.check(request.uri(), request.headers()) {
            Err(error) => Ok(request.into_response(error_response(&error))),
            Ok(()) => match AssertUnwindSafe(next.call(request)).catch_unwind().await {
                Ok(answered) => answered,
                Err(_) => Err(crashed(&request_id)),
            },
        };
        let (status, route) = match &answered {
            Ok(response) => (response.status(), response.request().match_pattern()),
            Err(error) => (error.as_response_error().status_code(), None),
        };
        let took = started.elapsed();
        if let Some(path) = path {
            log_access(&request_id, method, &path, status, took);
        }
        self.instruments.record(method, route, status.as_u16(), took);
        answered.map(|response| finish(response, &request_id, token_presented))
    }
}

fn log_access(id: &RequestId, method: &str, path: &str, status: StatusCode, took: Duration) {
    tracing::debug!(
        target: ACCESS_LOG,
        {
            http.request.id = id.as_str(),
            http.request.method = method,
            http.response.status_code = status.as_u16(),
            url.path = path,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        },
        "answered"
    );
}

/// Puts on every answer what every answer has.
fn finish(
    response: ServiceResponse<BoxBody>,
    request_id: &RequestId,
    token_presented: bool,
) -> ServiceResponse<BoxBody> {
    let mut response = if is_untyped_failure(&response) { typed(response) } else { response };
    let unauthenticated = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(REQUEST_ID.clone(), value);
    }
    // Answers depend on the token and may hold its owner's data: no cache may keep them.
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if unauthenticated && token_presented {
        // RFC 6750 §3.1: the error code tells a client that had a token to get a new one.
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    point_to_metadata(&mut response);
    response
}

/// Where an authorization server is configured, a bearer challenge says where clients learn of it.
fn point_to_metadata(response: &mut ServiceResponse<BoxBody>) {
    let Some(given) = response.headers().get(WWW_AUTHENTICATE) else { return };
    let metadata = response.request().app_data::<Data<ResourceMetadata>>();
    let challenge = given
        .to_str()
        .ok()
        .and_then(|given| metadata?.challenge(given, response.request()))
        .and_then(|challenge| HeaderValue::from_str(&challenge).ok());
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
}

/// The framework's own refusals (unknown path, extractor failures) carry text or nothing.
fn is_untyped_failure(response: &ServiceResponse<BoxBody>) -> bool {
    let status = response.status();
    let is_json = || {
        let content_type = response.headers().get(CONTENT_TYPE);
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
    };
    (status.is_client_error() || status.is_server_error()) && !is_json()
}

fn typed(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let error = match status.as_u16() {
        404 => ApiError::new(Code::NotFound, "no such path"),
        405 => ApiError::new(Code::MethodNotAllowed, "this path does not take this method"),
        413 => ApiError::new(Code::PayloadTooLarge, "the body is too large"),
        415 => ApiError::new(Code::UnsupportedMediaType, "the body must be application/json"),
        400..500 => ApiError::new(Code::InvalidRequest, "the request is malformed"),
        _ => ApiError::new(Code::Internal, "the engine made a mistake; the log has the details"),
    };
    let request = response.into_parts().0;
    ServiceResponse::new(request, error_response_with_status(&error, status))
}

/// A panic ends one request, not the worker. The framework builds the answer, as the request is lost.
fn crashed(request_id: &RequestId) -> Error {
    tracing::error!(http.request.id = request_id.as_str(), "a request handler panicked");
    let error = ApiError::new(Code::Crashed, "the handler of this request crashed");
    let mut response: HttpResponse = error_response(&error);
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    InternalError::from_response(error, response).into()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn an_address_is_believed_only_from_a_trusted_proxy_and_only_its_own_last_word() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let table: [(&str, &[&str], &str); 7] = [
            ("192.0.2.9", &["198.51.100.1"], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.5, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.5", "2001:db8::7"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
        ];
        for (peer, lines, expected) in table {
            let mut request = TestRequest::default();
            for line in lines {
                request = request.append_header(("X-Forwarded-For", *line));
            }
            let request = request.to_http_request();
            let client = client_ip(request.headers(), peer.parse().unwrap(), &trusted);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }
}
