//! Who may run now and who waits: places, a bounded queue, fairness between callers, jobs last.
//!
//! Owns: the count of runs and the queue. Called by the actor for each run. Refuses at once what the
//! queue cannot hold and what could not begin before its deadline. A place is a [`Ticket`]; dropping
//! it, however that happens, gives the place to the next in turn.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::ExecutionError;
use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::resilience::{Priority, Requester};

/// Weight of the newest run in the average of how long a place is held: 1 in this many.
const AVERAGE_OVER: u32 = 8;
/// Shortest time after which a refused caller is asked to come back.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// A background run that waited this long goes like an interactive one: it goes last, not never.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(10);

/// Bounds of the gate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) places: usize,
    pub(super) places_per_caller: usize,
    pub(super) queue: usize,
    pub(super) queue_per_caller: usize,
    /// Of places and queue, what background runs may hold; at least one.
    pub(super) background_percent: usize,
}

impl Bounds {
    fn background(&self, of: usize) -> usize {
        (of * self.background_percent / 100).max(1)
    }
}

pub(super) struct Gate {
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Of them background runs.
    background: usize,
    /// Everybody who runs or waits; the idle are forgotten.
    callers: HashMap<CallerId, Share>,
    queue: VecDeque<Waiter>,
    /// Counts waiters and servings.
    clock: u64,
    /// How long a place is held, on average.
    held: Duration,
}

#[derive(Default, Clone, Copy)]
struct Share {
    running: usize,
    queued: usize,
    /// When a place was given last; 0 = not since it was idle.
    served: u64,
}

struct Waiter {
    number: u64,
    owner: CallerId,
    priority: Priority,
    queued_at: Instant,
    grant: oneshot::Sender<Ticket>,
}

enum Entry {
    Now(Ticket),
    Later(u64, oneshot::Receiver<Ticket>),
}

/// A place. Given back when dropped.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    owner: CallerId,
    priority: Priority,
    since: Instant,
}

impl Gate {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default() })
    }

    /// Runs that hold a place, and runs that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running, state.queue.len())
    }

    /// Waits for a place; the task's [`Requester`] says how urgently. Dropping the future leaves the queue.
    pub(super) async fn enter(
        self: &Arc<Self>,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Ticket, ExecutionError> {
        let (number, granted) = match self.try_enter(owner, deadline)? {
            Entry::Now(ticket) => return Ok(ticket),
            Entry::Later(number, granted) => (number, granted),
        };
        let _leave = LeaveOnDrop { gate: self, number };
        match tokio::time::timeout_at(deadline.instant(), granted).await {
            Ok(Ok(ticket)) => Ok(ticket),
            // The sender lives in the queue until it sends: only the deadline ends the wait.
            Ok(Err(_)) | Err(_) => Err(ExecutionError::NotBegun),
        }
    }

    fn try_enter(
        self: &Arc<Self>,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Entry, ExecutionError> {
        let priority = Requester::current().priority;
        let mut state = self.lock();
        if !self.must_wait(&state, owner, priority, deadline)? {
            return Ok(Entry::Now(self.take(&mut state, owner, priority)));
        }
        let (grant, granted) = oneshot::channel();
        state.clock += 1;
        let number = state.clock;
        state.callers.entry(owner.clone()).or_default().queued += 1;
        let queued_at = Instant::now();
        state.queue.push_back(Waiter { number, owner: owner.clone(), priority, queued_at, grant });
        Ok(Entry::Later(number, granted))
    }

    /// Whether a run would be let in, or have to wait, as it looks now.
    ///
    /// # Errors
    /// What [`Gate::enter`] would say.
    pub(super) fn room(&self, owner: &CallerId, deadline: Deadline) -> Result<(), ExecutionError> {
        let priority = Requester::current().priority;
        self.must_wait(&self.lock(), owner, priority, deadline).map(drop)
    }

    fn must_wait(
        &self,
        state: &State,
        owner: &CallerId,
        priority: Priority,
        deadline: Deadline,
    ) -> Result<bool, ExecutionError> {
        let share = state.callers.get(owner).copied().unwrap_or_default();
        if state.running < self.bounds.places && self.may(state, share, priority) {
            return Ok(false);
        }
        let wait = self.expected_wait(state, share, priority);
        let retry_after = wait.max(RETRY_MIN);
        let full = match priority {
            Priority::Interactive => false,
            Priority::Background => {
                state.waiting(priority) >= self.bounds.background(self.bounds.queue)
            }
        };
        if full || state.queue.len() >= self.bounds.queue {
            return Err(ExecutionError::QueueFull { retry_after });
        }
        if share.queued >= self.bounds.queue_per_caller {
            return Err(ExecutionError::CallerQueueFull { waiting: share.queued });
        }
        if wait > deadline.remaining() {
            return Err(ExecutionError::TooLate { retry_after });
        }
        Ok(true)
    }

    /// By the average of the runs before: the queue ahead over all places, and the caller's own part
    /// of it over the caller's places, whichever is longer.
    fn expected_wait(&self, state: &State, share: Share, priority: Priority) -> Duration {
        let turns = |ahead: usize, places: usize| {
            state.held * u32::try_from(ahead).unwrap_or(u32::MAX)
                / u32::try_from(places.max(1)).unwrap_or(u32::MAX)
        };
        let ahead = match priority {
            Priority::Interactive => state.waiting(priority),
            Priority::Background => state.queue.len(),
        };
        let all = turns(ahead, self.bounds.places);
        all.max(turns(share.queued, self.bounds.places_per_caller))
    }

    /// Whether a caller's share and the kind of run allow one more.
    fn may(&self, state: &State, share: Share, priority: Priority) -> bool {
        let background = self.bounds.background(self.bounds.places);
        share.running < self.bounds.places_per_caller
            && (priority == Priority::Interactive || state.background < background)
    }

    fn take(self: &Arc<Self>, state: &mut State, owner: &CallerId, priority: Priority) -> Ticket {
        state.running += 1;
        state.background += usize::from(priority == Priority::Background);
        state.clock += 1;
        let served = state.clock;
        let share = state.callers.entry(owner.clone()).or_default();
        (share.running, share.served) = (share.running + 1, served);
        Ticket { gate: Arc::clone(self), owner: owner.clone(), priority, since: Instant::now() }
    }

    /// Gives free places to those whose turn it is.
    fn grant(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            if state.running >= self.bounds.places {
                return;
            }
            let Some(at) = self.next(&state) else { return };
            let Some(waiter) = state.queue.remove(at) else { return };
            leave_queue(&mut state, &waiter.owner);
            let ticket = self.take(&mut state, &waiter.owner, waiter.priority);
            drop(state);
            // One who left in this very moment gives the ticket back, and the place with it.
            drop(waiter.grant.send(ticket));
        }
    }

    /// Where in the queue the next one stands: interactive runs first; of the callers below their bound
    /// the one with the fewest runs, among equals the one served longest ago, and of its runs the oldest.
    fn next(&self, state: &State) -> Option<usize> {
        let ranked = state.queue.iter().enumerate().filter_map(|(at, waiter)| {
            let share = state.callers.get(&waiter.owner)?;
            let later = waiter.priority == Priority::Background
                && waiter.queued_at.elapsed() < BACKGROUND_PATIENCE;
            let may = self.may(state, *share, waiter.priority);
            may.then_some((later, share.running, share.served, at))
        });
        ranked.min().map(|(.., at)| at)
    }

    fn leave(self: &Arc<Self>, number: u64) {
        let mut state = self.lock();
        let found = state.queue.iter().position(|waiter| waiter.number == number);
        if let Some(waiter) = found.and_then(|at| state.queue.remove(at)) {
            leave_queue(&mut state, &waiter.owner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting(&self, priority: Priority) -> usize {
        self.queue.iter().filter(|waiter| waiter.priority == priority).count()
    }
}

fn leave_queue(state: &mut State, owner: &CallerId) {
    if let Some(share) = state.callers.get_mut(owner) {
        share.queued -= 1;
    }
    forget_idle(state, owner);
}

fn forget_idle(state: &mut State, owner: &CallerId) {
    if state.callers.get(owner).is_some_and(|share| share.running + share.queued == 0) {
        state.callers.remove(owner);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.running -= 1;
        state.background -= usize::from(self.priority == Priority::Background);
        if let Some(share) = state.callers.get_mut(&self.owner) {
            share.running -= 1;
        }
        forget_idle(&mut state, &self.owner);
        let (before, now) = (state.held, self.since.elapsed());
        state.held = (before * (AVERAGE_OVER - 1) + now) / AVERAGE_OVER;
        drop(state);
        self.gate.grant();
    }
}

struct LeaveOnDrop<'a> {
    gate: &'a Arc<Gate>,
    number: u64,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.gate.leave(self.number);
    }
}

#[cfg(test)]
mod tests;
