//! How jobs, their events and schedules look on the wire. Times are RFC 3339 in UTC.

use chrono::{DateTime, SecondsFormat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ultimate_mcp_actors::jobs::{Job, JobEvent, JobView, Lane, Millis, Schedule};

/// A stored time as text.
pub fn time(at: Millis) -> String {
    let time = DateTime::from_timestamp_millis(at).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A job as its owner sees it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobBrief {
    /// Names the job.
    pub job_id: String,
    /// `queued`, `claimed`, `running`, `completed`, `failed`, `cancelled`, `forbidden` or
    /// `outcome_unknown`.
    pub status: String,
    /// The tool it calls.
    pub tool: String,
    /// Whose it is.
    pub owner: String,
    /// `interactive`, `normal` or `low`.
    pub priority: String,
    /// Attempts begun.
    pub attempt: u32,
    /// Most attempts.
    pub max_attempts: u32,
    /// Whether it may be run again when nobody knows whether it ran.
    pub idempotent: bool,
    /// When it was enqueued.
    pub created_at: String,
    /// Not before.
    pub run_at: String,
    /// When the last attempt began.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// When it is forgotten, result included.
    pub expires_at: Option<String>,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
    /// The tool ran and reported a failure.
    pub is_error: bool,
    /// What went wrong last: an error code and a message.
    pub error: Option<JobError>,
    /// Why an operator should look at it: `attempts_exhausted`, `outcome_unknown`, `permanent` or
    /// `waited_too_long`.
    pub dead_letter: Option<String>,
    /// The schedule that made it.
    pub schedule_id: Option<String>,
    /// The trace of the request that enqueued it.
    pub trace: Option<String>,
}

/// What went wrong.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobError {
    /// As in the error answers of this interface.
    pub code: String,
    /// For people.
    pub message: String,
}

impl From<&Job> for JobBrief {
    fn from(job: &Job) -> Self {
        let (spec, status) = (&job.spec, &job.status);
        Self {
            job_id: spec.id.to_string(),
            status: status.state.to_string(),
            tool: spec.tool.clone(),
            owner: spec.identity.caller.to_string(),
            priority: lane(spec.lane),
            attempt: status.attempt,
            max_attempts: spec.max_attempts,
            idempotent: spec.idempotent,
            created_at: time(spec.created_at),
            run_at: time(status.run_at),
            started_at: status.started_at.map(time),
            finished_at: status.finished_at.map(time),
            expires_at: status.expires_at.map(time),
            cancel_requested: status.cancel_requested,
            is_error: status.is_error,
            error: status
                .fault
                .as_ref()
                .map(|fault| JobError { code: fault.code.clone(), message: fault.message.clone() }),
            dead_letter: status.dead.map(|reason| reason.as_str().to_owned()),
            schedule_id: spec.schedule.map(|id| id.to_string()),
            trace: spec.trace.clone(),
        }
    }
}

/// A job with its result, as JSON.
pub fn full(view: &JobView) -> Value {
    let mut brief = serde_json::json!(JobBrief::from(&view.job));
    brief["result"] = serde_json::json!(view.result);
    brief
}

fn lane(lane: Lane) -> String {
    lane.as_str().to_owned()
}

/// An event of a job.
#[derive(Debug, Serialize)]
pub struct EventView {
    /// Counts up from 1; a stream goes on after it.
    pub id: u64,
    /// When.
    pub at: String,
    /// A state entered, or `retry`, `postponed`, `returned`, `cancel_requested`, `replayed`.
    pub event: String,
    /// The attempt it belongs to.
    pub attempt: u32,
}

impl From<&JobEvent> for EventView {
    fn from(event: &JobEvent) -> Self {
        let JobEvent { id, at, kind, attempt } = event;
        Self { id: *id, at: time(*at), event: kind.clone(), attempt: *attempt }
    }
}

/// A schedule as its owner sees it.
#[derive(Debug, Serialize)]
pub struct ScheduleView {
    schedule_id: String,
    owner: String,
    name: String,
    cron: String,
    tool: String,
    priority: String,
    idempotent: bool,
    max_attempts: u32,
    ttl_seconds: i64,
    enabled: bool,
    next_at: String,
    last_at: Option<String>,
    created_at: String,
}

impl From<&Schedule> for ScheduleView {
    fn from(schedule: &Schedule) -> Self {
        Self {
            schedule_id: schedule.id.to_string(),
            owner: schedule.identity.caller.to_string(),
            name: schedule.name.clone(),
            cron: schedule.cron.clone(),
            tool: schedule.tool.clone(),
            priority: lane(schedule.lane),
            idempotent: schedule.idempotent,
            max_attempts: schedule.max_attempts,
            ttl_seconds: schedule.result_ttl_ms / 1_000,
            enabled: schedule.enabled,
            next_at: time(schedule.next_at),
            last_at: schedule.last_at.map(time),
            created_at: time(schedule.created_at),
        }
    }
}
