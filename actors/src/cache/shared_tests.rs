//! What the nodes promise each other about their caches, on a real Redis.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ultimate_mcp_testkit::{Redis, RedisCluster};

use super::*;
use crate::redis::{RedisMode, RedisOptions};
use crate::testing::root;

fn client(urls: Vec<String>, mode: RedisMode) -> RedisClient {
    let options = RedisOptions {
        urls,
        mode,
        command_timeout_ms: 300,
        connect_timeout_ms: 500,
        ..Default::default()
    };
    RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap()
}

async fn node_with(redis: RedisClient, options: CacheOptions) -> CacheHandle {
    let sharing = Some(Sharing { redis, graph: true });
    CacheHandle::start(&root(), options, sharing).await.unwrap()
}

async fn node(redis: &Redis) -> CacheHandle {
    let client = client(vec![redis.url()], RedisMode::Single);
    client.up().await;
    node_with(client, CacheOptions::default()).await
}

async fn get(cache: &CacheHandle, key: &str, value: &str) -> Arc<str> {
    let compute = async { Ok::<Arc<str>, Infallible>(value.into()) };
    cache.get_or_compute(Namespace::Graph, key, compute).await.unwrap()
}

/// Until the condition holds, without sleeping for luck.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(15), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

async fn stored(redis: &Redis, count: usize) {
    until("the value is in Redis", async || {
        redis.cli(&["keys", "ump:cache:graph:{*}"]).lines().filter(|l| !l.is_empty()).count()
            == count
    })
    .await;
}

#[actix::test]
async fn what_one_node_computed_the_others_find() {
    let redis = Redis::start();
    let (a, b) = (node(&redis).await, node(&redis).await);
    assert_eq!(&*get(&a, "key", "computed by a").await, "computed by a");
    stored(&redis, 1).await;
    assert_eq!(&*get(&b, "key", "computed by b").await, "computed by a");
    let graph = b.stats()[1];
    assert_eq!((graph.shared_hits, graph.misses), (1, 0));
    get(&b, "key", "again").await;
    assert_eq!(b.stats()[1].hits, 1, "the second time it is on the node");
}

#[actix::test]
async fn a_write_on_one_node_is_seen_by_the_others_within_a_second() {
    let redis = Redis::start();
    let (a, b) = (node(&redis).await, node(&redis).await);
    get(&a, "key", "old").await;
    stored(&redis, 1).await;
    assert_eq!(&*get(&b, "key", "never").await, "old");
    a.invalidate(Namespace::Graph).await;
    assert_eq!(&*get(&a, "key", "new").await, "new", "whoever wrote reads its write");
    let took = until("b forgets", async || &*get(&b, "key", "new").await == "new").await;
    // Told at once; on a machine too busy to be told, an entry's own second, and the look that ends it.
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[actix::test]
async fn a_computation_that_a_write_overtook_is_found_by_nobody() {
    let redis = Redis::start();
    let (a, b) = (node(&redis).await, node(&redis).await);
    let slow = a.get_or_compute(Namespace::Graph, "key", async {
        b.invalidate(Namespace::Graph).await;
        Ok::<Arc<str>, Infallible>("old".into())
    });
    assert_eq!(&*slow.await.unwrap(), "old", "its own caller asked before");
    stored(&redis, 1).await;
    assert_eq!(&*get(&b, "key", "new").await, "new");
    until("a forgets", async || &*get(&a, "key", "new").await == "new").await;
}

#[actix::test]
async fn nodes_that_miss_the_same_key_compute_it_once() {
    let redis = Redis::start();
    let nodes = [node(&redis).await, node(&redis).await, node(&redis).await];
    let computed = AtomicUsize::new(0);
    let asking = nodes.iter().map(|node| {
        node.get_or_compute(Namespace::Graph, "key", async {
            computed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<Arc<str>, Infallible>("value".into())
        })
    });
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(&*answer.unwrap(), "value");
    }
    assert_eq!(computed.load(Ordering::Relaxed), 1);
}

#[actix::test]
async fn a_node_that_died_while_computing_holds_nobody_up_for_long() {
    let redis = Redis::start();
    let (a, b) = (node(&redis).await, node(&redis).await);
    let stuck = a.get_or_compute(
        Namespace::Graph,
        "key",
        std::future::pending::<Result<Arc<str>, Infallible>>(),
    );
    let mut stuck = Box::pin(stuck);
    until("a holds the lease", async || {
        let _ = futures_util::poll!(stuck.as_mut());
        redis.cli(&["keys", "*:lease"]).contains("lease")
    })
    .await;
    let asked = Instant::now();
    assert_eq!(&*get(&b, "key", "by b").await, "by b");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[actix::test]
async fn without_redis_nodes_go_on_alone_and_nothing_of_before_counts_when_it_is_back() {
    let mut redis = Redis::start();
    let (a, b) = (node(&redis).await, node(&redis).await);
    get(&a, "key", "old").await;
    stored(&redis, 1).await;
    redis.kill();
    let asked = Instant::now();
    assert_eq!(&*get(&a, "key", "never").await, "old", "this node's own goes on");
    assert!(asked.elapsed() < Duration::from_millis(50), "{:?}", asked.elapsed());
    // A write nobody can be told of, then reads of it.
    a.invalidate(Namespace::Graph).await;
    let asked = Instant::now();
    assert_eq!(&*get(&a, "key", "new").await, "new");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    redis.restart();
    // Redis kept "old" on its disk; it must not come back to anybody.
    until("b hears of it", async || &*get(&b, "key", "new").await == "new").await;
    until("a uses redis again", async || {
        a.stats()[1].shared_errors > 0 && {
            get(&a, "other", "x").await;
            redis.cli(&["dbsize"]) != "0"
        }
    })
    .await;
    assert_eq!(&*get(&b, "key", "new").await, "new");
}

#[actix::test]
async fn no_read_hangs_on_a_stopped_redis() {
    let redis = Redis::start();
    let cache = node(&redis).await;
    redis.pause();
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let asked = Instant::now();
        assert_eq!(&*get(&cache, &format!("k{n}"), "v").await, "v");
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    let asked = Instant::now();
    get(&cache, "last", "v").await;
    assert!(asked.elapsed() < Duration::from_millis(500), "the breaker is open by now");
    redis.resume();
    until("redis is used again", async || {
        get(&cache, &format!("{:?}", Instant::now()), "v").await;
        redis.cli(&["keys", "ump:cache:graph:{*}"]).contains('{')
    })
    .await;
}

#[actix::test]
async fn an_empty_result_is_kept_for_a_short_time_only() {
    let redis = Redis::start();
    let cache = node(&redis).await;
    let empty = async { Ok::<_, Infallible>(Computed { value: "[]".into(), negative: true }) };
    cache.get_or_compute_with(Namespace::Graph, "key", empty).await.unwrap();
    stored(&redis, 1).await;
    let key = redis.cli(&["keys", "ump:cache:graph:{*}"]);
    let lives_ms: u64 = redis.cli(&["pttl", &key]).parse().unwrap();
    assert!(lives_ms <= 15_000, "{lives_ms}");
}

#[actix::test]
async fn in_a_cluster_value_and_generation_live_apart_and_hold_together() {
    let cluster = RedisCluster::start();
    let node = async || {
        let client = client(cluster.urls(), RedisMode::Cluster);
        client.up().await;
        node_with(client, CacheOptions::default()).await
    };
    let (a, b) = (node().await, node().await);
    for n in 0..20 {
        get(&a, &n.to_string(), "old").await;
    }
    let found = async || {
        let mut old = 0;
        for n in 0..20 {
            let mine = get(&b, &n.to_string(), "mine").await;
            old += usize::from(&*mine == "old");
        }
        old
    };
    until("all are stored", async || {
        let keys = cluster.nodes.iter().map(|node| node.cli(&["keys", "ump:cache:graph:{*}"]));
        keys.map(|keys| keys.lines().filter(|l| !l.is_empty()).count()).sum::<usize>() == 20
    })
    .await;
    assert_eq!(found().await, 20);
    a.invalidate(Namespace::Graph).await;
    until("b forgets", async || &*get(&b, "0", "new").await == "new").await;
}

#[actix::test]
async fn what_was_good_is_there_when_it_cannot_be_computed() {
    let redis = Redis::start();
    let cache = node(&redis).await;
    assert!(cache.last_good(Namespace::Graph, "key").await.is_none());
    get(&cache, "key", "old").await;
    cache.invalidate(Namespace::Graph).await;
    let failed = cache.get_or_compute(Namespace::Graph, "key", async { Err("down") }).await;
    assert_eq!(*failed.unwrap_err(), "down");
    let good = cache.last_good(Namespace::Graph, "key").await.unwrap();
    assert_eq!(&*good.value, "old");
    assert!(good.age() < Duration::from_secs(60));
}
