//! How shipping gets on, readable without asking it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use serde::Serialize;

/// How shipping gets on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShippingStatus {
    /// Events that are not in Neo4j yet. Until Neo4j has said how far it is, all there are.
    pub lag_events: u64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: f64,
    /// Seq of the last event that is in Neo4j; `None` until Neo4j has said so.
    pub shipped_seq: Option<i64>,
    /// Events shipped since the process started.
    pub events_shipped: u64,
    /// Transactions that took them.
    pub batches: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Events in the next transaction, at most.
    pub batch_events: u64,
    /// Why it does not get on; `None` when it does.
    pub problem: Option<String>,
    /// Whether the lag is more than `lag_degraded_seconds`.
    pub lagging: bool,
}

/// What [`ShippingStatus`] is read from.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub known: AtomicBool,
    pub shipped_seq: AtomicI64,
    /// When the oldest event that is not shipped was recorded; 0 when all are.
    pub oldest_us: AtomicI64,
    pub events: AtomicU64,
    pub batches: AtomicU64,
    pub failures: AtomicU64,
    pub batch_events: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Shared {
    /// Notes why it does not get on; says whether that is news.
    pub(super) fn fail(&self, problem: String) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut told = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let news = told.as_ref() != Some(&problem);
        *told = Some(problem);
        news
    }

    /// Notes that it gets on; says whether that is news.
    pub(super) fn succeed(&self) -> bool {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    pub(super) fn read(&self, last_seq: i64, lag_degraded_seconds: u64) -> ShippingStatus {
        let shipped = self.shipped_seq.load(Ordering::Relaxed);
        let lag_events = last_seq.saturating_sub(shipped).max(0) as u64;
        let oldest_us = self.oldest_us.load(Ordering::Relaxed);
        let age_us = chrono::Utc::now().timestamp_micros().saturating_sub(oldest_us).max(0);
        let waits = lag_events > 0 && oldest_us > 0;
        let lag_seconds = if waits { age_us as f64 / 1e6 } else { 0.0 };
        ShippingStatus {
            lag_events,
            lag_seconds,
            shipped_seq: self.known.load(Ordering::Relaxed).then_some(shipped),
            events_shipped: self.events.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            batch_events: self.batch_events.load(Ordering::Relaxed),
            problem: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            lagging: lag_seconds > lag_degraded_seconds as f64,
        }
    }
}
