//! Draining: admission closes everywhere at once, then children end one after another, last started
//! first.
//!
//! Owns: the order and the account of what was lost. Called by: the supervisors' actors.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::control::Control;

/// How long after the deadline a child may still take for its stop hooks.
pub(super) const DRAIN_GRACE: Duration = Duration::from_millis(250);

/// Messages a child accepted and did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Name of the child.
    pub child: Arc<str>,
    /// How many messages.
    pub messages: u64,
}

/// What a drain came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DrainReport {
    /// Per child with losses, in the order in which they ended.
    pub lost: Vec<Lost>,
}

impl DrainReport {
    /// Whether every accepted message was answered.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
    }
}

/// Drains children given in start order.
pub(super) async fn drain(children: Vec<Arc<dyn Control>>, until: Instant) -> DrainReport {
    let mut lost = Vec::new();
    for child in children.into_iter().rev() {
        lost.extend(child.drain(until).await);
    }
    DrainReport { lost }
}
