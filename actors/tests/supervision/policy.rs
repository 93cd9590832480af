//! The policy alone, against every sequence of failures proptest can think of.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use ultimate_mcp_actors::supervision::PolicyOptions;
use ultimate_mcp_actors::supervision::policy::{Action, ChildId, Down, Policy, Restart, Strategy};

#[derive(Clone, Copy, Debug)]
struct Child {
    restart: Restart,
    critical: bool,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    child: usize,
    down: Down,
    after: Duration,
}

fn any_options() -> impl Generator<Value = PolicyOptions> {
    let strategies = prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne)
    ];
    (strategies, 0_u32..8, 1_u64..20, 1_u64..500, 0_u64..5_000, 1.0..4.0, 0.0..1.0).prop_map(
        |(strategy, max_restarts, window_seconds, initial, above, multiplier, jitter)| {
            PolicyOptions {
                strategy,
                max_restarts,
                window_seconds,
                backoff_initial_ms: initial,
                backoff_max_ms: initial + above,
                backoff_multiplier: multiplier,
                backoff_jitter: jitter,
                ..PolicyOptions::default()
            }
        },
    )
}

fn any_child() -> impl Generator<Value = Child> {
    let restarts =
        prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)];
    (restarts, any::<bool>()).prop_map(|(restart, critical)| Child { restart, critical })
}

fn any_failure(children: usize) -> impl Generator<Value = Failure> {
    let downs = prop_oneof![
        Just(Down::Stopped),
        Just(Down::Panicked),
        Just(Down::Stalled),
        Just(Down::Vanished),
        Just(Down::Escalated)
    ];
    (0..children, downs, 0_u64..4_000).prop_map(|(child, down, after)| Failure {
        child,
        down,
        after: Duration::from_millis(after),
    })
}

fn any_history() -> impl Generator<Value = (Vec<Child>, Vec<Failure>)> {
    prop::collection::vec(any_child(), 1..6).prop_flat_map(|children| {
        let failures = prop::collection::vec(any_failure(children.len()), 1..60);
        (Just(children), failures)
    })
}

/// Ids as the policy was given them: child `n` is number `n`.
fn ids(count: usize) -> Vec<ChildId> {
    (0..count as u64).map(ChildId::from).collect()
}

/// Whom a restart of `child` concerns, in start order.
fn concerned(strategy: Strategy, child: usize, count: usize) -> Vec<usize> {
    match strategy {
        Strategy::OneForOne => vec![child],
        Strategy::OneForAll => (0..count).collect(),
        Strategy::RestForOne => (child..count).collect(),
    }
}

fn delay_bounds(options: &PolicyOptions) -> (Duration, Duration) {
    let max = Duration::from_millis(options.backoff_max_ms);
    let initial = Duration::from_millis(options.backoff_initial_ms);
    // One microsecond for the rounding of floating point.
    let low = initial.mul_f64(1.0 - options.backoff_jitter);
    (low.saturating_sub(Duration::from_micros(1)).min(max), max)
}

proptest! {
    #[test]
    fn no_window_holds_more_restarts_than_allowed_and_each_decision_fits_its_child(
        options in any_options(),
        (children, failures) in any_history(),
    ) {
        prop_assert_eq!(options.mistakes(), vec![]);
        let mut policy = Policy::new(options);
        let ids = ids(children.len());
        for (id, child) in ids.iter().zip(&children) {
            policy.add(*id, child.restart, child.critical);
        }
        let mut now = Instant::now();
        // The model: when each restart was granted, and to whom.
        let mut granted: Vec<(Instant, usize)> = Vec::new();
        let window = Duration::from_secs(options.window_seconds);
        let (low, high) = delay_bounds(&options);
        for failure in failures {
            now += failure.after;
            let Child { restart, critical } = children[failure.child];
            let id = ids[failure.child];
            let actions = policy.on_down(id, failure.down, now);
            granted.retain(|(at, _)| now.duration_since(*at) <= window);
            let stays_down = restart == Restart::Temporary
                || (restart == Restart::Transient && failure.down == Down::Stopped);
            if stays_down {
                prop_assert_eq!(actions, vec![Action::Stop { id }]);
            } else if granted.len() == options.max_restarts as usize {
                let expected = if critical { Action::Escalate } else { Action::GiveUp { id } };
                prop_assert_eq!(actions, vec![expected]);
                if !critical {
                    granted.retain(|(_, child)| *child != failure.child);
                }
            } else {
                granted.push((now, failure.child));
                let concerned = concerned(options.strategy, failure.child, children.len());
                prop_assert_eq!(actions.len(), concerned.len());
                for (action, child) in actions.iter().zip(concerned) {
                    match action {
                        Action::Restart { id, delay } => {
                            prop_assert_eq!(*id, ids[child]);
                            prop_assert!(children[child].restart != Restart::Temporary);
                            prop_assert!((low..=high).contains(delay), "{:?}", delay);
                        }
                        Action::Stop { id } => {
                            prop_assert_eq!(*id, ids[child]);
                            prop_assert_eq!(children[child].restart, Restart::Temporary);
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            prop_assert!(granted.len() <= options.max_restarts as usize);
        }
    }

    #[test]
    fn delays_grow_while_crashes_follow_each_other_and_start_over_after_quiet(
        options in any_options(),
        crashes in 2_usize..12,
    ) {
        let options = PolicyOptions { max_restarts: 100, backoff_jitter: 0.0, ..options };
        let mut policy = Policy::new(options);
        let id = ChildId::from(1);
        policy.add(id, Restart::Permanent, true);
        let mut now = Instant::now();
        let mut delay_at = |now| match policy.on_down(id, Down::Panicked, now)[..] {
            [Action::Restart { delay, .. }] => delay,
            ref other => panic!("{other:?}"),
        };
        let first = delay_at(now);
        let mut last = first;
        for _ in 1..crashes {
            now += Duration::from_millis(10);
            let delay = delay_at(now);
            prop_assert!(delay >= last, "{:?} after {:?}", delay, last);
            last = delay;
        }
        now += Duration::from_secs(options.backoff_reset_after_seconds + 1);
        prop_assert_eq!(delay_at(now), first);
    }
}
