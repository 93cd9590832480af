//! Neo4j away, slow, cut off, refusing: every call ends in time with a typed answer, and all is well when
//! it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::fault::{Classify, Kind, Retry};
use ultimate_mcp_actors::graph::model::QueryRequest;
use ultimate_mcp_actors::graph::{GraphError, GraphOptions, GraphStore, Neo4jGraph};
use ultimate_mcp_actors::neo4j::{Neo4jClient, Neo4jOptions};
use ultimate_mcp_actors::resilience::BreakerState;
use ultimate_mcp_testkit::{Neo4j, Proxy, free_port, neo4j_exclusive};

use super::fixture::{client_options, request, soon};

/// Options that notice soon.
fn impatient(uri: String, server: &Neo4j) -> Neo4jOptions {
    Neo4jOptions {
        uri,
        connect_timeout_ms: 1_000,
        health_interval_ms: 200,
        reconnect_max_ms: 300,
        query_timeout_ms: 3_000,
        ..client_options(server)
    }
}

fn graph(options: Neo4jOptions) -> (Neo4jGraph, Neo4jClient) {
    let client = Neo4jClient::new(options, Arc::new(|_, _| {})).unwrap();
    (Neo4jGraph::new(client.clone(), GraphOptions::default()).unwrap(), client)
}

async fn read(graph: &Neo4jGraph) -> Result<(), GraphError> {
    let cypher = "MATCH (n) RETURN count(n) AS c".to_owned();
    let request = QueryRequest { cypher, ..QueryRequest::default() };
    graph.query(request, Deadline::after(Duration::from_secs(10))).await.map(drop)
}

async fn write(graph: &Neo4jGraph, key: &str) -> Result<(), GraphError> {
    let node = json!({ "nodes": [{ "key": key, "labels": ["X"] }] });
    let deadline = Deadline::after(Duration::from_secs(10));
    graph.upsert(request(node), deadline).await.map(drop)
}

/// Asks until it serves again.
async fn until_back(graph: &Neo4jGraph) {
    let began = Instant::now();
    while let Err(error) = read(graph).await {
        assert!(began.elapsed() < Duration::from_secs(30), "not back: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The refusal of a server that is away: 503, come back later, nothing was done.
fn is_away(error: &GraphError) {
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    assert!(matches!(error.retry(), Retry::After(_)), "{error:?}");
}

#[tokio::test]
async fn every_way_of_being_away_is_told_in_time_and_ends_by_itself() {
    let turn = neo4j_exclusive().await;
    let proxy = Proxy::to(turn.server.port);
    let uri = format!("bolt://127.0.0.1:{}", proxy.port());
    let (graph, client) = graph(impatient(uri, &turn.server));
    let mut acknowledged = Vec::new();
    write(&graph, "first").await.unwrap();
    acknowledged.push("first".to_owned());

    for (name, fault) in [("cut", Proxy::cut as fn(&Proxy)), ("stall", Proxy::stall)] {
        fault(&proxy);
        let began = Instant::now();
        for number in 0..6 {
            let key = format!("{name}{number}");
            match write(&graph, &key).await {
                Ok(()) => acknowledged.push(key),
                Err(error) => assert_ne!(error.kind(), Kind::Internal, "{name}: {error:?}"),
            }
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {:?}", began.elapsed());
        let refused = Instant::now();
        is_away(&read(&graph).await.unwrap_err());
        assert!(refused.elapsed() < Duration::from_millis(500), "{name}: known to be away");
        let health = graph.health().await;
        assert!(!health.serving && health.problem.is_some(), "{name}: {health:?}");
        proxy.heal();
        until_back(&graph).await;
    }

    proxy.delay(Duration::from_millis(50));
    assert!(read(&graph).await.is_ok(), "slow is not away");
    proxy.heal();

    // Until enough came through to say that nothing of it was lost.
    let (began, mut number) = (Instant::now(), 0);
    while number < 20 || acknowledged.len() <= 10 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} came through", acknowledged.len());
        if number % 3 != 2 {
            proxy.reset();
        }
        let key = format!("reset{number}");
        match write(&graph, &key).await {
            Ok(()) => acknowledged.push(key),
            Err(error) => {
                assert_ne!(error.kind(), Kind::Internal, "{error:?}");
                // Refused at once while the breaker is open.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        number += 1;
    }
    until_back(&graph).await;
    let began = Instant::now();
    while client.dependency().snapshot().breaker.state != BreakerState::Closed {
        assert!(began.elapsed() < Duration::from_secs(20), "the breaker does not close");
        let _ = read(&graph).await;
    }
    holds(&graph, &acknowledged).await;
}

#[tokio::test]
async fn the_end_of_an_outage_is_seen_though_the_attempts_before_it_hang() {
    let turn = neo4j_exclusive().await;
    let proxy = Proxy::to(turn.server.port);
    let uri = format!("bolt://127.0.0.1:{}", proxy.port());
    let patient = Neo4jOptions { connect_timeout_ms: 60_000, ..impatient(uri, &turn.server) };
    let (graph, client) = graph(patient);
    read(&graph).await.unwrap();
    proxy.cut();
    let began = Instant::now();
    while client.state().problem().is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "never missed");
        let _ = read(&graph).await;
    }
    proxy.heal();
    proxy.stall();
    // Time for an attempt to begin and to meet silence, in which it will stay.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    proxy.bury();
    proxy.heal();
    until_back(&graph).await;
    assert_eq!(client.dependency().snapshot().breaker.state, BreakerState::Closed);
}

async fn holds(graph: &Neo4jGraph, acknowledged: &[String]) {
    let cypher = "UNWIND $keys AS k OPTIONAL MATCH (n:Entity {key: k}) WITH k, n WHERE n IS NULL \
                  RETURN collect(k) AS lost";
    let parameters = json!({ "keys": acknowledged }).as_object().cloned().unwrap();
    let asked = QueryRequest { cypher: cypher.to_owned(), parameters, ..QueryRequest::default() };
    let result = graph.query(asked, soon()).await.unwrap();
    assert_eq!(result.rows, [[json!([])]], "acknowledged and lost");
    assert!(acknowledged.len() > 10, "only {} writes were acknowledged", acknowledged.len());
}

#[tokio::test]
async fn a_wrong_password_or_address_at_start_is_told_and_mended_without_a_restart() {
    let turn = neo4j_exclusive().await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let options = Neo4jOptions {
        password: String::new(),
        password_file: Some(file.clone()),
        ..impatient(turn.server.uri.clone(), &turn.server)
    };
    let (refused, _) = graph(options);
    let error = read(&refused).await.unwrap_err();
    is_away(&error);
    let health = refused.health().await;
    assert!(health.problem.unwrap().contains("user or password"));
    std::fs::write(&file, &turn.server.password).unwrap();
    until_back(&refused).await;

    let nobody = Neo4jOptions {
        uri: format!("bolt://127.0.0.1:{}", free_port()),
        ..impatient(String::new(), &turn.server)
    };
    let (nowhere, _) = graph(nobody);
    is_away(&read(&nowhere).await.unwrap_err());
    assert!(nowhere.health().await.problem.unwrap().contains("nothing listens"));
}

#[tokio::test]
async fn wrong_cypher_never_opens_the_breaker() {
    let turn = neo4j_exclusive().await;
    let (graph, client) = graph(impatient(turn.server.uri.clone(), &turn.server));
    for number in 0..40 {
        let cypher = ["RETURN 1 / 0 AS x", "RETURN date('yesterday') AS x"][number % 2].to_owned();
        let request = QueryRequest { cypher, ..QueryRequest::default() };
        let error = graph.query(request, soon()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{error:?}");
    }
    assert_eq!(client.dependency().snapshot().breaker.state, BreakerState::Closed);
    assert_eq!(client.dependency().snapshot().breaker.opened, 0);
    assert!(read(&graph).await.is_ok());
}

/// Waits for so many more acknowledged writes.
async fn until_more(count: &AtomicUsize, more: usize) {
    let (began, before) = (Instant::now(), count.load(Ordering::Relaxed));
    while count.load(Ordering::Relaxed) < before + more {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is written");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Its own server, since it is killed: writers go on through two kills and restarts.
#[tokio::test]
async fn a_killed_and_restarted_server_loses_no_acknowledged_write() {
    let own = tokio::task::spawn_blocking(Neo4j::start_own).await.unwrap();
    let own = Arc::new(own);
    let (graph, _) = graph(impatient(own.server.uri.clone(), &own.server));
    until_back(&graph).await;
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (graph, stop, count) = (graph.clone(), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let key = format!("w{writer}-{number}");
                    match write(&graph, &key).await {
                        Ok(()) => {
                            acknowledged.push(key);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert_ne!(error.kind(), Kind::Internal, "{error:?}");
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    until_more(&count, 30).await;
    let killed = Arc::clone(&own);
    let restarted = tokio::task::spawn_blocking(move || {
        killed.kill();
        killed.restart();
    });
    restarted.await.unwrap();
    until_back(&graph).await;
    until_more(&count, 30).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    holds(&graph, &acknowledged).await;
}
