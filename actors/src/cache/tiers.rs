//! Filling an entry: from Redis, from another node that is computing it, or by computing.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::entry::{Computed, Entry, random};
use super::shared::{Found, Keys, LEASE_LOOK, LEASE_WAIT, Shared};
use super::store::Space;

/// Where an entry came from, and of which generation it is.
pub(super) struct Filled {
    shared: AtomicBool,
    generation: AtomicU64,
}

impl Filled {
    /// Of this generation, unless Redis says better.
    pub(super) fn at(generation: u64) -> Self {
        Self { shared: AtomicBool::new(false), generation: AtomicU64::new(generation) }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
}

impl Space {
    /// From the second tier, else computed; by one node at a time, as far as that can be had cheaply.
    pub(super) async fn fill<E>(
        &self,
        digest: &[u8; 32],
        generation: u64,
        compute: impl Future<Output = Result<Computed, E>>,
        filled: &Filled,
    ) -> Result<Arc<Entry>, E> {
        let Some((shared, keys)) = self.second_tier(digest) else {
            return self.compute(digest, generation, compute).await;
        };
        let Some(found) = self.look(shared, &keys).await else {
            return self.compute(digest, generation, compute).await;
        };
        let mut current = found.generation;
        // A value near its end is renewed by one node early, and used by the others.
        let due = found.entry.as_ref().is_none_or(|entry| entry.is_due(random()));
        let leased = due && self.lease(shared, &keys).await;
        let mut entry = found.entry.filter(|_| !leased);
        if entry.is_none() && !leased {
            (current, entry) = self.await_other(shared, &keys, current).await;
        }
        filled.generation.store(current, Ordering::Relaxed);
        if let Some(entry) = entry {
            filled.shared.store(true, Ordering::Relaxed);
            self.remember(digest, &entry.value).await;
            return Ok(Arc::new(entry));
        }
        let computed = self.compute_for(current, (shared, keys, leased), compute).await;
        if let Ok(entry) = &computed {
            self.remember(digest, &entry.value).await;
        }
        computed
    }

    /// Computes, and stores in both tiers.
    pub(super) async fn compute<E>(
        &self,
        digest: &[u8; 32],
        generation: u64,
        compute: impl Future<Output = Result<Computed, E>>,
    ) -> Result<Arc<Entry>, E> {
        let started = Instant::now();
        let entry = self.entry(compute.await?, started);
        self.remember(digest, &entry.value).await;
        if let Some((shared, keys)) = self.second_tier(digest) {
            self.store(shared.clone(), keys, generation, entry.clone(), false);
        }
        Ok(entry)
    }

    async fn compute_for<E>(
        &self,
        generation: u64,
        (shared, keys, leased): (&Shared, Keys, bool),
        compute: impl Future<Output = Result<Computed, E>>,
    ) -> Result<Arc<Entry>, E> {
        let started = Instant::now();
        match compute.await {
            Ok(computed) => {
                let entry = self.entry(computed, started);
                self.store(shared.clone(), keys, generation, entry.clone(), leased);
                Ok(entry)
            }
            Err(error) => {
                if leased {
                    let shared = shared.clone();
                    tokio::spawn(async move { shared.release(&keys).await });
                }
                Err(error)
            }
        }
    }

    fn entry(&self, computed: Computed, started: Instant) -> Arc<Entry> {
        let lives = if computed.negative { self.negative_ttl } else { self.ttl };
        Arc::new(Entry::new(computed.value, lives, started.elapsed()))
    }

    /// Nobody waits for it: whoever has the value goes on.
    fn store(&self, shared: Shared, keys: Keys, generation: u64, entry: Arc<Entry>, leased: bool) {
        let fits = entry.value.len() as u64 <= self.entry_bytes_max;
        tokio::spawn(async move {
            if fits {
                let _ = shared.store(&keys, generation, &entry).await;
            }
            if leased {
                shared.release(&keys).await;
            }
        });
    }

    /// Redis, unless it has not heard yet what this node has written.
    fn second_tier(&self, digest: &[u8; 32]) -> Option<(&Shared, Keys)> {
        let shared = self.shared.as_ref().filter(|_| !self.generation.owes())?;
        Some((shared, shared.keys(digest)))
    }

    async fn look(&self, shared: &Shared, keys: &Keys) -> Option<Found> {
        let before = self.generation.now();
        match shared.look(keys, self.ttl).await {
            Ok(found) => {
                self.adopt(before, found.generation);
                Some(found)
            }
            Err(_) => {
                // In a cluster it may be this key's node alone; the generation is asked for by itself.
                match shared.client().is_cluster() {
                    true => self.counters.shared_error(),
                    false => self.lose(),
                }
                None
            }
        }
    }

    async fn lease(&self, shared: &Shared, keys: &Keys) -> bool {
        // Without an answer this node computes: better twice than not at all.
        shared.lease(keys).await.unwrap_or(true)
    }

    /// Another node computes: its result, or nothing when it takes too long.
    async fn await_other(
        &self,
        shared: &Shared,
        keys: &Keys,
        mut generation: u64,
    ) -> (u64, Option<Entry>) {
        self.counters.lease_wait();
        let started = Instant::now();
        while started.elapsed() < LEASE_WAIT {
            tokio::time::sleep(LEASE_LOOK).await;
            let Some(found) = self.look(shared, keys).await else { break };
            generation = found.generation;
            if found.entry.is_some() {
                return (generation, found.entry);
            }
        }
        (generation, None)
    }
}
