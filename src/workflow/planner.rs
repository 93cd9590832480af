//! What is to be done next: a pure function of the definition, what happened, and the time.
//!
//! Forward while all is well: every step whose needs are settled, as many at once as the definition allows.
//! After a failure, or when time is over: nothing new begins; what runs is waited for; then compensations in
//! reverse order of completion, one by one, then `on_failure`, one by one.

use std::collections::BTreeSet;

use ultimate_mcp_actors::jobs::Millis;

use super::definition::{Definition, Phase, Step, TaskId};
use super::journal::{Outcome, Progress, Status};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Record that this step's condition does not hold.
    Skip(TaskId),
    /// Make an attempt.
    Run {
        /// Of what.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// It began before and its end was never written: find out, under its key, what became of it.
        in_doubt: bool,
    },
    /// Record that time is over.
    TimeOut,
    /// Record how it ended; nothing follows.
    Close(Outcome),
    /// Look again at this time, or when something ends.
    Wait(Option<Millis>),
}

/// What the planner looks at.
pub struct Look<'a> {
    /// The workflow.
    pub definition: &'a Definition,
    /// What happened.
    pub progress: &'a Progress,
    /// Attempts that run in this process.
    pub in_hand: &'a BTreeSet<TaskId>,
    /// The time.
    pub now: Millis,
    /// When time is over.
    pub deadline: Millis,
}

/// What is to be done now. `holds` says whether a step's `if` holds; asked once its needs are settled.
pub fn moves(look: &Look<'_>, holds: impl Fn(&Step) -> bool) -> Vec<Move> {
    match look.progress.is_failing() {
        false => look.forward(holds),
        true => look.backward(),
    }
}

impl Look<'_> {
    fn forward(&self, holds: impl Fn(&Step) -> bool) -> Vec<Move> {
        let step_id = |step: &Step| TaskId::new(Phase::Step, &step.id);
        let steps = &self.definition.steps;
        if steps.iter().all(|step| self.progress.status(&step_id(step)).is_settled()) {
            return vec![Move::Close(Outcome::Completed)];
        }
        if self.now >= self.deadline {
            return vec![Move::TimeOut];
        }
        let mut free = self.definition.parallel().saturating_sub(self.in_hand.len());
        let (mut moves, mut wake) = (Vec::new(), self.deadline);
        for step in steps {
            let id = step_id(step);
            if self.progress.status(&id) == Status::Pending {
                let ready = step
                    .needs
                    .iter()
                    .all(|need| self.progress.status(&TaskId::new(Phase::Step, need)).is_settled());
                if !ready {
                    continue;
                }
                if !holds(step) {
                    moves.push(Move::Skip(id));
                    continue;
                }
            }
            match self.attempt(id) {
                Some(Move::Wait(Some(until))) => wake = wake.min(until),
                Some(run @ Move::Run { .. }) if free > 0 => {
                    free -= 1;
                    moves.push(run);
                }
                _ => {}
            }
        }
        moves.push(Move::Wait(Some(wake)));
        moves
    }

    fn backward(&self) -> Vec<Move> {
        if !self.in_hand.is_empty() {
            return vec![Move::Wait(None)];
        }
        // Whether a step that was cut off is to be compensated is known only once its fate is.
        let doubtful = self.definition.steps.iter().map(|step| TaskId::new(Phase::Step, &step.id));
        let doubtful = doubtful.filter(|id| self.progress.status(id) == Status::Running);
        let mut moves: Vec<Move> = doubtful.filter_map(|id| self.attempt(id)).collect();
        moves.truncate(self.definition.parallel());
        if !moves.is_empty() {
            moves.push(Move::Wait(None));
            return moves;
        }
        let undo = self.progress.completed.iter().rev();
        let undo =
            undo.filter(|id| self.definition.step(id).is_some_and(|s| s.compensate.is_some()));
        let undo = undo.map(|id| TaskId::new(Phase::Compensate, id));
        let last = self.definition.on_failure.iter().map(|c| TaskId::new(Phase::OnFailure, &c.id));
        let next = undo.chain(last).find(|id| !self.progress.status(id).is_settled());
        match next.map(|id| self.attempt(id)) {
            Some(Some(wait @ Move::Wait(_))) => vec![wait],
            Some(Some(run)) => vec![run, Move::Wait(None)],
            Some(None) => vec![Move::Wait(None)],
            None if self.progress.failed.is_some() => vec![Move::Close(Outcome::Failed)],
            None => vec![Move::Close(Outcome::TimedOut)],
        }
    }

    /// The next attempt of a call, or when it may be made.
    fn attempt(&self, task: TaskId) -> Option<Move> {
        if self.in_hand.contains(&task) {
            return None;
        }
        let (status, attempts, again_at) = match self.progress.task(&task) {
            Some(known) => (known.status, known.attempts, known.again_at),
            None => (Status::Pending, 0, 0),
        };
        match status {
            Status::Pending => Some(Move::Run { task, attempt: 1, in_doubt: false }),
            Status::Running => Some(Move::Run { task, attempt: attempts, in_doubt: true }),
            Status::Waiting if again_at <= self.now => {
                Some(Move::Run { task, attempt: attempts + 1, in_doubt: false })
            }
            Status::Waiting => Some(Move::Wait(Some(again_at))),
            Status::Completed | Status::Failed | Status::Skipped => None,
        }
    }
}
