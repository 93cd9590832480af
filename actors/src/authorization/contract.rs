//! What authorization promises, with its own file alone and shared through Redis: one suite, run
//! against both. Then what sharing alone promises.

use std::future::Future;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use ultimate_mcp_testkit::{Redis, RedisCluster};

use super::*;
use crate::fault::{Classify, Kind};
use crate::redis::{RedisMode, RedisOptions};
use crate::testing::{caller as id, root, soon};

/// The promise: what one node changes holds on every node within this.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// The longest Redis may take to be found again after an outage, retries included.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// Two ways to the same authorization: one node twice, or two nodes.
struct Pair {
    here: AuthorizationHandle,
    there: AuthorizationHandle,
    _folders: Vec<TempDir>,
}

fn timely() -> RedisOptions {
    RedisOptions { command_timeout_ms: 300, connect_timeout_ms: 300, ..Default::default() }
}

async fn node(name: &str, redis: Option<&Redis>, folder: &TempDir) -> AuthorizationHandle {
    let options = redis.map(|redis| RedisOptions { urls: vec![redis.url()], ..timely() });
    node_with(name, options, folder).await
}

async fn node_with(
    name: &str,
    redis: Option<RedisOptions>,
    folder: &TempDir,
) -> AuthorizationHandle {
    let redis = redis.map(|options| RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap());
    let policy = Policy::from_toml(DEFAULT_POLICY).unwrap();
    let path = folder.path().join("state.db");
    let (options, node) = (AuthorizationOptions::default(), NodeId::parse(name).unwrap());
    AuthorizationHandle::start(&root(), &path, policy, options, node, redis).await.unwrap()
}

async fn embedded() -> Pair {
    let folder = TempDir::new().unwrap();
    let here = node("a", None, &folder).await;
    Pair { there: here.clone(), here, _folders: vec![folder] }
}

async fn shared(redis: &Redis) -> Pair {
    let folders = vec![TempDir::new().unwrap(), TempDir::new().unwrap()];
    let here = node("a", Some(redis), &folders[0]).await;
    let there = node("b", Some(redis), &folders[1]).await;
    in_step(&[&here, &there]).await;
    Pair { here, there, _folders: folders }
}

async fn in_step(nodes: &[&AuthorizationHandle]) {
    let all = || async { nodes.iter().all(|node| node.sharing().unwrap().in_step) };
    within(BACK_WITHIN, "the nodes are in step", all).await;
}

async fn within<F: Future<Output = bool>>(span: Duration, what: &str, look: impl Fn() -> F) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < span, "not within {span:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn seen(what: &str, look: impl Fn() -> bool) {
    within(SEEN_WITHIN, what, || async { look() }).await;
}

fn roles(handle: &AuthorizationHandle, user: &str) -> Option<Vec<String>> {
    handle.snapshot().stored_roles(&id(user)).map(<[String]>::to_vec)
}

fn banned(handle: &AuthorizationHandle, user: &str) -> bool {
    let now = chrono::Utc::now().timestamp();
    handle.snapshot().ban_of_user(&id(user), now).is_some()
}

async fn roles_follow_the_last_change(pair: &Pair) {
    let (ada, boss) = (id("ada"), id("root"));
    assert!(pair.here.assign_role(&ada, "viewer", &boss, soon()).await.unwrap());
    seen("the role is given", || roles(&pair.there, "ada") == Some(vec!["viewer".into()])).await;
    assert!(!pair.there.assign_role(&ada, "viewer", &boss, soon()).await.unwrap());
    assert!(pair.there.remove_role(&ada, "viewer", soon()).await.unwrap());
    seen("the role is taken", || roles(&pair.here, "ada") == Some(vec![])).await;
    assert!(!pair.here.remove_role(&ada, "viewer", soon()).await.unwrap());
    assert!(pair.here.assign_role(&ada, "admin", &boss, soon()).await.unwrap());
    seen("another is given", || roles(&pair.there, "ada") == Some(vec!["admin".into()])).await;
    let stored = pair.there.roles_of(&ada, soon()).await.unwrap().unwrap();
    assert_eq!((stored[0].role.as_str(), stored[0].granted_by.as_str()), ("admin", "root"));
    let refused = pair.there.assign_role(&ada, "ghost", &boss, soon()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidInput);
}

async fn revocations_hold_and_are_never_weakened(pair: &Pair) {
    let (bob, until) = (id("bob"), chrono::Utc::now().timestamp() + 3600);
    assert!(pair.here.revoke_token("t-1", until, soon()).await.unwrap());
    let void = |jti| move || pair.there.snapshot().is_revoked(Some(jti), &id("x"), Some(0));
    seen("the token is void", void("t-1")).await;
    assert!(!pair.there.revoke_token("t-1", until, soon()).await.unwrap(), "void already");
    pair.here.revoke_user(&bob, 1000, soon()).await.unwrap();
    let bobs = |issued| pair.there.snapshot().is_revoked(None, &id("bob"), Some(issued));
    seen("the user's tokens are void", || bobs(1000)).await;
    pair.there.revoke_user(&bob, 10, soon()).await.unwrap();
    assert!(bobs(1000) && !bobs(1001), "an earlier revocation weakened a later one");
}

async fn of_two_who_exchange_a_token_one_is_first(pair: &Pair) {
    let until = chrono::Utc::now().timestamp() + 3600;
    for round in 0..20 {
        let jti = format!("exchanged-{round}");
        let (first, second) = futures_util::join!(
            pair.here.revoke_token(&jti, until, soon()),
            pair.there.revoke_token(&jti, until, soon()),
        );
        let winners = u8::from(first.unwrap()) + u8::from(second.unwrap());
        assert_eq!(winners, 1, "round {round}");
    }
}

async fn bans_hold_until_lifted_or_over(pair: &Pair) {
    let (eve, boss) = (BanSubject::UserId(id("eve")), id("root"));
    let made = pair.here.ban(eve.clone(), "abuse".into(), &boss, None, soon()).await.unwrap();
    seen("the user is banned", || banned(&pair.there, "eve")).await;
    let now = chrono::Utc::now().timestamp();
    assert_eq!(*pair.there.snapshot().ban_of_user(&id("eve"), now).unwrap().as_ref(), made);
    assert_eq!(pair.there.lift(eve.clone(), &boss, soon()).await.unwrap(), 1);
    seen("the ban is lifted", || !banned(&pair.here, "eve")).await;
    assert_eq!(pair.here.lift(eve.clone(), &boss, soon()).await.unwrap(), 0);
    pair.here.ban(eve.clone(), String::new(), &boss, Some(now + 60), soon()).await.unwrap();
    seen("banned again, the old lift notwithstanding", || banned(&pair.there, "eve")).await;
    assert!(pair.there.snapshot().ban_of_user(&id("eve"), now + 60).is_none(), "it is over then");

    let network = BanSubject::parse_network("192.0.2.0/24").unwrap();
    pair.there.ban(network, "scans".into(), &boss, None, soon()).await.unwrap();
    let from = |address: &str| {
        pair.here.snapshot().ban_of_address(address.parse().unwrap(), now).is_some()
    };
    seen("the network is banned", || from("192.0.2.77")).await;
    assert!(!from("192.0.3.1"));
    for (reason, end) in [("x".repeat(REASON_BYTES_MAX + 1), None), (String::new(), Some(now - 1))]
    {
        let refused = pair.here.ban(eve.clone(), reason, &boss, end, soon()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::InvalidInput);
    }
}

async fn suite(pair: &Pair) {
    roles_follow_the_last_change(pair).await;
    revocations_hold_and_are_never_weakened(pair).await;
    of_two_who_exchange_a_token_one_is_first(pair).await;
    bans_hold_until_lifted_or_over(pair).await;
}

#[actix::test]
async fn authorization_keeps_its_promises_with_a_file_of_its_own() {
    suite(&embedded().await).await;
}

#[actix::test]
async fn authorization_keeps_its_promises_when_nodes_share_it() {
    let redis = Redis::start();
    suite(&shared(&redis).await).await;
}

#[actix::test]
async fn authorization_keeps_its_promises_when_nodes_share_a_cluster() {
    let cluster = RedisCluster::start();
    let folders = vec![TempDir::new().unwrap(), TempDir::new().unwrap()];
    let options = RedisOptions { urls: cluster.urls(), mode: RedisMode::Cluster, ..timely() };
    let here = node_with("a", Some(options.clone()), &folders[0]).await;
    let there = node_with("b", Some(options), &folders[1]).await;
    in_step(&[&here, &there]).await;
    suite(&Pair { here, there, _folders: folders }).await;
}

#[actix::test]
async fn while_redis_is_away_nodes_go_on_and_afterwards_all_know_all() {
    let mut redis = Redis::start();
    let pair = shared(&redis).await;
    let (ada, boss) = (id("ada"), id("root"));
    pair.here.assign_role(&ada, "viewer", &boss, soon()).await.unwrap();
    seen("the role is given", || roles(&pair.there, "ada").is_some()).await;
    redis.kill();
    let begun = Instant::now();
    assert!(pair.here.remove_role(&ada, "viewer", soon()).await.unwrap());
    pair.here.revoke_user(&id("bob"), 1000, soon()).await.unwrap();
    let eve = BanSubject::UserId(id("eve"));
    pair.there.ban(eve, String::new(), &boss, None, soon()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(roles(&pair.here, "ada"), Some(vec![]), "its own changes hold at once");
    assert!(
        roles(&pair.there, "ada").is_some_and(|roles| roles.len() == 1),
        "the other cannot know"
    );
    redis.restart();
    in_step(&[&pair.here, &pair.there]).await;
    seen("all know all", || {
        roles(&pair.there, "ada") == Some(vec![])
            && pair.there.snapshot().is_revoked(None, &id("bob"), Some(1000))
            && banned(&pair.here, "eve")
    })
    .await;
}

#[actix::test]
async fn a_redis_that_lost_everything_is_filled_again_and_a_new_node_learns_it() {
    let redis = Redis::start();
    let pair = shared(&redis).await;
    pair.here.revoke_user(&id("bob"), 1000, soon()).await.unwrap();
    pair.there.assign_role(&id("ada"), "viewer", &id("root"), soon()).await.unwrap();
    redis.cli(&["flushall"]);
    let count = || redis.cli(&["hlen", "ump:{authorization}:facts"]);
    within(BACK_WITHIN, "redis is filled", || async { count() == "2" }).await;
    let folder = TempDir::new().unwrap();
    let third = node("c", Some(&redis), &folder).await;
    in_step(&[&third]).await;
    assert!(third.snapshot().is_revoked(None, &id("bob"), Some(1000)));
    assert_eq!(roles(&third, "ada"), Some(vec!["viewer".into()]));
}

/// An erased user's name is gone from every node and from Redis, and a node that was away cannot bring it
/// back; a role given after the erasure holds.
#[actix::test]
async fn an_erased_user_is_forgotten_on_every_node_and_in_redis() {
    let redis = Redis::start();
    let pair = shared(&redis).await;
    let (ada, bob) = (id("ada@example.org"), id("bob"));
    let away = TempDir::new().unwrap();
    let third = node("c", Some(&redis), &away).await;
    in_step(&[&third]).await;
    pair.here.assign_role(&ada, "viewer", &bob, soon()).await.unwrap();
    pair.here.assign_role(&bob, "viewer", &ada, soon()).await.unwrap();
    pair.there.ban(BanSubject::UserId(id("eve")), String::new(), &ada, None, soon()).await.unwrap();
    seen("all know", || roles(&third, "bob").is_some() && banned(&third, "eve")).await;
    drop(third);
    let until = chrono::Utc::now().timestamp() + 3600;
    assert!(pair.here.erase_user(&ada, until, soon()).await.unwrap());
    seen("the other forgot", || roles(&pair.there, ada.as_str()).is_none()).await;
    assert!(banned(&pair.there, "eve"), "a ban outlives who made it");
    let there = pair.there.snapshot();
    assert!(
        there.is_revoked(None, &ada, Some(until - 3600))
            && !there.is_revoked(None, &ada, Some(until))
    );
    let third = node("c", Some(&redis), &away).await;
    in_step(&[&third]).await;
    let named = || redis.cli(&["hgetall", "ump:{authorization}:facts"]).contains("ada@");
    within(BACK_WITHIN, "the name is gone from redis", || async { !named() }).await;
    for node in [&pair.here, &pair.there, &third] {
        let granted = node.roles_of(&bob, soon()).await.unwrap().unwrap();
        assert_eq!(granted[0].granted_by, "[erased]");
        assert_eq!(node.roles_of(&ada, soon()).await.unwrap(), None);
    }
    assert!(pair.there.assign_role(&ada, "viewer", &bob, soon()).await.unwrap());
    seen("the new role holds", || roles(&third, ada.as_str()) == Some(vec!["viewer".into()])).await;
}

#[actix::test]
async fn what_was_stored_before_there_was_a_redis_is_shared_when_there_is_one() {
    let (redis, folder) = (Redis::start(), TempDir::new().unwrap());
    let alone = node("a", None, &folder).await;
    alone.assign_role(&id("ada"), "viewer", &id("root"), soon()).await.unwrap();
    drop(alone);
    let other = TempDir::new().unwrap();
    let (here, there) =
        (node("a", Some(&redis), &folder).await, node("b", Some(&redis), &other).await);
    in_step(&[&here, &there]).await;
    seen("the role is known", || roles(&there, "ada") == Some(vec!["viewer".into()])).await;
}

#[actix::test]
async fn a_redis_that_never_answers_delays_a_change_by_moments_and_a_decision_not_at_all() {
    let redis = Redis::start();
    let pair = shared(&redis).await;
    redis.pause();
    for round in 0..3 {
        let begun = Instant::now();
        pair.here.revoke_token(&format!("t-{round}"), i64::MAX, soon()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let jti = format!("t-{round}");
        assert!(pair.here.snapshot().is_revoked(Some(&jti), &id("x"), None));
    }
    redis.resume();
    within(BACK_WITHIN, "the other knows", || async {
        pair.there.snapshot().is_revoked(Some("t-2"), &id("x"), None)
    })
    .await;
}
