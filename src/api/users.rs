//! `DELETE /api/v1/users/{user_id}`: forgets a person (GDPR, article 17). Administrators only.
//!
//! Roles, revocations and artifacts are deleted and tokens void; in the trail the name, addresses and
//! sessions go while every event stays and verifies. The erasure itself is recorded without the name.
//! Refuses to erase whoever asks: the record of it would bring the name back.

use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::web::Path;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::audit::{AuditError, ErasureReport, EventType};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_actors::supervision::AskError;

use super::Authenticated;
use super::roles::user_id;
use crate::error::{ApiError, Code};
use crate::record::{Outcome, Record};

const ACTION: &str = "users/erase";

/// What was found and removed. `trail` is absent while the trail is still being looked through.
struct Erased {
    known: bool,
    artifacts: usize,
    trail: Option<ErasureReport>,
}

/// Erases a person; erasing again is harmless.
pub async fn erase(auth: Authenticated, user: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_admin(ACTION).await?;
    let user = user_id(&user)?;
    if &user == auth.caller.id() {
        let message = "you cannot erase yourself; have another administrator do it";
        return Err(ApiError::new(Code::Conflict, message));
    }
    let deadline = auth.deadline();
    let audit = &auth.state.engine.audit;
    let record =
        Record::of_action(audit, &auth.caller, &auth.origin, ACTION, EventType::DataDelete)
            .on("user");
    let open = record.begin(deadline).await?;
    let started = Instant::now();
    let result = forget(&auth, &user, deadline).await;
    let outcome = match &result {
        Ok(erased) => Outcome::done(facts(erased)),
        Err(error) => Outcome::failed(error),
    };
    open.close(outcome, started.elapsed()).await?;
    let erased = result?;
    let mut answer = match &erased.trail {
        Some(_) => HttpResponse::Ok(),
        None => HttpResponse::Accepted(),
    };
    Ok(answer.json(Value::Object(facts(&erased))))
}

/// Tokens first: nothing new is recorded under the name then.
async fn forget(
    auth: &Authenticated,
    user: &CallerId,
    deadline: Deadline,
) -> Result<Erased, ApiError> {
    let engine = &auth.state.engine;
    let now = chrono::Utc::now().timestamp();
    let until = now + auth.state.token_ttl_seconds_max() as i64;
    let known = engine.authorization.erase_user(user, until, deadline).await?;
    let (artifacts, owner) = (auth.state.artifacts.clone(), user.clone());
    let dropped = actix_web::web::block(move || artifacts.drop_all_of(&owner)).await;
    let artifacts = dropped.map_err(|error| {
        ApiError::new(Code::Unavailable, "the artifacts could not be dropped").caused_by(error)
    })??;
    let trail = match engine.audit.erase(user, deadline).await {
        Ok(report) => Some(report),
        // Noted durably and carried on.
        Err(AuditError::Ask(AskError::Timeout { begun: true, .. })) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Erased { known, artifacts, trail })
}

fn facts(erased: &Erased) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("had_roles".into(), erased.known.into());
    facts.insert("artifacts_deleted".into(), erased.artifacts.into());
    match &erased.trail {
        Some(report) => {
            facts.insert("status".into(), "erased".into());
            facts.insert("events".into(), report.events.into());
            facts.insert("events_sealed".into(), json!(report.sealed));
        }
        None => {
            facts.insert("status".into(), "running".into());
        }
    }
    facts
}
