//! `GET /api/v1/breakers`, `POST /api/v1/breakers/{name}/{open|close|reset}`: what stands between this
//! node and the servers it depends on. Administrators only; every order is audited.

use actix_web::HttpResponse;
use actix_web::web::Path;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::resilience::{Breaker, DependencySnapshot};

use super::{Authenticated, NAME_BYTES_MAX};
use crate::error::{ApiError, Code};
use crate::state::AppState;

/// Every dependency with its breaker: state, counts, rates, last change.
pub async fn list(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("breakers/read").await?;
    let known = auth.state.engine.dependencies();
    let shown: Vec<Value> = known.iter().map(|known| show(&auth.state, known)).collect();
    Ok(HttpResponse::Ok().json(json!({ "breakers": shown })))
}

/// Refuses every call until it is closed or reset by hand.
pub async fn open(auth: Authenticated, name: Path<String>) -> Result<HttpResponse, ApiError> {
    order(auth, &name, "breakers/open", Breaker::force_open).await
}

/// Lets every call through, uncounted, until it is opened or reset by hand.
pub async fn close(auth: Authenticated, name: Path<String>) -> Result<HttpResponse, ApiError> {
    order(auth, &name, "breakers/close", Breaker::disable).await
}

/// Forgets what was counted and ordered; it decides again.
pub async fn reset(auth: Authenticated, name: Path<String>) -> Result<HttpResponse, ApiError> {
    order(auth, &name, "breakers/reset", Breaker::reset).await
}

async fn order(
    auth: Authenticated,
    name: &str,
    action: &'static str,
    carry_out: fn(&Breaker),
) -> Result<HttpResponse, ApiError> {
    auth.require_admin(action).await?;
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    let engine = &auth.state.engine;
    let work = |_| async {
        let breaker = engine.breaker(&name).ok_or_else(|| unknown(&auth.state, &name))?;
        carry_out(&breaker);
        Ok(())
    };
    let resource = format!("dependency:{name}");
    auth.on_own(action, EventType::ConfigChange, resource, Map::new(), work).await?;
    let now = engine.dependencies().into_iter().find(|known| *known.name == *name);
    let shown = now.map(|now| show(&auth.state, &now));
    Ok(HttpResponse::Ok().json(shown.unwrap_or_default()))
}

fn show(state: &AppState, known: &DependencySnapshot) -> Value {
    let mut shown = json!(known);
    let breaker = &known.breaker;
    let rate = |part: u32| f64::from(part) / f64::from(breaker.calls.max(1));
    shown["breaker"]["failure_rate"] = json!(rate(breaker.failed));
    shown["breaker"]["slow_rate"] = json!(rate(breaker.slow));
    shown["breaker"]["last_change"] = json!(state.breakers.last(&known.name));
    shown
}

fn unknown(state: &AppState, name: &str) -> ApiError {
    let known = state.engine.dependencies();
    let known: Vec<&str> = known.iter().map(|known| &*known.name).collect();
    let known = match known.is_empty() {
        true => "none: no server outside the process is configured".to_owned(),
        false => known.join(", "),
    };
    ApiError::new(Code::NotFound, format!("there is no breaker {name:?}; there is {known}"))
}
