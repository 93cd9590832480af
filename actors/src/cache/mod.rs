//! The cache of tool results: in process, and in Redis where the nodes share one.
//!
//! ```text
//! get_or_compute → this node (µs) → Redis, value and generation in one round trip → compute
//! ```
//! One computes while others wait: in the process always, among nodes by a lease with a bounded wait. A
//! supervised actor owns the caches and publishes them; reading and filling takes no hop. Called by the
//! face's tools. Never refuses: what cannot be cached is computed. Keys must hold everything the value
//! depends on, the caller's rights included.

mod actor;
mod entry;
mod options;
mod shared;
#[cfg(test)]
mod shared_tests;
mod stats;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod tiers;

use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::actor::CacheActor;
use self::shared::Shared;
use self::store::Caches;
use crate::redis::RedisClient;
use crate::supervision::{ChildRef, ChildSpec, SpawnError, Supervisor};

pub use self::entry::Computed;
pub use self::options::CacheOptions;
pub use self::stats::{Namespace, NamespaceStats};
pub use self::store::LastGood;

/// What the nodes share.
#[derive(Clone)]
pub struct Sharing {
    /// Where.
    pub redis: RedisClient,
    /// Whether all nodes ask the same graph; results of a graph of one's own stay on the node.
    pub graph: bool,
}

/// The way to the cache. Cheap to clone.
#[derive(Clone)]
pub struct CacheHandle {
    published: Arc<ArcSwap<Caches>>,
    /// Keeps the actor's place in the tree.
    #[cfg_attr(not(test), expect(dead_code, reason = "reads and writes take no hop"))]
    child: ChildRef<CacheActor>,
}

impl CacheHandle {
    /// Makes the caches and starts the actor as `cache`. The engine can serve without it.
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        options: CacheOptions,
        sharing: Option<Sharing>,
    ) -> Result<Self, SpawnError> {
        let published = Arc::new(ArcSwap::from_pointee(caches(&options, sharing.as_ref())));
        let (mailbox, own) = (options.mailbox, published.clone());
        let spec = ChildSpec::new("cache", mailbox, move || {
            CacheActor::new(options.clone(), sharing.clone(), own.clone())
        });
        let child = supervisor.spawn(spec.optional()).await?;
        Ok(Self { published, child })
    }

    /// The cached value, or the computed one. Of callers who ask for the same key at the same time one
    /// computes and all get the result; when that one leaves, another takes over. Errors reach
    /// everybody who waited and are not kept.
    ///
    /// # Errors
    /// What `compute` answered.
    pub async fn get_or_compute<E>(
        &self,
        namespace: Namespace,
        key: &str,
        compute: impl Future<Output = Result<Arc<str>, E>>,
    ) -> Result<Arc<str>, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        let compute = async { compute.await.map(Computed::from) };
        self.get_or_compute_with(namespace, key, compute).await
    }

    /// The same for a computation that says whether its result is a "not found".
    ///
    /// # Errors
    /// What `compute` answered.
    pub async fn get_or_compute_with<E>(
        &self,
        namespace: Namespace,
        key: &str,
        compute: impl Future<Output = Result<Computed, E>>,
    ) -> Result<Arc<str>, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        let caches = self.published.load_full();
        caches.get_or_compute(namespace, key, compute).await
    }

    /// What was the value once, though its life may be over: for when it cannot be computed.
    pub async fn last_good(&self, namespace: Namespace, key: &str) -> Option<LastGood> {
        let caches = self.published.load_full();
        caches.last_good(namespace, key).await
    }

    /// Empties the namespace, on every node. A computation that began before is not seen by anybody who
    /// asks after. While Redis is away other nodes hear of it when it is back.
    pub async fn invalidate(&self, namespace: Namespace) {
        let caches = self.published.load_full();
        caches.invalidate(namespace).await;
    }

    /// What the namespaces have done since the cache was made.
    pub fn stats(&self) -> Vec<NamespaceStats> {
        self.published.load().stats()
    }
}

impl Sharing {
    fn tier(&self, namespace: Namespace) -> Shared {
        Shared::new(self.redis.clone(), namespace)
    }
}

/// Lint results depend on the code and the linter alone, so all nodes share them.
fn caches(options: &CacheOptions, sharing: Option<&Sharing>) -> Caches {
    Caches::new(options, |namespace| {
        let sharing = sharing?;
        (namespace == Namespace::Lint || sharing.graph).then(|| sharing.tier(namespace))
    })
}
