//! I2 and I3: what was acknowledged is there, and what must not be repeated was not.

use std::collections::{HashMap, HashSet};

use super::Verdict;
use crate::evidence::{Event, Evidence};
use crate::record::{Kind, Record};

/// Says in an outcome that a crash cut the call off.
const CUT_OFF: &str = "effects unknown";

/// I2.
pub(super) fn nothing_acknowledged_is_lost(evidence: &Evidence) -> Verdict {
    let mut violations = Vec::new();
    let requests: HashSet<&str> =
        evidence.events.iter().map(|event| event.request_id.as_str()).collect();
    let failed = |event: &&Event| event.is_final() && event.success != Some(true);
    let attempts = evidence.events.iter().filter(failed);
    let tried: HashSet<&str> = attempts.filter_map(|event| event.job_id.as_deref()).collect();
    let was_tried = |job: &str| tried.contains(job);
    let acknowledged = || evidence.records.iter().filter(|record| record.outcome.is_done());
    for Record { kind, subject, made, request_id, .. } in acknowledged() {
        let lost = match kind {
            Kind::Job => lost_job(evidence.jobs.get(made).map(String::as_str), was_tried(made)),
            Kind::Upsert if !evidence.nodes.contains(subject) => {
                Some("is not in the graph".to_owned())
            }
            Kind::Role if !evidence.users.contains(subject) => {
                Some("does not have the role it was given".to_owned())
            }
            _ => None,
        };
        if let Some(lost) = lost {
            violations
                .push(format!("{} {subject} {made} was acknowledged and {lost}", kind.name()));
        }
        if *kind != Kind::Refused && !requests.contains(request_id.as_str()) {
            violations.push(format!("{} {request_id} left no event in the audit", kind.name()));
        }
    }
    Verdict::of(acknowledged().next().is_some(), violations)
}

/// A job ends `completed`, or cut off when it must not be repeated, or `failed` when the audit knows an attempt
/// that failed.
fn lost_job(status: Option<&str>, was_tried: bool) -> Option<String> {
    match status {
        Some("completed" | "outcome_unknown") => None,
        Some("failed") if was_tried => None,
        Some(other) => Some(format!("ended as {other}")),
        None => Some("is not in the list".to_owned()),
    }
}

/// I3.
pub(super) fn nothing_runs_twice(evidence: &Evidence) -> Verdict {
    let mut violations = Vec::new();
    let finals = || evidence.events.iter().filter(|event| event.is_final() && !event.replayed);
    let succeeded = |event: &&Event| event.success == Some(true);

    let runs = finals().filter(|event| succeeded(event) || event.error.contains(CUT_OFF));
    for (job, times) in counted(runs.filter_map(|event| event.job_id.as_deref())) {
        violations.push(format!("job {job} ran {times} times"));
    }
    let keyed = finals().filter(succeeded).filter(|event| event.job_id.is_none());
    for (key, times) in counted(keyed.filter_map(|event| event.key.as_deref())) {
        violations.push(format!("the call with key (SHA-256) {key} ran {times} times"));
    }
    // Every answer under one key names the same execution; every acknowledgement the same job.
    let mut made: HashMap<&str, HashSet<&str>> = HashMap::new();
    let keyed = |record: &&Record| matches!(record.kind, Kind::Once | Kind::Job);
    for record in evidence.records.iter().filter(keyed).filter(|record| record.outcome.is_done()) {
        made.entry(&record.subject).or_default().insert(&record.made);
    }
    for (key, different) in made.iter().filter(|(_, different)| different.len() > 1) {
        violations.push(format!("{key} was answered with {different:?}"));
    }
    Verdict::of(!made.is_empty(), violations)
}

/// What occurs more than once, and how often.
fn counted<'a>(items: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts.into_iter().filter(|(_, times)| *times > 1).collect()
}
