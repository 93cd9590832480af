//! What resilience promises. Time is paused: it moves when everybody waits, or when a test says so.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::time::advance;

use super::breaker::Verdict;
use super::*;
use crate::deadline::Deadline;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken(Class);

impl Failure for Broken {
    fn class(&self) -> Class {
        self.0
    }
}

const TRANSIENT: Broken = Broken(Class::Transient);
const PERMANENT: Broken = Broken(Class::Permanent);
const UNKNOWN: Broken = Broken(Class::Unknown);

fn quiet() -> BreakerObserver {
    Arc::new(|_, _| {})
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn soon() -> Deadline {
    Deadline::after(ms(60_000))
}

fn breaker(change: impl FnOnce(&mut BreakerOptions)) -> Breaker {
    let mut options = BreakerOptions::default();
    change(&mut options);
    Breaker::new("db", options, quiet())
}

fn dependency(change: impl FnOnce(&mut DependencyOptions)) -> Dependency {
    let mut options = DependencyOptions::default();
    change(&mut options);
    assert_eq!(options.mistakes(), []);
    Dependency::new("db", options, quiet())
}

fn fail(breaker: &Breaker, times: u32) {
    for _ in 0..times {
        breaker.admit().unwrap().record(Verdict::Failure);
    }
}

fn opened() -> Breaker {
    let breaker = breaker(|_| {});
    fail(&breaker, 5);
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn other_limits_of_attempts_hold_from_the_next_call_on() {
    let dependency = dependency(|options| options.retry.attempts_max = 1);
    let attempts = || async {
        let made = Cell::new(0);
        let operation = || {
            made.set(made.get() + 1);
            async { Err::<(), _>(TRANSIENT) }
        };
        assert!(dependency.call(soon(), true, operation).await.is_err());
        made.get()
    };
    assert_eq!(attempts().await, 1);
    let mut other = DependencyOptions::default();
    other.retry.attempts_max = 4;
    other.breaker.calls_min = 100;
    dependency.reconfigure(other);
    assert_eq!(attempts().await, 4);
    assert_eq!(attempts().await, 4, "the breaker has its new threshold, too");
    assert_eq!(dependency.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn it_opens_at_the_failure_rate_and_not_before_enough_calls() {
    let breaker = breaker(|_| {});
    fail(&breaker, 4);
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), BreakerState::Open);
    let refused = breaker.admit().err().unwrap();
    assert!(refused.retry_after > ms(300) && refused.retry_after <= ms(600), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn half_of_the_calls_failing_is_the_limit_not_less() {
    let breaker = breaker(|options| options.calls_min = 10);
    for _ in 0..6 {
        breaker.admit().unwrap().record(Verdict::Success);
    }
    fail(&breaker, 5);
    assert_eq!(breaker.state(), BreakerState::Closed, "5 of 11");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), BreakerState::Open, "6 of 12");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_too() {
    let breaker = breaker(|options| options.slow_ms = 100);
    for _ in 0..5 {
        let call = breaker.admit().unwrap();
        advance(ms(100)).await;
        call.record(Verdict::Success);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn calls_that_left_the_window_no_longer_count() {
    let by_time = breaker(|_| {});
    fail(&by_time, 4);
    advance(Duration::from_secs(31)).await;
    fail(&by_time, 4);
    assert_eq!(by_time.state(), BreakerState::Closed);

    let by_count = breaker(|options| {
        options.window_calls = 6;
        options.failure_percent = 100;
    });
    fail(&by_count, 4);
    by_count.admit().unwrap().record(Verdict::Success);
    fail(&by_count, 5);
    assert_eq!(by_count.state(), BreakerState::Closed, "the success is still in the window");
    fail(&by_count, 1);
    assert_eq!(by_count.state(), BreakerState::Open, "six failures in a row");
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_mistakes_never_open_it() {
    let db = dependency(|_| {});
    for _ in 0..100 {
        let answer = db.call(soon(), true, || async { Err::<(), _>(PERMANENT) }).await;
        assert_eq!(answer, Err(CallError::Failed(PERMANENT)));
    }
    assert_eq!(db.snapshot().breaker.state, BreakerState::Closed);
    assert_eq!(db.snapshot().breaker.calls, 0);
}

#[tokio::test(start_paused = true)]
async fn probes_are_limited_and_enough_successes_close_it() {
    let breaker = opened();
    advance(ms(700)).await;
    let probe = breaker.admit().unwrap();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.admit().is_err(), "a second probe at once");
    probe.record(Verdict::Success);
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "one success of two");
    breaker.admit().unwrap().record(Verdict::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(breaker.snapshot().calls, 0, "a closed breaker starts with a clean window");
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_it_for_longer_up_to_the_ceiling() {
    let breaker = opened();
    let mut pauses = Vec::new();
    for _ in 0..5 {
        advance(ms(breaker.snapshot().retry_after_ms + 1)).await;
        breaker.admit().unwrap().record(Verdict::Failure);
        assert_eq!(breaker.state(), BreakerState::Open);
        pauses.push(breaker.snapshot().retry_after_ms);
    }
    assert!(pauses[0] > 600, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 2000), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cancelled_frees_its_place() {
    let breaker = opened();
    advance(ms(700)).await;
    drop(breaker.admit().unwrap());
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.admit().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_late_verdict_of_an_earlier_epoch_changes_nothing() {
    let breaker = breaker(|_| {});
    let (late_success, late_failure) = (breaker.admit().unwrap(), breaker.admit().unwrap());
    fail(&breaker, 5);
    late_success.record(Verdict::Success);
    assert_eq!(breaker.state(), BreakerState::Open);
    advance(ms(700)).await;
    let probe = breaker.admit().unwrap();
    late_failure.record(Verdict::Failure);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.record(Verdict::Success);
}

#[tokio::test(start_paused = true)]
async fn an_operator_forces_it_open_disables_and_resets_it() {
    let breaker = breaker(|_| {});
    breaker.force_open();
    assert_eq!(breaker.state(), BreakerState::ForcedOpen);
    assert!(breaker.admit().is_err());
    breaker.disable();
    fail(&breaker, 50);
    assert_eq!(breaker.state(), BreakerState::Disabled);
    breaker.reset();
    assert_eq!(breaker.state(), BreakerState::Closed);
    let open = opened();
    open.reset();
    assert_eq!(open.state(), BreakerState::Closed);
    assert!(open.admit().is_ok());
}

#[tokio::test(start_paused = true)]
async fn thresholds_change_while_it_works() {
    let breaker = breaker(|_| {});
    breaker.reconfigure(BreakerOptions { calls_min: 2, ..BreakerOptions::default() });
    fail(&breaker, 2);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn every_transition_is_observed_once() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let observer: BreakerObserver = Arc::new(move |name, transition| {
        assert_eq!(name, "db");
        sink.lock().unwrap().push((transition.from, transition.to));
    });
    let breaker = Breaker::new("db", BreakerOptions::default(), observer);
    fail(&breaker, 5);
    advance(ms(700)).await;
    for _ in 0..2 {
        breaker.admit().unwrap().record(Verdict::Success);
    }
    use BreakerState::{Closed, HalfOpen, Open};
    assert_eq!(*seen.lock().unwrap(), [(Closed, Open), (Open, HalfOpen), (HalfOpen, Closed)]);
}

#[tokio::test(start_paused = true)]
async fn transient_failures_are_retried_and_the_answer_counts() {
    let db = dependency(|_| {});
    let attempts = Cell::new(0);
    let answer = db.call(soon(), false, || async {
        attempts.set(attempts.get() + 1);
        if attempts.get() < 3 { Err(TRANSIENT) } else { Ok("served") }
    });
    assert_eq!(answer.await, Ok("served"));
    assert_eq!(attempts.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn unknown_outcomes_are_repeated_only_where_that_does_no_harm() {
    for (repeatable, expected) in [(false, 1), (true, 3)] {
        let db = dependency(|_| {});
        let attempts = Cell::new(0);
        let answer = db.call(soon(), repeatable, || async {
            attempts.set(attempts.get() + 1);
            Err::<(), _>(UNKNOWN)
        });
        assert_eq!(answer.await, Err(CallError::Failed(UNKNOWN)));
        assert_eq!(attempts.get(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_the_dependency_asks_for_is_kept_or_the_call_ends_before_it() {
    let db = dependency(|_| {});
    let began = tokio::time::Instant::now();
    let throttled = Broken(Class::Throttled(ms(1500)));
    let attempts = Cell::new(0);
    let answer = db.call(soon(), false, || async {
        attempts.set(attempts.get() + 1);
        if attempts.get() == 1 { Err(throttled) } else { Ok(()) }
    });
    assert_eq!(answer.await, Ok(()));
    assert!(began.elapsed() >= ms(1500));
    let short = Deadline::after(ms(1000));
    let answer = db.call(short, false, || async { Err::<(), _>(throttled) }).await;
    assert_eq!(answer, Err(CallError::Failed(throttled)), "it does not sleep past the deadline");
}

#[tokio::test(start_paused = true)]
async fn five_hundred_failing_calls_make_at_most_five_hundred_and_fifty_attempts_and_the_floor() {
    let db = dependency(|options| {
        options.breaker.calls_min = 100_000;
        options.concurrent_max = 1000;
    });
    let attempts = Cell::new(0u32);
    join_all((0..500).map(|_| {
        db.call(soon(), true, || async {
            attempts.set(attempts.get() + 1);
            Err::<(), _>(TRANSIENT)
        })
    }))
    .await;
    // 10 % of the calls, and 5 per second for the at most two seconds this takes.
    assert!((500..=565).contains(&attempts.get()), "{}", attempts.get());
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_hangs_opens_the_breaker_and_then_costs_no_time() {
    let db = dependency(|options| {
        options.attempt_timeout_ms = 100;
        options.retry.attempts_max = 1;
        options.breaker.slow_ms = 50;
    });
    let hang = || std::future::pending::<Result<(), Broken>>();
    for _ in 0..5 {
        let answer = db.call(soon(), true, hang).await;
        assert_eq!(answer, Err(CallError::Deadline { dependency: "db".into(), attempts: 1 }));
    }
    let began = tokio::time::Instant::now();
    assert!(matches!(db.call(soon(), true, hang).await, Err(CallError::Open { .. })));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_sees_that_it_is_back_closes_the_breaker_at_once_and_an_operators_stays() {
    let guarded = dependency(|options| options.breaker.open_initial_ms = 1500);
    let back = || guarded.close_by(soon(), || async { Ok::<_, Broken>(()) });
    fail(guarded.breaker(), 5);
    assert_eq!(guarded.breaker().state(), BreakerState::Open);
    guarded.close_by(soon(), || async { Err::<(), _>(UNKNOWN) }).await;
    assert_eq!(guarded.breaker().state(), BreakerState::Open, "the probe said no");
    back().await;
    assert_eq!(guarded.breaker().state(), BreakerState::Closed);
    guarded.breaker().force_open();
    back().await;
    assert_eq!(guarded.breaker().state(), BreakerState::ForcedOpen);
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_do_not_open_the_breaker() {
    let db = dependency(|_| {});
    for _ in 0..50 {
        let hurried = Deadline::after(ms(5));
        let answer = db.call(hurried, false, std::future::pending::<Result<(), Broken>>).await;
        assert!(matches!(answer, Err(CallError::Deadline { attempts: 1, .. })));
    }
    assert_eq!(db.snapshot().breaker.state, BreakerState::Closed);
    let past = Deadline::after(Duration::ZERO);
    let answer = db.call(past, false, std::future::pending::<Result<(), Broken>>).await;
    assert!(matches!(answer, Err(CallError::Deadline { attempts: 0, .. })), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_full_bulkhead_refuses_after_the_wait_and_a_cancelled_call_frees_its_place() {
    let db = dependency(|options| {
        options.concurrent_max = 2;
        options.wait_ms = 30;
    });
    let hang = || std::future::pending::<Result<(), Broken>>();
    let mut held: Vec<_> = (0..2).map(|_| Box::pin(db.call(soon(), true, hang))).collect();
    for call in &mut held {
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    assert_eq!(db.snapshot().places.in_flight, 2);
    let answer = db.call(soon(), true, || async { Ok::<_, Broken>(()) }).await;
    assert_eq!(answer, Err(CallError::Full { dependency: "db".into() }));
    held.pop();
    assert_eq!(db.call(soon(), true, || async { Ok::<_, Broken>(()) }).await, Ok(()));
}

#[test]
fn options_out_of_range_are_named_with_their_key() {
    let mut options = DependencyOptions::default();
    assert_eq!(options.mistakes(), []);
    options.breaker.open_max_ms = 10;
    options.retry.attempts_max = 0;
    let keys: Vec<String> = options.mistakes().into_iter().map(|mistake| mistake.key).collect();
    assert_eq!(keys, ["retry.attempts_max", "breaker.open_max_ms"]);
}

/// What may happen to a breaker.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    End(usize, u8),
    Wait(u64),
    ForceOpen,
    Disable,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Begin),
        6 => (any::<usize>(), 0u8..3).prop_map(|(which, how)| Step::End(which, how)),
        3 => (1u64..1500).prop_map(Step::Wait),
        1 => Just(Step::ForceOpen),
        1 => Just(Step::Disable),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens in whatever order: an open breaker refuses until its pause is over, a half-open
    /// one lets at most its probes through, a closed one everybody; and it never stays open for ever.
    #[test]
    fn no_sequence_of_events_breaks_the_breaker(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let breaker = breaker(|options| options.probes_max = 2);
            let held = RefCell::new(Vec::new());
            let mut probes_out = 0i64;
            for step in steps {
                let before = breaker.snapshot();
                match step {
                    Step::Begin => {
                        let admitted = breaker.admit();
                        let after = breaker.state();
                        match (before.state, &admitted) {
                            (BreakerState::ForcedOpen, answer) => prop_assert!(answer.is_err()),
                            (BreakerState::Disabled | BreakerState::Closed, answer) =>
                                prop_assert!(answer.is_ok()),
                            (BreakerState::Open, answer) if before.retry_after_ms > 0 =>
                                prop_assert!(answer.is_err()),
                            _ => {}
                        }
                        if before.state != after {
                            probes_out = 0;
                        }
                        if let Ok(call) = admitted {
                            if after == BreakerState::HalfOpen {
                                probes_out += 1;
                                prop_assert!(probes_out <= 2, "three probes at once");
                            }
                            held.borrow_mut().push((call, after));
                        }
                    }
                    Step::End(which, how) => {
                        let mut held = held.borrow_mut();
                        if !held.is_empty() {
                            let which = which % held.len();
                            let (call, _) = held.swap_remove(which);
                            match how {
                                0 => call.record(Verdict::Success),
                                1 => call.record(Verdict::Failure),
                                _ => drop(call),
                            }
                            // Which of them were probes of this epoch the breaker alone knows.
                            probes_out = 0;
                        }
                    }
                    Step::Wait(span) => advance(ms(span)).await,
                    Step::ForceOpen => breaker.force_open(),
                    Step::Disable => breaker.disable(),
                    Step::Reset => {
                        breaker.reset();
                        probes_out = 0;
                        prop_assert_eq!(breaker.state(), BreakerState::Closed);
                    }
                }
            }
            // Everything ends, the operator lets go, the dependency is well: it closes.
            held.borrow_mut().clear();
            if matches!(breaker.state(), BreakerState::ForcedOpen | BreakerState::Disabled) {
                breaker.reset();
            }
            for _ in 0..10 {
                advance(ms(2001)).await;
                if let Ok(call) = breaker.admit() {
                    call.record(Verdict::Success);
                }
            }
            prop_assert_eq!(breaker.state(), BreakerState::Closed);
            Ok(())
        })?;
    }
}
