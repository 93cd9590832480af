//! The contract on real Redis servers: a single one, and a cluster of three.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use ultimate_mcp_testkit::{Redis, RedisCluster, RedisSentinels};

use super::*;
use crate::jobs::JobsError;
use crate::jobs::RedisJobs;
use crate::redis::{RedisClient, RedisMode, RedisOptions};
use crate::testing::soon;

/// One server for all tests of this file, each with a prefix of its own; it ends with the last of them.
static SERVER: Mutex<Weak<Redis>> = Mutex::new(Weak::new());
static CLUSTER: Mutex<Weak<RedisCluster>> = Mutex::new(Weak::new());

fn shared<T>(held: &Mutex<Weak<T>>, start: impl FnOnce() -> T) -> Arc<T> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    held.upgrade().unwrap_or_else(|| {
        let started = Arc::new(start());
        *held = Arc::downgrade(&started);
        started
    })
}

async fn fixture_on(urls: Vec<String>, mode: RedisMode, keep: Box<dyn std::any::Any>) -> Fixture {
    static PREFIX: AtomicUsize = AtomicUsize::new(0);
    let key_prefix = format!("t{}:", PREFIX.fetch_add(1, Ordering::Relaxed));
    let master_name = match mode {
        RedisMode::Sentinel => RedisSentinels::MASTER.to_owned(),
        _ => String::new(),
    };
    let options = RedisOptions { urls, mode, master_name, key_prefix, ..RedisOptions::default() };
    let client = RedisClient::new(options, Arc::new(|_, _| {})).unwrap();
    tokio::time::timeout(Duration::from_secs(20), client.up()).await.unwrap();
    // Time is given by the tests, so leases alone decide.
    let store = RedisJobs::new(client, rules(), Duration::ZERO);
    Fixture { store: Arc::new(store), keep }
}

async fn single() -> Fixture {
    let server = shared(&SERVER, Redis::start);
    fixture_on(vec![server.url()], RedisMode::Single, Box::new(server)).await
}

async fn cluster() -> Fixture {
    let cluster = shared(&CLUSTER, RedisCluster::start);
    fixture_on(cluster.urls(), RedisMode::Cluster, Box::new(cluster)).await
}

super::contract::suite!(super::single().await);

mod in_a_cluster {
    super::super::contract::suite!(super::super::cluster().await);
}

#[actix::test]
async fn jobs_walk_as_the_model_does() {
    super::model::walks(24, 120, single).await;
}

#[actix::test]
async fn a_job_is_run_behind_sentinels() {
    let sentinels = Arc::new(RedisSentinels::start());
    let urls = sentinels.urls();
    let fixture = fixture_on(urls, RedisMode::Sentinel, Box::new(sentinels)).await;
    super::contract::a_run_begins_once_and_its_result_is_found(fixture).await;
}

#[actix::test]
async fn a_server_that_hangs_costs_bounded_time_and_the_same_enqueue_stays_one_job() {
    let server = Redis::start();
    let Fixture { store, .. } =
        fixture_on(vec![server.url()], RedisMode::Single, Box::new(())).await;
    server.pause();
    let (new, asked) = (job(T0), std::time::Instant::now());
    let refused = store.enqueue(new.clone()).await.unwrap_err();
    assert!(matches!(refused, JobsError::Unanswered | JobsError::Away { .. }), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    server.resume();
    let end = soon();
    while store.enqueue(new.clone()).await.is_err() {
        assert!(!end.is_past(), "it answers again and nobody asks it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let claims = store.claim("w", [9, 9, 9], T0, T0 + 1).await.unwrap();
    assert_eq!(claims.jobs.len(), 1);
}
