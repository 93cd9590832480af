//! One dependency behind everything that protects its callers from it, and it from them.
//!
//! Called by the clients of Neo4j, Redis and whatever else lives outside the process. Order, outer to
//! inner: deadline → bulkhead → retry within the budget → breaker → attempt timeout → hedge → operation.
//! Refuses without an attempt when the breaker is open or no place comes free.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{Either, select};
use serde::Serialize;
use tokio::time::Instant;

use super::breaker::{Breaker, BreakerObserver, BreakerSnapshot, BreakerState, Verdict};
use super::budget::Budget;
use super::bulkhead::{Bulkhead, BulkheadSnapshot, Place};
use super::class::{CallError, Class, Failure};
use super::hedge::{Hedge, HedgeCounts};
use super::options::DependencyOptions;
use super::schedule::Schedule;
use crate::deadline::Deadline;

/// Probes in one go after the dependency came back; a breaker that wants more gets them from its callers.
const PROBES_MAX: usize = 10;

struct Inner {
    name: Arc<str>,
    /// Replaced while running.
    options: ArcSwap<DependencyOptions>,
    breaker: Breaker,
    budget: ArcSwap<Budget>,
    bulkhead: Arc<Bulkhead>,
    hedge: Hedge,
}

/// A guarded dependency. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Dependency(Arc<Inner>);

/// What a dependency shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DependencySnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Its places.
    #[serde(flatten)]
    pub places: BulkheadSnapshot,
    /// Second requests of slow reads.
    pub hedges: HedgeCounts,
    /// Its breaker.
    pub breaker: BreakerSnapshot,
}

/// When a call may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Only when the attempt certainly had no effect.
    WithoutEffect,
    /// Also when nobody knows whether it had one.
    AfterAnything,
    /// It only reads: also while the first request is under way, where the options say so.
    Reads,
}

impl From<bool> for Repeat {
    fn from(repeatable: bool) -> Self {
        if repeatable { Self::AfterAnything } else { Self::WithoutEffect }
    }
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
        let bulkhead = Bulkhead::new(&options);
        let options = ArcSwap::from_pointee(options);
        let hedge = Hedge::default();
        Self(Arc::new(Inner { name: name.into(), options, breaker, budget, bulkhead, hedge }))
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
        operation: impl FnMut() -> F,
    ) -> Result<T, CallError<E>>
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
    {
        self.call_as(deadline, repeatable.into(), operation).await
    }

    /// As [`Dependency::call`], and says more about what may be sent again. The place it takes is that of
    /// the task's [`Requester`](super::Requester).
    ///
    /// # Errors
    /// As [`Dependency::call`].
    pub async fn call_as<T, E, F>(
        &self,
        deadline: Deadline,
        repeat: Repeat,
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
            let ended = match self.attempt(deadline, repeat, &mut operation).await? {
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
            let Some(pause) = inner.pause(class, repeat, attempts, &mut delays) else {
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

    /// One attempt under the breaker and its own time limit; a second request of a slow read is part of it.
    /// The outer error is final.
    async fn attempt<T, E, F>(
        &self,
        deadline: Deadline,
        repeat: Repeat,
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
        let (limit, slow, delay) = {
            let options = inner.options.load();
            let ms = Duration::from_millis;
            // A probe asks once: its one answer decides.
            let hedges = repeat == Repeat::Reads && !admitted.is_probe();
            let delay = if hedges { inner.hedge.delay(&options.hedge) } else { None };
            (ms(options.attempt_timeout_ms), ms(options.breaker.slow_ms), delay)
        };
        let until = deadline.at_most(limit).instant();
        let began = Instant::now();
        let work = async {
            match delay {
                Some(delay) => self.hedged(delay, operation).await,
                None => (operation().await, began),
            }
        };
        match tokio::time::timeout_at(until, work).await {
            Ok((Ok(answer), sent)) => {
                admitted.record(Verdict::Success);
                inner.bulkhead.observe(sent);
                if repeat == Repeat::Reads {
                    inner.hedge.observe(&inner.options.load().hedge, began.elapsed());
                }
                Ok(Ok(answer))
            }
            Ok((Err(error), _)) => {
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
                // It takes at least this long. A failure that came at once would look like good health.
                if !hurried {
                    inner.bulkhead.observe(began);
                }
                Ok(Err(Attempt::TimedOut))
            }
        }
    }

    /// A request, and a second one beside it when the first has no answer after `delay`. The first answer
    /// counts, of failures the last; the loser is dropped. Also tells when the request that counts was sent.
    async fn hedged<T, E, F>(
        &self,
        delay: Duration,
        operation: &mut impl FnMut() -> F,
    ) -> (Result<T, E>, Instant)
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
    {
        let hedge = &self.0.hedge;
        let began = Instant::now();
        let mut first = pin!(operation());
        if let Ok(ended) = tokio::time::timeout(delay, &mut first).await {
            return (ended, began);
        }
        let Some(_place) = self.second_place() else { return (first.await, began) };
        hedge.count_sent();
        let began_again = Instant::now();
        let second = pin!(operation());
        // What is the request's own fault would be the other one's as well.
        let counts = |ended: &Result<T, E>| match ended {
            Ok(_) => true,
            Err(error) => error.class() == Class::Permanent,
        };
        let (ended, is_second) = match select(first, second).await {
            Either::Left((ended, second)) if !counts(&ended) => (second.await, true),
            Either::Left((ended, _)) => (ended, false),
            Either::Right((ended, first)) if !counts(&ended) => (first.await, false),
            Either::Right((ended, _)) => (ended, true),
        };
        if is_second && ended.is_ok() {
            hedge.count_won();
        }
        (ended, if is_second { began_again } else { began })
    }

    /// Room for a second request. It costs what a retry costs and waits for nothing: where places are
    /// short or the dependency is in doubt there is none.
    fn second_place(&self) -> Option<Place> {
        let inner = &*self.0;
        let well = matches!(inner.breaker.state(), BreakerState::Closed | BreakerState::Disabled);
        let place = if well { inner.bulkhead.enter_now()? } else { return None };
        inner.budget.load().withdraw().then_some(place)
    }

    /// Other limits, from the next attempt on; calls in flight keep their places. The options are taken
    /// as valid.
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
        inner.bulkhead.reconfigure(&options);
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
            places: self.0.bulkhead.snapshot(),
            hedges: self.0.hedge.counts(),
            breaker: self.0.breaker.snapshot(),
        }
    }
}

impl Inner {
    /// How long to wait before the next attempt; `None` when there is to be none.
    fn pause(
        &self,
        class: Class,
        repeat: Repeat,
        attempts: u32,
        delays: &mut Option<Schedule>,
    ) -> Option<Duration> {
        let again = match class {
            Class::Permanent => false,
            Class::Unknown => repeat != Repeat::WithoutEffect,
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
