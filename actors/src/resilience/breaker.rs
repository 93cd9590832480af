//! The circuit breaker: refuses calls to a dependency that fails, until a few probes succeed.
//!
//! Called by `Dependency` around each attempt, and by operators. The states and their transitions are
//! `failsafe`'s; around them stands what that crate lacks: a window that counts failures and slow calls,
//! a limit on probes, verdicts of an earlier epoch ignored, the state made visible, an operator's hand.
//! Time is tokio's, so that tests can pause it: the engine is told to open for no time at all, and the
//! end of the pause is watched here.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failsafe::{FailurePolicy, Instrument, StateMachine};
use serde::Serialize;
use tokio::time::Instant;

use super::options::BreakerOptions;
use super::schedule::Schedule;
use super::window::Window;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Traffic flows.
    Closed,
    /// Calls are refused.
    Open,
    /// A few probes are let through.
    HalfOpen,
    /// An operator refuses all calls.
    ForcedOpen,
    /// An operator lets all calls through; nothing is counted.
    Disabled,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// From where.
    pub from: BreakerState,
    /// To where.
    pub to: BreakerState,
}

/// Hears of every transition with the breaker's name; called on the thread of the call that caused it,
/// without any lock held, and must not block.
pub type BreakerObserver = Arc<dyn Fn(&str, Transition) + Send + Sync>;

/// A refused call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When a call may be let through again.
    pub retry_after: Duration,
}

/// What a breaker shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BreakerSnapshot {
    /// Where it stands.
    pub state: BreakerState,
    /// Calls in the window.
    pub calls: u32,
    /// Of them failed.
    pub failed: u32,
    /// Of them slow.
    pub slow: u32,
    /// Calls refused since the start.
    pub rejected: u64,
    /// Times it opened since the start.
    pub opened: u64,
    /// Milliseconds until it lets a probe through; 0 while it does not refuse.
    pub retry_after_ms: u64,
}

/// How one call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// Says nothing about the dependency: the caller's mistake, or the caller left.
    Ignored,
}

/// What the engine reports through its hooks; it has no getter.
#[derive(Clone, Default)]
struct EngineState(Arc<AtomicU8>);

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

impl EngineState {
    fn get(&self) -> BreakerState {
        match self.0.load(Ordering::Acquire) {
            CLOSED => BreakerState::Closed,
            OPEN => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }
}

impl Instrument for EngineState {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.0.store(OPEN, Ordering::Release);
    }

    fn on_half_open(&self) {
        self.0.store(HALF_OPEN, Ordering::Release);
    }

    fn on_closed(&self) {
        self.0.store(CLOSED, Ordering::Release);
    }
}

/// The engine hears of a failure only when it is to open.
struct OpenNow;

impl FailurePolicy for OpenNow {
    fn record_success(&mut self) {}

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn revived(&mut self) {}
}

struct Core {
    options: BreakerOptions,
    window: Window,
    pauses: Schedule,
    /// Counts transitions: a verdict on a call of an earlier epoch says nothing about this one.
    epoch: u64,
    open_until: Instant,
    probes: u32,
    probes_succeeded: u32,
    operator: Option<BreakerState>,
    rejected: u64,
    opened: u64,
}

struct Inner {
    name: Arc<str>,
    observer: BreakerObserver,
    state: EngineState,
    engine: StateMachine<OpenNow, EngineState>,
    core: Mutex<Core>,
}

/// A circuit breaker. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

impl Breaker {
    /// A closed breaker.
    pub fn new(name: &str, options: BreakerOptions, observer: BreakerObserver) -> Self {
        let state = EngineState::default();
        let core = Core {
            window: Window::default(),
            pauses: Schedule::new(options.schedule()),
            options,
            epoch: 0,
            open_until: Instant::now(),
            probes: 0,
            probes_succeeded: 0,
            operator: None,
            rejected: 0,
            opened: 0,
        };
        let engine = StateMachine::new(OpenNow, state.clone());
        Self(Arc::new(Inner { name: name.into(), observer, state, engine, core: Mutex::new(core) }))
    }

    /// Lets a call through, or refuses it. What it returns must be given the call's verdict.
    pub(super) fn admit(&self) -> Result<Admitted<'_>, Rejected> {
        let now = Instant::now();
        self.changing(|inner, core| {
            match core.operator {
                Some(BreakerState::Disabled) => return Ok(Admitted::new(self, None, false)),
                Some(_) => return Err(core.reject(now)),
                None => {}
            }
            if inner.state.get() == BreakerState::Open {
                if now < core.open_until || !inner.engine.is_call_permitted() {
                    return Err(core.reject(now));
                }
                core.enter_epoch();
            }
            let probe = inner.state.get() == BreakerState::HalfOpen;
            if probe {
                if core.probes >= core.options.probes_max {
                    return Err(core.reject(now));
                }
                core.probes += 1;
            }
            Ok(Admitted::new(self, Some(core.epoch), probe))
        })
    }

    /// Refuses every call until [`Breaker::reset`].
    pub fn force_open(&self) {
        self.changing(|_, core| core.operator = Some(BreakerState::ForcedOpen));
    }

    /// Lets every call through, uncounted, until [`Breaker::reset`].
    pub fn disable(&self) {
        self.changing(|_, core| core.operator = Some(BreakerState::Disabled));
    }

    /// Closes it, forgets what it counted, and lets it decide again.
    pub fn reset(&self) {
        self.changing(|inner, core| {
            core.operator = None;
            core.window.clear();
            core.pauses.reset();
            core.enter_epoch();
            inner.engine.reset();
        });
    }

    /// The dependency was seen to answer: one that is open lets its probes through now.
    pub(super) fn hasten(&self) {
        self.changing(|_, core| core.open_until = core.open_until.min(Instant::now()));
    }

    /// Other thresholds, from the next call on.
    pub fn reconfigure(&self, options: BreakerOptions) {
        self.changing(|_, core| {
            core.pauses = Schedule::new(options.schedule());
            core.options = options;
        });
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        self.0.visible(&self.0.core())
    }

    /// Where it stands, and why.
    pub fn snapshot(&self) -> BreakerSnapshot {
        let now = Instant::now();
        let mut core = self.0.core();
        let Core { window, options, .. } = &mut *core;
        let tally = window.tally(now, options);
        let state = self.0.visible(&core);
        let refuses = matches!(state, BreakerState::Open);
        let left = core.open_until.saturating_duration_since(now).as_millis();
        BreakerSnapshot {
            state,
            calls: tally.calls,
            failed: tally.failed,
            slow: tally.slow,
            rejected: core.rejected,
            opened: core.opened,
            retry_after_ms: if refuses { u64::try_from(left).unwrap_or(u64::MAX) } else { 0 },
        }
    }

    /// Changes something under the lock, and reports a transition after it.
    fn changing<T>(&self, change: impl FnOnce(&Inner, &mut Core) -> T) -> T {
        let inner = &self.0;
        let mut core = inner.core();
        let from = inner.visible(&core);
        let answer = change(inner, &mut core);
        let to = inner.visible(&core);
        drop(core);
        if from != to {
            (inner.observer)(&inner.name, Transition { from, to });
        }
        answer
    }

    fn judge(&self, call: &Admitted<'_>, verdict: Verdict) {
        self.changing(|inner, core| {
            // Of an earlier epoch, or let through by an operator.
            if call.epoch != Some(core.epoch) {
                return;
            }
            if call.probe {
                core.probes -= 1;
            }
            // Begun before an operator took over: while the order holds, nothing is counted.
            if verdict == Verdict::Ignored || core.operator.is_some() {
                return;
            }
            let now = Instant::now();
            let failed = verdict == Verdict::Failure;
            let slow =
                now.duration_since(call.began) >= Duration::from_millis(core.options.slow_ms);
            core.window.push(now, failed, slow, &core.options);
            if call.probe {
                core.judge_probe(&inner.engine, now, failed || slow);
            } else if core.window.tally(now, &core.options).trips(&core.options) {
                core.open(&inner.engine, now);
            }
        });
    }
}

impl Inner {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visible(&self, core: &Core) -> BreakerState {
        core.operator.unwrap_or_else(|| self.state.get())
    }
}

impl Core {
    fn reject(&mut self, now: Instant) -> Rejected {
        self.rejected += 1;
        let left = self.open_until.saturating_duration_since(now);
        // Half-open with all probes out, or forced: nobody knows; come back after the first pause.
        let pause = Duration::from_millis(self.options.open_initial_ms);
        Rejected { retry_after: if left.is_zero() { pause } else { left } }
    }

    fn enter_epoch(&mut self) {
        self.epoch += 1;
        self.probes = 0;
        self.probes_succeeded = 0;
    }

    fn open(&mut self, engine: &StateMachine<OpenNow, EngineState>, now: Instant) {
        engine.on_error();
        self.open_until = now + self.pauses.next_delay();
        self.opened += 1;
        self.enter_epoch();
    }

    fn judge_probe(
        &mut self,
        engine: &StateMachine<OpenNow, EngineState>,
        now: Instant,
        bad: bool,
    ) {
        if bad {
            return self.open(engine, now);
        }
        self.probes_succeeded += 1;
        if self.probes_succeeded >= self.options.probes_needed {
            engine.on_success();
            self.window.clear();
            self.pauses.reset();
            self.enter_epoch();
        }
    }
}

/// One call that was let through. Dropped without a verdict it counts for nothing (the caller left),
/// dropped by a panic as a failure; a probe's place is free again either way.
pub(super) struct Admitted<'a> {
    breaker: &'a Breaker,
    epoch: Option<u64>,
    probe: bool,
    began: Instant,
    judged: bool,
}

impl<'a> Admitted<'a> {
    fn new(breaker: &'a Breaker, epoch: Option<u64>, probe: bool) -> Self {
        Self { breaker, epoch, probe, began: Instant::now(), judged: false }
    }

    /// Whether it decides if the breaker closes.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// How long it has taken so far.
    pub(super) fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn record(mut self, verdict: Verdict) {
        self.judged = true;
        self.breaker.judge(&self, verdict);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.judged {
            let panicked = std::thread::panicking();
            let verdict = if panicked { Verdict::Failure } else { Verdict::Ignored };
            self.breaker.judge(self, verdict);
        }
    }
}
