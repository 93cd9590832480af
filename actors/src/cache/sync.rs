//! Which generation of a namespace counts, on this node and on all.
//!
//! A write makes a new generation: a random number, so that one that was lost in a failover can never
//! come again by counting. Every look at Redis brings the current one; a node that neither looks nor
//! hears asks once a second. While Redis is away nobody can tell this node of writes elsewhere: then an
//! entry lives for [`EPOCH`] at most, and when Redis is back everything stored before is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::entry::token;
use super::store::Space;

/// Without a word from Redis for this long the generation is doubted.
const TRUST: Duration = Duration::from_secs(3);

/// How long entries live while it is doubted.
const EPOCH: Duration = Duration::from_secs(5);

pub(super) struct Generation {
    now: AtomicU64,
    /// Invalidations that Redis has not heard of. Until it has, this node does not read from it.
    owed: AtomicU64,
    /// Redis was away: writes may have gone unheard, and invalidations may be lost.
    lost: AtomicBool,
    /// Milliseconds after `born` at which Redis last confirmed it.
    confirmed_ms: AtomicU64,
    born: Instant,
    /// Whether other nodes can make entries out of date.
    doubtable: bool,
}

impl Generation {
    pub(super) fn new(doubtable: bool) -> Self {
        let (now, owed, lost, confirmed_ms) = Default::default();
        Self { now, owed, lost, confirmed_ms, born: Instant::now(), doubtable }
    }

    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }

    /// Part of every local key: it changes every few seconds while the generation is doubted.
    pub(super) fn epoch(&self) -> u64 {
        if !self.doubtable {
            return 0;
        }
        let age_ms = self.age_ms();
        let silent_ms = age_ms.saturating_sub(self.confirmed_ms.load(Ordering::Acquire));
        match silent_ms > TRUST.as_millis() as u64 {
            true => 1 + age_ms / EPOCH.as_millis() as u64,
            false => 0,
        }
    }

    /// Whether what Redis holds can be older than what this node has written.
    pub(super) fn owes(&self) -> bool {
        self.owed.load(Ordering::Acquire) > 0
    }

    fn confirmed(&self) {
        self.confirmed_ms.store(self.age_ms(), Ordering::Release);
    }

    fn age_ms(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }
}

impl Space {
    /// Redis says that `current` counts; `before` was this node's when it was asked. An invalidation of
    /// our own in between wins.
    pub(super) fn adopt(&self, before: u64, current: u64) {
        let generation = &self.generation;
        generation.confirmed();
        if before == current || generation.owes() {
            return;
        }
        let (acquire, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
        if generation.now.compare_exchange(before, current, acquire, relaxed).is_ok() {
            self.counters.invalidated();
            self.clear();
        }
    }

    /// Redis did not answer.
    pub(super) fn lose(&self) {
        self.counters.shared_error();
        self.generation.lost.store(true, Ordering::Release);
    }

    /// Drops everything, here and on all nodes. When Redis cannot be told, it is told later.
    pub(super) async fn invalidate(&self) {
        let shared = self.shared.as_ref();
        if shared.is_some() {
            self.generation.owed.fetch_add(1, Ordering::AcqRel);
        }
        let to = token();
        self.generation.now.store(to, Ordering::Release);
        self.counters.invalidated();
        self.clear();
        let Some(shared) = shared else { return };
        match shared.renew_promptly(to).await {
            Ok(()) => drop(self.generation.owed.fetch_sub(1, Ordering::AcqRel)),
            Err(_) => self.lose(),
        }
    }

    /// Learns what counts now; after an outage makes sure that nothing of before does.
    pub(super) async fn sync(&self) {
        let Some(shared) = &self.shared else { return };
        let generation = &self.generation;
        let before = generation.now();
        let current = match shared.generation().await {
            Ok(current) => current,
            Err(_) => return self.lose(),
        };
        let owed = generation.owed.load(Ordering::Acquire);
        let lost = generation.lost.load(Ordering::Acquire) && generation.doubtable;
        if owed == 0 && !lost {
            return self.adopt(before, current);
        }
        let to = token();
        generation.now.store(to, Ordering::Release);
        self.counters.invalidated();
        self.clear();
        if shared.renew(to).await.is_ok() {
            generation.lost.store(false, Ordering::Release);
            generation.owed.fetch_sub(owed, Ordering::AcqRel);
            generation.confirmed();
        }
    }
}
