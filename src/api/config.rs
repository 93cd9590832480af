//! `GET|PATCH /api/v1/config` and `POST /api/v1/config/rollback`: the configuration in force, and changes
//! of it at run time. Administrators only.

use actix_web::http::header::IF_MATCH;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::audit::EventType;

use super::{Authenticated, JsonBody};
use crate::config::is_live;
use crate::error::{ApiError, Code, Problem};
use crate::reload::{Plan, Refusal, Standing};

/// Values with their sources, secrets redacted; version, last change, what waits, what is wrong.
pub async fn get(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("config/read").await?;
    let standing = auth.state.reload.standing();
    Ok(HttpResponse::Ok().insert_header(("ETag", etag(&standing.version))).json(shown(&standing)))
}

/// Sets keys at run time, until the next start.
pub async fn patch(
    auth: Authenticated,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    auth.require_admin("config/patch").await?;
    let patch: Map<String, Value> = serde_json::from_slice(&body.0).map_err(|error| {
        let message = "the body must be a JSON object of configuration keys";
        ApiError::new(Code::ParseError, message).caused_by(error)
    })?;
    let dry_run = dry_run(request.query_string())?;
    if_match(&request, &auth.state.reload.standing().version)?;
    let reload = auth.state.reload.clone();
    let plan = blocking(move || reload.plan_patch(&patch)).await;
    change(&auth, "config/patch", plan, dry_run).await
}

/// Goes back to what was in force before the last change.
pub async fn rollback(auth: Authenticated, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    auth.require_admin("config/rollback").await?;
    let dry_run = dry_run(request.query_string())?;
    if_match(&request, &auth.state.reload.standing().version)?;
    let reload = auth.state.reload.clone();
    let plan = blocking(move || reload.plan_rollback()).await;
    change(&auth, "config/rollback", plan, dry_run).await
}

/// Intent, change, outcome; the outcome names every key with its old and its new value. A change that is
/// refused is on record as well.
async fn change(
    auth: &Authenticated,
    action: &'static str,
    plan: Result<Plan, ApiError>,
    dry_run: bool,
) -> Result<HttpResponse, ApiError> {
    let (kind, resource) = (EventType::ConfigChange, "config".to_owned());
    let plan = match plan {
        Err(refusal) if !dry_run => {
            let work = |_deadline| async move { Err(refusal) };
            return auth.on_own(action, kind, resource, Map::new(), work).await;
        }
        plan => plan?,
    };
    let answer = json!({
        "version": plan.version,
        "changes": plan.changes,
        "waits_for_restart": plan.waiting,
        "dry_run": dry_run,
        "survives_restart": false,
    });
    if dry_run {
        return Ok(HttpResponse::Ok().json(answer));
    }
    let tag = etag(&plan.version);
    let details = [
        ("version".to_owned(), json!(plan.version)),
        ("changes".to_owned(), json!(plan.changes)),
        ("waits_for_restart".to_owned(), json!(plan.waiting)),
    ];
    let (reload, by) = (&auth.state.reload, auth.caller.id().as_str());
    let work =
        |_deadline| async move { reload.commit(plan, by).await.map_err(ApiError::of_config) };
    auth.on_own(action, kind, resource, details.into_iter().collect(), work).await?;
    Ok(HttpResponse::Ok().insert_header(("ETag", tag)).json(answer))
}

/// Reads files off the thread that serves requests.
async fn blocking(
    plan: impl FnOnce() -> Result<Plan, Refusal> + Send + 'static,
) -> Result<Plan, ApiError> {
    let planned = actix_web::web::block(plan).await;
    let gone = |error| ApiError::new(Code::Internal, "the check ended early").caused_by(error);
    planned.map_err(gone)?.map_err(ApiError::of_config)
}

/// Whether only to check and compare.
fn dry_run(query: &str) -> Result<bool, ApiError> {
    match query {
        "" | "dry_run=false" => Ok(false),
        "dry_run=true" => Ok(true),
        _ => Err(ApiError::invalid_arguments(vec![Problem {
            path: "dry_run".to_owned(),
            problem: "the only parameter known here is dry_run, true or false".to_owned(),
        }])),
    }
}

fn if_match(request: &HttpRequest, version: &str) -> Result<(), ApiError> {
    let Some(wanted) = request.headers().get(IF_MATCH) else { return Ok(()) };
    let matches = |tag: &str| tag.trim() == "*" || tag.trim().trim_matches('"') == version;
    match wanted.to_str().is_ok_and(|tags| tags.split(',').any(matches)) {
        true => Ok(()),
        false => Err(ApiError::of_config(Refusal::OtherVersion(version.to_owned()))),
    }
}

fn etag(version: &str) -> String {
    format!("\"{version}\"")
}

fn shown(standing: &Standing) -> Value {
    let values: Map<String, Value> = standing
        .current
        .values()
        .into_iter()
        .map(|(key, value, source)| {
            let row = json!({ "value": value, "source": source, "live": is_live(&key) });
            (key, row)
        })
        .collect();
    json!({
        "version": standing.version,
        "values": values,
        "patched": standing.current.overlay().keys(),
        "last_change": standing.last,
        "waits_for_restart": standing.waiting,
        "problem": standing.problem,
        "can_roll_back": standing.previous.is_some(),
    })
}
