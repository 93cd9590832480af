//! The invariants, written once. Each is a function over the [`Evidence`] of a scenario and names what
//! contradicts it; a scenario without anything to judge by says so instead of passing.

mod calls;
mod kept;
mod whole;

use crate::evidence::Evidence;

/// What one invariant says about one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing contradicts it.
    Held,
    /// What contradicts it.
    Violated(Vec<String>),
    /// There was nothing to judge by.
    Unjudged,
}

impl Verdict {
    /// `judged`: whether there was anything to judge by.
    fn of(judged: bool, violations: Vec<String>) -> Self {
        match (violations.is_empty(), judged) {
            (false, _) => Self::Violated(violations),
            (true, true) => Self::Held,
            (true, false) => Self::Unjudged,
        }
    }
}

/// One invariant.
pub struct Invariant {
    /// `I1` to `I9`.
    pub id: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// Judges a scenario.
    pub check: fn(&Evidence) -> Verdict,
}

/// All of them, in the order of the report.
pub const ALL: [Invariant; 9] = [
    Invariant {
        id: "I1",
        promise: "every accepted call has exactly one outcome, in the audit and at the client, and they agree",
        check: calls::one_outcome_each,
    },
    Invariant {
        id: "I2",
        promise: "nothing acknowledged is lost: jobs, graph writes, roles, audit events",
        check: kept::nothing_acknowledged_is_lost,
    },
    Invariant {
        id: "I3",
        promise: "nothing that is not idempotent runs twice",
        check: kept::nothing_runs_twice,
    },
    Invariant { id: "I4", promise: "the audit chain verifies", check: whole::the_chain_verifies },
    Invariant {
        id: "I5",
        promise: "nothing is granted that policy denies",
        check: calls::nothing_denied_is_granted,
    },
    Invariant {
        id: "I6",
        promise: "no process, mount, control group or descriptor is left behind",
        check: whole::nothing_leaks,
    },
    Invariant {
        id: "I7",
        promise: "everything works again, every breaker closes, every queue drains",
        check: whole::everything_heals,
    },
    Invariant {
        id: "I8",
        promise: "the server's memory returns to its level",
        check: whole::memory_returns,
    },
    Invariant { id: "I9", promise: "health tells the truth", check: whole::health_is_honest },
];

#[cfg(test)]
mod tests;
