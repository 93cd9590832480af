//! What an operator can set about a dependency. Read by the face from `<section>.resilience.*`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::schedule::ScheduleOptions;
use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Delays vary by this share either way, so that callers do not come back in step.
const JITTER: f64 = 0.2;
/// Growth from one delay to the next.
const MULTIPLIER: f64 = 2.0;

/// Everything that stands in front of one dependency; `docs/resilience.md` has the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DependencyOptions {
    /// Calls in flight at once.
    pub concurrent_max: usize,
    /// Calls in flight that adaptive concurrency always allows; `concurrent_max` when that is less.
    pub concurrent_min: usize,
    /// Who sets the limit of calls in flight.
    pub concurrency: Concurrency,
    /// Of the limit, in percent, what one caller may hold; 100: all of it. At least one place.
    pub concurrent_caller_percent: u32,
    /// Of the limit, in percent, what background work may hold. At least one place.
    pub concurrent_background_percent: u32,
    /// How long a call may wait for a place, in milliseconds.
    pub wait_ms: u64,
    /// How long one attempt may take, in milliseconds; the caller's deadline may be earlier.
    pub attempt_timeout_ms: u64,
    /// When and how often an attempt is repeated.
    pub retry: RetryOptions,
    /// When a read that takes long is sent a second time.
    pub hedge: HedgeOptions,
    /// When calls are refused without an attempt.
    pub breaker: BreakerOptions,
}

/// Who sets the limit of calls in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// `concurrent_max` is the limit.
    #[default]
    Fixed,
    /// The latency of the dependency, between `concurrent_min` and `concurrent_max`.
    Adaptive,
}

/// When a read that takes long is sent a second time, and the first answer taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HedgeOptions {
    /// Whether reads are hedged at all. Each second request is paid for by the retry budget.
    pub enabled: bool,
    /// Milliseconds until the second request; 0: as long as 95 % of the latest reads took.
    pub delay_ms: u64,
}

/// When and how often an attempt is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryOptions {
    /// Attempts of one call, the first included.
    pub attempts_max: u32,
    /// Delay before the second attempt, in milliseconds; it doubles from then on.
    pub initial_ms: u64,
    /// Longest delay, in milliseconds.
    pub max_ms: u64,
    /// Retries of all callers together, in percent of their calls: a dependency that is down is not
    /// asked three times as often as one that is well.
    pub budget_percent: u32,
    /// Retries per second that are always allowed, so that a quiet server can retry at all.
    pub budget_per_second: u32,
}

/// When calls are refused without an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerOptions {
    /// Length of the sliding window in seconds.
    pub window_seconds: u64,
    /// With a number above zero, the window is this many calls instead.
    pub window_calls: u32,
    /// Fewer calls in the window say nothing.
    pub calls_min: u32,
    /// Failures in percent of the window's calls at which the breaker opens.
    pub failure_percent: u32,
    /// A call this long counts as slow, in milliseconds.
    pub slow_ms: u64,
    /// Slow calls in percent of the window's calls at which the breaker opens.
    pub slow_percent: u32,
    /// Probes in flight at once while half-open; other calls are refused.
    pub probes_max: u32,
    /// Probes that must succeed before it closes.
    pub probes_needed: u32,
    /// How long it stays open the first time, in milliseconds; it doubles while probes fail.
    pub open_initial_ms: u64,
    /// Longest time it stays open, in milliseconds: the longest that a recovery goes unnoticed.
    pub open_max_ms: u64,
}

impl Default for DependencyOptions {
    fn default() -> Self {
        Self {
            concurrent_max: 64,
            concurrent_min: 4,
            concurrency: Concurrency::Fixed,
            concurrent_caller_percent: 100,
            concurrent_background_percent: 50,
            wait_ms: 1000,
            attempt_timeout_ms: 5000,
            retry: RetryOptions::default(),
            hedge: HedgeOptions::default(),
            breaker: BreakerOptions::default(),
        }
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            initial_ms: 50,
            max_ms: 1000,
            budget_percent: 10,
            budget_per_second: 5,
        }
    }
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            window_seconds: 30,
            window_calls: 0,
            calls_min: 5,
            failure_percent: 50,
            slow_ms: 2000,
            slow_percent: 80,
            probes_max: 1,
            probes_needed: 2,
            open_initial_ms: 500,
            open_max_ms: 2000,
        }
    }
}

impl DependencyOptions {
    /// Every value out of range, with its key below the section.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let (retry, breaker) = (&self.retry, &self.breaker);
        let mut found = mistakes([
            ("concurrent_max", self.concurrent_max as u64, 1..=65_536),
            ("concurrent_min", self.concurrent_min as u64, 1..=65_536),
            ("concurrent_caller_percent", u64::from(self.concurrent_caller_percent), 1..=100),
            (
                "concurrent_background_percent",
                u64::from(self.concurrent_background_percent),
                1..=100,
            ),
            ("wait_ms", self.wait_ms, 0..=60_000),
            ("attempt_timeout_ms", self.attempt_timeout_ms, 10..=600_000),
            ("retry.attempts_max", u64::from(retry.attempts_max), 1..=20),
            ("retry.initial_ms", retry.initial_ms, 1..=60_000),
            ("retry.max_ms", retry.max_ms, 1..=600_000),
            ("retry.budget_percent", u64::from(retry.budget_percent), 0..=100),
            ("retry.budget_per_second", u64::from(retry.budget_per_second), 0..=10_000),
            ("hedge.delay_ms", self.hedge.delay_ms, 0..=60_000),
            ("breaker.window_seconds", breaker.window_seconds, 1..=3600),
            ("breaker.window_calls", u64::from(breaker.window_calls), 0..=100_000),
            ("breaker.calls_min", u64::from(breaker.calls_min), 1..=100_000),
            ("breaker.failure_percent", u64::from(breaker.failure_percent), 1..=100),
            ("breaker.slow_ms", breaker.slow_ms, 1..=600_000),
            ("breaker.slow_percent", u64::from(breaker.slow_percent), 1..=100),
            ("breaker.probes_max", u64::from(breaker.probes_max), 1..=1000),
            ("breaker.probes_needed", u64::from(breaker.probes_needed), 1..=1000),
            ("breaker.open_initial_ms", breaker.open_initial_ms, 1..=600_000),
            ("breaker.open_max_ms", breaker.open_max_ms, 1..=3_600_000),
        ]);
        let pairs = [
            ("retry.max_ms", retry.initial_ms, retry.max_ms, "retry.initial_ms"),
            (
                "breaker.open_max_ms",
                breaker.open_initial_ms,
                breaker.open_max_ms,
                "breaker.open_initial_ms",
            ),
        ];
        for (key, low, high, low_key) in pairs {
            if high < low {
                found.push(InvalidOption {
                    key: key.to_owned(),
                    message: format!("{high} is below {low_key}, which is {low}"),
                });
            }
        }
        found
    }
}

impl DependencyOptions {
    /// What adaptive concurrency always allows.
    pub(super) fn concurrent_least(&self) -> usize {
        self.concurrent_min.min(self.concurrent_max)
    }
}

impl RetryOptions {
    pub(super) fn schedule(&self) -> ScheduleOptions {
        growing(self.initial_ms, self.max_ms)
    }
}

impl BreakerOptions {
    pub(super) fn schedule(&self) -> ScheduleOptions {
        growing(self.open_initial_ms, self.open_max_ms)
    }
}

fn growing(initial_ms: u64, max_ms: u64) -> ScheduleOptions {
    ScheduleOptions {
        initial: Duration::from_millis(initial_ms),
        max: Duration::from_millis(max_ms),
        multiplier: MULTIPLIER,
        jitter: JITTER,
    }
}
