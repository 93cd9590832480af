//! Places in the cell and who gets the next one: pure bookkeeping behind one lock.
//!
//! Callers take turns: of those who wait, the one served longest ago is next, and within a caller first
//! come, first served. Nobody holds more than `per_caller` places. Refuses a full queue, and a wait that
//! by the run times seen so far would outlast the deadline.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::ExecutionError;
use crate::deadline::Deadline;
use crate::ids::CallerId;

/// Weight of the newest run in the mean run time.
const NEWEST: f64 = 0.2;

/// The places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Slots {
    state: Arc<Mutex<State>>,
}

struct State {
    total: usize,
    per_caller: usize,
    queue_max: usize,
    running: usize,
    waiting: usize,
    callers: HashMap<CallerId, Turns>,
    /// Callers with somebody waiting, longest unserved first.
    order: VecDeque<CallerId>,
    mean_run: Duration,
}

#[derive(Default)]
struct Turns {
    running: usize,
    queue: VecDeque<oneshot::Sender<Slot>>,
}

/// One place; dropped, it goes to whoever is next.
pub(super) struct Slot {
    slots: Slots,
    owner: CallerId,
    since: Instant,
    /// False once the place was taken back.
    held: bool,
}

impl Slots {
    pub(super) fn new(total: usize, per_caller: usize, queue_max: usize) -> Self {
        let state = State {
            total,
            per_caller,
            queue_max,
            running: 0,
            waiting: 0,
            callers: HashMap::new(),
            order: VecDeque::new(),
            mean_run: Duration::ZERO,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a place until the deadline.
    ///
    /// # Errors
    /// [`ExecutionError::Overloaded`] at once, [`ExecutionError::Expired`] at the deadline.
    pub(super) async fn take(
        &self,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Slot, ExecutionError> {
        let turn = {
            let mut state = self.lock();
            if state.waiting == 0 && state.may_run(owner) {
                return Ok(self.seat(&mut state, owner));
            }
            let wait = state.expected_wait();
            if state.waiting >= state.queue_max || wait > deadline.remaining() {
                return Err(ExecutionError::Overloaded { wait });
            }
            let (give, turn) = oneshot::channel();
            state.enqueue(owner, give);
            // The one ahead may be held up by its own cap only.
            self.hand_out(&mut state);
            turn
        };
        let waited = tokio::time::timeout_at(deadline.instant(), turn).await;
        waited.ok().and_then(Result::ok).ok_or(ExecutionError::Expired)
    }

    fn seat(&self, state: &mut State, owner: &CallerId) -> Slot {
        state.running += 1;
        state.callers.entry(owner.clone()).or_default().running += 1;
        Slot { slots: self.clone(), owner: owner.clone(), since: Instant::now(), held: true }
    }

    /// Gives free places to those whose turn it is; skips who left or is at the cap.
    fn hand_out(&self, state: &mut State) {
        let mut held_back = VecDeque::new();
        while state.running < state.total {
            let Some(owner) = state.order.pop_front() else { break };
            if !state.may_run(&owner) {
                held_back.push_back(owner);
                continue;
            }
            let Some(turns) = state.callers.get_mut(&owner) else { continue };
            let Some(give) = turns.queue.pop_front() else { continue };
            state.waiting -= 1;
            if !turns.queue.is_empty() {
                state.order.push_back(owner.clone());
            }
            if !give.is_closed() {
                let slot = self.seat(state, &owner);
                if let Err(mut returned) = give.send(slot) {
                    // Left in this very moment: taken back here, since a drop would want the lock.
                    returned.held = false;
                    state.vacate(&owner);
                }
            }
        }
        // They waited longest: back to the front, in their order.
        while let Some(owner) = held_back.pop_back() {
            state.order.push_front(owner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_run(&self, owner: &CallerId) -> bool {
        let own = self.callers.get(owner).map_or(0, |turns| turns.running);
        self.running < self.total && own < self.per_caller
    }

    fn enqueue(&mut self, owner: &CallerId, give: oneshot::Sender<Slot>) {
        let turns = self.callers.entry(owner.clone()).or_default();
        if turns.queue.is_empty() {
            self.order.push_back(owner.clone());
        }
        turns.queue.push_back(give);
        self.waiting += 1;
    }

    /// Everybody ahead, `total` at a time, at the mean run time.
    fn expected_wait(&self) -> Duration {
        self.mean_run.mul_f64((self.waiting + 1) as f64 / self.total.max(1) as f64)
    }

    fn vacate(&mut self, owner: &CallerId) {
        self.running -= 1;
        if let Some(turns) = self.callers.get_mut(owner) {
            turns.running -= 1;
            if turns.running == 0 && turns.queue.is_empty() {
                self.callers.remove(owner);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let slots = self.slots.clone();
        let mut state = slots.lock();
        let took = self.since.elapsed();
        state.mean_run = state.mean_run.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST);
        state.vacate(&self.owner);
        slots.hand_out(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn id(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_caller_with_a_long_queue_does_not_keep_another_waiting() {
        let slots = Slots::new(1, 8, 100);
        let (greedy, modest) = (id("greedy"), id("modest"));
        let first = slots.take(&greedy, soon()).await.unwrap();
        let mut queued: Vec<_> = (0..5).map(|_| Box::pin(slots.take(&greedy, soon()))).collect();
        for wait in &mut queued {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let mut other = Box::pin(slots.take(&modest, soon()));
        assert!(other.as_mut().now_or_never().is_none());
        drop(first);
        // The greedy one's second run was first in line; the modest one is next, not sixth.
        let second = queued[0].as_mut().now_or_never().unwrap().unwrap();
        drop(second);
        assert!(other.as_mut().now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn nobody_holds_more_than_the_cap_and_others_still_get_in() {
        let slots = Slots::new(4, 2, 100);
        let greedy = id("greedy");
        let _held = [slots.take(&greedy, soon()).await, slots.take(&greedy, soon()).await];
        let mut third = Box::pin(slots.take(&greedy, soon()));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(slots.take(&id("modest"), soon()).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once() {
        let slots = Slots::new(1, 1, 1);
        let _held = slots.take(&id("a"), soon()).await.unwrap();
        let mut waiting = Box::pin(slots.take(&id("b"), soon()));
        assert!(waiting.as_mut().now_or_never().is_none());
        let refused = slots.take(&id("c"), soon()).now_or_never().unwrap();
        assert!(matches!(refused, Err(ExecutionError::Overloaded { .. })));
    }

    #[tokio::test]
    async fn who_left_the_queue_costs_no_place() {
        let slots = Slots::new(1, 1, 10);
        let held = slots.take(&id("a"), soon()).await.unwrap();
        let mut gone = Box::pin(slots.take(&id("b"), soon()));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut stays = Box::pin(slots.take(&id("c"), soon()));
        assert!(stays.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        let slot = stays.as_mut().now_or_never().unwrap().unwrap();
        drop(slot);
        let state = slots.lock();
        assert_eq!((state.running, state.waiting, state.callers.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_the_deadline() {
        let slots = Slots::new(1, 1, 10);
        let _held = slots.take(&id("a"), soon()).await.unwrap();
        let waited = slots.take(&id("b"), Deadline::after(Duration::from_millis(20))).await;
        assert!(matches!(waited, Err(ExecutionError::Expired)));
    }
}
