//! What an answer from the cache costs: from this node, and from Redis beside a bare GET in the same run.
//!
//! `cargo run --release -p ultimate-mcp-actors --example cache_cost` (starts a Redis of its own)
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program prints and may die"
)]

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use ultimate_mcp_actors::cache::{CacheHandle, CacheOptions, Namespace, Sharing};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::idempotency::{
    Attempt, Begun, IdempotencyHandle, IdempotencyKey, IdempotencyOptions,
};
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_actors::redis::redis::aio::MultiplexedConnection;
use ultimate_mcp_actors::redis::redis::{Client, cmd};
use ultimate_mcp_actors::redis::{RedisClient, RedisOptions};
use ultimate_mcp_actors::supervision::{PolicyOptions, Supervisor, unobserved};
use ultimate_mcp_testkit::Redis;

/// Keys of one round; each is read once by each contestant.
const KEYS: usize = 4_000;
/// The cheapest of this many rounds counts: noise only adds.
const ROUNDS: usize = 7;
/// Reads of a value that is on the node.
const LOCAL_READS: usize = 200_000;
/// Reads in flight at once in the concurrent measurement.
const IN_FLIGHT: usize = 64;

fn client(redis: &Redis) -> RedisClient {
    let options = RedisOptions { urls: vec![redis.url()], ..Default::default() };
    RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap()
}

async fn node(redis: Option<&Redis>) -> CacheHandle {
    let policy = PolicyOptions::default();
    let (root, exit) = Supervisor::root("bench", policy, unobserved()).unwrap();
    // The tree lives as long as the program.
    std::mem::forget((root.clone(), exit));
    let sharing = redis.map(|redis| Sharing { redis: client(redis), graph: true });
    CacheHandle::start(&root, CacheOptions::default(), sharing).await.unwrap()
}

async fn get(cache: &CacheHandle, key: &str, value: &Arc<str>) -> Arc<str> {
    let compute = async { Ok::<_, Infallible>(value.clone()) };
    cache.get_or_compute(Namespace::Graph, key, compute).await.unwrap()
}

async fn timed<F: Future<Output = ()>>(count: usize, work: F) -> f64 {
    let started = Instant::now();
    work.await;
    started.elapsed().as_secs_f64() * 1e6 / count as f64
}

#[actix_rt::main]
async fn main() {
    let redis = Redis::start();
    let value: Arc<str> = "x".repeat(1024).into();
    local(&value).await;
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key {n}")).collect();
    let writer = node(Some(&redis)).await;
    for key in &keys {
        get(&writer, key, &value).await;
    }
    let bare = Client::open(redis.url()).unwrap();
    let mut bare = bare.get_multiplexed_async_connection().await.unwrap();
    for key in &keys {
        let set = cmd("SET").arg(key).arg(&*value).to_owned();
        set.query_async::<()>(&mut bare).await.unwrap();
    }
    while client(&redis).run::<usize>(soon(), true, &cmd("DBSIZE")).await.unwrap() < 2 * KEYS {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    one_at_a_time(&redis, &bare, &keys, &value).await;
    in_flight(&redis, &bare, &keys, &value).await;
    keys_cost(&redis).await;
}

/// A node that has nothing yet: every answer comes from Redis.
async fn empty_node(redis: &Redis, value: &Arc<str>) -> CacheHandle {
    let reader = node(Some(redis)).await;
    get(&reader, "warm", value).await;
    reader
}

async fn bare_get(bare: &MultiplexedConnection, key: &str) {
    let _: Vec<u8> = cmd("GET").arg(key).query_async(&mut bare.clone()).await.unwrap();
}

fn all_shared(reader: &CacheHandle) {
    let graph = reader.stats()[1];
    assert!(graph.shared_hits as usize >= KEYS, "{graph:?}");
}

/// What a caller waits: the two take turns with every key, so that both see the same machine.
async fn one_at_a_time(
    redis: &Redis,
    bare: &MultiplexedConnection,
    keys: &[String],
    value: &Arc<str>,
) {
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let reader = empty_node(redis, value).await;
        for key in keys {
            floor.push(timed(1, bare_get(bare, key)).await);
            ours.push(timed(1, async { drop(get(&reader, key, value).await) }).await);
        }
        all_shared(&reader);
    }
    let percentile = |of: &mut Vec<f64>, share: f64| {
        of.sort_unstable_by(f64::total_cmp);
        of[(of.len() as f64 * share) as usize]
    };
    for (name, share) in [("p50", 0.5), ("p95", 0.95)] {
        let (floor, ours) = (percentile(&mut floor, share), percentile(&mut ours, share));
        let ratio = ours / floor;
        println!(
            "redis hit, one at a time, {name}: {ours:.1} µs; bare GET {floor:.1} µs; ratio {ratio:.2}"
        );
    }
}

/// What a hit costs when the round trip is shared by many: processor time, mostly.
async fn in_flight(redis: &Redis, bare: &MultiplexedConnection, keys: &[String], value: &Arc<str>) {
    let (mut floor, mut ours) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let reads = stream::iter(keys).for_each_concurrent(IN_FLIGHT, |key| bare_get(bare, key));
        floor = floor.min(timed(KEYS, reads).await);
        let reader = empty_node(redis, value).await;
        let reads = stream::iter(keys).for_each_concurrent(IN_FLIGHT, |key| {
            let reader = reader.clone();
            async move { drop(get(&reader, key, value).await) }
        });
        ours = ours.min(timed(KEYS, reads).await);
        all_shared(&reader);
    }
    let ratio = ours / floor;
    println!(
        "redis hit, {IN_FLIGHT} in flight: {ours:.1} µs; bare GET {floor:.1} µs; ratio {ratio:.2}"
    );
}

async fn local(value: &Arc<str>) {
    let cache = node(None).await;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let reads = async {
            for _ in 0..LOCAL_READS {
                get(&cache, "the key of a query of usual length, say this", value).await;
            }
        };
        best = best.min(timed(LOCAL_READS, reads).await);
    }
    println!("local hit: {best:.2} µs");
}

/// What a key adds to a call: claimed before it and answered after it.
async fn keys_cost(redis: &Redis) {
    const CALLS: usize = 200;
    let policy = PolicyOptions::default();
    let (root, _exit) = Supervisor::root("keys", policy, unobserved()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (what, shared) in [("sqlite", None), ("redis", Some(client(redis)))] {
        let path = folder.path().join("idempotency.db");
        let options = IdempotencyOptions::default();
        let keys = IdempotencyHandle::start(&root, &path, options, shared).await.unwrap();
        let call = |n: usize| {
            let keys = keys.clone();
            async move {
                let attempt = Attempt {
                    caller: CallerId::parse(&format!("caller {}", n % 8)).unwrap(),
                    key: IdempotencyKey::parse(&format!("{what}-{n}")).unwrap(),
                    request: [0; 32],
                    harmless: false,
                };
                match keys.begin(attempt, soon()).await.unwrap() {
                    Begun::Fresh(claim) => claim.answer(vec![b'x'; 1024]).await.unwrap(),
                    other => panic!("{other:?}"),
                }
            }
        };
        let one = timed(CALLS, async {
            for n in 0..CALLS {
                call(n).await;
            }
        });
        let one = one.await;
        let many = timed(CALLS, async {
            join_all((CALLS..2 * CALLS).map(call)).await;
        });
        let many = many.await;
        println!("key in {what}: {one:.0} µs per call; {many:.0} µs with all in flight");
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}
