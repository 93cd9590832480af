//! Liveness, readiness, metrics.
//!
//! `/health` answers while the process can answer at all; no dependency can make it fail. `/ready` tells
//! an orchestrator one word; who shows a token is told about each dependency.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::Authenticated;
use crate::error::ApiError;
use crate::origin::{Origin, Transport};
use crate::state::AppState;

/// Alive: 200, always.
pub async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live", "version": env!("CARGO_PKG_VERSION") }))
}

/// 200 `ready` or `degraded`, 503 `unavailable` when the engine itself cannot serve.
pub async fn ready(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let state = AppState::of(&request)?;
    let readiness = state.readiness();
    let status = match readiness.can_serve() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = HttpResponse::build(status);
    // Without a token one word; a bad token is still an error.
    if !request.headers().contains_key("authorization") {
        return Ok(response.json(json!({ "status": readiness.status })));
    }
    state.authenticate(request.headers(), &Origin::of(&request, Transport::Rest))?;
    Ok(response.json(readiness))
}

/// Prometheus text. Any authenticated caller that may see tools: a scraper needs no more than `viewer`.
pub async fn metrics(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.state.admission.admit_permission(&auth.caller, "tools:read")?;
    auth.require_rate("metrics/read").await?;
    let text = auth.state.metrics.render()?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
