//! The calls a breaker judges by: of the last seconds, or the last so many. Owned by the breaker.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::options::BreakerOptions;

/// A time window moves in steps of this share of its length, so that its memory does not grow with the
/// rate of calls.
const SLICES: u32 = 10;

/// Calls, and how many of them failed or were slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub calls: u32,
    pub failed: u32,
    pub slow: u32,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    /// Whether the dependency is to be left alone.
    pub(super) fn trips(&self, options: &BreakerOptions) -> bool {
        let percent = |part: u32| u64::from(part) * 100 / u64::from(self.calls.max(1));
        self.calls >= options.calls_min
            && (percent(self.failed) >= u64::from(options.failure_percent)
                || percent(self.slow) >= u64::from(options.slow_percent))
    }
}

/// Slices of time, or single calls; oldest first.
#[derive(Debug, Default)]
pub(super) struct Window {
    pieces: VecDeque<(Instant, Tally)>,
}

impl Window {
    pub(super) fn push(&mut self, now: Instant, failed: bool, slow: bool, by: &BreakerOptions) {
        let one = Tally { calls: 1, failed: failed.into(), slow: slow.into() };
        if by.window_calls > 0 {
            self.pieces.push_back((now, one));
        } else {
            let slice = Duration::from_secs(by.window_seconds) / SLICES;
            match self.pieces.back_mut() {
                Some((began, tally)) if now.duration_since(*began) < slice => tally.add(one),
                _ => self.pieces.push_back((now, one)),
            }
        }
        self.expire(now, by);
    }

    /// What is in the window now.
    pub(super) fn tally(&mut self, now: Instant, by: &BreakerOptions) -> Tally {
        self.expire(now, by);
        let mut sum = Tally::default();
        self.pieces.iter().for_each(|(_, tally)| sum.add(*tally));
        sum
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
    }

    fn expire(&mut self, now: Instant, by: &BreakerOptions) {
        let length = Duration::from_secs(by.window_seconds);
        let old = |(began, _): &(Instant, Tally)| now.duration_since(*began) >= length;
        if by.window_calls > 0 {
            while self.pieces.len() > by.window_calls as usize {
                self.pieces.pop_front();
            }
        } else {
            while self.pieces.front().is_some_and(old) {
                self.pieces.pop_front();
            }
        }
    }
}
