//! `GET|POST|DELETE /api/v1/bans`: who is refused whatever the token says. Administrators only.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpResponse;
use garde::Validate;
use serde::Deserialize;
use serde_json::json;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::authorization::{Ban, BanSubject, REASON_BYTES_MAX};
use ultimate_mcp_actors::ids::CallerId;

use super::authenticated::parse;
use super::{Authenticated, JsonBody};
use crate::error::{ApiError, Code, Problem};

/// Longest time a ban can be given an end in, in seconds: ten years.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// Most bans in one answer; `total` says how many there are.
const LISTED_MAX: usize = 1000;

/// Whom to ban.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct BanBody {
    /// Whoever shows a token of this user.
    #[garde(inner(length(min = 1, max = 256)))]
    user_id: Option<String>,
    /// Whoever calls from this address or network.
    #[garde(inner(length(min = 1, max = 64)))]
    network: Option<String>,
    /// Why; the banned are told.
    #[serde(default)]
    #[garde(length(bytes, max = REASON_BYTES_MAX))]
    reason: String,
    /// For how long; absent = until lifted.
    #[garde(inner(range(min = 1, max = SECONDS_MAX)))]
    ttl_seconds: Option<u64>,
}

/// Whose bans to lift.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct LiftBody {
    /// A user.
    #[garde(inner(length(min = 1, max = 256)))]
    user_id: Option<String>,
    /// Exactly this address or network.
    #[garde(inner(length(min = 1, max = 64)))]
    network: Option<String>,
}

/// The bans that hold, oldest first, a thousand at most.
pub async fn list(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("bans/list").await?;
    let snapshot = auth.state.engine.authorization.snapshot();
    let now = now();
    let bans: Vec<&Arc<Ban>> = snapshot.bans(now).take(LISTED_MAX).collect();
    Ok(HttpResponse::Ok().json(json!({ "bans": bans, "total": snapshot.bans(now).count() })))
}

/// Bans a user or a network, on every node.
pub async fn ban(auth: Authenticated, body: JsonBody) -> Result<HttpResponse, ApiError> {
    auth.require_admin("bans/ban").await?;
    let BanBody { user_id, network, reason, ttl_seconds } = parse(&body.0)?;
    let subject = subject(user_id, network)?;
    not_oneself(&subject, auth.caller.id(), auth.origin.ip)?;
    let expires_at = ttl_seconds.map(|seconds| now().saturating_add_unsigned(seconds));
    let details =
        [("reason".to_owned(), json!(reason)), ("expires_at".to_owned(), json!(expires_at))];
    let store = &auth.state.engine.authorization;
    let (resource, by) = (subject.to_string(), auth.caller.id());
    let work =
        |deadline| async move { Ok(store.ban(subject, reason, by, expires_at, deadline).await?) };
    let kind = EventType::ConfigChange;
    let made = auth.on_own("bans/ban", kind, resource, details.into_iter().collect(), work).await?;
    Ok(HttpResponse::Ok().json(made))
}

/// Lifts every ban on exactly this user or network, on every node.
pub async fn lift(auth: Authenticated, body: JsonBody) -> Result<HttpResponse, ApiError> {
    auth.require_admin("bans/lift").await?;
    let LiftBody { user_id, network } = parse(&body.0)?;
    let subject = subject(user_id, network)?;
    let store = &auth.state.engine.authorization;
    let (resource, by) = (subject.to_string(), auth.caller.id());
    let work = |deadline| async move { Ok(store.lift(subject, by, deadline).await?) };
    let kind = EventType::ConfigChange;
    let lifted = auth.on_own("bans/lift", kind, resource, Default::default(), work).await?;
    Ok(HttpResponse::Ok().json(json!({ "lifted": lifted })))
}

/// An administrator who cannot come back cannot mend the mistake.
fn not_oneself(
    subject: &BanSubject,
    caller: &CallerId,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let own = match subject {
        BanSubject::UserId(user) => user == caller,
        BanSubject::Network(network) => address.is_some_and(|address| network.contains(address)),
    };
    match own {
        true => Err(ApiError::new(Code::Conflict, "this would ban yourself")),
        false => Ok(()),
    }
}

fn subject(user_id: Option<String>, network: Option<String>) -> Result<BanSubject, ApiError> {
    let wrong = |path: &str, problem: String| {
        ApiError::invalid_arguments(vec![Problem { path: path.to_owned(), problem }])
    };
    match (user_id, network) {
        (Some(user), None) => CallerId::parse(&user)
            .map(BanSubject::UserId)
            .map_err(|error| wrong("user_id", error.to_string())),
        (None, Some(text)) => {
            BanSubject::parse_network(&text).map_err(|error| wrong("network", error.to_string()))
        }
        _ => Err(wrong("user_id", "give either user_id or network".to_owned())),
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
