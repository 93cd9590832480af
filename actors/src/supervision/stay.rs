//! A stay: the time a child spends on one thread.
//!
//! Owns: what is in hand there and how long its thread has been silent. Written by: the cell on that
//! thread. Read by: the watchdog and the snapshot, from others. Measures real time on purpose: a
//! blocked thread blocks real time, whatever a test's clock says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::hand::Hand;

/// One stay of a child on one thread. A stuck thread keeps its own, the replacement gets a new one.
pub(super) struct Stay {
    /// Rises with every replacement; only the highest may take messages from the inbox.
    pub(super) number: u64,
    /// Messages handed to handlers and not answered yet.
    pub(super) hand: Hand,
    epoch: Instant,
    /// Microseconds after `epoch` at which the present poll began; 0: not in a poll.
    busy_since_us: AtomicU64,
    /// Microseconds after `epoch` at which an unanswered ping was sent; 0: none.
    pinged_us: AtomicU64,
}

impl Stay {
    pub(super) fn new(number: u64) -> Arc<Self> {
        Arc::new(Self {
            number,
            hand: Hand::default(),
            epoch: Instant::now(),
            busy_since_us: AtomicU64::new(0),
            pinged_us: AtomicU64::new(0),
        })
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn enter(&self) {
        self.busy_since_us.store(self.now_us(), Ordering::Release);
    }

    pub(super) fn leave(&self) {
        self.busy_since_us.store(0, Ordering::Release);
    }

    /// How long the present poll runs.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        self.since(&self.busy_since_us)
    }

    /// Notes a ping, unless one is still unanswered. True: send it.
    pub(super) fn ping(&self) -> bool {
        let (none, now) = (0, self.now_us());
        self.pinged_us.compare_exchange(none, now, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn pong(&self) {
        self.pinged_us.store(0, Ordering::Release);
    }

    /// How long a ping has been unanswered.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        self.since(&self.pinged_us)
    }

    fn since(&self, stamp: &AtomicU64) -> Option<Duration> {
        match stamp.load(Ordering::Acquire) {
            0 => None,
            began => Some(Duration::from_micros(self.now_us().saturating_sub(began))),
        }
    }
}
