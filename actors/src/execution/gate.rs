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
        let share = state.callers.get(owner).copied().unwrap_or_default();
        if state.running < self.bounds.places && self.may(&state, share, priority) {
            return Ok(Entry::Now(self.take(&mut state, owner, priority)));
        }
        let wait = self.expected_wait(&state, share, priority);
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
        let (grant, granted) = oneshot::channel();
        state.clock += 1;
        let number = state.clock;
        state.callers.entry(owner.clone()).or_default().queued += 1;
        let queued_at = Instant::now();
        state.queue.push_back(Waiter { number, owner: owner.clone(), priority, queued_at, grant });
        Ok(Entry::Later(number, granted))
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
mod tests {
    use super::*;
    use crate::testing::{caller, soon};

    fn gate(places: usize, places_per_caller: usize, queue: usize) -> Arc<Gate> {
        let (queue_per_caller, background_percent) = (queue, 75);
        Gate::new(Bounds { places, places_per_caller, queue, queue_per_caller, background_percent })
    }

    fn waiting(
        gate: &Arc<Gate>,
        name: &str,
    ) -> tokio::task::JoinHandle<Result<Ticket, ExecutionError>> {
        let (gate, owner) = (Arc::clone(gate), caller(name));
        tokio::spawn(async move { gate.enter(&owner, soon()).await })
    }

    /// Lets every task that can go on do so.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_place_given_back_goes_to_the_one_who_waited_longest() {
        let gate = gate(1, 1, 8);
        let first = gate.enter(&caller("a"), soon()).await.unwrap();
        let second = waiting(&gate, "b");
        settle().await;
        let third = waiting(&gate, "c");
        settle().await;
        assert_eq!(gate.counts(), (1, 2));
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(!third.is_finished());
        drop(second);
        drop(third.await.unwrap().unwrap());
        assert_eq!(gate.counts(), (0, 0));
        assert!(gate.lock().callers.is_empty(), "idle callers are forgotten");
    }

    #[tokio::test]
    async fn one_caller_cannot_keep_the_others_out() {
        let gate = gate(3, 2, 64);
        let a1 = gate.enter(&caller("a"), soon()).await.unwrap();
        let _a2 = gate.enter(&caller("a"), soon()).await.unwrap();
        let a3: Vec<_> = (0..10).map(|_| waiting(&gate, "a")).collect();
        settle().await;
        assert_eq!(gate.counts(), (2, 10), "the third place stays free for others");
        let b1 = gate.enter(&caller("b"), soon()).await.unwrap();
        let b2 = waiting(&gate, "b");
        settle().await;
        // Ten of `a` came first, but `b` has fewer runs.
        drop(b1);
        drop(b2.await.unwrap().unwrap());
        drop(a1);
        settle().await;
        assert_eq!(gate.counts(), (2, 9));
        a3.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_caller_with_a_long_queue_does_not_keep_another_waiting() {
        let gate = gate(1, 1, 64);
        let first = gate.enter(&caller("greedy"), soon()).await.unwrap();
        let mut greedy = Vec::new();
        for _ in 0..5 {
            greedy.push(waiting(&gate, "greedy"));
            settle().await;
        }
        let modest = waiting(&gate, "modest");
        settle().await;
        drop(first);
        let ticket = modest.await.unwrap().unwrap();
        assert!(greedy.iter().all(|run| !run.is_finished()), "five of the greedy one came first");
        drop(ticket);
        drop(greedy.remove(0).await.unwrap().unwrap());
        greedy.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_leave_places_go_last_and_are_not_forgotten() {
        let gate = gate(4, 4, 8);
        let job = |name: &'static str| {
            let (gate, owner) = (Arc::clone(&gate), caller(name));
            let enter = async move { gate.enter(&owner, soon()).await };
            tokio::spawn(Requester::background().scope(enter))
        };
        let mut running = Vec::new();
        for name in ["a", "b", "c"] {
            running.push(job(name).await.unwrap().unwrap());
        }
        let early = job("d");
        settle().await;
        assert_eq!(gate.counts(), (3, 1), "the fourth place stays free for those who wait");
        let person = gate.enter(&caller("p"), soon()).await.unwrap();
        let next = waiting(&gate, "q");
        settle().await;
        drop(running.pop());
        let next = next.await.unwrap().unwrap();
        assert!(!early.is_finished(), "it came first and goes last");
        tokio::time::advance(BACKGROUND_PATIENCE).await;
        let late = waiting(&gate, "r");
        settle().await;
        drop(next);
        drop(early.await.unwrap().unwrap());
        drop(late.await.unwrap().unwrap());
        drop((running, person));
        assert_eq!(gate.counts(), (0, 0));
        assert_eq!(gate.lock().background, 0);
    }

    #[tokio::test]
    async fn jobs_cannot_fill_the_queue() {
        let gate = gate(1, 1, 4);
        let _held = gate.enter(&caller("a"), soon()).await.unwrap();
        let jobs: Vec<_> = ["b", "c", "d", "e"]
            .map(|name| {
                let (gate, owner) = (Arc::clone(&gate), caller(name));
                let enter = async move { gate.enter(&owner, soon()).await };
                tokio::spawn(Requester::background().scope(enter))
            })
            .into();
        settle().await;
        assert_eq!(gate.counts(), (1, 3), "three quarters of four");
        let person = waiting(&gate, "p");
        settle().await;
        assert_eq!(gate.counts(), (1, 4));
        person.abort();
        jobs.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let gate = gate(1, 1, 1);
        let _held = gate.enter(&caller("a"), soon()).await.unwrap();
        let _queued = waiting(&gate, "b");
        settle().await;
        let refused = gate.enter(&caller("c"), soon()).await;
        assert!(matches!(refused, Err(ExecutionError::QueueFull { .. })));
    }

    #[tokio::test]
    async fn one_caller_cannot_fill_the_queue() {
        let bounds = Bounds {
            places: 1,
            places_per_caller: 1,
            queue: 8,
            queue_per_caller: 1,
            background_percent: 75,
        };
        let gate = Gate::new(bounds);
        let _held = gate.enter(&caller("a"), soon()).await.unwrap();
        let _queued = waiting(&gate, "a");
        settle().await;
        let refused = gate.enter(&caller("a"), soon()).await;
        assert!(matches!(refused, Err(ExecutionError::CallerQueueFull { waiting: 1 })));
        let other = waiting(&gate, "b");
        settle().await;
        assert!(!other.is_finished());
    }

    #[tokio::test]
    async fn who_leaves_the_queue_frees_its_place_in_it() {
        let gate = gate(1, 1, 1);
        let held = gate.enter(&caller("a"), soon()).await.unwrap();
        let queued = waiting(&gate, "b");
        settle().await;
        queued.abort();
        assert!(queued.await.is_err());
        assert_eq!(gate.counts(), (1, 0));
        drop(held);
        assert_eq!(gate.counts(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_passes_in_the_queue_is_told_as_not_begun() {
        let gate = gate(1, 1, 8);
        let _held = gate.enter(&caller("a"), soon()).await.unwrap();
        let deadline = Deadline::after(Duration::from_secs(1));
        let refused = gate.enter(&caller("b"), deadline).await;
        assert!(matches!(refused, Err(ExecutionError::NotBegun)));
        assert_eq!(gate.counts(), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_begin_in_time_is_refused_at_once() {
        let gate = gate(1, 1, 64);
        for _ in 0..50 {
            let ticket = gate.enter(&caller("a"), soon()).await.unwrap();
            tokio::time::advance(Duration::from_secs(4)).await;
            drop(ticket);
        }
        let _held = gate.enter(&caller("a"), soon()).await.unwrap();
        let _queued = [waiting(&gate, "b"), waiting(&gate, "c")];
        settle().await;
        let began = Instant::now();
        let late = gate.enter(&caller("d"), Deadline::after(Duration::from_secs(5))).await;
        assert!(matches!(late, Err(ExecutionError::TooLate { .. })));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
