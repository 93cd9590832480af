//! What sessions promise, in this process and in Redis: one suite, run against both. Then what is
//! promised of each alone.

use std::time::{Duration, Instant};

use serde_json::json;
use ultimate_mcp_testkit::{Redis, RedisCluster};

use super::actor::Crash;
use super::*;
use crate::fault::{Classify, Kind, Retry};
use crate::redis::{RedisMode, RedisOptions};
use crate::testing::{caller, root, soon};

fn new(owner: &str) -> NewSession {
    NewSession {
        owner: caller(owner),
        protocol_version: "2025-06-18".into(),
        client_capabilities: json!({ "sampling": {} }),
        client_info: json!({ "name": "test" }),
    }
}

/// Two ways to the same sessions: one node twice, or two nodes.
struct Pair {
    here: SessionsHandle,
    there: SessionsHandle,
}

async fn node(options: SessionsOptions, redis: Option<&Redis>) -> SessionsHandle {
    let redis = redis.map(|redis| {
        let urls = vec![redis.url()];
        let options = RedisOptions {
            urls,
            command_timeout_ms: 300,
            connect_timeout_ms: 300,
            ..Default::default()
        };
        RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap()
    });
    SessionsHandle::start(&root(), options, redis).await.unwrap()
}

async fn pair(options: &SessionsOptions, redis: Option<&Redis>) -> Pair {
    let here = node(options.clone(), redis).await;
    let there = match redis {
        Some(_) => node(options.clone(), redis).await,
        None => here.clone(),
    };
    Pair { here, there }
}

async fn a_session_is_found_by_its_owner_only_until_it_is_ended(redis: Option<&Redis>) {
    let Pair { here, there } = pair(&SessionsOptions::default(), redis).await;
    let (ada, eve) = (caller("ada"), caller("eve"));
    for _ in 0..20 {
        let session = here.create(new("ada"), soon()).await.unwrap();
        let id = &session.id;
        let version = uuid::Uuid::parse_str(id.as_str()).unwrap().get_version_num();
        assert_eq!(version, 4);
        for node in [&here, &there] {
            assert_eq!(node.get(id, &ada, soon()).await.unwrap().as_ref(), Some(&session));
            assert_eq!(node.get(id, &eve, soon()).await.unwrap(), None);
        }
        assert!(!there.remove(id, &eve, soon()).await.unwrap());
        assert!(there.remove(id, &ada, soon()).await.unwrap());
        assert!(!here.remove(id, &ada, soon()).await.unwrap());
        assert_eq!(here.get(id, &ada, soon()).await.unwrap(), None);
    }
}

async fn caps_hold_over_all_and_places_come_back(redis: Option<&Redis>) {
    let options = SessionsOptions { per_owner_max: 5, total_max: 8, ..Default::default() };
    let Pair { here, there } = pair(&options, redis).await;
    let mut all = Vec::new();
    for index in 0..5 {
        let node = if index % 2 == 0 { &here } else { &there };
        all.push(node.create(new("ada"), soon()).await.unwrap());
    }
    let refused = there.create(new("ada"), soon()).await.unwrap_err();
    assert!(matches!(refused, SessionsError::TooManyOfOwner(5)), "{refused:?}");
    assert_eq!(refused.kind(), Kind::LimitExceeded);
    for _ in 0..3 {
        here.create(new("bob"), soon()).await.unwrap();
    }
    let refused = there.create(new("bob"), soon()).await.unwrap_err();
    assert!(matches!(refused, SessionsError::TooMany(8)), "{refused:?}");
    assert!(there.remove(&all[0].id, &caller("ada"), soon()).await.unwrap());
    here.create(new("ada"), soon()).await.unwrap();
}

async fn what_a_client_says_about_itself_is_bounded(redis: Option<&Redis>) {
    let Pair { here, .. } = pair(&SessionsOptions::default(), redis).await;
    let long = || Value::String("x".repeat(CLIENT_BYTES_MAX));
    let bad = [
        NewSession { client_capabilities: long(), ..new("ada") },
        NewSession { client_info: long(), ..new("ada") },
        NewSession { protocol_version: "2".repeat(65), ..new("ada") },
    ];
    for new in bad {
        let error = here.create(new, soon()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{error:?}");
    }
}

/// In real time, as Redis has a clock of its own: use keeps it alive, idleness ends it, and so does age.
async fn a_session_ends_idle_or_old(redis: Option<&Redis>) {
    let options = SessionsOptions { idle_seconds: 1, lifetime_seconds: 3, ..Default::default() };
    let Pair { here, there } = pair(&options, redis).await;
    let (idle, used) = (new("ada"), new("ada"));
    let begun = Instant::now();
    let idle = here.create(idle, soon()).await.unwrap();
    let used = here.create(used, soon()).await.unwrap();
    let mut alive = Duration::ZERO;
    while there.get(&used.id, &caller("ada"), soon()).await.unwrap().is_some() {
        alive = begun.elapsed();
        assert!(alive < Duration::from_secs(5), "it never grew too old");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(alive > Duration::from_millis(1800), "use did not keep it alive: {alive:?}");
    assert_eq!(here.get(&idle.id, &caller("ada"), soon()).await.unwrap(), None);
}

async fn suite(redis: impl Fn() -> Option<Redis>) {
    a_session_is_found_by_its_owner_only_until_it_is_ended(redis().as_ref()).await;
    caps_hold_over_all_and_places_come_back(redis().as_ref()).await;
    what_a_client_says_about_itself_is_bounded(redis().as_ref()).await;
    a_session_ends_idle_or_old(redis().as_ref()).await;
}

#[actix::test]
async fn sessions_keep_their_promises_in_this_process() {
    suite(|| None).await;
}

#[actix::test]
async fn sessions_keep_their_promises_in_redis() {
    suite(|| Some(Redis::start())).await;
}

#[actix::test]
async fn sessions_are_found_in_a_cluster_of_redis() {
    let cluster = RedisCluster::start();
    let options =
        RedisOptions { urls: cluster.urls(), mode: RedisMode::Cluster, ..Default::default() };
    let start = async |options: RedisOptions| {
        let client = RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap();
        SessionsHandle::start(&root(), SessionsOptions::default(), Some(client)).await.unwrap()
    };
    let (here, there) = (start(options.clone()).await, start(options).await);
    for owner in ["ada", "bob", "{carol}"] {
        let session = here.create(new(owner), soon()).await.unwrap();
        let found = there.get(&session.id, &caller(owner), soon()).await.unwrap();
        assert_eq!(found, Some(session.clone()));
        assert!(there.remove(&session.id, &caller(owner), soon()).await.unwrap());
    }
}

#[actix::test]
async fn a_crashed_shard_loses_its_own_sessions_and_frees_their_places() {
    let sessions = node(SessionsOptions { shards: 2, ..Default::default() }, None).await;
    let Kept::Here(embedded) = sessions.kept.clone() else { panic!("no redis was given") };
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(sessions.create(new("ada"), soon()).await.unwrap());
    }
    embedded.shards[0].ask(Crash, soon()).await.unwrap_err();
    let mut left = 0;
    for session in &all {
        let found = sessions.get(&session.id, &caller("ada"), soon()).await.unwrap();
        let of_crashed = std::ptr::eq(embedded.shard(&session.id), &embedded.shards[0]);
        assert_eq!(found.is_none(), of_crashed);
        left += usize::from(found.is_some());
    }
    assert!(left > 0 && left < 40);
    assert_eq!(embedded.total(), left);
    sessions.create(new("ada"), soon()).await.unwrap();
}

/// Until Redis is asked again.
async fn back(sessions: &SessionsHandle) -> Arc<Session> {
    let begun = Instant::now();
    loop {
        match sessions.create(new("probe"), soon()).await {
            Ok(session) => return session,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(15), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix::test]
async fn while_redis_is_away_a_node_goes_on_with_what_it_knows_and_never_says_there_is_none() {
    let mut redis = Redis::start();
    let Pair { here, there } = pair(&SessionsOptions::default(), Some(&redis)).await;
    let ada = caller("ada");
    let session = here.create(new("ada"), soon()).await.unwrap();
    redis.kill();
    let begun = Instant::now();
    let found = here.get(&session.id, &ada, soon()).await.unwrap();
    assert_eq!(found, Some(session.clone()));
    assert!(matches!(
        here.get(&session.id, &caller("eve"), soon()).await,
        Err(SessionsError::Away(_))
    ));
    for error in [
        there.get(&session.id, &ada, soon()).await.unwrap_err(),
        there.remove(&session.id, &ada, soon()).await.unwrap_err(),
        there.create(new("ada"), soon()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
        assert!(matches!(error.retry(), Retry::After(_)), "{error:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    redis.restart();
    back(&there).await;
    assert_eq!(there.get(&session.id, &ada, soon()).await.unwrap(), Some(session));
}

#[actix::test]
async fn a_redis_that_lost_everything_gets_sessions_back_from_the_nodes_that_know_them() {
    let redis = Redis::start();
    let Pair { here, there } = pair(&SessionsOptions::default(), Some(&redis)).await;
    let (ada, ended) = (caller("ada"), here.create(new("ada"), soon()).await.unwrap());
    let session = here.create(new("ada"), soon()).await.unwrap();
    assert!(there.remove(&ended.id, &ada, soon()).await.unwrap());
    assert_eq!(here.get(&ended.id, &ada, soon()).await.unwrap(), None, "ended is ended");
    redis.cli(&["flushall"]);
    assert_eq!(here.get(&session.id, &ada, soon()).await.unwrap(), Some(session.clone()));
    assert_eq!(there.get(&session.id, &ada, soon()).await.unwrap(), Some(session));
}

#[actix::test]
async fn a_redis_that_never_answers_holds_nobody() {
    let redis = Redis::start();
    let Pair { here, there } = pair(&SessionsOptions::default(), Some(&redis)).await;
    let session = here.create(new("ada"), soon()).await.unwrap();
    redis.pause();
    for node in [&here, &there] {
        let begun = Instant::now();
        let found = node.get(&session.id, &caller("ada"), soon()).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(matches!(found, Ok(Some(_)) | Err(SessionsError::Away(_))), "{found:?}");
    }
    redis.resume();
    back(&there).await;
    assert!(there.get(&session.id, &caller("ada"), soon()).await.unwrap().is_some());
}
