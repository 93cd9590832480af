//! What is left when a scenario is over: the exported audit, the lists that the server gives, counts
//! before and after, samples of its health.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::census::{Census, Life};
use crate::record::Record;

/// One event of the exported audit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// `intent`, `outcome` or `single`.
    pub phase: String,
    /// The call it belongs to; `""` when none.
    pub call_id: String,
    /// Whether it succeeded; nothing for an intent.
    pub success: Option<bool>,
    /// The client's request id.
    pub request_id: String,
    /// The job whose run it is of.
    pub job_id: Option<String>,
    /// Digest of the idempotency key of the call.
    pub key: Option<String>,
    /// Whether a kept answer was given again.
    pub replayed: bool,
    /// Why it failed.
    pub error: String,
}

impl Event {
    /// Reads one line of `audit export --format jsonl`; nothing when it is not one.
    pub fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let (body, details) = (&event["body"], &event["body"]["details"]);
        let maybe = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            phase: maybe(&event["phase"])?,
            call_id: text(&event["call_id"]),
            success: event["success"].as_bool(),
            request_id: text(&body["request_id"]),
            job_id: maybe(&details["job_id"]),
            key: maybe(&details["idempotency_key_sha256"]),
            replayed: details["replayed"] == true,
            error: text(&body["error_message"]),
        })
    }

    /// Gives every event of a call the job that its intent names: what closes a call that a crash cut off
    /// knows only the call.
    pub fn attribute(events: &mut [Self]) {
        let known = events.iter().filter_map(|event| {
            let job = event.job_id.clone()?;
            Some((event.call_id.clone(), job))
        });
        let jobs: HashMap<String, String> = known.collect();
        for event in events {
            event.job_id = jobs.get(&event.call_id).cloned();
        }
    }

    /// Whether this ends a call.
    pub fn is_final(&self) -> bool {
        self.phase != "intent"
    }
}

/// What a sample of `/ready` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The word in `status`.
    Said(String),
    /// Nobody answered.
    Silent,
}

/// One look at the health of the server.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was asked, since the scenario began.
    pub at: Duration,
    /// What was heard.
    pub health: Health,
}

/// When something was broken, since the scenario began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When the fault began.
    pub began: Duration,
    /// When it was undone.
    pub ended: Duration,
}

/// A fault that was there.
#[derive(Clone, Debug)]
pub struct Happened {
    /// What was done, with its parameters.
    pub what: String,
    /// When.
    pub window: Window,
    /// A dependency was unreachable: health must not say `ready`.
    pub down: bool,
}

/// An actor that panicked and serves again.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// Its name.
    pub child: String,
    /// Milliseconds from the panic until it took messages again, without the backoff that was waited out.
    pub beyond_backoff_ms: f64,
}

/// Everything the invariants look at.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the clients did.
    pub records: Vec<Record>,
    /// The audit after the last life of the server, oldest first.
    pub events: Vec<Event>,
    /// Whether the chain verified, and what was said.
    pub chain: Option<(bool, String)>,
    /// Status by job id.
    pub jobs: HashMap<String, String>,
    /// Keys of graph nodes.
    pub nodes: HashSet<String>,
    /// Users that have the role they were given.
    pub users: HashSet<String>,
    /// What the server held before the faults, and after.
    pub census: Option<(Census, Census)>,
    /// Processes of the server's lives that outlived it.
    pub left_processes: Vec<Life>,
    /// Control groups of its launchers that outlived it.
    pub left_groups: Vec<PathBuf>,
    /// Breakers that stayed open and queues that never drained: metric and value.
    pub undrained: Option<Vec<String>>,
    /// What a fault itself found wrong: an order that was answered wrongly, something that stayed broken.
    pub complaints: Vec<String>,
    /// Actors that panicked and came back.
    pub restarts: Vec<Restart>,
    /// Health through the scenario.
    pub samples: Vec<Sample>,
    /// The faults.
    pub faults: Vec<Happened>,
    /// When everything worked again; nothing when it never did.
    pub recovered: Option<Duration>,
}

impl Evidence {
    /// From the beginning of the first fault to the end of the last.
    pub fn window(&self) -> Option<Window> {
        let began = self.faults.iter().map(|fault| fault.window.began).min()?;
        let ended = self.faults.iter().map(|fault| fault.window.ended).max()?;
        Some(Window { began, ended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_call_that_was_cut_off_belongs_to_the_job_of_its_intent() {
        let line = |phase: &str, details: &str| {
            let text = format!(
                r#"{{"phase":"{phase}","call_id":"c","success":null,"body":{{"request_id":"r"{details}}}}}"#
            );
            Event::parse(&text).expect("an event")
        };
        let intent = line("intent", r#","details":{"job_id":"j","transport":"job"}"#);
        let end = line("outcome", r#","error_message":"effects unknown""#);
        let mut events = [intent, end];
        assert_eq!(events[1].job_id, None);
        Event::attribute(&mut events);
        assert_eq!(events[1].job_id.as_deref(), Some("j"));
        assert_eq!(events[1].error, "effects unknown");
    }
}
