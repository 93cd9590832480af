//! Neo4j away, slow, half-open or refusing: no call fails, nothing is lost, nothing comes twice.

use futures_util::future::join_all;
use serde_json::json;
use ultimate_mcp_testkit::{Proxy, neo4j_exclusive};

use super::super::actor::Crash;
use super::*;

/// Small batches: a failure meets many of them half-way.
fn nimble() -> ShippingOptions {
    ShippingOptions { batch_events_max: 40, lag_degraded_seconds: 1, ..quick() }
}

/// Calls of eight callers.
async fn load(node: &Node, calls: usize) {
    let callers = (0..8).map(|_| async {
        for _ in 0..calls / 8 {
            node.call("ada", json!({ "touched": ["paper:1"] })).await;
        }
    });
    join_all(callers).await;
}

#[actix::test]
async fn with_neo4j_away_under_load_no_call_fails_nothing_is_lost_and_nothing_comes_twice() {
    let turn = neo4j_exclusive().await;
    let proxy = Proxy::to(turn.server.port);
    let through = Neo4jOptions {
        uri: format!("bolt://127.0.0.1:{}", proxy.port()),
        query_timeout_ms: 1000,
        connect_timeout_ms: 1000,
        ..options(&turn.server)
    };
    let direct = client(options(&turn.server));
    let node = Node::start().await;
    proxy.cut();
    let shipping = node.ship(client(through), nimble()).await;
    load(&node, 200).await;
    let status = shipping.status();
    assert_eq!((status.shipped_seq, status.lag_events), (None, 400), "{status:?}");
    eventually("the distance is told", || {
        let status = shipping.status();
        status.problem.is_some() && status.lagging && status.lag_seconds > 1.0
    })
    .await;

    proxy.heal();
    eventually("it ships", || shipping.status().events_shipped > 0).await;
    // Whatever happens to the connection while more is recorded, and to the shipper itself.
    for round in 0..4 {
        let trouble = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            match round {
                0 => proxy.reset(),
                1 => proxy.stall(),
                2 => proxy.cut(),
                _ => drop(shipping.child.ask(Crash, soon()).await),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.heal();
        };
        futures_util::join!(load(&node, 160), trouble);
    }
    shipped(&shipping).await;
    let stored = node.stored();
    assert_eq!(stored.len(), 2 * (200 + 4 * 160));
    assert_eq!(copied(&direct).await, stored);
    assert_eq!(count(&direct, "(:User)-[:RAN]->(:Execution)").await, 840);
    assert_eq!(count(&direct, "(:Execution)-[:TOUCHED]->(:DataRef)").await, 840);
    eventually("all is well again", || {
        let status = shipping.status();
        status.problem.is_none() && !status.lagging
    })
    .await;
    assert!(shipping.status().failures > 0);
    node.root.drain(soon()).await;
}

#[actix::test]
async fn a_wrong_password_at_start_is_told_and_tried_again_until_it_is_right() {
    let turn = neo4j_exclusive().await;
    let node = Node::start().await;
    let file = node.dir.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let refused = Neo4jOptions {
        password: String::new(),
        password_file: Some(file.clone()),
        ..options(&turn.server)
    };
    let shipping = node.ship(client(refused), quick()).await;
    node.call("ada", json!({})).await;
    eventually("the reason is told", || {
        shipping.status().problem.is_some_and(|problem| problem.contains("user or password"))
    })
    .await;
    node.call("ada", json!({})).await;
    std::fs::write(&file, &turn.server.password).unwrap();
    shipped(&shipping).await;
    assert_eq!(copied(&client(options(&turn.server))).await, node.stored());
    node.root.drain(soon()).await;
}

#[actix::test]
async fn what_is_not_shipped_is_not_removed_by_retention() {
    let turn = neo4j_exclusive().await;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.db");
    let node = Node::start_in(dir).await;
    node.call("ada", json!({})).await;
    node.call("ada", json!({})).await;
    let cut = || {
        let mut store = crate::audit::Store::open(&path, key(), 1000).unwrap();
        // Far in the future everything has expired.
        let shipped = node.audit.shipped_seq();
        store.cut_expired(i64::MAX, shipped, 100).unwrap()
    };
    assert_eq!(cut(), 0);
    let shipping = node.ship(client(options(&turn.server)), quick()).await;
    shipped(&shipping).await;
    assert_eq!(cut(), 4);
    node.root.drain(soon()).await;
}
