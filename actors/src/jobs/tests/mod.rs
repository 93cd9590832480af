//! What the queue promises: a contract for every store, a random walk beside a model, the workers.

mod contract;
mod journal;
mod model;
mod redis;
mod sqlite;
mod working;

use std::sync::Arc;

use super::job::{Identity, JobSpec, Lane, Millis};
use super::store::{JobStore, NewJob, Rules};
use crate::ids::JobId;
use crate::testing::caller;

/// A time to begin with; whole seconds.
pub(super) const T0: Millis = 1_800_000_000_000;

pub(super) fn rules() -> Rules {
    Rules {
        retry_lost_ms: 500,
        dead_ttl_ms: 100_000,
        events_max: 4,
        per_caller_max: 50,
        total_max: 100,
        schedules_per_caller_max: 2,
        schedules_max: 3,
    }
}

pub(super) fn identity(name: &str) -> Identity {
    Identity {
        caller: caller(name),
        roles: vec!["developer".to_owned()],
        token_id: Some("jti".to_owned()),
        issued_at: T0 / 1000,
    }
}

/// A job of `ada` in the normal lane, due now, not idempotent, three attempts.
pub(super) fn job(now: Millis) -> NewJob {
    NewJob {
        spec: JobSpec {
            id: JobId::new(),
            identity: identity("ada"),
            tool: "execute_code".to_owned(),
            lane: Lane::Normal,
            idempotent: false,
            max_attempts: 3,
            result_ttl_ms: 10_000,
            created_at: now,
            trace: None,
            request_id: None,
            schedule: None,
            dedupe: None,
        },
        run_at: now,
        payload: b"sealed".to_vec(),
    }
}

/// A store to test, with what keeps it alive.
pub(super) struct Fixture {
    pub(super) store: Arc<dyn JobStore>,
    #[allow(dead_code, reason = "held for its drop")]
    pub(super) keep: Box<dyn std::any::Any>,
}
