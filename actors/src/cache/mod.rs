//! The cache of tool results, in process.
//!
//! A supervised actor owns it and publishes it; reading and filling it takes no hop. Called by the
//! face's tools. Never refuses: what cannot be cached is computed. Keys must hold everything the value
//! depends on, the caller's rights included.

mod actor;
mod options;
mod store;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::actor::CacheActor;
use self::store::Caches;
use crate::supervision::{ChildRef, ChildSpec, SpawnError, Supervisor};

pub use self::options::CacheOptions;
pub use self::store::{Namespace, NamespaceStats};

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
    pub async fn start(supervisor: &Supervisor, options: CacheOptions) -> Result<Self, SpawnError> {
        let published = Arc::new(ArcSwap::from_pointee(Caches::new(&options)));
        let (mailbox, shared) = (options.mailbox, published.clone());
        let spec = ChildSpec::new("cache", mailbox, move || {
            CacheActor::new(options.clone(), shared.clone())
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
        let caches = self.published.load_full();
        caches.get_or_compute(namespace, key, compute).await
    }

    /// Empties the namespace. A computation that began before is not seen by anybody who asks after.
    pub fn invalidate(&self, namespace: Namespace) {
        self.published.load().invalidate(namespace);
    }

    /// What the namespaces have done since the cache was made.
    pub fn stats(&self) -> Vec<NamespaceStats> {
        self.published.load().stats()
    }
}
