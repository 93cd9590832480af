//! What is cached together, and what each namespace has done.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What is cached together: same life time, invalidated at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Results of linters.
    Lint,
    /// Results of graph queries.
    Graph,
}

impl Namespace {
    /// Every namespace.
    pub const ALL: [Namespace; 2] = [Namespace::Lint, Namespace::Graph];

    /// In keys and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Namespace::Lint => "lint",
            Namespace::Graph => "graph",
        }
    }
}

/// What one namespace has done since its cache was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NamespaceStats {
    /// Which.
    pub namespace: Namespace,
    /// Answers from this node's cache, those that waited for another's computation included.
    pub hits: u64,
    /// Answers from Redis.
    pub shared_hits: u64,
    /// Answers that were computed, failures included.
    pub misses: u64,
    /// Computed before the end of their life, so that nobody waits at the end.
    pub renewed: u64,
    /// Looks at Redis that failed.
    pub shared_errors: u64,
    /// Times another node's computation was waited for.
    pub lease_waits: u64,
    /// Entries dropped for want of room.
    pub evictions: u64,
    /// Times it was emptied, by this node or another.
    pub invalidations: u64,
    /// Entries held, as of the last housekeeping.
    pub entries: u64,
    /// Bytes held, as of the last housekeeping.
    pub bytes: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    shared_hits: AtomicU64,
    misses: AtomicU64,
    renewed: AtomicU64,
    shared_errors: AtomicU64,
    lease_waits: AtomicU64,
    invalidations: AtomicU64,
}

impl Counters {
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shared_hit(&self) {
        self.shared_hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn renewed(&self) {
        self.renewed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shared_error(&self) {
        self.shared_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lease_wait(&self) {
        self.lease_waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn invalidated(&self) {
        self.invalidations.fetch_add(1, Ordering::Relaxed);
    }

    /// Entries, bytes and evictions are the cache's own.
    pub(super) fn read(&self, namespace: Namespace) -> NamespaceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NamespaceStats {
            namespace,
            hits: read(&self.hits),
            shared_hits: read(&self.shared_hits),
            misses: read(&self.misses),
            renewed: read(&self.renewed),
            shared_errors: read(&self.shared_errors),
            lease_waits: read(&self.lease_waits),
            evictions: 0,
            invalidations: read(&self.invalidations),
            entries: 0,
            bytes: 0,
        }
    }
}
