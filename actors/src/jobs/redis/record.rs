//! A job's hash: from its fields to a job.

use std::collections::HashMap;

use crate::jobs::error::JobsError;
use crate::jobs::job::{DeadReason, Job, JobEvent, JobStatus, Millis, State};

/// A field as Redis gives it.
pub(super) type Field = Option<Vec<u8>>;

/// Everything but arguments, result and events.
pub(super) const FIELDS: [&str; 15] = [
    "spec", "st", "att", "grip", "run_at", "wf", "lease", "cancel", "started", "finished",
    "expires", "err", "iserr", "dead", "evn",
];

fn corrupt(what: &str) -> JobsError {
    JobsError::corrupt(std::io::Error::other(format!("a job's field `{what}` is not as expected")))
}

/// Reads a job whose fields were asked for in this order; `None` when there is none.
pub(super) fn read(names: &[&str], values: Vec<Field>) -> Result<Option<Job>, JobsError> {
    let pairs = names.iter().copied().zip(values);
    let fields: HashMap<&str, Vec<u8>> =
        pairs.filter_map(|(name, value)| Some((name, value?))).collect();
    let Some(spec) = fields.get("spec") else { return Ok(None) };
    let text = |name: &'static str| {
        let bytes = fields.get(name).map(Vec::as_slice);
        bytes.map(std::str::from_utf8).transpose().map_err(|_| corrupt(name))
    };
    let number = |name: &'static str| -> Result<Option<Millis>, JobsError> {
        let text = text(name)?;
        text.map(|text| text.parse().map_err(|_| corrupt(name))).transpose()
    };
    let flag = |name: &'static str| Ok::<bool, JobsError>(text(name)? == Some("1"));
    let state = match text("st")? {
        None => State::Claimed,
        Some(name) => State::parse(name).ok_or_else(|| corrupt("st"))?,
    };
    let dead = text("dead")?.map(|name| DeadReason::parse(name).ok_or_else(|| corrupt("dead")));
    let status = JobStatus {
        state,
        attempt: number("att")?.unwrap_or(0) as u32,
        grip: number("grip")?.unwrap_or(0) as u64,
        run_at: number("run_at")?.unwrap_or(0),
        waits_from: number("wf")?.unwrap_or(0),
        lease_until: number("lease")?,
        cancel_requested: flag("cancel")?,
        started_at: number("started")?,
        finished_at: number("finished")?,
        expires_at: number("expires")?,
        fault: text("err")?.map(serde_json::from_str).transpose().map_err(JobsError::corrupt)?,
        is_error: flag("iserr")?,
        dead: dead.transpose()?,
        events: events(&fields)?,
        event_count: number("evn")?.unwrap_or(0) as u64,
    };
    Ok(Some(Job { spec: serde_json::from_slice(spec).map_err(JobsError::corrupt)?, status }))
}

/// The ring, oldest first.
fn events(fields: &HashMap<&str, Vec<u8>>) -> Result<Vec<JobEvent>, JobsError> {
    let mut events = Vec::new();
    for (_, text) in fields.iter().filter(|(name, _)| name.starts_with("ev:")) {
        let text = std::str::from_utf8(text).map_err(JobsError::corrupt)?;
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or_else(|| corrupt("ev"));
        let (id, at, kind, attempt) = (next()?, next()?, next()?, next()?);
        events.push(JobEvent {
            id: id.parse().map_err(|_| corrupt("ev"))?,
            at: at.parse().map_err(|_| corrupt("ev"))?,
            kind: kind.to_owned(),
            attempt: attempt.parse().map_err(|_| corrupt("ev"))?,
        });
    }
    events.sort_by_key(|event| event.id);
    Ok(events)
}
