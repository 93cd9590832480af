//! The breaker against a reference model: every short sequence of events, and long ones by chance.
//!
//! The model is written from the rules that `BreakerOptions` and `BreakerState` document. It keeps all
//! verdicts and looks at them anew each time; it shares no code with the breaker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::advance;

use super::breaker::{Admitted, Breaker, BreakerObserver, BreakerState, Verdict};
use super::options::BreakerOptions;

/// One step of time, and how long a slow call takes. Chosen so that no number of steps falls into a
/// pause's jitter: pauses are 800..=1200, 1600..=2400 and 3200..=4000 ms.
const STEP_MS: u64 = 1500;
const JITTER_PERCENT: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A call that ends at once.
    Success,
    Failure,
    /// A good answer, too late.
    Slow,
    /// The caller left.
    Cancelled,
    Wait,
    ForceOpen,
    ForceClose,
    Reset,
    /// A call that stays in hand, and the ends of the oldest such call.
    Begin,
    EndWell,
    EndBadly,
}

use Event::*;

const SHORT: [Event; 8] = [Success, Failure, Slow, Cancelled, Wait, ForceOpen, ForceClose, Reset];
const ALL: [Event; 11] = [
    Success, Failure, Slow, Cancelled, Wait, ForceOpen, ForceClose, Reset, Begin, EndWell, EndBadly,
];

#[derive(Clone, Copy)]
enum Phase {
    Closed,
    Open { since: u64 },
    HalfOpen { out: u32, good: u32 },
}

/// A call that the model let through; `None`: an operator did.
#[derive(Clone, Copy)]
struct Pass {
    era: Option<u32>,
    probe: bool,
    began: u64,
}

struct Judged {
    at: u64,
    failed: bool,
    slow: bool,
}

struct Model {
    rules: BreakerOptions,
    now: u64,
    phase: Phase,
    hand: Option<BreakerState>,
    judged: Vec<Judged>,
    /// Times it opened without having closed since.
    reopened: u32,
    /// Changes with every change of phase.
    era: u32,
    opened: u64,
    rejected: u64,
    seen: Vec<BreakerState>,
}

impl Model {
    fn new(rules: BreakerOptions) -> Self {
        Self {
            rules,
            now: 0,
            phase: Phase::Closed,
            hand: None,
            judged: Vec::new(),
            reopened: 0,
            era: 0,
            opened: 0,
            rejected: 0,
            seen: vec![BreakerState::Closed],
        }
    }

    fn state(&self) -> BreakerState {
        self.hand.unwrap_or(match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        })
    }

    /// Notes the state that everybody sees, when it is another.
    fn look(&mut self) {
        if self.seen.last() != Some(&self.state()) {
            self.seen.push(self.state());
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
    }

    /// It doubles while probes fail, up to the ceiling; jitter never passes the ceiling.
    fn pause_is_over(&self, since: u64) -> bool {
        let doubled = self.rules.open_initial_ms << (self.reopened - 1).min(20);
        let nominal = doubled.min(self.rules.open_max_ms);
        let least = nominal * (100 - JITTER_PERCENT) / 100;
        let most = (nominal * (100 + JITTER_PERCENT) / 100).min(self.rules.open_max_ms);
        let waited = self.now - since;
        assert!(waited < least || waited >= most, "{waited} ms is within the jitter");
        waited >= most
    }

    fn admit(&mut self) -> Option<Pass> {
        let began = self.now;
        let pass = match (self.hand, self.phase) {
            (Some(BreakerState::Disabled), _) => Some(Pass { era: None, probe: false, began }),
            (Some(_), _) => None,
            (None, Phase::Closed) => Some(Pass { era: Some(self.era), probe: false, began }),
            (None, Phase::Open { since }) if !self.pause_is_over(since) => None,
            (None, Phase::Open { .. }) => {
                self.enter(Phase::HalfOpen { out: 1, good: 0 });
                Some(Pass { era: Some(self.era), probe: true, began })
            }
            (None, Phase::HalfOpen { out, .. }) if out == self.rules.probes_max => None,
            (None, Phase::HalfOpen { out, good }) => {
                self.phase = Phase::HalfOpen { out: out + 1, good };
                Some(Pass { era: Some(self.era), probe: true, began })
            }
        };
        self.rejected += u64::from(pass.is_none());
        pass
    }

    /// `None`: the call says nothing.
    fn end(&mut self, pass: Pass, failed: Option<bool>) {
        if pass.era != Some(self.era) {
            return;
        }
        if let (true, Phase::HalfOpen { out, good }) = (pass.probe, self.phase) {
            self.phase = Phase::HalfOpen { out: out - 1, good };
        }
        // While an operator holds it, nothing is counted.
        let (Some(failed), None) = (failed, self.hand) else { return };
        let slow = self.now - pass.began >= self.rules.slow_ms;
        self.judged.push(Judged { at: self.now, failed, slow });
        match self.phase {
            Phase::HalfOpen { .. } if failed || slow => self.open(),
            Phase::HalfOpen { good, .. } if good + 1 == self.rules.probes_needed => self.close(),
            Phase::HalfOpen { out, good } => self.phase = Phase::HalfOpen { out, good: good + 1 },
            _ if self.is_bad() => self.open(),
            _ => {}
        }
    }

    fn open(&mut self) {
        self.opened += 1;
        self.reopened += 1;
        self.enter(Phase::Open { since: self.now });
    }

    fn close(&mut self) {
        self.reopened = 0;
        self.judged.clear();
        self.enter(Phase::Closed);
    }

    /// Calls, failed and slow ones in the window.
    fn tally(&self) -> (u32, u32, u32) {
        let window = self.rules.window_seconds * 1000;
        let in_window: Vec<&Judged> = match self.rules.window_calls as usize {
            0 => self.judged.iter().filter(|one| self.now - one.at < window).collect(),
            calls => self.judged.iter().rev().take(calls).collect(),
        };
        let count = |of: fn(&Judged) -> bool| in_window.iter().filter(|one| of(one)).count() as u32;
        (in_window.len() as u32, count(|one| one.failed), count(|one| one.slow))
    }

    fn is_bad(&self) -> bool {
        let (calls, failed, slow) = self.tally();
        calls >= self.rules.calls_min
            && (failed * 100 >= self.rules.failure_percent * calls
                || slow * 100 >= self.rules.slow_percent * calls)
    }
}

/// Lets both live through the same events; panics where they differ.
async fn compare(rules: &BreakerOptions, events: &[Event]) {
    let heard = Arc::new(Mutex::new(vec![BreakerState::Closed]));
    let sink = Arc::clone(&heard);
    let observer: BreakerObserver = Arc::new(move |_, change| {
        let mut heard = sink.lock().unwrap();
        assert_eq!(heard.last(), Some(&change.from));
        heard.push(change.to);
    });
    let breaker = Breaker::new("db", rules.clone(), observer);
    let mut model = Model::new(rules.clone());
    let mut held: Vec<(Admitted<'_>, Pass)> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let told = || format!("{event:?}, number {at} of {events:?} with {rules:?}");
        if matches!(event, Success | Failure | Slow | Cancelled | Begin) {
            let (real, expected) = (breaker.admit(), model.admit());
            model.look();
            match (real, expected) {
                (Ok(call), Some(pass)) if *event == Begin => held.push((call, pass)),
                (Ok(call), Some(pass)) => end(&mut model, call, pass, *event).await,
                (Err(refused), None) => assert!(!refused.retry_after.is_zero(), "{}", told()),
                (real, _) => panic!("let through: {}; {}", real.is_ok(), told()),
            }
        }
        match event {
            Wait => {
                advance(Duration::from_millis(STEP_MS)).await;
                model.now += STEP_MS;
            }
            ForceOpen => {
                breaker.force_open();
                model.hand = Some(BreakerState::ForcedOpen);
            }
            ForceClose => {
                breaker.disable();
                model.hand = Some(BreakerState::Disabled);
            }
            Reset => {
                breaker.reset();
                model.hand = None;
                model.close();
            }
            EndWell | EndBadly if !held.is_empty() => {
                let (call, pass) = held.remove(0);
                end(&mut model, call, pass, *event).await;
            }
            _ => {}
        }
        model.look();
        let shown = breaker.snapshot();
        assert_eq!(shown.state, model.state(), "{}", told());
        assert_eq!((shown.calls, shown.failed, shown.slow), model.tally(), "{}", told());
        assert_eq!((shown.opened, shown.rejected), (model.opened, model.rejected), "{}", told());
    }
    assert_eq!(*heard.lock().unwrap(), model.seen, "{events:?}");
}

async fn end(model: &mut Model, call: Admitted<'_>, pass: Pass, how: Event) {
    match how {
        Failure | EndBadly => {
            call.record(Verdict::Failure);
            model.end(pass, Some(true));
        }
        Cancelled => {
            drop(call);
            model.end(pass, None);
        }
        _ => {
            if how == Slow {
                advance(Duration::from_millis(STEP_MS)).await;
                model.now += STEP_MS;
            }
            call.record(Verdict::Success);
            model.end(pass, Some(false));
        }
    }
}

/// Every sequence of `length` events, and with it every shorter one.
async fn compare_all(rules: &BreakerOptions, alphabet: &[Event], length: u32) {
    let mut events = vec![alphabet[0]; length as usize];
    for number in 0..alphabet.len().pow(length) {
        let mut rest = number;
        for event in &mut events {
            *event = alphabet[rest % alphabet.len()];
            rest /= alphabet.len();
        }
        compare(rules, &events).await;
    }
}

fn by_time() -> BreakerOptions {
    BreakerOptions {
        window_seconds: 6,
        window_calls: 0,
        calls_min: 2,
        failure_percent: 50,
        slow_ms: STEP_MS,
        slow_percent: 60,
        probes_max: 1,
        probes_needed: 2,
        open_initial_ms: 1000,
        open_max_ms: 4000,
    }
}

fn by_count() -> BreakerOptions {
    BreakerOptions { window_calls: 3, failure_percent: 67, probes_max: 2, ..by_time() }
}

#[tokio::test(start_paused = true)]
async fn every_sequence_of_six_events_goes_as_the_rules_say() {
    compare_all(&by_time(), &SHORT, 6).await;
}

#[tokio::test(start_paused = true)]
async fn every_sequence_of_five_events_with_calls_in_hand_goes_as_the_rules_say() {
    compare_all(&by_count(), &ALL, 5).await;
    let one_is_enough = BreakerOptions { calls_min: 1, probes_needed: 1, ..by_time() };
    compare_all(&one_is_enough, &ALL, 4).await;
}

fn rules() -> impl Strategy<Value = BreakerOptions> {
    (0u32..6, 1u32..6, 1u32..=100, 1u32..=100, 1u32..4, 1u32..4).prop_map(
        |(window_calls, calls_min, failure_percent, slow_percent, probes_max, probes_needed)| {
            BreakerOptions {
                window_calls,
                calls_min,
                failure_percent,
                slow_percent,
                probes_max,
                probes_needed,
                ..by_time()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn long_sequences_under_any_thresholds_go_as_the_rules_say(
        rules in rules(),
        events in prop::collection::vec(prop::sample::select(&ALL[..]), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(compare(&rules, &events));
    }
}
