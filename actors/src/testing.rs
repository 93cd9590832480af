//! What the tests of several actors share.

use std::time::Duration;

use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::supervision::{PolicyOptions, Supervisor, unobserved};

/// A deadline that is reached only when a promise is broken.
pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// The root of a tree that restarts at once.
pub(crate) fn root() -> Supervisor {
    let policy = PolicyOptions { backoff_initial_ms: 1, backoff_max_ms: 1, ..Default::default() };
    Supervisor::root("test", policy, unobserved()).unwrap().0
}

pub(crate) fn caller(name: &str) -> CallerId {
    CallerId::parse(name).unwrap()
}
