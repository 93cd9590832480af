//! Fault points: named places where a build with the feature `faults` fails on purpose. In any other build
//! each of them is nothing at all.
//!
//! Armed over `PUT /api/v1/faults/{point}` or by the variable `FAILPOINTS`, in the words of the crate `fail`
//! (`[N%][N*]action[->…]`): `off`, `panic`, `sleep(MS)`, `pause`, and beside them
//! `return(crash)` (the process ends at this very instruction, as by kill -9: no destructor runs),
//! `return(error)` (the step fails as it would of itself) and `return(delay=MS)` (latency that blocks no
//! thread where the place is asynchronous).

use std::time::Duration;

/// Every point: its name, and what lies on either side of it.
pub const POINTS: &[(&str, &str)] = &[
    ("audit.before_commit", "events are written, not yet durable; nobody was answered"),
    ("audit.after_commit", "events are durable; nobody was answered"),
    ("authorization.before_commit", "a fact of another node is written, not yet durable"),
    ("idempotency.before_commit", "a key is claimed, not yet durable; the call has not begun"),
    ("idempotency.after_commit", "a key is claimed for good; the call has not begun"),
    ("jobs.before_commit", "jobs are written, not yet durable; nobody was answered"),
    ("jobs.after_commit", "jobs are durable; nobody was answered"),
    ("cell.before_run", "a place is held; the launcher has not heard of the run"),
    ("cell.after_run", "the run is over; its caller has not heard of it"),
    ("neo4j.before_commit", "statements are carried out, the commit is not sent"),
    ("neo4j.after_commit", "the commit is answered; its caller has not heard of it"),
    ("redis.before_send", "a connection is at hand, the command is not sent"),
    ("redis.after_reply", "the command is answered; its caller has not heard of it"),
];

/// What a point tells the code it stands in.
#[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "then no point says anything"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Fail, as this step fails of itself.
    Error,
    /// Go on so much later.
    Delay(Duration),
}

/// Passes a point where nothing asynchronous may be awaited; true = fail.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "to block is the fault")]
pub(crate) fn passes_with_error(point: &str) -> bool {
    match reached(point) {
        Some(Fault::Error) => true,
        Some(Fault::Delay(time)) => {
            std::thread::sleep(time);
            false
        }
        None => false,
    }
}

/// Passes a point in asynchronous code; true = fail.
#[must_use]
pub(crate) async fn passes_with_error_later(point: &str) -> bool {
    match reached(point) {
        Some(Fault::Error) => true,
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            false
        }
        None => false,
    }
}

/// What SQLite says when there is no room.
pub(crate) fn disk_is_full() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None)
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
fn reached(_: &str) -> Option<Fault> {
    None
}

#[cfg(feature = "faults")]
fn reached(point: &str) -> Option<Fault> {
    debug_assert!(POINTS.iter().any(|(name, _)| *name == point), "{point} is not listed");
    fail::eval(point, |argument| parse(argument.as_deref().unwrap_or("error"))).flatten()
}

/// The argument of `return(…)`; what is not understood is no fault. Ends the process for `crash`.
#[cfg(feature = "faults")]
fn parse(argument: &str) -> Option<Fault> {
    match (argument, argument.split_once('=')) {
        ("crash", _) => std::process::abort(),
        ("error", _) => Some(Fault::Error),
        (_, Some(("delay", ms))) => {
            ms.parse().ok().map(|ms| Fault::Delay(Duration::from_millis(ms)))
        }
        _ => None,
    }
}

/// Arms a point of [`POINTS`].
///
/// # Errors
/// No such point, or not an action.
#[cfg(feature = "faults")]
pub fn arm(point: &str, action: &str) -> Result<(), String> {
    if !POINTS.iter().any(|(name, _)| *name == point) {
        return Err(format!("there is no fault point {point}"));
    }
    fail::cfg(point, action)
}

/// Disarms every point.
#[cfg(feature = "faults")]
pub fn disarm_all() {
    fail::list().iter().for_each(|(point, _)| fail::remove(point));
}

/// The points that are armed, and how.
#[cfg(feature = "faults")]
pub fn armed() -> Vec<(String, String)> {
    fail::list()
}

#[cfg(all(test, feature = "faults"))]
mod tests {
    use super::*;

    #[test]
    fn only_listed_points_are_armed_and_only_with_actions() {
        assert!(arm("audit.before_comit", "off").is_err());
        assert!(arm("audit.before_commit", "explode").is_err());
        assert_eq!(parse("error"), Some(Fault::Error));
        assert_eq!(parse("delay=5"), Some(Fault::Delay(Duration::from_millis(5))));
        assert_eq!((parse("delay=x"), parse("")), (None, None));
    }
}
