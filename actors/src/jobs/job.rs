//! A job as it is stored: what was asked, how it stands, what happened to it.
//!
//! Plain data, read by both stores, the workers and the face. How a job moves from state to state is in
//! [`super::transition`]. Arguments and results are not in here: they travel sealed beside it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{CallerId, JobId, ScheduleId};

/// Milliseconds since the epoch. Times of jobs come from the caller of the store, so that tests can give
/// them.
pub type Millis = i64;

/// The time now.
pub fn now_ms() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

/// How urgent a job is. Lanes are served by shares, so that none starves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Somebody waits for it.
    Interactive,
    /// The default.
    #[default]
    Normal,
    /// Whenever there is time.
    Low,
}

impl Lane {
    /// Every lane, most urgent first.
    pub const ALL: [Lane; 3] = [Lane::Interactive, Lane::Normal, Lane::Low];

    /// The name in answers, metrics and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Interactive => "interactive",
            Lane::Normal => "normal",
            Lane::Low => "low",
        }
    }

    /// The lane of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == name)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits: for its time, for a worker, or for its next attempt.
    Queued,
    /// A worker holds it and has not begun: still without effects.
    Claimed,
    /// Begun.
    Running,
    /// It ran and has a result; also when the tool itself reported a failure (`is_error`).
    Completed,
    /// It could not be run, or every attempt failed.
    Failed,
    /// Cancelled before it had a result.
    Cancelled,
    /// Its caller may not (or no longer) do this.
    Forbidden,
    /// Its worker died while it ran, and it was not declared idempotent: it may have had effects, and
    /// it is not run again.
    OutcomeUnknown,
}

impl State {
    /// Every state.
    pub const ALL: [State; 8] = [
        State::Queued,
        State::Claimed,
        State::Running,
        State::Completed,
        State::Failed,
        State::Cancelled,
        State::Forbidden,
        State::OutcomeUnknown,
    ];

    /// The name in answers, queries and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Claimed => "claimed",
            State::Running => "running",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Forbidden => "forbidden",
            State::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the job is over. Such a state never changes, but by an operator's replay.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Queued | State::Claimed | State::Running)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job lies among the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// Every attempt failed.
    AttemptsExhausted,
    /// Its worker died while it ran.
    OutcomeUnknown,
    /// It failed in a way that no retry mends.
    Permanent,
    /// It waited longer than a job may.
    WaitedTooLong,
}

impl DeadReason {
    /// The name in answers and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadReason::AttemptsExhausted => "attempts_exhausted",
            DeadReason::OutcomeUnknown => "outcome_unknown",
            DeadReason::Permanent => "permanent",
            DeadReason::WaitedTooLong => "waited_too_long",
        }
    }

    /// The reason of this name.
    pub fn parse(name: &str) -> Option<Self> {
        use DeadReason::{AttemptsExhausted, OutcomeUnknown, Permanent, WaitedTooLong};
        let all = [AttemptsExhausted, OutcomeUnknown, Permanent, WaitedTooLong];
        all.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Who asked: what the token said when the job was enqueued. Rights are decided anew at every run, from
/// this and the policy, roles and revocations of that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The verified `sub`.
    pub caller: CallerId,
    /// Roles the token claimed.
    pub roles: Vec<String>,
    /// The token's `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// The token's `iat`, in seconds since the epoch.
    pub issued_at: i64,
}

/// What makes the same enqueue, sent twice, one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dedupe {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of what was asked for; another request under the same key is a conflict.
    pub fingerprint: String,
}

/// What was asked for. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job.
    pub id: JobId,
    /// Who asked.
    pub identity: Identity,
    /// The tool to call.
    pub tool: String,
    /// How urgent it is.
    pub lane: Lane,
    /// Whether it may be run again when nobody knows whether it ran.
    pub idempotent: bool,
    /// Most attempts, the first included.
    pub max_attempts: u32,
    /// How long the result is kept, in milliseconds.
    pub result_ttl_ms: i64,
    /// When it was enqueued.
    pub created_at: Millis,
    /// The caller's trace (`traceparent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The request that enqueued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The schedule that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<Dedupe>,
}

/// A failure as it is kept with the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFault {
    /// The error code of the interface, e.g. `deadline_exceeded`.
    pub code: String,
    /// What went wrong.
    pub message: String,
}

impl JobFault {
    /// A failure of this code.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Counts up from 1 within the job; gaps mean that older events were dropped.
    pub id: u64,
    /// When.
    pub at: Millis,
    /// What: a state entered, or `retry`, `postponed`, `returned`, `cancel_requested`, `replayed`.
    pub kind: String,
    /// The attempt it belongs to; 0 before the first.
    pub attempt: u32,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Where it stands.
    pub state: State,
    /// Attempts begun.
    pub attempt: u32,
    /// Counts claims and what voids them: whoever shows an old number has lost the job.
    pub grip: u64,
    /// Not claimed before.
    pub run_at: Millis,
    /// Since when it could have begun: its first `run_at`, or the replay.
    pub waits_from: Millis,
    /// Until when its worker holds it.
    pub lease_until: Option<Millis>,
    /// Somebody wants the run to end.
    pub cancel_requested: bool,
    /// When the last attempt began.
    pub started_at: Option<Millis>,
    /// When it ended for good.
    pub finished_at: Option<Millis>,
    /// When it is forgotten, result included.
    pub expires_at: Option<Millis>,
    /// What went wrong last.
    pub fault: Option<JobFault>,
    /// The tool ran and reported a failure.
    pub is_error: bool,
    /// Why it lies among the dead letters; `None` when it does not.
    pub dead: Option<DeadReason>,
    /// The last events, oldest first.
    pub events: Vec<JobEvent>,
    /// Events so far, dropped ones included.
    pub event_count: u64,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What was asked for.
    pub spec: JobSpec,
    /// How it stands.
    pub status: JobStatus,
}

impl Job {
    /// The job.
    pub fn id(&self) -> JobId {
        self.spec.id
    }

    /// Whether this caller owns it.
    pub fn belongs_to(&self, caller: &CallerId) -> bool {
        self.spec.identity.caller == *caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lanes_states_and_reasons_are_read_back_and_are_what_serde_writes() {
        for lane in Lane::ALL {
            assert_eq!(Lane::parse(lane.as_str()), Some(lane));
            assert_eq!(serde_json::to_value(lane).unwrap(), lane.as_str());
        }
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!(DeadReason::parse("permanent"), Some(DeadReason::Permanent));
    }
}
