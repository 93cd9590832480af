//! What the cache promises.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use tokio::sync::oneshot;

use super::actor::Crash;
use super::*;
use crate::testing::{root, soon};

async fn started(options: CacheOptions) -> CacheHandle {
    CacheHandle::start(&root(), options, None).await.unwrap()
}

async fn get(cache: &CacheHandle, namespace: Namespace, key: &str, value: &str) -> Arc<str> {
    let compute = async { Ok::<Arc<str>, Infallible>(value.into()) };
    cache.get_or_compute(namespace, key, compute).await.unwrap()
}

#[actix::test]
async fn callers_of_the_same_key_share_one_computation() {
    let cache = started(CacheOptions::default()).await;
    let computed = AtomicUsize::new(0);
    let callers = (0..50).map(|_| {
        cache.get_or_compute(Namespace::Lint, "same", async {
            computed.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok::<Arc<str>, Infallible>("value".into())
        })
    });
    for answer in join_all(callers).await {
        assert_eq!(&*answer.unwrap(), "value");
    }
    assert_eq!(computed.load(Ordering::Relaxed), 1);
    let lint = cache.stats()[0];
    assert_eq!((lint.namespace, lint.misses, lint.hits), (Namespace::Lint, 1, 49));
}

#[actix::test]
async fn errors_reach_the_caller_and_are_not_kept() {
    let cache = started(CacheOptions::default()).await;
    for _ in 0..3 {
        let failed = cache.get_or_compute(Namespace::Graph, "key", async { Err("down") }).await;
        assert_eq!(*failed.unwrap_err(), "down");
    }
    assert_eq!(&*get(&cache, Namespace::Graph, "key", "up").await, "up");
}

#[actix::test]
async fn a_caller_that_leaves_hands_the_computation_over() {
    let cache = started(CacheOptions::default()).await;
    let mut first = Box::pin(cache.get_or_compute(
        Namespace::Lint,
        "key",
        std::future::pending::<Result<Arc<str>, Infallible>>(),
    ));
    assert!(poll!(first.as_mut()).is_pending());
    let mut second = Box::pin(get(&cache, Namespace::Lint, "key", "second"));
    assert!(poll!(second.as_mut()).is_pending());
    drop(first);
    assert_eq!(&*second.await, "second");
}

#[actix::test]
async fn an_invalidation_empties_its_namespace_and_overtakes_computations() {
    let cache = started(CacheOptions::default()).await;
    get(&cache, Namespace::Graph, "a", "old").await;
    get(&cache, Namespace::Lint, "a", "lint").await;
    let (finish, finished) = oneshot::channel::<()>();
    let mut slow = Box::pin(cache.get_or_compute(Namespace::Graph, "b", async {
        finished.await.unwrap();
        Ok::<Arc<str>, Infallible>("stale".into())
    }));
    assert!(poll!(slow.as_mut()).is_pending());
    cache.invalidate(Namespace::Graph).await;
    finish.send(()).unwrap();
    assert_eq!(&*slow.await.unwrap(), "stale", "its own caller asked before");
    assert_eq!(&*get(&cache, Namespace::Graph, "a", "new").await, "new");
    assert_eq!(&*get(&cache, Namespace::Graph, "b", "new").await, "new");
    assert_eq!(&*get(&cache, Namespace::Lint, "a", "other").await, "lint");
}

#[actix::test]
async fn namespaces_hold_no_more_bytes_than_they_may() {
    let options = CacheOptions { lint_mb_max: 1, entry_kb_max: 64, ..Default::default() };
    let caches = caches(&options, None);
    let value: Arc<str> = "x".repeat(20_000).into();
    for n in 0..200 {
        let compute = async { Ok::<_, Infallible>(Computed::from(value.clone())) };
        caches.get_or_compute(Namespace::Lint, &n.to_string(), compute).await.unwrap();
    }
    caches.tidy().await;
    let lint = caches.stats()[0];
    assert!(lint.bytes <= 1024 * 1024 && lint.entries > 10, "{lint:?}");
    assert!(lint.evictions + lint.entries >= 200, "{lint:?}");
}

#[actix::test]
async fn an_oversized_value_is_answered_and_not_kept() {
    let cache = started(CacheOptions { entry_kb_max: 1, ..Default::default() }).await;
    let large = "x".repeat(2000);
    assert_eq!(&*get(&cache, Namespace::Lint, "key", &large).await, large);
    cache.published.load().tidy().await;
    assert_eq!(&*get(&cache, Namespace::Lint, "key", "again").await, "again");
}

#[actix::test]
async fn each_namespace_has_its_own_life_time() {
    let caches = caches(&CacheOptions::default(), None);
    assert_eq!(caches.time_to_live(Namespace::Lint), Duration::from_secs(3600));
    assert_eq!(caches.time_to_live(Namespace::Graph), Duration::from_secs(300));
}

#[actix::test]
async fn a_crashed_cache_comes_back_empty_and_nobody_waits_for_it() {
    let cache = started(CacheOptions::default()).await;
    get(&cache, Namespace::Lint, "key", "before").await;
    cache.child.ask(Crash, soon()).await.unwrap_err();
    // Answered after the restart: one more message in the same mailbox.
    cache.child.ask(Crash, soon()).await.unwrap_err();
    assert_eq!(&*get(&cache, Namespace::Lint, "key", "after").await, "after");
}
