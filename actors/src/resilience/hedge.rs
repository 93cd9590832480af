//! When a read is worth a second request (Dean & Barroso, "The Tail at Scale", 2013: hedged requests after
//! the 95th percentile). Owned by a dependency; counts what came of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::options::HedgeOptions;

/// The percentile is that of this many latest answers; fewer than the least say nothing, and no read is
/// hedged yet.
const KEPT: usize = 128;
const LEAST: usize = 20;
/// The share of answers that are faster than the delay.
const PERCENTILE: usize = 95;
/// A second request sooner than this would not come back sooner.
const DELAY_MIN: Duration = Duration::from_millis(1);

/// What hedging did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HedgeCounts {
    /// Second requests sent.
    pub sent: u64,
    /// Of them answered first.
    pub won: u64,
}

#[derive(Debug, Default)]
struct Latest {
    durations: Vec<Duration>,
    next: usize,
}

#[derive(Debug, Default)]
pub(super) struct Hedge {
    latest: Mutex<Latest>,
    sent: AtomicU64,
    won: AtomicU64,
}

impl Hedge {
    /// A read was answered this long after its first request: a second one that won does not make the
    /// dependency look faster than it is.
    pub(super) fn observe(&self, options: &HedgeOptions, took: Duration) {
        if !options.enabled || options.delay_ms > 0 {
            return;
        }
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let next = latest.next;
        match latest.durations.get_mut(next) {
            Some(oldest) => *oldest = took,
            None => latest.durations.push(took),
        }
        latest.next = (next + 1) % KEPT;
    }

    /// How long to wait for the first answer; `None` when there is to be no second request.
    pub(super) fn delay(&self, options: &HedgeOptions) -> Option<Duration> {
        if !options.enabled {
            return None;
        }
        if options.delay_ms > 0 {
            return Some(Duration::from_millis(options.delay_ms));
        }
        let mut durations = {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.durations.clone()
        };
        if durations.len() < LEAST {
            return None;
        }
        let rank = durations.len() * PERCENTILE / 100;
        let (_, at_rank, _) = durations.select_nth_unstable(rank);
        Some((*at_rank).max(DELAY_MIN))
    }

    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_won(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> HedgeCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HedgeCounts { sent: read(&self.sent), won: read(&self.won) }
    }
}
