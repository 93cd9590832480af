//! What scripts are told and what they say.

use std::time::Duration;

use super::record::Field;
use crate::fault::{Classify, Retry};
use crate::jobs::error::JobsError;
use crate::jobs::job::{JobFault, Millis, State};
use crate::jobs::schedule::Schedule;
use crate::jobs::store::{End, NewJob, Rules};
use crate::redis::RedisError;

/// Arguments of a script.
pub(super) type Args = Vec<Vec<u8>>;

/// A job as `enqueue` of `common.lua` takes it.
pub(super) fn job_args(job: &NewJob, rules: &Rules) -> Result<Args, JobsError> {
    let spec = &job.spec;
    let (key, fingerprint) = match &spec.dedupe {
        Some(dedupe) => (dedupe.key.clone(), dedupe.fingerprint.clone()),
        None => (String::new(), String::new()),
    };
    Ok(vec![
        bytes(spec.id),
        bytes(&spec.identity.caller),
        bytes(spec.lane.as_str()),
        bytes(job.run_at),
        bytes(spec.created_at),
        bytes(u8::from(spec.idempotent)),
        bytes(spec.max_attempts),
        bytes(spec.result_ttl_ms),
        serde_json::to_vec(spec).map_err(JobsError::corrupt)?,
        job.payload.clone(),
        key.into_bytes(),
        fingerprint.into_bytes(),
        bytes(rules.per_caller_max),
        bytes(rules.total_max),
        bytes(rules.events_max),
    ])
}

pub(super) fn bytes(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn text(field: Field) -> Result<String, JobsError> {
    String::from_utf8(field.unwrap_or_default()).map_err(JobsError::corrupt)
}

/// next, last, body, payload.
pub(super) fn schedule(row: Vec<Field>) -> Result<(Schedule, Vec<u8>), JobsError> {
    let missing = || JobsError::corrupt(std::io::Error::other("a schedule is incomplete"));
    let [next, last, body, payload] = <[Field; 4]>::try_from(row).map_err(|_| missing())?;
    let mut schedule: Schedule =
        serde_json::from_slice(&body.ok_or_else(missing)?).map_err(JobsError::corrupt)?;
    schedule.next_at = text(next)?.parse().map_err(|_| missing())?;
    schedule.last_at = text(last)?.parse().ok();
    Ok((schedule, payload.unwrap_or_default()))
}

/// State, kind, run_at, fault, flags and dead reason of an end, as `finish.lua` takes them.
pub(super) fn end_args(end: &End, now: Millis) -> Result<[Vec<u8>; 6], JobsError> {
    let json = |fault: &JobFault| serde_json::to_vec(fault).map_err(JobsError::corrupt);
    let none = Vec::new;
    let over = |state: State, fault: Vec<u8>, flags: &str, dead: &str| {
        [bytes(state), none(), none(), fault, bytes(flags), bytes(dead)]
    };
    let again = |kind: &str, at: Millis, fault: Vec<u8>, flags: &str| {
        [bytes(State::Queued), bytes(kind), bytes(at), fault, bytes(flags), none()]
    };
    Ok(match end {
        End::Completed { is_error } => {
            over(State::Completed, none(), if *is_error { "e" } else { "" }, "")
        }
        End::Failed { fault, dead } => {
            over(State::Failed, json(fault)?, "", dead.map_or("", |dead| dead.as_str()))
        }
        End::Forbidden { fault } => over(State::Forbidden, json(fault)?, "", ""),
        End::Unknown { fault } => {
            over(State::OutcomeUnknown, json(fault)?, "", State::OutcomeUnknown.as_str())
        }
        End::Cancelled => over(State::Cancelled, bytes("-"), "", ""),
        End::Retry { fault, at } => again("retry", *at, json(fault)?, ""),
        End::Postponed { fault, at } => again("postponed", *at, json(fault)?, "u"),
        End::Released => again("returned", now, bytes("-"), ""),
    })
}

impl From<RedisError> for JobsError {
    fn from(error: RedisError) -> Self {
        match error {
            RedisError::Unknown(_) | RedisError::Deadline => Self::Unanswered,
            RedisError::Options(_) | RedisError::Command(_) | RedisError::Reply(_) => {
                Self::corrupt(error)
            }
            _ => match error.retry() {
                Retry::After(retry_after) => Self::Away { retry_after },
                _ => Self::Away { retry_after: Duration::from_secs(1) },
            },
        }
    }
}
