//! `/api/v1/dead-letters`: jobs an operator should look at; replay, discard. Administrators only.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::jobs::JobFilter;

use super::Authenticated;
use super::jobs::{page, paging, pairs};
use crate::error::{ApiError, Problem};
use crate::jobs::{dead_letter, dead_letter_id, full, settle};

/// Dead letters on one page when nobody says.
const PAGE_DEFAULT: usize = 50;

/// `GET /api/v1/dead-letters`, newest first.
pub async fn list(auth: Authenticated, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    auth.require_admin("dead-letters/list").await?;
    let mut filter = JobFilter { dead: true, limit: PAGE_DEFAULT, ..JobFilter::default() };
    let mut problems = Vec::new();
    for (name, value) in pairs(&request)? {
        if let Err(problem) = paging(&mut filter, &name, &value, "cursor, limit") {
            problems.push(Problem { path: name.chars().take(64).collect(), problem });
        }
    }
    match problems.is_empty() {
        true => page(&auth, filter, "dead_letters").await,
        false => Err(ApiError::invalid_arguments(problems)),
    }
}

/// `GET /api/v1/dead-letters/{id}`: reason, attempts, caller, trace; never the arguments.
pub async fn get(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_admin("dead-letters/read").await?;
    let view = dead_letter(&auth.state.engine.jobs, dead_letter_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(full(&view)))
}

/// `POST /api/v1/dead-letters/{id}/replay`: queued again, with the rights its caller has then.
pub async fn replay(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    change(auth, &id, true).await
}

/// `DELETE /api/v1/dead-letters/{id}`: its arguments are dropped.
pub async fn discard(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    change(auth, &id, false).await
}

async fn change(auth: Authenticated, id: &str, replay: bool) -> Result<HttpResponse, ApiError> {
    let action = if replay { "dead-letters/replay" } else { "dead-letters/discard" };
    auth.require_admin(action).await?;
    let id = dead_letter_id(id)?;
    let jobs = &auth.state.engine.jobs;
    let work = |_| settle(jobs, id, replay);
    let kind = if replay { EventType::DataWrite } else { EventType::DataDelete };
    let status = auth.on_own(action, kind, format!("job:{id}"), Map::new(), work).await?;
    Ok(HttpResponse::Ok().json(json!({ "job_id": id, "status": status })))
}
