//! Steps of the wall clock: set by hand, by an NTP daemon that had to, by a host that was suspended.
//!
//! Called by the housekeeping. Leases and waits are wall times, so that other nodes and later processes can read
//! them; time that only passes tells when the wall clock did not just pass with it.

use tokio::time::Instant;

use super::job::Millis;

/// Less is slewing, or a busy machine between two readings (`adjtime(3)` slews what is below half a second).
const STEP_MS_MIN: Millis = 1_000;

/// A wall clock that did something else than pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// What it would show.
    pub(super) before: Millis,
    /// What it shows.
    pub(super) now: Millis,
}

/// Compares the wall clock with time that only passes.
pub(super) struct Watch {
    wall: Millis,
    at: Instant,
}

impl Watch {
    /// Begins with this reading.
    pub(super) fn new(wall: Millis, at: Instant) -> Self {
        Self { wall, at }
    }

    /// Whether the wall clock stepped since the last reading.
    pub(super) fn look(&mut self, wall: Millis, at: Instant) -> Option<Step> {
        let passed = at.saturating_duration_since(self.at);
        let before = self.wall + i64::try_from(passed.as_millis()).unwrap_or(i64::MAX / 2);
        *self = Self { wall, at };
        ((wall - before).abs() >= STEP_MS_MIN).then_some(Step { before, now: wall })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_passes_is_no_step_and_one_that_jumps_is_told_with_what_it_would_show() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::new(50_000, start);
        assert_eq!(watch.look(52_000, after(2_000)), None);
        assert_eq!(watch.look(53_900, after(3_000)), None, "slewed");
        let ahead = Step { before: 54_900, now: 3_654_900 };
        assert_eq!(watch.look(3_654_900, after(4_000)), Some(ahead));
        assert_eq!(watch.look(3_655_900, after(5_000)), None, "told once");
        let back = Step { before: 3_656_900, now: 56_900 };
        assert_eq!(watch.look(56_900, after(6_000)), Some(back));
    }
}
