//! The restart policy against a reference model: every short sequence of events, and long ones by chance.
//!
//! The model is written from the rules in `docs/supervision.md`. It keeps a diary of everything that
//! happened and derives each decision from all of it; it shares no code with the policy.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::options::PolicyOptions;
use super::policy::{Action, ChildId, Down, Policy, Restart, Strategy as Who};

/// Restart type and whether critical, in start order.
const CHILDREN: [(Restart, bool); 4] = [
    (Restart::Permanent, true),
    (Restart::Transient, false),
    (Restart::Temporary, false),
    (Restart::Permanent, false),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Panics(usize),
    Stops(usize),
    Stalls(usize),
    /// Seconds. Their sums meet neither the window (10) nor the time of quiet (5).
    Wait(u64),
    /// The parent restarts the supervisor.
    Forget,
}

use Event::*;

const ALL: [Event; 10] = [
    Panics(0),
    Stops(0),
    Panics(1),
    Stops(1),
    Panics(2),
    Panics(3),
    Stalls(3),
    Wait(4),
    Wait(11),
    Forget,
];

fn rules(strategy: Who, max_restarts: u32) -> PolicyOptions {
    PolicyOptions {
        strategy,
        max_restarts,
        window_seconds: 10,
        backoff_initial_ms: 100,
        backoff_max_ms: 500,
        backoff_multiplier: 2.0,
        backoff_jitter: 0.0,
        backoff_reset_after_seconds: 5,
        ..PolicyOptions::default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Up,
    /// Comes back in company only.
    Down,
    Gone,
}

/// A failure that was answered by a restart.
struct Entry {
    at: u64,
    child: usize,
}

struct Model {
    rules: PolicyOptions,
    now: u64,
    diary: Vec<Entry>,
    lives: [Life; 4],
}

impl Model {
    /// What has to be done; the children live accordingly afterwards.
    fn down(&mut self, child: usize, down: Down) -> Vec<Action> {
        let (restart, critical) = CHILDREN[child];
        let id = |child: usize| ChildId::from(child as u64);
        let returns = match restart {
            Restart::Permanent => true,
            Restart::Transient => down != Down::Stopped,
            Restart::Temporary => false,
        };
        if !returns {
            self.lives[child] = if restart == Restart::Temporary { Life::Gone } else { Life::Down };
            return vec![Action::Stop { id: id(child) }];
        }
        let recent =
            self.diary.iter().filter(|entry| self.now - entry.at <= self.rules.window_seconds);
        if recent.count() >= self.rules.max_restarts as usize {
            if critical {
                return vec![Action::Escalate];
            }
            self.lives[child] = Life::Gone;
            self.diary.retain(|entry| entry.child != child);
            return vec![Action::GiveUp { id: id(child) }];
        }
        self.diary.push(Entry { at: self.now, child });
        let delay = self.delay(child);
        let concerned = |other: &usize| match self.rules.strategy {
            Who::OneForOne => *other == child,
            Who::OneForAll => true,
            Who::RestForOne => *other >= child,
        };
        let concerned: Vec<usize> = (0..CHILDREN.len()).filter(concerned).collect();
        let mut actions = Vec::new();
        for other in concerned {
            if self.lives[other] == Life::Gone {
                continue;
            }
            if CHILDREN[other].0 == Restart::Temporary {
                self.lives[other] = Life::Gone;
                actions.push(Action::Stop { id: id(other) });
            } else {
                self.lives[other] = Life::Up;
                actions.push(Action::Restart { id: id(other), delay });
            }
        }
        actions
    }

    /// By the failures of the child without a quiet time between them, the latest included.
    fn delay(&self, child: usize) -> Duration {
        let own: Vec<u64> =
            self.diary.iter().filter(|entry| entry.child == child).map(|entry| entry.at).collect();
        let quiet = self.rules.backoff_reset_after_seconds;
        let in_row = own.windows(2).rev().take_while(|pair| pair[1] - pair[0] <= quiet).count();
        let ms = self.rules.backoff_initial_ms << in_row.min(16);
        Duration::from_millis(ms.min(self.rules.backoff_max_ms))
    }
}

fn compare(rules: PolicyOptions, events: &[Event]) {
    let mut policy = Policy::new(rules);
    for (child, (restart, critical)) in CHILDREN.into_iter().enumerate() {
        policy.add(ChildId::from(child as u64), restart, critical);
    }
    let begin = Instant::now();
    let mut model = Model { rules, now: 0, diary: Vec::new(), lives: [Life::Up; 4] };
    for (at, event) in events.iter().enumerate() {
        let (child, down) = match *event {
            Panics(child) => (child, Down::Panicked),
            Stops(child) => (child, Down::Stopped),
            Stalls(child) => (child, Down::Stalled),
            Wait(seconds) => {
                model.now += seconds;
                continue;
            }
            Forget => {
                policy.forget();
                model.diary.clear();
                continue;
            }
        };
        // What is down cannot go down.
        if model.lives[child] != Life::Up {
            continue;
        }
        let before = model.lives;
        let expected = model.down(child, down);
        let now = begin + Duration::from_secs(model.now);
        let real = policy.on_down(ChildId::from(child as u64), down, now);
        assert_eq!(real, expected, "{event:?}, number {at} of {events:?} with {rules:?}");
        for (child, lived) in before.into_iter().enumerate() {
            if lived != Life::Gone && model.lives[child] == Life::Gone {
                policy.remove(ChildId::from(child as u64));
            }
        }
        // The parent answers an escalation by a restart of all of it.
        if expected == [Action::Escalate] {
            policy.forget();
            model.diary.clear();
        }
    }
}

#[test]
fn every_sequence_of_five_failures_is_decided_as_the_rules_say() {
    for strategy in [Who::OneForOne, Who::OneForAll, Who::RestForOne] {
        for max_restarts in [0, 2] {
            let mut events = [ALL[0]; 5];
            for number in 0..ALL.len().pow(5) {
                let mut rest = number;
                for event in &mut events {
                    *event = ALL[rest % ALL.len()];
                    rest /= ALL.len();
                }
                compare(rules(strategy, max_restarts), &events);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn long_sequences_of_failures_are_decided_as_the_rules_say(
        strategy in prop::sample::select(vec![Who::OneForOne, Who::OneForAll, Who::RestForOne]),
        max_restarts in 0u32..6,
        events in prop::collection::vec(prop::sample::select(&ALL[..]), 1..200),
    ) {
        compare(rules(strategy, max_restarts), &events);
    }
}
