//! The contract on real Redis servers: a single one, and a cluster of three.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use ultimate_mcp_testkit::{Redis, RedisCluster};

use super::*;
use crate::jobs::RedisJobs;
use crate::redis::{RedisClient, RedisMode, RedisOptions};

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
    let options = RedisOptions { urls, mode, key_prefix, ..RedisOptions::default() };
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
