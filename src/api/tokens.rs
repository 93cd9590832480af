//! `POST /api/v1/auth/{token,refresh,revoke}`. Administrators create tokens for others; everybody may
//! refresh and revoke their own. Nobody gains a role by any of it.

use std::time::Duration;

use actix_web::HttpResponse;
use garde::Validate;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::CallerId;

use super::authenticated::parse;
use super::{Authenticated, JsonBody};
use crate::auth::{IssueRequest, Issued};
use crate::error::{ApiError, Code, Problem};

/// What a new token is to say.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// For whom.
    #[garde(length(min = 1, max = 256))]
    sub: String,
    /// Its roles; each must be in the policy.
    #[garde(length(min = 1, max = 32))]
    roles: Vec<String>,
    /// Its life in seconds; absent = `auth.token_ttl_seconds`.
    #[garde(skip)]
    ttl_seconds: Option<u64>,
    /// Further claims.
    #[serde(default)]
    #[garde(skip)]
    custom: Map<String, Value>,
}

/// Which roles to keep; absent = all.
#[derive(Default, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct RefreshBody {
    #[garde(inner(length(max = 32)))]
    roles: Option<Vec<String>>,
}

/// What to revoke; nothing = the token of this request.
#[derive(Default, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    /// A token by its `jti`.
    #[garde(inner(length(min = 1, max = 256)))]
    jti: Option<String>,
    /// All tokens of a user that were issued until now.
    #[garde(inner(length(min = 1, max = 256)))]
    user_id: Option<String>,
}

/// Creates a token for somebody. Administrators only.
pub async fn create(auth: Authenticated, body: JsonBody) -> Result<HttpResponse, ApiError> {
    let admin = auth.require_admin("auth/token").await?;
    let body: CreateBody = parse(&body.0)?;
    let sub = user(&body.sub, "sub")?;
    auth.state.admission.may_grant(&admin, &body.roles)?;
    let details = [("roles".to_owned(), json!(body.roles))].into_iter().collect();
    let resource = format!("user:{sub}");
    let kind = EventType::TokenValidation;
    let issued = auth
        .on_own("auth/token", kind, resource, details, |_| async {
            let ttl = body.ttl_seconds.map(Duration::from_secs);
            let request = IssueRequest { sub, roles: body.roles, ttl, custom: body.custom };
            Ok(auth.state.authenticator.issue(request)?)
        })
        .await?;
    Ok(token(&issued))
}

/// A new token for the one of this request, which is revoked.
pub async fn refresh(auth: Authenticated, body: JsonBody) -> Result<HttpResponse, ApiError> {
    auth.require_rate("auth/refresh").await?;
    let body: RefreshBody = if body.0.is_empty() { Default::default() } else { parse(&body.0)? };
    let (store, authenticator) = (&auth.state.engine.authorization, &auth.state.authenticator);
    let shown = auth.token.expose_secret();
    let details = Map::new();
    let resource = format!("user:{}", auth.caller.id());
    let issued = auth
        .on_own(
            "auth/refresh",
            EventType::TokenValidation,
            resource,
            details,
            |deadline| async move {
                let standing = store.snapshot();
                let new = authenticator.refresh(shown, body.roles, &*standing)?;
                let until = new.replaced_expires_at;
                let first = store.revoke_token(&new.replaced_jti, until, deadline).await?;
                match first {
                    true => Ok(new.issued),
                    false => Err(ApiError::new(
                        Code::Conflict,
                        "the token was refreshed or revoked meanwhile",
                    )),
                }
            },
        )
        .await?;
    Ok(token(&issued))
}

/// Revokes the token of this request, or, for administrators, any token or all of a user's.
pub async fn revoke(auth: Authenticated, body: JsonBody) -> Result<HttpResponse, ApiError> {
    auth.require_rate("auth/revoke").await?;
    let body: RevokeBody = if body.0.is_empty() { Default::default() } else { parse(&body.0)? };
    let store = &auth.state.engine.authorization;
    let kind = EventType::TokenValidation;
    let now = chrono::Utc::now().timestamp();
    match target(body, auth.caller.token_id())? {
        Target::Own(jti) => {
            let resource = format!("user:{}", auth.caller.id());
            let until = auth.caller.expires_at();
            let work = |d| async move { Ok(store.revoke_token(&jti, until, d).await?) };
            auth.on_own("auth/revoke", kind, resource, Map::new(), work).await?;
        }
        Target::Token(jti) => {
            // The longest a token we accept can live: then the revocation has done its work.
            let until = now + auth.state.token_ttl_seconds_max() as i64;
            let details = [("jti".to_owned(), json!(jti))].into_iter().collect();
            let work = |d| async move { Ok(store.revoke_token(&jti, until, d).await?) };
            auth.administer("auth/revoke", kind, "token".into(), details, work).await?;
        }
        Target::User(user) => {
            let resource = format!("user:{user}");
            let work = |d| async move { Ok(store.revoke_user(&user, now, d).await?) };
            auth.administer("auth/revoke", kind, resource, Map::new(), work).await?;
        }
    }
    Ok(HttpResponse::Ok().json(json!({ "revoked": true })))
}

/// What is to be void.
enum Target {
    Own(String),
    Token(String),
    User(CallerId),
}

fn target(body: RevokeBody, own: Option<&str>) -> Result<Target, ApiError> {
    match (body.jti, body.user_id) {
        (Some(_), Some(_)) => Err(ApiError::invalid_arguments(vec![Problem {
            path: "user_id".into(),
            problem: "give jti or user_id, not both".into(),
        }])),
        (None, Some(text)) => Ok(Target::User(user(&text, "user_id")?)),
        (Some(jti), None) if own != Some(&*jti) => Ok(Target::Token(jti)),
        (_, None) => own.map(|jti| Target::Own(jti.to_owned())).ok_or_else(|| {
            ApiError::new(Code::Conflict, "your token has no jti; it cannot be revoked by itself")
        }),
    }
}

fn token(issued: &Issued) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "token": issued.token.expose_secret(),
        "token_type": "Bearer",
        "jti": issued.jti,
        "roles": issued.roles,
        "expires_at": issued.expires_at,
        "refresh_until": issued.refresh_until,
    }))
}

fn user(text: &str, path: &str) -> Result<CallerId, ApiError> {
    CallerId::parse(text).map_err(|error| {
        ApiError::invalid_arguments(vec![Problem { path: path.into(), problem: error.to_string() }])
    })
}
