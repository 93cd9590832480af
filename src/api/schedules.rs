//! `/api/v1/schedules`: jobs made by the clock. Of somebody else's: 404, but for administrators.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::Path;
use garde::Validate;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::{JobId, ScheduleId};
use ultimate_mcp_actors::jobs::{JobRequest, Lane, ScheduleRequest};

use super::authenticated::parse;
use super::jobs::{admitted, owner};
use super::{Authenticated, JsonBody};
use crate::error::{ApiError, Code};
use crate::jobs::ScheduleView;

/// A schedule.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct ScheduleBody {
    /// For people.
    #[serde(default)]
    #[garde(length(chars, max = 128))]
    name: String,
    /// Five fields in UTC: minute, hour, day, month, weekday; or six with seconds first.
    #[garde(length(bytes, min = 1, max = 128))]
    cron: String,
    /// The tool to call.
    #[garde(length(bytes, min = 1, max = 64))]
    tool: String,
    /// Its arguments.
    #[serde(default)]
    #[garde(skip)]
    arguments: Map<String, Value>,
    /// How urgent its jobs are.
    #[serde(default)]
    #[garde(skip)]
    priority: Lane,
    /// Whether its jobs may be repeated.
    #[serde(default)]
    #[garde(skip)]
    idempotent: bool,
    /// Attempts of each job.
    #[garde(range(min = 1, max = 100))]
    max_attempts: Option<u32>,
    /// How long results are kept.
    #[garde(range(min = 1, max = 31_536_000))]
    ttl_seconds: Option<u64>,
    /// False: it makes no jobs.
    #[serde(default = "yes")]
    #[garde(skip)]
    enabled: bool,
}

fn yes() -> bool {
    true
}

fn none() -> ApiError {
    ApiError::new(Code::NotFound, "you have no such schedule")
}

/// `POST /api/v1/schedules`: 201 with the schedule.
pub async fn create(auth: Authenticated, body: JsonBody) -> Result<HttpResponse, ApiError> {
    auth.require_rate("schedules/create").await?;
    let id = ScheduleId::new();
    let view = put(&auth, "schedules/create", id, &body).await?;
    let location = (LOCATION, format!("/api/v1/schedules/{id}"));
    Ok(HttpResponse::Created().insert_header(location).json(view))
}

/// `PUT /api/v1/schedules/{id}`: replaces one of the caller's; its next tick is computed anew.
pub async fn replace(
    auth: Authenticated,
    id: Path<String>,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    auth.require_rate("schedules/replace").await?;
    let id = schedule_id(&id)?;
    let own = auth.state.engine.jobs.schedule(id, Some(auth.caller.id())).await?;
    own.ok_or_else(none)?;
    Ok(HttpResponse::Ok().json(put(&auth, "schedules/replace", id, &body).await?))
}

async fn put(
    auth: &Authenticated,
    action: &'static str,
    id: ScheduleId,
    body: &JsonBody,
) -> Result<ScheduleView, ApiError> {
    let body: ScheduleBody = parse(&body.0)?;
    let arguments = admitted(auth, action, &body.tool, body.arguments).await?;
    let mut details = Map::new();
    details.insert("tool".into(), body.tool.clone().into());
    details.insert("cron".into(), body.cron.clone().into());
    let request = ScheduleRequest {
        id,
        name: body.name,
        cron: body.cron,
        enabled: body.enabled,
        job: JobRequest {
            id: JobId::new(),
            identity: auth.caller.identity(),
            tool: body.tool,
            arguments: &arguments,
            lane: body.priority,
            run_at: None,
            idempotent: body.idempotent,
            max_attempts: body.max_attempts,
            ttl_seconds: body.ttl_seconds,
            trace: None,
            request_id: None,
            dedupe: None,
        },
    };
    let jobs = &auth.state.engine.jobs;
    let work = |_| async move { jobs.put_schedule(request).await?.ok_or_else(none) };
    let resource = format!("schedule:{id}");
    let kept = auth.on_own(action, EventType::DataWrite, resource, details, work).await?;
    Ok(ScheduleView::from(&kept))
}

/// `GET /api/v1/schedules`: the caller's; an administrator's list is everybody's.
pub async fn list(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_rate("schedules/list").await?;
    let found = auth.state.engine.jobs.schedules(owner(&auth)).await?;
    let views: Vec<ScheduleView> = found.iter().map(ScheduleView::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "schedules": views })))
}

/// `GET /api/v1/schedules/{id}`.
pub async fn get(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_rate("schedules/read").await?;
    let found = auth.state.engine.jobs.schedule(schedule_id(&id)?, owner(&auth)).await?;
    Ok(HttpResponse::Ok().json(ScheduleView::from(&found.ok_or_else(none)?)))
}

/// `DELETE /api/v1/schedules/{id}`; jobs it has made stay.
pub async fn remove(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_rate("schedules/remove").await?;
    let id = schedule_id(&id)?;
    let (jobs, owner) = (&auth.state.engine.jobs, owner(&auth));
    let work =
        |_| async move { jobs.remove_schedule(id, owner).await?.then_some(()).ok_or_else(none) };
    let resource = format!("schedule:{id}");
    auth.on_own("schedules/remove", EventType::DataDelete, resource, Map::new(), work).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn schedule_id(text: &str) -> Result<ScheduleId, ApiError> {
    uuid::Uuid::parse_str(text).map(ScheduleId::from).map_err(|_| none())
}
