//! One dependency behind everything that protects its callers from it, and it from them.
//!
//! Called by the clients of Neo4j, Redis and whatever else lives outside the process. Order, outer to
//! inner: deadline → bulkhead → retry within the budget → breaker → attempt timeout → operation.
//! Refuses without an attempt when the breaker is open or no place comes free.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;

use super::breaker::{Breaker, BreakerObserver, BreakerSnapshot, BreakerState, Verdict};
use super::budget::Budget;
use super::bulkhead::Bulkhead;
use super::class::{CallError, Class, Failure};
use super::options::DependencyOptions;
use super::schedule::Schedule;
use crate::deadline::Deadline;

/// Probes in one go after the dependency came back; a breaker that wants more gets them from its callers.
const PROBES_MAX: usize = 10;

struct Inner {
    name: Arc<str>,
    /// Replaced while running; places in the bulkhead are fixed.
    options: ArcSwap<DependencyOptions>,
    breaker: Breaker,
    budget: ArcSwap<Budget>,
    bulkhead: Bulkhead,
}

/// A guarded dependency. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Dependency(Arc<Inner>);

/// What a dependency shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DependencySnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Calls in flight.
    pub in_flight: usize,
    /// Its breaker.
    pub breaker: BreakerSnapshot,
}

/// How one attempt ended, when it did not succeed.
enum Attempt<E> {
    Failed(E),
    /// Its own time was up; what it did is unknown.
    TimedOut,
}

impl Dependency {
    /// A dependency whose breaker is closed. The options are taken as valid; their owner checks them.
    pub fn new(name: &str, options: DependencyOptions, observer: BreakerObserver) -> Self {
        let breaker = Breaker::new(name, options.breaker.clone(), observer);
        let budget = ArcSwap::from_pointee(Budget::new(&options.retry));
        let wait = Duration::from_millis(options.wait_ms);
        let bulkhead = Bulkhead::new(options.concurrent_max, wait);
        let options = ArcSwap::from_pointee(options);
        Self(Arc::new(Inner { name: name.into(), options, breaker, budget, bulkhead }))
    }

    /// Carries out one call. `repeatable` says whether an attempt whose effects are unknown may be sent
    /// again. Dropping the future gives its place back and counts for nothing.
    ///
    /// # Errors
    /// [`CallError`]; the operation's own error is the last attempt's.
    pub async fn call<T, E, F>(
        &self,
        deadline: Deadline,
        repeatable: bool,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, CallError<E>>
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
    {
        let inner = &*self.0;
        let Some(_place) = inner.bulkhead.enter(deadline.remaining()).await else {
            return Err(CallError::Full { dependency: Arc::clone(&inner.name) });
        };
        inner.budget.load().deposit();
        let mut delays: Option<Schedule> = None;
        let mut attempts = 0;
        loop {
            let out_of_time =
                || CallError::Deadline { dependency: Arc::clone(&inner.name), attempts };
            if deadline.is_past() {
                return Err(out_of_time());
            }
            attempts += 1;
            let ended = match self.attempt(deadline, &mut operation).await? {
                Ok(answer) => return Ok(answer),
                Err(ended) => ended,
            };
            let failed = |ended| match ended {
                Attempt::Failed(error) => CallError::Failed(error),
                Attempt::TimedOut => {
                    CallError::Deadline { dependency: Arc::clone(&inner.name), attempts }
                }
            };
            let class = match &ended {
                Attempt::Failed(error) => error.class(),
                Attempt::TimedOut => Class::Unknown,
            };
            let Some(pause) = inner.pause(class, repeatable, attempts, &mut delays) else {
                return Err(failed(ended));
            };
            if pause >= deadline.remaining() || !inner.budget.load().withdraw() {
                return Err(failed(ended));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The dependency was seen to answer: probes it until its breaker closes, so that no caller has to wait
    /// for the end of the pause or to try its luck. Leaves a breaker in an operator's hand alone.
    pub async fn close_by<T, E, F>(&self, deadline: Deadline, mut probe: impl FnMut() -> F)
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
    {
        let breaker = &self.0.breaker;
        breaker.hasten();
        for _ in 0..PROBES_MAX {
            let ours = matches!(breaker.state(), BreakerState::Open | BreakerState::HalfOpen);
            if !ours || self.call(deadline, false, &mut probe).await.is_err() {
                return;
            }
        }
    }

    /// One attempt under the breaker and its own time limit. The outer error is final.
    async fn attempt<T, E, F>(
        &self,
        deadline: Deadline,
        operation: &mut impl FnMut() -> F,
    ) -> Result<Result<T, Attempt<E>>, CallError<E>>
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
    {
        let inner = &*self.0;
        let admitted = inner.breaker.admit().map_err(|rejected| CallError::Open {
            dependency: Arc::clone(&inner.name),
            retry_after: rejected.retry_after,
        })?;
        let (limit, slow) = {
            let options = inner.options.load();
            let ms = Duration::from_millis;
            (ms(options.attempt_timeout_ms), ms(options.breaker.slow_ms))
        };
        let until = deadline.at_most(limit).instant();
        match tokio::time::timeout_at(until, operation()).await {
            Ok(Ok(answer)) => {
                admitted.record(Verdict::Success);
                Ok(Ok(answer))
            }
            Ok(Err(error)) => {
                let ours = error.class() == Class::Permanent;
                admitted.record(if ours { Verdict::Ignored } else { Verdict::Failure });
                Ok(Err(Attempt::Failed(error)))
            }
            Err(_elapsed) => {
                // A caller in a hurry says nothing about the dependency; one that left it time enough
                // does, or a dependency that hangs would never be seen by callers with short deadlines.
                let patience = slow.min(limit);
                let hurried = admitted.lasted() < patience;
                admitted.record(if hurried { Verdict::Ignored } else { Verdict::Failure });
                Ok(Err(Attempt::TimedOut))
            }
        }
    }

    /// Other limits of attempts, retries and breaker, from the next attempt on. The places of the bulkhead
    /// (`concurrent_max`, `wait_ms`) stay as they were made. The options are taken as valid.
    pub fn reconfigure(&self, options: DependencyOptions) {
        let inner = &*self.0;
        let before = inner.options.load_full();
        if before.breaker != options.breaker {
            inner.breaker.reconfigure(options.breaker.clone());
        }
        // A new budget starts with a second's worth of retries; unchanged, what was saved stays.
        if before.retry != options.retry {
            inner.budget.store(Arc::new(Budget::new(&options.retry)));
        }
        inner.options.store(Arc::new(options));
    }

    /// What it is called in configuration and errors.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The breaker, for operators.
    pub fn breaker(&self) -> &Breaker {
        &self.0.breaker
    }

    /// What it does now.
    pub fn snapshot(&self) -> DependencySnapshot {
        DependencySnapshot {
            name: Arc::clone(&self.0.name),
            in_flight: self.0.bulkhead.in_flight(),
            breaker: self.0.breaker.snapshot(),
        }
    }
}

impl Inner {
    /// How long to wait before the next attempt; `None` when there is to be none.
    fn pause(
        &self,
        class: Class,
        repeatable: bool,
        attempts: u32,
        delays: &mut Option<Schedule>,
    ) -> Option<Duration> {
        let again = match class {
            Class::Permanent => false,
            Class::Unknown => repeatable,
            Class::Transient | Class::Throttled(_) => true,
        };
        let retry = &self.options.load().retry;
        if !again || attempts >= retry.attempts_max {
            return None;
        }
        let delays = delays.get_or_insert_with(|| Schedule::new(retry.schedule()));
        let pause = delays.next_delay();
        Some(match class {
            Class::Throttled(asked) => pause.max(asked),
            _ => pause,
        })
    }
}
