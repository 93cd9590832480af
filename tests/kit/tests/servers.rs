//! The servers start, answer, and come back with what they acknowledged.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use ultimate_mcp_testkit::{Redis, RedisCluster, RedisSentinels, neo4j_exclusive};

#[test]
fn redis_keeps_what_it_acknowledged_across_kill_and_restart() {
    let mut redis = Redis::start_with(&["--requirepass", "secret"]);
    assert_eq!(redis.cli(&["set", "a", "1"]), "OK");
    redis.kill();
    redis.restart();
    assert_eq!(redis.cli(&["get", "a"]), "1");
}

#[test]
fn a_cluster_serves_every_slot() {
    let cluster = RedisCluster::start();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(cluster.nodes[0].cli(&["-c", "set", key, "1"]), "OK");
    }
    assert_eq!(cluster.urls().len(), 3);
}

#[test]
fn sentinels_know_their_master() {
    let sentinels = RedisSentinels::start();
    assert_eq!(sentinels.urls().len(), 3);
    assert!(sentinels.replica.cli(&["role"]).starts_with("slave"));
}

#[test]
fn the_shared_neo4j_is_handed_out_empty() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..2 {
            let turn = neo4j_exclusive().await;
            let graph = turn.server.graph().await;
            let count = neo4rs::query("MATCH (n) RETURN count(n) AS n");
            let row = graph.execute(count).await.unwrap().next().await.unwrap().unwrap();
            assert_eq!(row.get::<i64>("n").unwrap(), 0);
            graph.run(neo4rs::query("CREATE (:Left {over: 1})")).await.unwrap();
        }
    });
}
