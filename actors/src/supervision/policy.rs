//! The policy: what happens when a child goes down. Pure: no clock, no actor, no thread.
//!
//! Owns: the restart history and the delay schedules. Called by: the supervisor's actor, with the
//! time as an argument. Refuses: more restarts in a window than the options allow.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::options::PolicyOptions;
use crate::resilience::schedule::Schedule;

/// Who is restarted when one child goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Only that child.
    #[default]
    OneForOne,
    /// Every child of the supervisor.
    OneForAll,
    /// That child and those started after it.
    RestForOne,
}

/// Whether a child comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a failure, not after it stopped by itself.
    Transient,
    /// Never.
    Temporary,
}

/// Why a child went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// It stopped by itself.
    Stopped,
    /// It panicked.
    Panicked,
    /// It blocked its thread too long.
    Stalled,
    /// Its thread went away under it.
    Vanished,
    /// It is a supervisor and used up its own restarts.
    Escalated,
}

/// Identifies a child inside its supervisor; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(u64);

impl From<u64> for ChildId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// What the supervisor has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Restart this child when the delay has passed.
    Restart {
        /// Which child.
        id: ChildId,
        /// How long to wait first.
        delay: Duration,
    },
    /// This child stays down, as its restart type says.
    Stop {
        /// Which child.
        id: ChildId,
    },
    /// This child used up the restarts and the engine can serve without it: it stays down.
    GiveUp {
        /// Which child.
        id: ChildId,
    },
    /// A critical child used up the restarts: the whole supervisor gives up, its parent decides.
    Escalate,
}

struct Entry {
    id: ChildId,
    restart: Restart,
    critical: bool,
    schedule: Schedule,
    last_down: Option<Instant>,
}

/// Restart decisions of one supervisor.
pub struct Policy {
    options: PolicyOptions,
    /// In start order.
    entries: Vec<Entry>,
    /// The restarts inside the window, oldest first; at most `max_restarts` of them.
    history: VecDeque<(Instant, ChildId)>,
}

impl Policy {
    /// No children yet. The options are taken as valid.
    pub fn new(options: PolicyOptions) -> Self {
        Self { options, entries: Vec::new(), history: VecDeque::new() }
    }

    /// The options in force.
    pub fn options(&self) -> &PolicyOptions {
        &self.options
    }

    /// Adds a child after those already there.
    pub fn add(&mut self, id: ChildId, restart: Restart, critical: bool) {
        let schedule = Schedule::new(self.options.schedule());
        self.entries.push(Entry { id, restart, critical, schedule, last_down: None });
    }

    /// Forgets a child and its restarts.
    pub fn remove(&mut self, id: ChildId) {
        self.entries.retain(|entry| entry.id != id);
        self.history.retain(|(_, child)| *child != id);
    }

    /// Replaces the options. Delays start over; restarts already counted still count.
    pub fn reconfigure(&mut self, options: PolicyOptions) {
        self.options = options;
        for entry in &mut self.entries {
            entry.schedule = Schedule::new(options.schedule());
        }
    }

    /// Forgets the restarts: the supervisor itself was restarted.
    pub fn forget(&mut self) {
        self.history.clear();
        for entry in &mut self.entries {
            entry.schedule.reset();
            entry.last_down = None;
        }
    }

    /// Decides what follows from `id` going down at `now`. A child that is not known needs nothing.
    pub fn on_down(&mut self, id: ChildId, down: Down, now: Instant) -> Vec<Action> {
        let Some(position) = self.entries.iter().position(|entry| entry.id == id) else {
            return Vec::new();
        };
        let comes_back = match self.entries[position].restart {
            Restart::Permanent => true,
            Restart::Transient => down != Down::Stopped,
            Restart::Temporary => false,
        };
        if !comes_back {
            return vec![Action::Stop { id }];
        }
        if !self.admit_restart(id, now) {
            return vec![self.exhausted(position)];
        }
        let delay = self.delay(position, now);
        let range = match self.options.strategy {
            Strategy::OneForOne => position..position + 1,
            Strategy::OneForAll => 0..self.entries.len(),
            Strategy::RestForOne => position..self.entries.len(),
        };
        self.entries[range]
            .iter()
            .map(|entry| match entry.restart {
                // A temporary child never comes back, not even in company.
                Restart::Temporary => Action::Stop { id: entry.id },
                _ => Action::Restart { id: entry.id, delay },
            })
            .collect()
    }

    /// Counts one restart, unless the window is full.
    fn admit_restart(&mut self, id: ChildId, now: Instant) -> bool {
        let window = self.options.window();
        while self.history.front().is_some_and(|(at, _)| now.duration_since(*at) > window) {
            self.history.pop_front();
        }
        if self.history.len() >= self.options.max_restarts as usize {
            return false;
        }
        self.history.push_back((now, id));
        true
    }

    fn exhausted(&mut self, position: usize) -> Action {
        let Entry { id, critical, .. } = self.entries[position];
        if critical {
            return Action::Escalate;
        }
        // What it used up must not bring down the critical ones after it.
        self.history.retain(|(_, child)| *child != id);
        Action::GiveUp { id }
    }

    fn delay(&mut self, position: usize, now: Instant) -> Duration {
        let reset_after = self.options.reset_after();
        let entry = &mut self.entries[position];
        if entry.last_down.is_some_and(|at| now.duration_since(at) > reset_after) {
            entry.schedule.reset();
        }
        entry.last_down = Some(now);
        entry.schedule.next_delay()
    }
}
