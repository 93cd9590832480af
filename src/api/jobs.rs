//! `/api/v1/jobs`: enqueue, look, list, cancel. Of somebody else's jobs: 404, but for administrators.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use garde::Validate;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::{CallerId, JobId};
use ultimate_mcp_actors::jobs::{
    Dedupe, Enqueued, JobFilter, JobRequest, JobView, Lane, Millis, State, now_ms,
};

use super::authenticated::parse;
use super::{Authenticated, JsonBody};
use crate::error::{ApiError, Code, Problem};
use crate::jobs::{JobBrief, full, queueable};
use crate::tools::hash::sha256_hex;
use crate::tools::jobs::{no_such_job, status_of};

/// Longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Jobs on one page.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;
/// A job can be delayed by a year at most.
const DELAY_SECONDS_MAX: u64 = 31_536_000;

/// What a job is to do; also part of a schedule.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct JobBody {
    /// The tool to call.
    #[garde(length(bytes, min = 1, max = 64))]
    tool: String,
    /// Its arguments.
    #[serde(default)]
    #[garde(skip)]
    arguments: Map<String, Value>,
    /// How urgent it is.
    #[serde(default)]
    #[garde(skip)]
    priority: Lane,
    /// Not before this time.
    #[garde(length(bytes, max = 64))]
    run_at: Option<String>,
    /// Not before so many seconds have passed.
    #[garde(range(max = DELAY_SECONDS_MAX))]
    delay_seconds: Option<u64>,
    /// May be run again when nobody knows whether it ran.
    #[serde(default)]
    #[garde(skip)]
    idempotent: bool,
    /// Attempts, the first included.
    #[garde(range(min = 1, max = 100))]
    max_attempts: Option<u32>,
    /// How long the result is kept.
    #[garde(range(min = 1, max = 31_536_000))]
    ttl_seconds: Option<u64>,
}

/// `POST /api/v1/jobs`: 202 with the job's address. The same `Idempotency-Key` again gives the same job.
pub async fn enqueue(
    auth: Authenticated,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    auth.require_rate("jobs/enqueue").await?;
    let dedupe = dedupe(&request, &body.0)?;
    let body: JobBody = parse(&body.0)?;
    let run_at = run_at(&body)?;
    let JobBody { tool, arguments, priority, idempotent, max_attempts, ttl_seconds, .. } = body;
    let arguments = admitted(&auth, "jobs/enqueue", &tool, arguments).await?;
    let id = JobId::new();
    let mut details = Map::new();
    details.insert("tool".into(), tool.clone().into());
    details.insert("priority".into(), priority.as_str().into());
    details.insert("arguments_bytes".into(), arguments.get().len().into());
    let job = JobRequest {
        id,
        identity: auth.caller.identity(),
        tool,
        arguments: &arguments,
        lane: priority,
        run_at,
        idempotent,
        max_attempts,
        ttl_seconds,
        trace: auth.origin.traceparent(),
        request_id: Some(auth.origin.request_id.as_str().to_owned()),
        dedupe,
    };
    let jobs = &auth.state.engine.jobs;
    let work = |_| async move { Ok(jobs.enqueue(job).await?) };
    let kind = EventType::DataWrite;
    let enqueued = auth.on_own("jobs/enqueue", kind, format!("job:{id}"), details, work).await?;
    let id = enqueued.id();
    let status = match enqueued {
        Enqueued::New(_) => "queued".to_owned(),
        Enqueued::Known(_) => match jobs.get(id, None).await? {
            Some(view) => view.job.status.state.to_string(),
            None => "queued".to_owned(),
        },
    };
    Ok(HttpResponse::Accepted()
        .insert_header((LOCATION, format!("/api/v1/jobs/{id}")))
        .json(json!({ "job_id": id, "status": status })))
}

/// The arguments of a call that this caller may leave to the queue.
pub(super) async fn admitted(
    auth: &Authenticated,
    action: &'static str,
    tool: &str,
    arguments: Map<String, Value>,
) -> Result<Box<serde_json::value::RawValue>, ApiError> {
    let unknown = || ApiError::new(Code::UnknownTool, format!("unknown tool: {tool}"));
    let descriptor = auth.state.registry.get(tool).ok_or_else(unknown)?.descriptor();
    if let Err(refusal) = auth.state.admission.admit_permission(&auth.caller, descriptor.permission)
    {
        return Err(auth.refused(action, refusal).await);
    }
    let arguments = Value::Object(arguments);
    let queue = auth.state.engine.jobs.options().engine;
    queueable(descriptor, &arguments, queue, auth.state.graph_is_shared())?;
    serde_json::value::to_raw_value(&arguments).map_err(|error| {
        ApiError::new(Code::Internal, "the arguments cannot be stored").caused_by(error)
    })
}

fn run_at(body: &JobBody) -> Result<Option<Millis>, ApiError> {
    let wrong = |path: &str, problem: &str| {
        let (path, problem) = (path.to_owned(), problem.to_owned());
        ApiError::invalid_arguments(vec![Problem { path, problem }])
    };
    match (&body.run_at, body.delay_seconds) {
        (Some(_), Some(_)) => Err(wrong("delay_seconds", "use either this or run_at")),
        (None, Some(seconds)) => Ok(Some(now_ms() + seconds as i64 * 1_000)),
        (None, None) => Ok(None),
        (Some(text), None) => {
            let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| {
                wrong("run_at", "must be a time like 2026-11-22T18:00:00Z (RFC 3339)")
            })?;
            let at = time.timestamp_millis();
            match at <= now_ms() + DELAY_SECONDS_MAX as i64 * 1_000 {
                true => Ok(Some(at)),
                false => Err(wrong("run_at", "must be within a year")),
            }
        }
    }
}

fn dedupe(request: &HttpRequest, body: &[u8]) -> Result<Option<Dedupe>, ApiError> {
    let mut keys = request.headers().get_all("idempotency-key");
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let (Some(key), None) = (text, keys.next()) else {
        let problem = format!("must be one text of 1 to {KEY_BYTES_MAX} visible characters");
        let path = "Idempotency-Key".to_owned();
        return Err(ApiError::invalid_arguments(vec![Problem { path, problem }]));
    };
    Ok(Some(Dedupe { key: key.to_owned(), fingerprint: sha256_hex(body) }))
}

/// `GET /api/v1/jobs/{id}`: how it stands, with its result.
pub async fn get(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_rate("jobs/read").await?;
    let view = readable(&auth, &id).await?;
    Ok(HttpResponse::Ok().json(full(&view)))
}

/// A job the caller may read. An administrator's look at somebody else's is recorded.
pub(super) async fn readable(auth: &Authenticated, id: &str) -> Result<JobView, ApiError> {
    let id = job_id(id)?;
    let (jobs, caller) = (&auth.state.engine.jobs, auth.caller.id());
    if let Some(view) = jobs.get(id, Some(caller)).await? {
        return Ok(view);
    }
    if !is_admin(auth) {
        return Err(no_such_job());
    }
    let look = |_| async move { jobs.get(id, None).await?.ok_or_else(no_such_job) };
    auth.on_own("jobs/read", EventType::DataRead, format!("job:{id}"), Map::new(), look).await
}

/// `POST /api/v1/jobs/{id}/cancel`.
pub async fn cancel(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_rate("jobs/cancel").await?;
    let id = job_id(&id)?;
    let (jobs, owner) = (&auth.state.engine.jobs, owner(&auth));
    let work = |_| async move { jobs.cancel(id, owner).await?.ok_or_else(no_such_job) };
    let kind = EventType::DataWrite;
    let outcome = auth.on_own("jobs/cancel", kind, format!("job:{id}"), Map::new(), work).await?;
    Ok(HttpResponse::Ok().json(json!({ "job_id": id, "status": status_of(outcome) })))
}

/// `GET /api/v1/jobs`: the caller's, newest first; administrators may ask for everybody's.
pub async fn list(auth: Authenticated, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    auth.require_rate("jobs/list").await?;
    let mut filter = JobFilter {
        caller: Some(auth.caller.id().clone()),
        limit: PAGE_DEFAULT,
        ..JobFilter::default()
    };
    let mut problems = Vec::new();
    for (name, value) in pairs(&request)? {
        let set = match (name.as_str(), value.as_str()) {
            ("all", "true") if is_admin(&auth) => {
                filter.caller = None;
                Ok(())
            }
            ("all", "false") => Ok(()),
            ("all", _) => Err("takes true or false, true for administrators only".to_owned()),
            ("state", text) => {
                State::parse(text).map(|state| filter.state = Some(state)).ok_or_else(|| {
                    format!("must be one of {}", State::ALL.map(State::as_str).join(", "))
                })
            }
            _ => paging(&mut filter, &name, &value, "state, all, cursor, limit"),
        };
        if let Err(problem) = set {
            problems.push(Problem { path: name.chars().take(64).collect(), problem });
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid_arguments(problems));
    }
    page(&auth, filter, "jobs").await
}

/// Query parameters in their order.
pub(super) fn pairs(request: &HttpRequest) -> Result<Vec<(String, String)>, ApiError> {
    let query = actix_web::web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    query.map(actix_web::web::Query::into_inner).map_err(|error| {
        let (path, problem) = ("query".to_owned(), error.to_string());
        ApiError::invalid_arguments(vec![Problem { path, problem }])
    })
}

/// `cursor` and `limit`.
pub(super) fn paging(
    filter: &mut JobFilter,
    name: &str,
    value: &str,
    known: &str,
) -> Result<(), String> {
    match name {
        "cursor" => {
            let id = uuid::Uuid::parse_str(value).map_err(|_| "is not a next_cursor")?;
            filter.before = Some(JobId::from(id));
        }
        "limit" => {
            let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
            filter.limit = limit.ok_or(format!("must be a number from 1 to {PAGE_MAX}"))?;
        }
        _ => return Err(format!("unknown parameter; known are {known}")),
    }
    Ok(())
}

/// Answers a page.
pub(super) async fn page(
    auth: &Authenticated,
    filter: JobFilter,
    name: &'static str,
) -> Result<HttpResponse, ApiError> {
    let page = auth.state.engine.jobs.list(filter).await?;
    let jobs: Vec<JobBrief> = page.jobs.iter().map(JobBrief::from).collect();
    let mut answer = json!({ "next_cursor": page.next });
    answer[name] = json!(jobs);
    Ok(HttpResponse::build(StatusCode::OK).json(answer))
}

pub(super) fn is_admin(auth: &Authenticated) -> bool {
    auth.state.admission.admit_permission(&auth.caller, "system:admin").is_ok()
}

/// Whose jobs the caller may touch: its own; an administrator everybody's.
pub(super) fn owner(auth: &Authenticated) -> Option<&CallerId> {
    (!is_admin(auth)).then(|| auth.caller.id())
}

pub(super) fn job_id(text: &str) -> Result<JobId, ApiError> {
    uuid::Uuid::parse_str(text).map(JobId::from).map_err(|_| no_such_job())
}
