//! A point in time by which an answer is wanted; travels inside every message.

use std::time::Duration;

use tokio::time::Instant;

/// When the caller stops waiting. Copied through every hop, so that no hop waits longer than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `span` from now.
    pub fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
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
        Self(self.0.min(Instant::now() + span))
    }

    /// The instant, for `tokio::time::timeout_at`.
    pub fn instant(&self) -> Instant {
        self.0
    }
}
