//! Places in the cell and who gets the next one: pure bookkeeping behind one lock.
//!
//! Of those who wait, the caller with the fewest runs is next, among equals the one served longest ago,
//! and within a caller first come, first served. Nobody holds more than `per_caller` places or half of
//! the queue. Refuses a full queue, and a wait that by the run times seen so far would outlast the
//! deadline. A place is a [`Slot`]; dropped, however that happens, it goes to whoever is next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::ExecutionError;
use crate::deadline::Deadline;
use crate::ids::CallerId;

/// Weight of the newest run in the average of how long a place is held: 1 in this many.
const AVERAGE_OVER: u32 = 8;
/// The places.
pub(super) struct Slots {
    total: usize,
    per_caller: usize,
    queue_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
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
    grant: oneshot::Sender<Slot>,
}

enum Entry {
    Now(Slot),
    Later(u64, oneshot::Receiver<Slot>),
}

/// A place. Given back when dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    owner: CallerId,
    since: Instant,
}

impl Slots {
    pub(super) fn new(total: usize, per_caller: usize, queue_max: usize) -> Arc<Self> {
        Arc::new(Self { total, per_caller, queue_max, state: Mutex::default() })
    }

    /// Runs that hold a place, and runs that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running, state.queue.len())
    }

    /// Waits for a place until the deadline. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`ExecutionError::Overloaded`] at once, [`ExecutionError::Expired`] at the deadline.
    pub(super) async fn take(
        self: &Arc<Self>,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Slot, ExecutionError> {
        let (number, granted) = match self.try_take(owner, deadline)? {
            Entry::Now(slot) => return Ok(slot),
            Entry::Later(number, granted) => (number, granted),
        };
        let _leave = LeaveOnDrop { slots: self, number };
        match tokio::time::timeout_at(deadline.instant(), granted).await {
            Ok(Ok(slot)) => Ok(slot),
            // The sender lives in the queue until it sends: only the deadline ends the wait.
            Ok(Err(_)) | Err(_) => Err(ExecutionError::Expired),
        }
    }

    fn try_take(
        self: &Arc<Self>,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Entry, ExecutionError> {
        let mut state = self.lock();
        let share = state.callers.get(owner).copied().unwrap_or_default();
        if state.running < self.total && share.running < self.per_caller {
            return Ok(Entry::Now(self.seat(&mut state, owner)));
        }
        let wait = self.expected_wait(&state, share);
        let full = state.queue.len() >= self.queue_max;
        let own_full = share.queued >= self.queue_max.div_ceil(2);
        if full || own_full || wait > deadline.remaining() {
            return Err(ExecutionError::Overloaded { wait });
        }
        let (grant, granted) = oneshot::channel();
        state.clock += 1;
        let number = state.clock;
        state.callers.entry(owner.clone()).or_default().queued += 1;
        state.queue.push_back(Waiter { number, owner: owner.clone(), grant });
        Ok(Entry::Later(number, granted))
    }

    /// By the average of the runs before: the queue ahead over all places, and the caller's own part
    /// of it over the caller's places, whichever is longer.
    fn expected_wait(&self, state: &State, share: Share) -> Duration {
        let turns = |ahead: usize, places: usize| {
            state.held * u32::try_from(ahead).unwrap_or(u32::MAX)
                / u32::try_from(places.max(1)).unwrap_or(u32::MAX)
        };
        let all = turns(state.queue.len() + 1, self.total);
        all.max(turns(share.queued + 1, self.per_caller))
    }

    fn seat(self: &Arc<Self>, state: &mut State, owner: &CallerId) -> Slot {
        state.running += 1;
        state.clock += 1;
        let served = state.clock;
        let share = state.callers.entry(owner.clone()).or_default();
        (share.running, share.served) = (share.running + 1, served);
        Slot { slots: Arc::clone(self), owner: owner.clone(), since: Instant::now() }
    }

    /// Gives free places to those whose turn it is.
    fn grant(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            if state.running >= self.total {
                return;
            }
            let Some(at) = self.next(&state) else { return };
            let Some(waiter) = state.queue.remove(at) else { return };
            leave_queue(&mut state, &waiter.owner);
            let slot = self.seat(&mut state, &waiter.owner);
            drop(state);
            // One who left in this very moment gives the slot back, and the place with it.
            drop(waiter.grant.send(slot));
        }
    }

    /// Where in the queue the next one stands.
    fn next(&self, state: &State) -> Option<usize> {
        let ranked = state.queue.iter().enumerate().filter_map(|(at, waiter)| {
            let share = state.callers.get(&waiter.owner)?;
            (share.running < self.per_caller).then_some((share.running, share.served, at))
        });
        ranked.min().map(|(_, _, at)| at)
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

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.running -= 1;
        if let Some(share) = state.callers.get_mut(&self.owner) {
            share.running -= 1;
        }
        forget_idle(&mut state, &self.owner);
        let (before, now) = (state.held, self.since.elapsed());
        state.held = (before * (AVERAGE_OVER - 1) + now) / AVERAGE_OVER;
        drop(state);
        self.slots.grant();
    }
}

struct LeaveOnDrop<'a> {
    slots: &'a Arc<Slots>,
    number: u64,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.slots.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{caller, soon};

    fn waiting(
        slots: &Arc<Slots>,
        name: &str,
    ) -> tokio::task::JoinHandle<Result<Slot, ExecutionError>> {
        let (slots, owner) = (Arc::clone(slots), caller(name));
        tokio::spawn(async move { slots.take(&owner, soon()).await })
    }

    /// Lets every task that can go on do so.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_place_given_back_goes_to_the_one_who_waited_longest() {
        let slots = Slots::new(1, 1, 8);
        let first = slots.take(&caller("a"), soon()).await.unwrap();
        let second = waiting(&slots, "b");
        settle().await;
        let third = waiting(&slots, "c");
        settle().await;
        assert_eq!(slots.counts(), (1, 2));
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(!third.is_finished());
        drop(second);
        drop(third.await.unwrap().unwrap());
        assert_eq!(slots.counts(), (0, 0));
        assert!(slots.lock().callers.is_empty(), "idle callers are forgotten");
    }

    #[tokio::test]
    async fn one_caller_cannot_keep_the_others_out() {
        let slots = Slots::new(3, 2, 64);
        let a1 = slots.take(&caller("a"), soon()).await.unwrap();
        let _a2 = slots.take(&caller("a"), soon()).await.unwrap();
        let a3: Vec<_> = (0..10).map(|_| waiting(&slots, "a")).collect();
        settle().await;
        assert_eq!(slots.counts(), (2, 10), "the third place stays free for others");
        let b1 = slots.take(&caller("b"), soon()).await.unwrap();
        let b2 = waiting(&slots, "b");
        settle().await;
        // Ten of `a` came first, but `b` has fewer runs.
        drop(b1);
        drop(b2.await.unwrap().unwrap());
        drop(a1);
        settle().await;
        assert_eq!(slots.counts(), (2, 9));
        a3.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_caller_with_a_long_queue_does_not_keep_another_waiting() {
        let slots = Slots::new(1, 8, 100);
        let first = slots.take(&caller("greedy"), soon()).await.unwrap();
        let mut greedy = Vec::new();
        for _ in 0..5 {
            greedy.push(waiting(&slots, "greedy"));
            settle().await;
        }
        let modest = waiting(&slots, "modest");
        settle().await;
        drop(first);
        let slot = modest.await.unwrap().unwrap();
        assert!(greedy.iter().all(|run| !run.is_finished()), "five of the greedy one came first");
        drop(slot);
        drop(greedy.remove(0).await.unwrap().unwrap());
        greedy.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let slots = Slots::new(1, 1, 1);
        let _held = slots.take(&caller("a"), soon()).await.unwrap();
        let _queued = waiting(&slots, "b");
        settle().await;
        let refused = slots.take(&caller("c"), soon()).await;
        assert!(matches!(refused, Err(ExecutionError::Overloaded { .. })));
    }

    #[tokio::test]
    async fn one_caller_cannot_fill_the_queue() {
        let slots = Slots::new(1, 1, 2);
        let _held = slots.take(&caller("a"), soon()).await.unwrap();
        let _queued = waiting(&slots, "a");
        settle().await;
        let refused = slots.take(&caller("a"), soon()).await;
        assert!(matches!(refused, Err(ExecutionError::Overloaded { .. })));
        let other = waiting(&slots, "b");
        settle().await;
        assert!(!other.is_finished());
    }

    #[tokio::test]
    async fn who_leaves_the_queue_frees_its_place_in_it() {
        let slots = Slots::new(1, 1, 1);
        let held = slots.take(&caller("a"), soon()).await.unwrap();
        let queued = waiting(&slots, "b");
        settle().await;
        queued.abort();
        assert!(queued.await.is_err());
        assert_eq!(slots.counts(), (1, 0));
        drop(held);
        assert_eq!(slots.counts(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_passes_in_the_queue_is_told_as_not_begun() {
        let slots = Slots::new(1, 1, 8);
        let _held = slots.take(&caller("a"), soon()).await.unwrap();
        let deadline = Deadline::after(Duration::from_secs(1));
        let refused = slots.take(&caller("b"), deadline).await;
        assert!(matches!(refused, Err(ExecutionError::Expired)));
        assert_eq!(slots.counts(), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_begin_in_time_is_refused_at_once() {
        let slots = Slots::new(1, 1, 64);
        for _ in 0..50 {
            let slot = slots.take(&caller("a"), soon()).await.unwrap();
            tokio::time::advance(Duration::from_secs(4)).await;
            drop(slot);
        }
        let _held = slots.take(&caller("a"), soon()).await.unwrap();
        let _queued = [waiting(&slots, "b"), waiting(&slots, "c")];
        settle().await;
        let began = Instant::now();
        let late = slots.take(&caller("d"), Deadline::after(Duration::from_secs(5))).await;
        assert!(matches!(late, Err(ExecutionError::Overloaded { .. })));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
