//! The limit of calls in flight that a dependency bears, found from its latency. Owned by a bulkhead.
//!
//! The gradient controller of Envoy's `adaptive_concurrency` filter: of each window of samples,
//! `limit = limit × gradient + √limit`, `gradient = base × (1 + buffer) / mean`, where `base` is the latency
//! without a queue. The root is the queue it allows itself, to see whether more is borne. The base is
//! measured anew from time to time, with few calls in flight: the dependency may have changed for good.
//! Pure: told the time, it asks no clock.

use std::time::Duration;

use tokio::time::Instant;

/// A window ends when it has lasted this long and has this many samples.
const WINDOW: Duration = Duration::from_millis(100);
const SAMPLES_MIN: u32 = 10;
/// Latency may be this much above the base before the limit falls (Envoy's default: 25 %).
const BUFFER: f64 = 0.25;
/// One window changes the limit at most to this share, or by this factor (Envoy: 0.5 and 2).
const GRADIENT_MIN: f64 = 0.5;
const GRADIENT_MAX: f64 = 2.0;
/// The base is measured anew after this long (Envoy's example: 60 s).
const BASE_AGE: Duration = Duration::from_secs(60);

/// Latencies of calls, summed.
#[derive(Debug)]
struct Samples {
    since: Instant,
    count: u32,
    sum: Duration,
    /// Most calls seen in flight: a limit nobody reaches is not raised.
    in_flight_max: usize,
}

/// The controller.
#[derive(Debug)]
pub(super) struct Gradient {
    min: f64,
    max: f64,
    limit: f64,
    base: Option<Duration>,
    base_at: Instant,
    /// While the base is measured anew: the limit to return to.
    measuring: Option<f64>,
    samples: Samples,
}

impl Samples {
    fn new(since: Instant) -> Self {
        Self { since, count: 0, sum: Duration::ZERO, in_flight_max: 0 }
    }
}

impl Gradient {
    /// Begins at `min`, so that the first samples are of a dependency without a queue.
    pub(super) fn new(min: usize, max: usize, now: Instant) -> Self {
        let (min, max) = (min as f64, max.max(min) as f64);
        let samples = Samples::new(now);
        Self { min, max, limit: min, base: None, base_at: now, measuring: None, samples }
    }

    /// Other bounds; what was learned stays.
    pub(super) fn rebound(&mut self, min: usize, max: usize) {
        (self.min, self.max) = (min as f64, max.max(min) as f64);
        self.limit = self.limit.clamp(self.min, self.max);
        self.measuring = self.measuring.map(|limit| limit.clamp(self.min, self.max));
    }

    /// Calls that may be in flight now: from `min` to `max`.
    pub(super) fn limit(&self) -> usize {
        // In range by construction: both bounds were integers.
        self.limit as usize
    }

    /// One call ended after it began at `began`, while `in_flight` were, itself included.
    pub(super) fn observe(&mut self, began: Instant, now: Instant, in_flight: usize) {
        // While the base is measured, what began in the crowd before says nothing.
        if self.measuring.is_some() && began < self.samples.since {
            return;
        }
        let samples = &mut self.samples;
        samples.count += 1;
        samples.sum += now.saturating_duration_since(began);
        samples.in_flight_max = samples.in_flight_max.max(in_flight);
        let lasted = now.saturating_duration_since(samples.since);
        if samples.count >= SAMPLES_MIN && lasted >= WINDOW {
            self.close_window(now);
        }
    }

    fn close_window(&mut self, now: Instant) {
        let ended = std::mem::replace(&mut self.samples, Samples::new(now));
        let mean = ended.sum / ended.count;
        if let Some(limit) = self.measuring.take() {
            self.limit = limit;
            (self.base, self.base_at) = (Some(mean), now);
            return;
        }
        let base = self.base.map_or(mean, |base| base.min(mean));
        self.base = Some(base);
        if now.saturating_duration_since(self.base_at) >= BASE_AGE {
            self.measuring = Some(self.limit);
            self.limit = self.min;
            return;
        }
        let asked = base.as_secs_f64() * (1.0 + BUFFER);
        let gradient = asked / mean.as_secs_f64().max(f64::MIN_POSITIVE);
        let gradient = gradient.clamp(GRADIENT_MIN, GRADIENT_MAX);
        let next = (self.limit * gradient + self.limit.sqrt()).clamp(self.min, self.max);
        let reached = ended.in_flight_max as f64 * 2.0 >= self.limit;
        if next < self.limit || reached {
            self.limit = next;
        }
    }
}

#[cfg(test)]
#[path = "gradient_tests.rs"]
mod tests;
