//! Rows, bytes, time, memory and queues are bounded, and each bound says so.

use std::io::Write;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::json;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::model::{QueryRequest, Truncation};
use ultimate_mcp_actors::graph::{EmbeddedGraph, GraphError, GraphOptions, GraphStore};

use super::durability::{child, is_child};
use super::fixture::{Fixture, embedded, request, soon, stores, stores_with};

async fn with_numbers(fixture: Fixture, count: usize) -> Fixture {
    for from in (0..count).step_by(1_000) {
        let nodes: Vec<_> = (from..count.min(from + 1_000))
            .map(|i| json!({ "key": format!("n{i}"), "labels": ["N"], "properties": { "i": i } }))
            .collect();
        fixture.upsert(json!({ "nodes": nodes })).await.unwrap();
    }
    fixture
}

fn asking(cypher: &str, row_limit: usize) -> QueryRequest {
    QueryRequest {
        cypher: cypher.to_owned(),
        row_limit: Some(row_limit),
        ..QueryRequest::default()
    }
}

/// A query that works until it is stopped, looking at its leash for each row.
const ENDLESS: &str = "MATCH (a:N), (b:N), (c:N) WHERE a.i + b.i + c.i < 0 RETURN count(*) AS c";

#[tokio::test]
async fn more_rows_than_asked_for_are_cut_off_and_said() {
    for fixture in stores() {
        let fixture = with_numbers(fixture, 30).await;
        for (cypher, limit, rows, truncated) in [
            ("MATCH (n:N) RETURN n.i AS i ORDER BY i", 10, 10, true),
            ("MATCH (n:N) RETURN n.i AS i ORDER BY i", 30, 30, false),
            ("MATCH (n:N) RETURN n.i AS i ORDER BY i LIMIT 20", 10, 10, true),
            ("MATCH (n:N) RETURN n.i AS i ORDER BY i LIMIT 5", 10, 5, false),
            ("MATCH (n:N) RETURN DISTINCT n.i % 3 AS i ORDER BY i", 2, 2, true),
            ("MATCH (n:N) RETURN DISTINCT n.i % 3 AS i ORDER BY i", 3, 3, false),
            (
                "UNWIND range(0, 29) AS i RETURN i UNION UNWIND range(0, 29) AS i RETURN i",
                30,
                30,
                false,
            ),
            (
                "UNWIND range(0, 29) AS i RETURN i UNION ALL UNWIND range(0, 29) AS i RETURN i",
                30,
                30,
                true,
            ),
        ] {
            let result = fixture.store.query(asking(cypher, limit), soon()).await.unwrap();
            assert_eq!((result.rows.len(), result.truncated), (rows, truncated), "{cypher}");
            assert_eq!(result.row_count, rows);
            assert_eq!(result.rows[1], [json!(1)], "the first rows, in order: {cypher}");
            let by = truncated.then_some(Truncation::Rows);
            assert_eq!(result.truncated_by, by);
        }
    }
}

#[tokio::test]
async fn pages_by_skip_and_limit_are_the_whole() {
    for fixture in stores() {
        let fixture = with_numbers(fixture, 25).await;
        let mut seen = Vec::new();
        loop {
            let parameters = json!({ "skip": seen.len(), "limit": 10 });
            let cypher = "MATCH (n:N) RETURN n.i AS i ORDER BY i SKIP $skip LIMIT $limit";
            let rows = fixture.rows(cypher, parameters).await;
            let page: Vec<_> =
                rows.as_array().unwrap().iter().map(|row| row["i"].as_u64()).collect();
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, (0..25).map(Some).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_row_limit_out_of_range_is_refused() {
    for fixture in stores() {
        for limit in [0, 10_001] {
            let error = fixture.store.query(asking("RETURN 1", limit), soon()).await.unwrap_err();
            assert!(error.public().starts_with("row_limit: "), "{error}");
        }
    }
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    for fixture in stores_with(GraphOptions { result_bytes_max: 2_000, ..GraphOptions::default() })
    {
        let text = json!({ "t": "x".repeat(500) });
        let rows = fixture.query_with("UNWIND range(1, 10) AS i RETURN $t AS t", text).await;
        let rows = rows.unwrap();
        assert_eq!((rows.rows.len(), rows.truncated_by), (3, Some(Truncation::Bytes)));
        let wire = serde_json::to_string(&rows).unwrap();
        assert!(rows.stats.bytes <= 2_000 && wire.len() < 2_500, "{}", wire.len());
        let long = "x".repeat(2_500);
        let error = fixture.query_with("RETURN $t AS t", json!({ "t": long })).await.unwrap_err();
        assert!(matches!(error, GraphError::Limit { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn rows_between_clauses_and_followed_relationships_are_bounded() {
    let options = GraphOptions {
        intermediate_rows_max: 1_000,
        expansions_max: 50,
        ..GraphOptions::default()
    };
    let fixture = with_numbers(embedded(options), 100).await.with_people().await;
    let error = fixture.query("MATCH (a:N), (b:N) RETURN count(*) AS c").await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
    assert!(error.public().contains("1000"), "{error}");
    let error = fixture.query("MATCH (a)-[*1..5]-(b)-[*1..5]-(c) RETURN a").await.unwrap_err();
    assert!(error.public().contains("expansion"), "{error}");
}

#[tokio::test]
async fn what_would_multiply_before_it_is_counted_is_refused_early() {
    let options = GraphOptions {
        collected_rows_max: 2_000,
        unwound_rows_max: 1_000,
        intermediate_values_max: 1_000_000,
        ..GraphOptions::default()
    };
    let fixture = with_numbers(embedded(options), 3_000).await;
    let list: Vec<u32> = (0..10_000).collect();
    let began = Instant::now();
    for cypher in [
        "UNWIND $l AS a UNWIND $l AS b RETURN count(*) AS c",
        "MATCH (n:N) UNWIND $l AS a RETURN count(*) AS c",
        "MATCH (n:N) WITH n, $l AS l RETURN count(l) AS c",
        "MATCH (n:N) WITH n, range(1, 10000) AS l RETURN count(l) AS c",
        "MATCH (n:N) WITH collect(n) AS l UNWIND l AS a UNWIND l AS b RETURN count(*) AS c",
        "MATCH (n:N) WITH collect(n) AS l RETURN [x IN l | x.i] AS c",
    ] {
        let error = fixture.query_with(cypher, json!({ "l": list })).await.expect_err(cypher);
        assert!(matches!(error, GraphError::Limit { .. }), "{cypher}: {error:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    for cypher in [
        "UNWIND $l AS a RETURN count(a) AS c",
        "MATCH (n:N) WHERE n.i IN $few RETURN count(n) AS c",
        "MATCH (n:N) UNWIND [1, 2, 3] AS a RETURN count(a) AS c",
        "MATCH (n:Entity {key: 'n1'}) WITH collect(n) AS l UNWIND l AS a RETURN [x IN l | x.i] AS c",
    ] {
        let parameters = json!({ "l": list, "few": list[..20] });
        let outcome = fixture.query_with(cypher, parameters).await;
        assert!(outcome.is_ok(), "{cypher}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_query_ends_when_its_time_is_up() {
    let options = GraphOptions { intermediate_rows_max: 10_000_000, ..GraphOptions::default() };
    for fixture in stores_with(options) {
        let fixture = with_numbers(fixture, 300).await;
        let began = Instant::now();
        let request = QueryRequest {
            cypher: ENDLESS.to_owned(),
            timeout_ms: Some(200),
            ..QueryRequest::default()
        };
        let error = fixture.store.query(request, soon()).await.unwrap_err();
        assert!(matches!(error, GraphError::QueryTimeout { .. }), "{error:?}");
        let deadline = Deadline::after(Duration::from_millis(200));
        let request = QueryRequest { cypher: ENDLESS.to_owned(), ..QueryRequest::default() };
        let error = fixture.store.query(request, deadline).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded, "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert!(fixture.query("RETURN 1").await.is_ok());
    }
}

#[tokio::test]
async fn a_dropped_query_stops_and_frees_its_thread() {
    let options = GraphOptions {
        reader_threads: 1,
        query_timeout_ms: 600_000,
        intermediate_rows_max: 10_000_000,
        ..GraphOptions::default()
    };
    for fixture in stores_with(options) {
        let fixture = with_numbers(fixture, 300).await;
        let endless = fixture.query(ENDLESS);
        let gone = tokio::time::timeout(Duration::from_millis(200), endless).await;
        assert!(gone.is_err(), "it ended by itself");
        let next = tokio::time::timeout(Duration::from_secs(20), fixture.query("RETURN 1")).await;
        assert!(next.expect("the only thread is still busy").is_ok());
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let options = GraphOptions {
        reader_threads: 1,
        waiting_max: 2,
        intermediate_rows_max: 10_000_000,
        ..GraphOptions::default()
    };
    let fixture = with_numbers(embedded(options), 300).await;
    let mut first = Box::pin(fixture.query(ENDLESS));
    assert!(first.as_mut().now_or_never().is_none());
    // Taken from the queue: the only thread works on it.
    while fixture.store.health().await.waiting != 0 {}
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(fixture.query("RETURN 1"))).collect();
    for query in &mut waiting {
        assert!(query.as_mut().now_or_never().is_none());
    }
    assert_eq!(fixture.store.health().await.waiting, 2);
    let error = fixture.query("RETURN 1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Overloaded);
    assert!(fixture.store.health().await.serving, "busy is not broken");
    drop(first);
    for query in waiting {
        assert!(query.await.is_ok());
    }
}

/// Not a test by itself: the child's part. Alone in its process, so that only its query grows.
#[tokio::test]
async fn child_eats_memory() {
    let Some(file) = is_child() else { return };
    // The limit on values would stop it at about twice that growth: on a busy machine a race.
    let options = GraphOptions {
        memory_growth_mb_max: 64,
        intermediate_values_max: 50_000_000,
        ..GraphOptions::default()
    };
    let store = EmbeddedGraph::open(Some(&file), options).unwrap();
    for from in [0, 1_000] {
        let nodes: Vec<_> = (from..from + 1_000)
            .map(|i| json!({ "key": format!("n{i}"), "labels": ["N"], "properties": { "i": i } }))
            .collect();
        store.upsert(request(json!({ "nodes": nodes })), soon()).await.unwrap();
    }
    let cypher =
        "MATCH (n:N) WITH collect(n.i) AS c MATCH (m:N), (k:N) RETURN m.i AS m, k.i AS k, c";
    let error = store.query(asking(cypher, 10_000), soon()).await.unwrap_err();
    assert!(error.public().contains("memory of running queries"), "{error}");
    assert_eq!(error.kind(), Kind::InvalidInput);
    // Those that come right after it, with no idle moment between them, do not pay for it.
    let after = async || {
        for _ in 0..100 {
            store.query(asking("RETURN 1", 1), soon()).await.unwrap();
        }
    };
    tokio::join!(after(), after(), after());
    writeln!(std::io::stdout(), "stopped in time").unwrap();
}

#[test]
fn a_query_that_eats_memory_is_stopped() {
    let folder = tempfile::TempDir::new().unwrap();
    let child = child("limits::child_eats_memory", &folder.path().join("graph.mars"));
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("stopped in time"), "{text}");
}

#[tokio::test]
async fn the_guard_names_the_limit_that_was_hit() {
    for fixture in stores() {
        for (cypher, limit) in [
            (format!("RETURN '{}'", "x".repeat(17_000)), "16384 bytes"),
            (format!("RETURN {}1{}", "(".repeat(65), ")".repeat(65)), "nesting of brackets"),
            (format!("RETURN 1{}", " + 1".repeat(101)), "number of operators"),
            (format!("RETURN true{}", " AND true".repeat(101)), "number of operators"),
            (format!("MATCH (n){} RETURN n", "-->()".repeat(17)), "relationship patterns"),
            (format!("RETURN {}", "CASE WHEN true THEN 1 END, ".repeat(65)), "number of CASE"),
            ("RETURN range(1, 1000000000)".to_owned(), "range()"),
            ("RETURN range(1, $x)".to_owned(), "range()"),
            ("RETURN range(9223372036854775800, 9223372036854775807)".to_owned(), "range()"),
            (
                "UNWIND range(1, 1000) AS a UNWIND range(1, 1000) AS b RETURN a".to_owned(),
                "range()",
            ),
            ("MATCH (n) WITH collect(n) AS c RETURN [x IN c | [y IN c | 1]]".to_owned(), "UNWIND"),
            ("MATCH (n) RETURN replace(n.a, 'a', n.b)".to_owned(), "replace()"),
            (
                format!(
                    "MATCH (n) WHERE {}true{} RETURN n",
                    "EXISTS { (n)-->() WHERE ".repeat(3),
                    " }".repeat(3)
                ),
                "nesting of EXISTS",
            ),
            (format!("RETURN replace('a', '', '{}')", "x".repeat(2_000)), "growth by replace()"),
        ] {
            let error = fixture.query_with(&cypher, json!({ "x": 1 })).await.unwrap_err();
            assert!(matches!(error, GraphError::Limit { .. }), "{cypher}: {error:?}");
            assert!(error.public().contains(limit), "{error}");
        }
    }
}

#[tokio::test]
async fn parameters_are_bounded_by_path() {
    let deep = (0..12).fold(json!(1), |inner, _| json!([inner]));
    for fixture in stores() {
        for (parameters, path) in [
            (json!({ "p": "x".repeat(300_000) }), "parameters: "),
            (json!({ "p": vec![1; 10_001] }), "parameters.p: "),
            (json!({ "p": deep }), "parameters.p[0][0]"),
            (json!({ "p": { "a": u64::MAX } }), "parameters.p.a: "),
        ] {
            let error = fixture.query_with("RETURN $p", parameters).await.unwrap_err();
            assert!(error.public().starts_with(path), "{error}");
        }
    }
}
