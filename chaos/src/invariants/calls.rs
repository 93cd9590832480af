//! I1 and I5: each call by itself, in the audit and at its client.

use std::collections::{HashMap, HashSet};

use super::Verdict;
use crate::evidence::{Event, Evidence};
use crate::record::{Kind, Outcome, Record};

/// I1. Runs of jobs carry the request id of their enqueue; they are calls of their own.
pub(super) fn one_outcome_each(evidence: &Evidence) -> Verdict {
    let mut violations = Vec::new();
    let mut ends: HashMap<&str, usize> = HashMap::new();
    for event in evidence.events.iter().filter(|event| !event.call_id.is_empty()) {
        *ends.entry(&event.call_id).or_default() += usize::from(event.is_final());
    }
    for (call, ends) in ends.iter().filter(|(_, ends)| **ends != 1) {
        violations.push(format!("call {call} has {ends} outcomes in the audit"));
    }
    let mut by_request: HashMap<&str, Vec<&Event>> = HashMap::new();
    let direct = evidence.events.iter().filter(|event| event.job_id.is_none() && event.is_final());
    for event in direct {
        by_request.entry(&event.request_id).or_default().push(event);
    }
    for record in &evidence.records {
        let events = by_request.get(record.request_id.as_str()).map_or(&[][..], Vec::as_slice);
        if let Some(disagreement) = disagreement(record, events) {
            let Record { request_id, kind, outcome, .. } = record;
            violations
                .push(format!("{} {request_id}: {disagreement}; told {outcome:?}", kind.name()));
        }
    }
    Verdict::of(!evidence.records.is_empty(), violations)
}

/// How the client's account and the audit's contradict each other.
fn disagreement(record: &Record, events: &[&Event]) -> Option<String> {
    if let Outcome::Wrong(_) = record.outcome {
        return Some("an answer that no fault excuses".to_owned());
    }
    if events.len() > 1 {
        return Some(format!("{} outcomes in the audit", events.len()));
    }
    let success = events.first().map(|event| event.success == Some(true));
    match (&record.outcome, record.kind, success) {
        // An unauthenticated request is no call, a refused one is an event that failed.
        (Outcome::Done, Kind::Refused, Some(true)) => {
            Some("refused to the client, granted in the audit".to_owned())
        }
        (Outcome::Done, Kind::Refused, _) => None,
        (Outcome::Done, _, Some(false)) => {
            Some(format!("the audit says it failed: {}", events[0].error))
        }
        (Outcome::Done | Outcome::Ended(_), _, None) => Some("no outcome in the audit".to_owned()),
        (Outcome::Failed(..), _, Some(true)) => {
            let (phase, replayed) = (&events[0].phase, events[0].replayed);
            Some(format!("the audit says it succeeded ({phase}, replayed: {replayed})"))
        }
        _ => None,
    }
}

/// I5.
pub(super) fn nothing_denied_is_granted(evidence: &Evidence) -> Verdict {
    let asked = || evidence.records.iter().filter(|record| record.kind == Kind::Refused);
    let mut violations = Vec::new();
    for record in asked() {
        if let Outcome::Granted(answer) = &record.outcome {
            violations.push(format!("{} was granted: {answer}", record.request_id));
        }
    }
    // Whose client heard nothing must not have got anything either.
    let ids: HashSet<&str> = asked().map(|record| record.request_id.as_str()).collect();
    for event in evidence.events.iter().filter(|event| event.success == Some(true)) {
        if ids.contains(event.request_id.as_str()) {
            violations.push(format!("{} succeeded in the audit", event.request_id));
        }
    }
    let judged = asked().any(|record| record.outcome.is_done());
    Verdict::of(judged, violations)
}
