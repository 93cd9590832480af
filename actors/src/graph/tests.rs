//! What the actor in front of the graph promises.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tempfile::TempDir;

use super::actor::Crash;
use super::model::{DeleteRequest, QueryRequest, UpsertRequest};
use super::{GraphError, GraphHandle, GraphOptions};
use crate::deadline::Deadline;
use crate::fault::{Classify, Kind, Retry};
use crate::supervision::Supervisor;
use crate::testing::{root, soon};

async fn started(options: GraphOptions) -> (GraphHandle, TempDir, Supervisor) {
    let (folder, root) = (TempDir::new().unwrap(), root());
    let graph = GraphHandle::start(&root, &folder.path().join("graph.mars"), options).await;
    (graph.unwrap(), folder, root)
}

fn cypher(text: &str) -> QueryRequest {
    QueryRequest { cypher: text.to_owned(), ..QueryRequest::default() }
}

fn node(key: &str) -> UpsertRequest {
    serde_json::from_value(json!({ "nodes": [{ "key": key, "labels": ["N"] }] })).unwrap()
}

/// Works until it is stopped.
const ENDLESS: &str = "MATCH (a:N), (b:N), (c:N), (d:N) WHERE a.x = 1 RETURN count(*) AS c";

async fn with_numbers(graph: &GraphHandle, count: usize) {
    let nodes: Vec<_> =
        (0..count).map(|i| json!({ "key": format!("n{i}"), "labels": ["N"] })).collect();
    let request = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
    graph.upsert(request, soon()).await.unwrap();
}

#[actix::test]
async fn what_goes_in_comes_out_through_the_handle() {
    let (graph, _folder, _root) = started(GraphOptions::default()).await;
    let before = graph.generation();
    assert_eq!(graph.upsert(node("a"), soon()).await.unwrap().nodes.created, 1);
    assert!(graph.generation() > before);
    let result = graph.query(cypher("MATCH (n:N) RETURN n.key"), soon()).await.unwrap();
    assert_eq!(result.rows, [[json!("a")]]);
    assert_eq!(graph.stats(soon()).await.unwrap().nodes, 1);
    let report = graph.export(Box::new(std::io::sink()), soon()).await.unwrap();
    assert_eq!(report.nodes, 1);
    let delete = DeleteRequest { nodes: vec!["a".into()], ..DeleteRequest::default() };
    assert_eq!(graph.delete(delete, soon()).await.unwrap().nodes_deleted, 1);
    assert!(graph.health().await.serving);
}

#[actix::test]
async fn a_crash_of_the_actor_keeps_the_graph_and_what_waits() {
    let (graph, _folder, _root) = started(GraphOptions::default()).await;
    graph.upsert(node("a"), soon()).await.unwrap();
    for round in 0..3 {
        let crash = graph.child().ask(Crash, soon());
        let writes = (0..5).map(|i| graph.upsert(node(&format!("k{round}-{i}")), soon()));
        let (crashed, written) = futures_util::join!(crash, futures_util::future::join_all(writes));
        assert_eq!(crashed.unwrap_err().kind(), Kind::Crashed);
        for result in written {
            assert_eq!(result.unwrap().nodes.created, 1);
        }
    }
    assert_eq!(graph.stats(soon()).await.unwrap().nodes, 16);
}

#[actix::test]
async fn a_caller_that_leaves_frees_the_thread_of_its_query() {
    let options = GraphOptions {
        reader_threads: 1,
        query_timeout_ms: 600_000,
        intermediate_rows_max: 10_000_000,
        ..GraphOptions::default()
    };
    let (graph, _folder, _root) = started(options).await;
    with_numbers(&graph, 200).await;
    let endless = graph.query(cypher(ENDLESS), soon());
    assert!(tokio::time::timeout(Duration::from_millis(100), endless).await.is_err());
    let next = graph.query(cypher("RETURN 1"), soon()).await;
    assert!(next.is_ok(), "the only thread is still busy: {next:?}");
}

#[actix::test]
async fn a_full_mailbox_refuses_at_once() {
    let options =
        GraphOptions { mailbox: 1, intermediate_rows_max: 10_000_000, ..GraphOptions::default() };
    let (graph, _folder, _root) = started(options).await;
    with_numbers(&graph, 200).await;
    let mut endless = Box::pin(graph.query(cypher(ENDLESS), soon()));
    assert!(endless.as_mut().now_or_never().is_none());
    let error = graph.query(cypher("RETURN 1"), soon()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Overloaded);
    assert!(matches!(error.retry(), Retry::After(_)));
    assert!(graph.health().await.serving);
}

#[actix::test]
async fn a_deadline_that_is_past_does_nothing() {
    let (graph, _folder, _root) = started(GraphOptions::default()).await;
    let error = graph.upsert(node("a"), Deadline::after(Duration::ZERO)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::DeadlineExceeded, Retry::Safe));
    assert_eq!(graph.stats(soon()).await.unwrap().nodes, 0);
}

#[actix::test]
async fn a_query_out_of_time_says_that_nothing_was_done() {
    let options = GraphOptions { intermediate_rows_max: 10_000_000, ..GraphOptions::default() };
    let (graph, _folder, _root) = started(options).await;
    with_numbers(&graph, 200).await;
    let deadline = Deadline::after(Duration::from_millis(100));
    let error = graph.query(cypher(ENDLESS), deadline).await.unwrap_err();
    assert!(matches!(error, GraphError::QueryTimeout { .. }), "{error:?}");
    assert_eq!((error.kind(), error.retry()), (Kind::DeadlineExceeded, Retry::Never));
}

#[actix::test]
async fn a_file_in_use_is_an_error_at_the_start() {
    let (_graph, folder, _root) = started(GraphOptions::default()).await;
    let path = folder.path().join("graph.mars");
    match GraphHandle::start(&root(), &path, GraphOptions::default()).await {
        Err(GraphError::Unavailable(message)) => assert!(message.contains("another process")),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("one file, two graphs"),
    }
    let wrong = GraphOptions { stack_mb: 1, ..GraphOptions::default() };
    let error = GraphHandle::start(&root(), &folder.path().join("b"), wrong).await.err().unwrap();
    assert!(error.public().starts_with("graph.stack_mb: "), "{}", error.public());
}
