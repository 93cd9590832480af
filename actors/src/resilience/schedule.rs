//! The delay schedule: exponential, with jitter, never longer than its ceiling.
//!
//! Owns: the growth of one delay. Called by: the supervision policy.
//! Refuses: to sleep, to retry, to count; the caller does that.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;

/// How delays grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleOptions {
    /// The first delay, before jitter. Above zero, or the delays never grow.
    pub initial: Duration,
    /// No delay is longer than this, jitter included.
    pub max: Duration,
    /// Each delay is the one before times this; at least 1.
    pub multiplier: f64,
    /// Share of the delay by which it varies either way, 0 to 1: 0.5 turns 100 ms into 50 to 150 ms.
    pub jitter: f64,
}

/// A sequence of growing delays.
#[derive(Debug)]
pub struct Schedule {
    delays: backoff::ExponentialBackoff,
    max: Duration,
}

impl Schedule {
    /// Starts at the first delay. The options are taken as valid; their owner checks them.
    pub fn new(options: ScheduleOptions) -> Self {
        let delays = ExponentialBackoffBuilder::new()
            .with_initial_interval(options.initial)
            .with_max_interval(options.max)
            .with_multiplier(options.multiplier)
            .with_randomization_factor(options.jitter)
            .with_max_elapsed_time(None)
            .build();
        Self { delays, max: options.max }
    }

    /// The next delay; the one after it is longer.
    pub fn next_delay(&mut self) -> Duration {
        // The crate's jitter may pass its own ceiling; ours holds. `None` cannot come: no elapsed
        // time is set.
        self.delays.next_backoff().unwrap_or(self.max).min(self.max)
    }

    /// Back to the first delay.
    pub fn reset(&mut self) {
        self.delays.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_ceiling_and_start_over_on_reset() {
        let ms = Duration::from_millis;
        let options =
            ScheduleOptions { initial: ms(100), max: ms(350), multiplier: 2.0, jitter: 0.0 };
        let mut schedule = Schedule::new(options);
        let delays: Vec<_> = (0..4).map(|_| schedule.next_delay().as_millis()).collect();
        assert_eq!(delays, [100, 200, 350, 350]);
        schedule.reset();
        assert_eq!(schedule.next_delay(), ms(100));
    }

    #[test]
    fn jitter_never_passes_the_ceiling() {
        let max = Duration::from_millis(20);
        let options = ScheduleOptions {
            initial: Duration::from_millis(15),
            max,
            multiplier: 3.0,
            jitter: 1.0,
        };
        let mut schedule = Schedule::new(options);
        assert!((0..200).all(|_| schedule.next_delay() <= max));
    }
}
