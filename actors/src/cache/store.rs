//! The caches themselves: one per namespace, bounded by bytes and time, filled by one flight at a time
//! from the second tier or by computing.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::entry::{Computed, Entry, random};
use super::options::CacheOptions;
use super::shared::Shared;
use super::stats::{Counters, Namespace, NamespaceStats};
use super::sync::Generation;
use super::tiers::Filled;

/// Bytes counted for an entry beside its value: key, pointers, moka's own record.
const ENTRY_OVERHEAD_BYTES: u32 = 256;

/// Generation, epoch and SHA-256 of the caller's key: small however long the key is.
type Key = (u64, u64, [u8; 32]);

/// All namespaces; replaced as a whole when the actor restarts.
pub(super) struct Caches {
    spaces: [Space; Namespace::ALL.len()],
}

/// One namespace.
pub(super) struct Space {
    pub(super) namespace: Namespace,
    cache: Cache<Key, Arc<Entry>>,
    /// What was known last, past its life: for when it cannot be computed.
    last_good: Option<Cache<[u8; 32], LastGood>>,
    pub(super) ttl: Duration,
    pub(super) negative_ttl: Duration,
    pub(super) entry_bytes_max: u64,
    pub(super) shared: Option<Shared>,
    pub(super) generation: Generation,
    pub(super) counters: Counters,
    evictions: Arc<AtomicU64>,
}

/// A value that may be out of date.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// The value.
    pub value: Arc<str>,
    computed: Instant,
}

impl LastGood {
    /// How long ago it was computed or found in the second tier.
    pub fn age(&self) -> Duration {
        self.computed.elapsed()
    }
}

/// Each entry brings its own life.
struct OwnLife;

impl Expiry<Key, Arc<Entry>> for OwnLife {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.remaining())
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Arc<Entry>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.remaining())
    }
}

impl Caches {
    /// With a second tier for the namespaces whose values are the same on every node.
    pub(super) fn new(
        options: &CacheOptions,
        shared: impl Fn(Namespace) -> Option<Shared>,
    ) -> Self {
        Self { spaces: Namespace::ALL.map(|name| Space::new(name, options, shared(name))) }
    }

    pub(super) async fn get_or_compute<E>(
        &self,
        namespace: Namespace,
        key: &str,
        compute: impl Future<Output = Result<Computed, E>>,
    ) -> Result<Arc<str>, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        self.space(namespace).get_or_compute(digest_of(key), compute).await
    }

    pub(super) async fn last_good(&self, namespace: Namespace, key: &str) -> Option<LastGood> {
        self.space(namespace).last_good.as_ref()?.get(&digest_of(key)).await
    }

    pub(super) async fn invalidate(&self, namespace: Namespace) {
        self.space(namespace).invalidate().await;
    }

    /// Learns from Redis what other nodes have invalidated.
    pub(super) async fn sync(&self) {
        for space in &self.spaces {
            space.sync().await;
        }
    }

    pub(super) fn stats(&self) -> Vec<NamespaceStats> {
        Namespace::ALL.map(|namespace| self.space(namespace).stats()).to_vec()
    }

    /// Drops what expired and brings the statistics up to date.
    pub(super) async fn tidy(&self) {
        for space in &self.spaces {
            space.cache.run_pending_tasks().await;
        }
    }

    #[cfg(test)]
    pub(super) fn time_to_live(&self, namespace: Namespace) -> Duration {
        self.space(namespace).ttl
    }

    fn space(&self, namespace: Namespace) -> &Space {
        &self.spaces[namespace as usize]
    }
}

impl Space {
    fn new(namespace: Namespace, options: &CacheOptions, shared: Option<Shared>) -> Self {
        let seconds = |n: u64| Duration::from_secs(n.max(1));
        let (mb_max, ttl, negative_ttl, stale_seconds) = match namespace {
            Namespace::Lint => (options.lint_mb_max, options.lint_ttl_seconds, None, 0),
            Namespace::Graph => (
                options.graph_mb_max,
                options.graph_ttl_seconds,
                Some(options.graph_negative_ttl_seconds),
                options.graph_stale_seconds,
            ),
        };
        let bytes_max = mb_max.saturating_mul(1024 * 1024);
        let entry_bytes_max = options.entry_kb_max.saturating_mul(1024);
        let evictions = Arc::new(AtomicU64::new(0));
        let counted = evictions.clone();
        let cache = Cache::builder()
            .max_capacity(bytes_max)
            .expire_after(OwnLife)
            .eviction_policy(EvictionPolicy::tiny_lfu())
            .weigher(move |_, entry: &Arc<Entry>| weight(&entry.value, entry_bytes_max))
            .eviction_listener(move |_, _, cause| {
                if cause == moka::notification::RemovalCause::Size {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        let last_good = (stale_seconds > 0).then(|| {
            Cache::builder()
                .max_capacity(bytes_max)
                .time_to_live(seconds(stale_seconds))
                .weigher(move |_, good: &LastGood| weight(&good.value, entry_bytes_max))
                .build()
        });
        Self {
            namespace,
            cache,
            last_good,
            ttl: seconds(ttl),
            negative_ttl: seconds(negative_ttl.unwrap_or(ttl).min(ttl)),
            entry_bytes_max,
            // What is computed from the code alone cannot be out of date, heard or unheard.
            generation: Generation::new(shared.is_some() && namespace == Namespace::Graph),
            shared,
            counters: Counters::default(),
            evictions,
        }
    }

    async fn get_or_compute<E>(
        &self,
        digest: [u8; 32],
        compute: impl Future<Output = Result<Computed, E>>,
    ) -> Result<Arc<str>, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        // The generation is read before the computation: what an invalidation overtakes is stored
        // under the old one, where nobody looks any more.
        let key = (self.generation.now(), self.generation.epoch(), digest);
        if let Some(entry) = self.cache.get(&key).await {
            let due = entry.is_due(random());
            let Some(_renewal) = due.then(|| entry.renew()).flatten() else {
                self.counters.hit();
                return Ok(entry.value.clone());
            };
            self.counters.renewed();
            // What is there is good still, so a failure now is nobody's.
            let Ok(fresh) = Box::pin(self.compute(&digest, key.0, compute)).await else {
                return Ok(entry.value.clone());
            };
            self.cache.insert(key, fresh.clone()).await;
            return Ok(fresh.value.clone());
        }
        let filled = Filled::at(key.0);
        // On the heap: only misses come here, and moka moves the future about.
        let fill = Box::pin(self.fill(&digest, key.0, compute, &filled));
        let entry = self.cache.entry(key).or_try_insert_with(fill).await;
        let fresh = entry.as_ref().map_or(true, moka::Entry::is_fresh);
        match (fresh, filled.is_shared()) {
            (false, _) => self.counters.hit(),
            (true, true) => self.counters.shared_hit(),
            (true, false) => self.counters.miss(),
        }
        let entry = entry?.into_value();
        // Redis knew of a newer generation: under that one it will be looked for.
        if fresh && filled.generation() != key.0 {
            self.cache.insert((filled.generation(), key.1, digest), entry.clone()).await;
        }
        Ok(entry.value.clone())
    }

    /// Remembers it for when it cannot be computed.
    pub(super) async fn remember(&self, digest: &[u8; 32], value: &Arc<str>) {
        if let Some(cache) = &self.last_good {
            let good = LastGood { value: value.clone(), computed: Instant::now() };
            cache.insert(*digest, good).await;
        }
    }

    /// Frees what no key reaches any more.
    pub(super) fn clear(&self) {
        self.cache.invalidate_all();
    }

    fn stats(&self) -> NamespaceStats {
        NamespaceStats {
            evictions: self.evictions.load(Ordering::Relaxed),
            entries: self.cache.entry_count(),
            bytes: self.cache.weighted_size(),
            ..self.counters.read(self.namespace)
        }
    }
}

fn weight(value: &str, entry_bytes_max: u64) -> u32 {
    match value.len() as u64 <= entry_bytes_max {
        true => (value.len() as u32).saturating_add(ENTRY_OVERHEAD_BYTES),
        // Heavier than any cache: moka does not admit it.
        false => u32::MAX,
    }
}

fn digest_of(key: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    bytes
}
