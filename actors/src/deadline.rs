//! A point in time by which an answer is wanted; travels inside every message.

use std::time::Duration;

use tokio::time::Instant;

/// When the caller stops waiting. Copied through every hop, so that no hop waits longer than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `span` from now.
    pub fn after(span: Duration) -> Self {
        Self(after_now(span))
    }

    /// What is left; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is left.
    pub fn is_past(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of this one and `span` from now.
    pub fn at_most(&self, span: Duration) -> Self {
        Self(self.0.min(after_now(span)))
    }

    /// The instant, for `tokio::time::timeout_at`.
    pub fn instant(&self) -> Instant {
        self.0
    }
}

/// `span` from now; a span beyond what the clock can hold counts as thirty years.
fn after_now(span: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(span).unwrap_or_else(|| now + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_no_clock_can_hold_is_a_far_deadline_and_no_panic() {
        assert!(Deadline::after(Duration::MAX).remaining() > Duration::from_secs(86_400));
    }
}
