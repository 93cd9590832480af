//! The places of one dependency: how many calls are in flight, whose they are, and who waits.
//!
//! Owned by a dependency. One that hangs takes no more than its places with it; one caller no more than
//! its share; background work leaves places to those who wait for an answer. The number of places is
//! fixed, or found from the latency. A call that may enter never waits: whenever a place comes free or the
//! limit rises, those who now may enter do, interactive ones first and each kind in order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::gradient::Gradient;
use super::options::{Concurrency, DependencyOptions};
use super::requester::{Priority, Requester};
use crate::ids::CallerId;

/// What the places of a dependency show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BulkheadSnapshot {
    /// Calls in flight, second requests of slow reads included.
    pub in_flight: usize,
    /// Of them background work.
    pub background: usize,
    /// Calls that may be in flight now.
    pub limit: usize,
    /// Calls that wait for a place.
    pub waiting: usize,
    /// Calls refused since the start because no place came free in time.
    pub refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    max: usize,
    caller_percent: usize,
    background_percent: usize,
    wait: Duration,
}

struct Waiter {
    number: u64,
    requester: Requester,
    grant: oneshot::Sender<Place>,
}

struct State {
    rules: Rules,
    /// None when the limit is fixed.
    gradient: Option<Gradient>,
    in_flight: usize,
    background: usize,
    /// Calls in flight of each caller that has any.
    callers: HashMap<CallerId, usize>,
    waiting: VecDeque<Waiter>,
    /// Counts waiters.
    clock: u64,
    refused: u64,
}

pub(super) struct Bulkhead(Mutex<State>);

/// One call's place; given back when dropped.
pub(super) struct Place {
    bulkhead: Arc<Bulkhead>,
    requester: Requester,
}

impl Bulkhead {
    pub(super) fn new(options: &DependencyOptions) -> Arc<Self> {
        let state = State {
            rules: Rules::of(options),
            gradient: gradient(options),
            in_flight: 0,
            background: 0,
            callers: HashMap::new(),
            waiting: VecDeque::new(),
            clock: 0,
            refused: 0,
        };
        Arc::new(Self(Mutex::new(state)))
    }

    /// A place, now or within the time a call may wait; `None` when none came free.
    pub(super) async fn enter(self: &Arc<Self>, left: Duration) -> Option<Place> {
        let requester = Requester::current();
        let (number, granted, wait) = {
            let mut state = self.state();
            // The usual case sets no timer and knows nobody.
            if state.may_enter(&requester) {
                return Some(self.take(&mut state, requester));
            }
            state.clock += 1;
            let number = state.clock;
            let (grant, granted) = oneshot::channel();
            state.waiting.push_back(Waiter { number, requester, grant });
            (number, granted, state.rules.wait.min(left))
        };
        let _leave = LeaveOnDrop { bulkhead: self, number };
        match tokio::time::timeout(wait, granted).await {
            Ok(Ok(place)) => Some(place),
            _ => {
                self.state().refused += 1;
                None
            }
        }
    }

    /// A place if one is free for an interactive call.
    pub(super) fn enter_now(self: &Arc<Self>) -> Option<Place> {
        let requester = Requester::current();
        let mut state = self.state();
        let may = requester.priority == Priority::Interactive && state.may_enter(&requester);
        may.then(|| self.take(&mut state, requester))
    }

    /// The answer to a request that was sent at `began` tells how long the dependency takes.
    pub(super) fn observe(self: &Arc<Self>, began: Instant) {
        let mut state = self.state();
        let in_flight = state.in_flight;
        let Some(gradient) = &mut state.gradient else { return };
        let before = gradient.limit();
        gradient.observe(began, Instant::now(), in_flight);
        let rose = gradient.limit() > before;
        drop(state);
        if rose {
            self.grant();
        }
    }

    /// Other rules from now on. What is in flight stays, even above the limit, until it ends.
    pub(super) fn reconfigure(self: &Arc<Self>, options: &DependencyOptions) {
        {
            let mut state = self.state();
            state.rules = Rules::of(options);
            state.gradient = match (state.gradient.take(), options.concurrency) {
                (Some(mut gradient), Concurrency::Adaptive) => {
                    gradient.rebound(options.concurrent_least(), options.concurrent_max);
                    Some(gradient)
                }
                _ => gradient(options),
            };
        }
        self.grant();
    }

    pub(super) fn snapshot(&self) -> BulkheadSnapshot {
        let state = self.state();
        BulkheadSnapshot {
            in_flight: state.in_flight,
            background: state.background,
            limit: state.limit(),
            waiting: state.waiting.len(),
            refused: state.refused,
        }
    }

    fn take(self: &Arc<Self>, state: &mut State, requester: Requester) -> Place {
        state.in_flight += 1;
        state.background += usize::from(requester.priority == Priority::Background);
        if let Some(caller) = &requester.caller {
            match state.callers.get_mut(caller) {
                Some(count) => *count += 1,
                None => drop(state.callers.insert(caller.clone(), 1)),
            }
        }
        Place { bulkhead: Arc::clone(self), requester }
    }

    /// Lets in all who may.
    fn grant(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(waiter) = state.next().and_then(|at| state.waiting.remove(at)) else { return };
            let place = self.take(&mut state, waiter.requester);
            drop(state);
            // One who left in this very moment gives the place back.
            drop(waiter.grant.send(place));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn limit(&self) -> usize {
        self.gradient.as_ref().map_or(self.rules.max, Gradient::limit)
    }

    fn may_enter(&self, requester: &Requester) -> bool {
        let limit = self.limit();
        // However small a share is, it is one place.
        let share = |percent: usize| (limit * percent / 100).max(1);
        let held = |caller| self.callers.get(caller).copied().unwrap_or(0);
        let caller_may = match (&requester.caller, self.rules.caller_percent) {
            (Some(caller), percent) if percent < 100 => held(caller) < share(percent),
            _ => true,
        };
        let priority_may = requester.priority == Priority::Interactive
            || self.background < share(self.rules.background_percent);
        self.in_flight < limit && caller_may && priority_may
    }

    /// Where the one who enters next stands.
    fn next(&self) -> Option<usize> {
        if self.in_flight >= self.limit() {
            return None;
        }
        let first = |priority| {
            let mut waiting = self.waiting.iter();
            waiting.position(|waiter| {
                waiter.requester.priority == priority && self.may_enter(&waiter.requester)
            })
        };
        first(Priority::Interactive).or_else(|| first(Priority::Background))
    }
}

impl Rules {
    fn of(options: &DependencyOptions) -> Self {
        Self {
            max: options.concurrent_max,
            caller_percent: options.concurrent_caller_percent as usize,
            background_percent: options.concurrent_background_percent as usize,
            wait: Duration::from_millis(options.wait_ms),
        }
    }
}

fn gradient(options: &DependencyOptions) -> Option<Gradient> {
    let adaptive = options.concurrency == Concurrency::Adaptive;
    let (min, max) = (options.concurrent_least(), options.concurrent_max);
    adaptive.then(|| Gradient::new(min, max, Instant::now()))
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.bulkhead.state();
        state.in_flight -= 1;
        state.background -= usize::from(self.requester.priority == Priority::Background);
        if let Some(caller) = &self.requester.caller
            && let Some(count) = state.callers.get_mut(caller)
        {
            *count -= 1;
            if *count == 0 {
                state.callers.remove(caller);
            }
        }
        let somebody = !state.waiting.is_empty();
        drop(state);
        if somebody {
            self.bulkhead.grant();
        }
    }
}

struct LeaveOnDrop<'a> {
    bulkhead: &'a Arc<Bulkhead>,
    number: u64,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.bulkhead.state().waiting.retain(|waiter| waiter.number != self.number);
    }
}
