//! What is in force, what was before, what waits. Replaced as a whole, so that a reader sees one state.

use serde::Serialize;

use super::{Plan, PolicyStanding};
use crate::config::{Change, Loaded, PolicyText};

/// The last change that was made.
#[derive(Clone, Debug, Serialize)]
pub struct LastChange {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// A caller's name, "signal" or "file".
    pub by: String,
    /// What it changed.
    pub changes: Vec<Change>,
}

/// The state of the configuration.
#[derive(Clone)]
pub struct Standing {
    /// In force.
    pub current: Loaded,
    /// The policy in force.
    pub policy: PolicyStanding,
    /// The version of both.
    pub version: String,
    /// In force before the last change.
    pub previous: Option<(Loaded, PolicyStanding)>,
    /// In the files, and not in force before a restart.
    pub waiting: Vec<Change>,
    /// Why the files cannot be used now; empty when they can.
    pub problem: Vec<String>,
    /// The last change; `None` = as started.
    pub last: Option<LastChange>,
    /// Counts states, so that a plan made for another one is noticed.
    pub(super) sequence: u64,
}

impl Standing {
    pub(super) fn first(current: Loaded, policy: PolicyText) -> Self {
        Self {
            version: current.version_under(&policy.text),
            current,
            policy: PolicyStanding::first(policy),
            previous: None,
            waiting: Vec::new(),
            problem: Vec::new(),
            last: None,
            sequence: 0,
        }
    }

    /// After a plan; one that changes nothing leaves what was before, so that a rollback still does
    /// something.
    pub(super) fn after(&self, plan: Plan, by: &str) -> Self {
        let changed = !plan.changes.is_empty();
        let at_ms = chrono::Utc::now().timestamp_millis();
        let last = LastChange { at_ms, by: by.to_owned(), changes: plan.changes };
        Self {
            previous: match changed {
                true => Some((self.current.clone(), self.policy.clone())),
                false => self.previous.clone(),
            },
            last: if changed { Some(last) } else { self.last.clone() },
            current: plan.next,
            policy: plan.policy,
            version: plan.version,
            waiting: plan.waiting,
            problem: Vec::new(),
            sequence: self.sequence + 1,
        }
    }

    pub(super) fn with_problem(&self, problem: Vec<String>) -> Self {
        Self { problem, ..self.clone() }
    }
}
