//! `GET|POST|DELETE /api/v1/users/{user_id}/roles`: who holds which role in the store. Administrators only.

use actix_web::HttpResponse;
use actix_web::web::Path;
use garde::Validate;
use serde::Deserialize;
use serde_json::json;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::CallerId;

use super::authenticated::parse;
use super::{Authenticated, JsonBody};
use crate::error::{ApiError, Problem};

/// The role to assign or remove.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct RoleBody {
    /// A role of the policy.
    #[garde(length(min = 1, max = 64))]
    role: String,
}

/// The roles stored for a user; empty when the store does not know the user.
pub async fn list(auth: Authenticated, user: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_admin("roles/list").await?;
    answer(&auth, &user_id(&user)?)
}

/// Assigns a role. Assigning it twice changes nothing.
pub async fn assign(
    auth: Authenticated,
    user: Path<String>,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    change(auth, &user, &body, Change::Assign).await
}

/// Removes a role. Removing one the user does not hold changes nothing.
pub async fn remove(
    auth: Authenticated,
    user: Path<String>,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    change(auth, &user, &body, Change::Remove).await
}

/// What is done with a role.
#[derive(Clone, Copy)]
enum Change {
    Assign,
    Remove,
}

async fn change(
    auth: Authenticated,
    user: &str,
    body: &JsonBody,
    change: Change,
) -> Result<HttpResponse, ApiError> {
    let action = match change {
        Change::Assign => "roles/assign",
        Change::Remove => "roles/remove",
    };
    let admin = auth.require_admin(action).await?;
    let user = user_id(user)?;
    let role = parse::<RoleBody>(&body.0)?.role;
    let details = [("role".to_owned(), json!(role))].into_iter().collect();
    let resource = format!("user:{user}");
    let store = &auth.state.engine.authorization;
    let kind = EventType::ConfigChange;
    match change {
        Change::Assign => {
            auth.state.admission.may_grant(&admin, std::slice::from_ref(&role))?;
            let work = |deadline| store.assign_role(&user, &role, auth.caller.id(), deadline);
            auth.on_own(action, kind, resource, details, |d| async move { Ok(work(d).await?) })
                .await?;
        }
        Change::Remove => {
            let work = |deadline| store.remove_role(&user, &role, deadline);
            auth.on_own(action, kind, resource, details, |d| async move { Ok(work(d).await?) })
                .await?;
        }
    }
    answer(&auth, &user)
}

fn answer(auth: &Authenticated, user: &CallerId) -> Result<HttpResponse, ApiError> {
    let snapshot = auth.state.engine.authorization.snapshot();
    let roles: Vec<String> = snapshot.stored_roles(user).unwrap_or_default().to_vec();
    Ok(HttpResponse::Ok().json(json!({ "user_id": user, "roles": roles })))
}

/// The user of the path.
///
/// # Errors
/// Not a user id.
pub(super) fn user_id(text: &str) -> Result<CallerId, ApiError> {
    CallerId::parse(text).map_err(|error| {
        ApiError::invalid_arguments(vec![Problem {
            path: "user_id".into(),
            problem: error.to_string(),
        }])
    })
}
