//! Changes of breakers on their way to the log, the audit and operators.
//!
//! Owns: the last change of each dependency's breaker, and how many were recorded lately. Called by: the
//! breakers, on the thread of the call that caused the change, so nothing here waits; the routes for
//! operators. A breaker that flaps is recorded [`RECORDED_MAX`] times a [`WINDOW`]; the next event that is
//! recorded says how many were left out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use ultimate_mcp_actors::audit::{AuditHandle, EventType, NewEvent, Phase};
use ultimate_mcp_actors::resilience::{BreakerObserver, BreakerState, Transition};

/// Most changes of one breaker that are recorded in a window: three outages of four changes with room
/// to spare, and one line every three seconds when a breaker flaps for days.
const RECORDED_MAX: u32 = 20;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);

/// The last change of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LastChange {
    /// From where.
    pub from: BreakerState,
    /// To where.
    pub to: BreakerState,
    /// Why.
    pub reason: &'static str,
    /// When.
    pub at: DateTime<Utc>,
}

/// Hears of every change of every breaker. Cheap to clone; clones share everything.
#[derive(Clone, Default)]
pub struct BreakerTrail(Arc<Inner>);

#[derive(Default)]
struct Inner {
    audit: OnceLock<AuditHandle>,
    seen: Mutex<HashMap<String, Seen>>,
}

struct Seen {
    last: LastChange,
    window_began: Instant,
    recorded: u32,
    left_out: u64,
}

impl BreakerTrail {
    /// What the breakers call.
    pub fn observer(&self) -> BreakerObserver {
        let trail = self.clone();
        Arc::new(move |dependency, transition| trail.hear(dependency, transition))
    }

    /// From now on changes are recorded.
    pub fn attach(&self, audit: AuditHandle) {
        let _ = self.0.audit.set(audit);
    }

    /// The last change of this dependency's breaker; `None` when it has been closed since the start.
    pub fn last(&self, dependency: &str) -> Option<LastChange> {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(dependency).map(|seen| seen.last)
    }

    fn hear(&self, dependency: &str, transition: Transition) {
        let Transition { from, to } = transition;
        let reason = reason(from, to);
        tracing::warn!(dependency, ?from, ?to, reason, "breaker");
        let change = LastChange { from, to, reason, at: Utc::now() };
        let Some(left_out) = self.count(dependency, change, Instant::now()) else { return };
        let Some(audit) = self.0.audit.get() else { return };
        if let Err(error) = audit.record(&entry(dependency, change, left_out)) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a change of a breaker was not recorded");
        }
    }

    /// Notes the change; how many before it were left out, or `None` when this one is left out too.
    fn count(&self, dependency: &str, change: LastChange, now: Instant) -> Option<u64> {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = seen.entry(dependency.to_owned()).or_insert(Seen {
            last: change,
            window_began: now,
            recorded: 0,
            left_out: 0,
        });
        entry.last = change;
        if now.duration_since(entry.window_began) >= WINDOW {
            entry.window_began = now;
            entry.recorded = 0;
        }
        if entry.recorded >= RECORDED_MAX {
            entry.left_out += 1;
            return None;
        }
        entry.recorded += 1;
        Some(std::mem::take(&mut entry.left_out))
    }
}

/// What brings a breaker from one state to another; the states leave only one cause each.
fn reason(from: BreakerState, to: BreakerState) -> &'static str {
    use BreakerState::{Closed, Disabled, ForcedOpen, HalfOpen, Open};
    match (from, to) {
        (_, ForcedOpen) => "an operator opened it",
        (_, Disabled) => "an operator closed it",
        (ForcedOpen | Disabled | Open, Closed) => "an operator reset it",
        (HalfOpen, Open) => "a probe failed or was slow",
        (_, Open) => "too many calls failed or were slow",
        (_, HalfOpen) => "the pause is over; probes go through",
        (_, Closed) => "the probes succeeded",
    }
}

fn entry(dependency: &str, change: LastChange, left_out: u64) -> NewEvent {
    let mut event = NewEvent::new(EventType::Breaker, Phase::Single, "breaker");
    event.resource = Some(format!("dependency:{dependency}").into());
    event.details.insert("from".into(), json!(change.from));
    event.details.insert("to".into(), json!(change.to));
    event.details.insert("reason".into(), json!(change.reason));
    if left_out > 0 {
        event.details.insert("changes_left_out".into(), json!(left_out));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flapping_breaker_is_recorded_a_bounded_number_of_times_and_the_rest_is_counted() {
        let trail = BreakerTrail::default();
        let (from, to) = (BreakerState::Closed, BreakerState::Open);
        let change = LastChange { from, to, reason: reason(from, to), at: Utc::now() };
        let began = Instant::now();
        let recorded = (0..1000).filter(|_| trail.count("redis", change, began).is_some()).count();
        assert_eq!(recorded, RECORDED_MAX as usize);
        assert_eq!(trail.count("neo4j", change, began), Some(0), "each has its own bound");
        let later = began + WINDOW;
        assert_eq!(trail.count("redis", change, later), Some(1000 - u64::from(RECORDED_MAX)));
        assert_eq!(trail.count("redis", change, later), Some(0));
        assert_eq!(trail.last("redis"), Some(change));
    }
}
