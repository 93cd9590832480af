//! What tools need of the cache: compute once, remember what lasts.
//!
//! The engine's cache handle is the only implementation outside tests.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use ultimate_mcp_actors::cache::{CacheHandle, Namespace};

use crate::error::ApiError;

/// What is not to be remembered.
#[derive(Debug)]
pub enum Unkept {
    /// A good answer for now only, e.g. because a linter was missing.
    Passing(Arc<str>),
    /// No answer.
    Failed(ApiError),
}

/// Remembers JSON by key, for one purpose with one life time.
pub trait Memo: Send + Sync + 'static {
    /// The remembered value, else what `compute` answers. Of callers who ask for the same key at the
    /// same time one computes; all get the result. What is [`Unkept`] is computed again next time.
    fn remember<'a>(
        &'a self,
        key: &'a str,
        compute: BoxFuture<'a, Result<Arc<str>, Unkept>>,
    ) -> BoxFuture<'a, Result<Arc<str>, Arc<Unkept>>>;
}

/// One namespace of the engine's cache.
pub struct CacheMemo {
    cache: CacheHandle,
    namespace: Namespace,
}

impl CacheMemo {
    /// This namespace of this cache.
    pub fn new(cache: CacheHandle, namespace: Namespace) -> Self {
        Self { cache, namespace }
    }
}

impl Memo for CacheMemo {
    fn remember<'a>(
        &'a self,
        key: &'a str,
        compute: BoxFuture<'a, Result<Arc<str>, Unkept>>,
    ) -> BoxFuture<'a, Result<Arc<str>, Arc<Unkept>>> {
        Box::pin(self.cache.get_or_compute(self.namespace, key, compute))
    }
}

/// The answer to several callers who waited for the same computation.
pub async fn remembered(
    memo: &dyn Memo,
    key: &str,
    compute: BoxFuture<'_, Result<Arc<str>, Unkept>>,
) -> Result<Arc<str>, ApiError> {
    match memo.remember(key, compute).await {
        Ok(json) => Ok(json),
        Err(unkept) => match unkept.as_ref() {
            Unkept::Passing(json) => Ok(json.clone()),
            Unkept::Failed(error) => Err(shared(error)),
        },
    }
}

/// The same error for one more caller; the cause stays with the first, who logs it.
pub(super) fn shared(error: &ApiError) -> ApiError {
    ApiError {
        code: error.code,
        public: error.public.clone(),
        retry: error.retry,
        problems: error.problems.clone(),
        data: error.data.clone(),
        json_rpc: error.json_rpc,
        scopes: error.scopes.clone(),
        wanted: error.wanted.clone(),
        source: None,
    }
}

#[cfg(test)]
pub(super) mod fake {
    //! A memo in a map.

    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    /// Remembers for as long as it lives.
    #[derive(Default)]
    pub struct FakeMemo(Mutex<HashMap<String, Arc<str>>>);

    impl Memo for FakeMemo {
        fn remember<'a>(
            &'a self,
            key: &'a str,
            compute: BoxFuture<'a, Result<Arc<str>, Unkept>>,
        ) -> BoxFuture<'a, Result<Arc<str>, Arc<Unkept>>> {
            Box::pin(async move {
                let known = self.0.lock().unwrap().get(key).cloned();
                if let Some(known) = known {
                    return Ok(known);
                }
                let value = compute.await.map_err(Arc::new)?;
                self.0.lock().unwrap().insert(key.to_owned(), value.clone());
                Ok(value)
            })
        }
    }
}
