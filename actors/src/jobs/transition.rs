//! How a job moves: pure functions from one status to the next.
//!
//! The SQLite store applies them inside a transaction; the scripts of the Redis store do the same in Lua
//! and are tested against them. Refuse: whatever a worker asks with a grip that is no longer its own.
//!
//! ```text
//! queued ─claim─▶ claimed ─begin─▶ running ─finish─▶ completed | failed | forbidden | cancelled
//!    ▲              │                 │ └─ retry, postpone ─▶ queued
//!    └── released or lost ────────────┘ lost: queued when idempotent, else outcome_unknown
//! ```

use super::job::{DeadReason, Job, JobEvent, JobFault, JobSpec, JobStatus, Millis, State};
use super::store::{Begun, CancelOutcome, End, Hold, Recall, Rules};

impl Job {
    /// A new job, queued until `run_at`.
    pub(crate) fn queued(spec: JobSpec, run_at: Millis, rules: &Rules) -> Self {
        let now = spec.created_at;
        let status = JobStatus {
            state: State::Queued,
            attempt: 0,
            grip: 0,
            run_at,
            waits_from: run_at,
            lease_until: None,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            expires_at: None,
            fault: None,
            is_error: false,
            dead: None,
            events: Vec::new(),
            event_count: 0,
        };
        let mut job = Self { spec, status };
        job.note("queued", now, rules);
        job
    }

    /// Whether a worker may take it now; the stores ask by index.
    #[cfg(test)]
    pub(crate) fn is_claimable(&self, now: Millis) -> bool {
        self.status.state == State::Queued && self.status.run_at <= now
    }

    /// A worker takes it.
    pub(crate) fn claim(&mut self, lease_until: Millis) {
        self.status.state = State::Claimed;
        self.status.grip += 1;
        self.status.lease_until = Some(lease_until);
    }

    /// The worker that holds it begins. Saying so twice is the same as once.
    pub(crate) fn begin(&mut self, grip: u64, now: Millis, rules: &Rules) -> Begun {
        let status = &mut self.status;
        match status.state {
            _ if status.grip != grip => Begun::Lost,
            State::Running => Begun::Yes { attempt: status.attempt },
            State::Claimed => {
                status.state = State::Running;
                status.attempt += 1;
                status.started_at = Some(now);
                let attempt = status.attempt;
                self.note("running", now, rules);
                Begun::Yes { attempt }
            }
            _ => Begun::Lost,
        }
    }

    /// The worker that holds it lives.
    pub(crate) fn extend(&mut self, grip: u64, lease_until: Millis) -> Hold {
        let status = &mut self.status;
        let held = matches!(status.state, State::Claimed | State::Running) && status.grip == grip;
        match held {
            false => Hold::Lost,
            true => {
                status.lease_until = Some(lease_until);
                if status.cancel_requested { Hold::CancelRequested } else { Hold::Held }
            }
        }
    }

    /// The worker that holds it is done with it. True when it is, also when it was before.
    pub(crate) fn finish(&mut self, grip: u64, end: &End, now: Millis, rules: &Rules) -> bool {
        if self.status.grip != grip {
            return false;
        }
        if !matches!(self.status.state, State::Claimed | State::Running) {
            return true;
        }
        self.status.lease_until = None;
        match end {
            End::Completed { is_error } => {
                self.status.is_error = *is_error;
                self.status.fault = None;
                self.over(State::Completed, None, now, rules);
            }
            End::Failed { fault, dead } => {
                self.status.fault = Some(fault.clone());
                self.over(State::Failed, *dead, now, rules);
            }
            End::Forbidden { fault } => {
                self.status.fault = Some(fault.clone());
                self.over(State::Forbidden, None, now, rules);
            }
            End::Unknown { fault } => {
                self.status.fault = Some(fault.clone());
                self.over(State::OutcomeUnknown, Some(DeadReason::OutcomeUnknown), now, rules);
            }
            End::Cancelled => self.over(State::Cancelled, None, now, rules),
            End::Retry { fault, at } => {
                self.status.fault = Some(fault.clone());
                self.again("retry", *at, now, rules);
            }
            End::Postponed { fault, at } => {
                self.status.fault = Some(fault.clone());
                self.status.attempt = self.status.attempt.saturating_sub(1);
                self.again("postponed", *at, now, rules);
            }
            End::Released => self.again("returned", now, now, rules),
        }
        true
    }

    /// Somebody wants it to end.
    pub(crate) fn cancel(&mut self, now: Millis, rules: &Rules) -> CancelOutcome {
        match self.status.state {
            State::Queued | State::Claimed => {
                self.status.grip += 1;
                self.status.lease_until = None;
                self.over(State::Cancelled, None, now, rules);
                CancelOutcome::Cancelled
            }
            State::Running => {
                if !self.status.cancel_requested {
                    self.status.cancel_requested = true;
                    self.note("cancel_requested", now, rules);
                }
                CancelOutcome::Requested
            }
            state => CancelOutcome::Over(state),
        }
    }

    /// Whether its worker's lease has run out.
    pub(crate) fn is_lost(&self, now: Millis) -> bool {
        matches!(self.status.state, State::Claimed | State::Running)
            && self.status.lease_until.is_some_and(|until| until <= now)
    }

    /// Its worker died. What had not begun goes back; what may be repeated is, while attempts last; all
    /// else ends here, with the truth.
    pub(crate) fn lose(&mut self, now: Millis, rules: &Rules) {
        let begun = self.status.state == State::Running;
        self.status.grip += 1;
        self.status.lease_until = None;
        if !begun {
            self.again("returned", now, now, rules);
        } else if !self.spec.idempotent {
            self.status.fault = Some(JobFault::new("outcome_unknown", LOST));
            self.over(State::OutcomeUnknown, Some(DeadReason::OutcomeUnknown), now, rules);
        } else if self.status.cancel_requested {
            self.over(State::Cancelled, None, now, rules);
        } else if self.status.attempt >= self.spec.max_attempts {
            self.status.fault = Some(JobFault::new("crashed", LOST));
            self.over(State::Failed, Some(DeadReason::AttemptsExhausted), now, rules);
        } else {
            self.status.fault = Some(JobFault::new("crashed", LOST));
            self.again("retry", now + rules.retry_lost_ms, now, rules);
        }
    }

    /// The wall clock was set back: what was timed by the clock before waits no longer than it would have.
    /// Said again, by another node, it may wait less, never longer. A time that the caller chose stays.
    pub(crate) fn recall(&mut self, recall: &Recall) {
        let Recall { before, now, pause_max_ms, lease_until } = *recall;
        let status = &mut self.status;
        if status.state == State::Queued && status.run_at > now {
            if status.run_at <= before {
                status.run_at = status.run_at.min(now);
            } else if status.event_count > 1 {
                status.run_at = status.run_at.min(now + pause_max_ms);
            }
            if status.waits_from <= before {
                status.waits_from = status.waits_from.min(now);
            }
        }
        status.lease_until = status.lease_until.map(|until| until.min(lease_until));
    }

    /// An operator has it run again from the start; false when it is no dead letter.
    pub(crate) fn replay(&mut self, now: Millis, rules: &Rules) -> bool {
        if self.status.dead.is_none() {
            return false;
        }
        let status = &mut self.status;
        (status.dead, status.fault, status.is_error) = (None, None, false);
        (status.started_at, status.finished_at, status.expires_at) = (None, None, None);
        (status.attempt, status.cancel_requested, status.waits_from) = (0, false, now);
        status.grip += 1;
        self.again("replayed", now, now, rules);
        true
    }

    /// An operator drops it from the dead letters; false when it is none.
    pub(crate) fn discard(&mut self, now: Millis) -> bool {
        if self.status.dead.take().is_none() {
            return false;
        }
        self.status.expires_at = Some(now + self.spec.result_ttl_ms);
        true
    }

    fn over(&mut self, state: State, dead: Option<DeadReason>, now: Millis, rules: &Rules) {
        let keep = if dead.is_some() { rules.dead_ttl_ms } else { self.spec.result_ttl_ms };
        self.status.state = state;
        self.status.dead = dead;
        self.status.finished_at = Some(now);
        self.status.expires_at = Some(now + keep);
        self.note(state.as_str(), now, rules);
    }

    fn again(&mut self, kind: &str, run_at: Millis, now: Millis, rules: &Rules) {
        self.status.state = State::Queued;
        self.status.run_at = run_at;
        self.note(kind, now, rules);
    }

    fn note(&mut self, kind: &str, at: Millis, rules: &Rules) {
        let status = &mut self.status;
        status.event_count += 1;
        if status.events.len() >= rules.events_max.max(1) {
            status.events.remove(0);
        }
        let (id, attempt) = (status.event_count, status.attempt);
        status.events.push(JobEvent { id, at, kind: kind.to_owned(), attempt });
    }
}

/// Said of jobs whose worker died.
pub(crate) const LOST: &str =
    "the worker died while the job ran; whether it had effects is unknown";
