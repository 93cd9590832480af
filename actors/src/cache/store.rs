//! The caches themselves: one per namespace, bounded by bytes and time, filled by one flight at a time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use serde::Serialize;

use super::options::CacheOptions;

/// Bytes counted for an entry beside its value: key, pointers, moka's own record.
const ENTRY_OVERHEAD_BYTES: u32 = 256;

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
}

/// What one namespace has done since its cache was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NamespaceStats {
    /// Which.
    pub namespace: Namespace,
    /// Answers from the cache, those that waited for another's computation included.
    pub hits: u64,
    /// Answers that were computed, failures included.
    pub misses: u64,
    /// Entries dropped for want of room.
    pub evictions: u64,
    /// Times it was emptied by [`super::CacheHandle::invalidate`].
    pub invalidations: u64,
    /// Entries held, as of the last housekeeping.
    pub entries: u64,
    /// Bytes held, as of the last housekeeping.
    pub bytes: u64,
}

/// Generation and SHA-256 of the caller's key: small however long the key is.
type Key = (u64, [u8; 32]);

/// All namespaces; replaced as a whole when the actor restarts.
pub(super) struct Caches {
    spaces: [Space; Namespace::ALL.len()],
}

struct Space {
    cache: Cache<Key, Arc<str>>,
    generation: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
}

impl Caches {
    pub(super) fn new(options: &CacheOptions) -> Self {
        let space = |namespace| match namespace {
            Namespace::Lint => (options.lint_mb_max, options.lint_ttl_seconds),
            Namespace::Graph => (options.graph_mb_max, options.graph_ttl_seconds),
        };
        let entry_bytes_max = options.entry_kb_max.saturating_mul(1024);
        Self {
            spaces: Namespace::ALL.map(|namespace| {
                let (mb_max, ttl_seconds) = space(namespace);
                Space::new(mb_max, ttl_seconds, entry_bytes_max)
            }),
        }
    }

    pub(super) async fn get_or_compute<E>(
        &self,
        namespace: Namespace,
        key: &str,
        compute: impl Future<Output = Result<Arc<str>, E>>,
    ) -> Result<Arc<str>, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        let space = self.space(namespace);
        // The generation is read before the computation: what an invalidation overtakes is stored
        // under the old one, where nobody looks any more.
        let generation = space.generation.load(Ordering::Acquire);
        let key = (generation, digest_of(key));
        let entry = space.cache.entry(key).or_try_insert_with(compute).await;
        let fresh = entry.as_ref().map_or(true, |entry| entry.is_fresh());
        let counter = if fresh { &space.misses } else { &space.hits };
        counter.fetch_add(1, Ordering::Relaxed);
        entry.map(moka::Entry::into_value)
    }

    pub(super) fn invalidate(&self, namespace: Namespace) {
        let space = self.space(namespace);
        space.generation.fetch_add(1, Ordering::AcqRel);
        space.cache.invalidate_all();
    }

    pub(super) fn stats(&self) -> Vec<NamespaceStats> {
        Namespace::ALL.map(|namespace| self.space(namespace).stats(namespace)).to_vec()
    }

    /// Drops what expired and brings the statistics up to date.
    pub(super) async fn tidy(&self) {
        for space in &self.spaces {
            space.cache.run_pending_tasks().await;
        }
    }

    #[cfg(test)]
    pub(super) fn time_to_live(&self, namespace: Namespace) -> Option<Duration> {
        self.space(namespace).cache.policy().time_to_live()
    }

    fn space(&self, namespace: Namespace) -> &Space {
        &self.spaces[namespace as usize]
    }
}

impl Space {
    fn new(mb_max: u64, ttl_seconds: u64, entry_bytes_max: u64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let counted = evictions.clone();
        let cache = Cache::builder()
            .max_capacity(mb_max.saturating_mul(1024 * 1024))
            .time_to_live(Duration::from_secs(ttl_seconds.max(1)))
            .eviction_policy(EvictionPolicy::tiny_lfu())
            .weigher(move |_, value: &Arc<str>| match value.len() as u64 <= entry_bytes_max {
                true => (value.len() as u32).saturating_add(ENTRY_OVERHEAD_BYTES),
                // Heavier than any cache: moka does not admit it.
                false => u32::MAX,
            })
            .eviction_listener(move |_, _, cause| {
                if cause == moka::notification::RemovalCause::Size {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        let (generation, hits, misses) = Default::default();
        Self { cache, generation, hits, misses, evictions }
    }

    fn stats(&self, namespace: Namespace) -> NamespaceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NamespaceStats {
            namespace,
            hits: read(&self.hits),
            misses: read(&self.misses),
            evictions: read(&self.evictions),
            invalidations: read(&self.generation),
            entries: self.cache.entry_count(),
            bytes: self.cache.weighted_size(),
        }
    }
}

fn digest_of(key: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    bytes
}
