//! What the supervisors tell the outside: one event per thing that happened to a child.
//!
//! Called by: the supervisors, on their own thread. An observer must not block; a panic in it is
//! caught and changes nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The child panicked.
    Crashed,
    /// The child blocked its thread too long and moved to a new one.
    Stalled,
    /// The child stopped by itself.
    Stopped,
    /// The child's thread went away under it.
    Vanished,
    /// The child will be restarted after this delay.
    Restarting {
        /// The backoff.
        delay_ms: u64,
    },
    /// The child used up its restarts; the engine goes on without it.
    GivenUp,
    /// The supervisor gave up; its parent decides.
    Escalated,
    /// An operator changed the supervisor's policy.
    Reconfigured,
}

/// One entry of the supervision record.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// The child or supervisor it happened to.
    pub name: Arc<str>,
    /// What happened.
    pub kind: EventKind,
    /// The panic's text, or the supervisor's words; bounded.
    pub text: Arc<str>,
    /// When (RFC 3339).
    pub at: DateTime<Utc>,
}

/// Receives every event of a tree.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// An observer for those who need none.
pub fn unobserved() -> Observer {
    Arc::new(|_| ())
}

pub(super) fn tell(observer: &Observer, event: &Event) {
    // Whatever it leaves half done is its own: we hand it a reference only.
    let _ = catch_unwind(AssertUnwindSafe(|| observer(event)));
}
