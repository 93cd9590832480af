//! How many events go into the next transaction: more while they are quick, fewer when slow or refused.
//!
//! Pure; owned by the shipper.

use std::time::Duration;

/// Events of the first transaction, and the least a failure leads back to in one step.
const FIRST: usize = 250;

/// The size in use.
#[derive(Debug)]
pub(super) struct BatchSize {
    now: usize,
    max: usize,
    target: Duration,
}

impl BatchSize {
    pub(super) fn new(max: usize, target: Duration) -> Self {
        Self { now: FIRST.min(max), max, target }
    }

    pub(super) fn get(&self) -> usize {
        self.now
    }

    /// A full transaction took this long.
    pub(super) fn took(&mut self, span: Duration) {
        if span * 2 <= self.target {
            self.now = (self.now * 2).min(self.max);
        } else if span > self.target {
            self.now = (self.now * 2 / 3).max(1);
        }
    }

    /// A transaction failed: it may have been too large for the server.
    pub(super) fn failed(&mut self) {
        self.now = (self.now / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_quick_shrinks_when_slow_and_stays_within_its_bounds() {
        let mut size = BatchSize::new(2000, Duration::from_millis(800));
        for _ in 0..10 {
            size.took(Duration::from_millis(100));
        }
        assert_eq!(size.get(), 2000);
        size.took(Duration::from_millis(600));
        assert_eq!(size.get(), 2000, "neither quick nor slow");
        size.took(Duration::from_millis(900));
        assert_eq!(size.get(), 1333);
        for _ in 0..20 {
            size.failed();
        }
        assert_eq!(size.get(), 1);
        size.took(Duration::ZERO);
        assert_eq!(size.get(), 2);
    }
}
