//! Queries at the guard's limits do not exhaust the stack or the clock: each fragment is repeated
//! as often as the guard lets it. A stack overflow would abort this whole test binary.

use std::time::{Duration, Instant};

use serde_json::Map;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::{GraphOptions, cypher};

use super::fixture::embedded;

/// Before, repeated, in the middle, repeated, after.
const SHAPES: [[&str; 5]; 50] = [
    ["RETURN ", "(", "1", ")", " AS x"],
    ["RETURN ", "[", "1", "]", " AS x"],
    ["RETURN ", "{a: ", "1", "}", " AS x"],
    ["RETURN ", "abs(", "1", ")", " AS x"],
    ["RETURN ", "CASE WHEN true THEN ", "1", " END", " AS x"],
    ["RETURN ", "CASE 1 WHEN 1 THEN ", "1", " ELSE 2 END", " AS x"],
    ["RETURN CASE ", "WHEN false THEN 1 ", "", "", "END AS x"],
    ["RETURN ", "[x IN ", "[1]", "]", " AS x"],
    ["RETURN ", "[x IN [1] | ", "1", "]", " AS x"],
    ["RETURN ", "any(x IN [1] WHERE ", "true", ")", " AS x"],
    ["RETURN 1", " + 1", "", "", " AS x"],
    ["RETURN 1", " - 1", "", "", " AS x"],
    ["RETURN 2.0", " ^ 1", "", "", " AS x"],
    ["RETURN true", " AND true", "", "", " AS x"],
    ["RETURN true", " XOR true", "", "", " AS x"],
    ["RETURN ", "NOT ", "true", "", " AS x"],
    ["RETURN ", "NOT (", "true", ")", " AS x"],
    ["RETURN ", "-(", "1", ")", " AS x"],
    ["RETURN 1", " < 2", "", "", " AS x"],
    ["RETURN 1", " = 1", "", "", " AS x"],
    ["RETURN 1 ", "IS NULL ", "", "", " AS x"],
    ["RETURN [[1]]", "[0]", "", "", " AS x"],
    ["RETURN [1]", "[0..1]", "", "", " AS x"],
    ["MATCH (n) RETURN n", ".a", "", "", " AS x"],
    ["MATCH (n", ":A", "", "", ") RETURN n"],
    ["MATCH (n) WHERE n", ":A", "", "", " RETURN n"],
    ["MATCH ()-[r:A", "|B", "", "", "]->() RETURN r"],
    ["MATCH (n)", "-->()", "", "", " RETURN n"],
    ["MATCH (n)", "-[:KNOWS]-(:Person)", "", "", " RETURN n"],
    ["MATCH (n)", "-[*0..2]-()", "", "", " RETURN n"],
    ["MATCH (n)", ", (:Nobody)", "", "", " RETURN n"],
    ["MATCH (n) WHERE n.born = 1", " OR n.born = 2", "", "", " RETURN n"],
    ["MATCH (n) WHERE true", " AND (n)-->()", "", "", " RETURN n"],
    ["MATCH (n) WHERE ", "EXISTS { MATCH (n)-->(m) WHERE ", "true", " RETURN m }", " RETURN n"],
    ["MATCH (n) WHERE ", "EXISTS { (n)-->(m) WHERE ", "true", " }", " RETURN n"],
    ["MATCH (n) RETURN ", "[(n)-->(m) | ", "1", "]", " AS x"],
    ["", "WITH 1 AS a ", "", "", "RETURN 1 AS x"],
    ["", "UNWIND [1] AS a ", "", "", "RETURN 1 AS x"],
    ["", "MATCH (a:Nobody) ", "", "", "RETURN 1 AS x"],
    ["MATCH (a) ", "OPTIONAL MATCH (a)-->(b) WITH a ", "", "", "RETURN a"],
    ["RETURN 1 AS x", " UNION RETURN 2 AS x", "", "", ""],
    ["RETURN 1 AS x", " UNION ALL RETURN 2 AS x", "", "", ""],
    ["RETURN [1", ", 1", "", "", "] AS x"],
    ["RETURN {a: 1", ", a: 1", "", "", "} AS x"],
    ["RETURN coalesce(null", ", null", "", "", ") AS x"],
    ["RETURN 'a'", " + 'a'", "", "", " AS x"],
    ["RETURN 'a' ", "STARTS WITH 'a' ", "", "", "AS x"],
    ["MATCH (n) RETURN n ORDER BY 1", ", n.a", "", "", ""],
    ["RETURN 'a", "aaaaaaaaaa", "", "", "' AS x"],
    ["RETURN ", "aaaaaaaaaa", "", "", " AS x"],
];

fn build(shape: &[&str; 5], times: usize) -> String {
    let [before, open, middle, close, after] = shape;
    format!("{before}{}{middle}{}{after}", open.repeat(times), close.repeat(times))
}

/// The most repetitions that pass the checks.
fn most(shape: &[&str; 5]) -> usize {
    let passes = |times: usize| cypher::check(&build(shape, times), &Map::new()).is_ok();
    let (mut low, mut high) = (0, 20_000);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if passes(middle) { low = middle } else { high = middle }
    }
    low
}

#[tokio::test]
async fn queries_at_the_limits_of_the_guard_end_in_time_on_the_default_stack() {
    // The guard's limits are for optimised builds; an unoptimised engine is about ten times slower.
    let options = GraphOptions { query_timeout_ms: 60_000, ..GraphOptions::default() };
    let fixture = embedded(options).with_people().await;
    for shape in SHAPES {
        let times = most(&shape);
        assert!(times > 0, "{shape:?} never passes");
        let began = Instant::now();
        let outcome = fixture.query(&build(&shape, times)).await;
        if let Err(error) = &outcome {
            let kind = error.kind();
            assert_eq!(kind, Kind::InvalidInput, "{shape:?} × {times}: {error:?}");
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(60), "{shape:?} × {times} took {took:?}");
    }
    assert_eq!(fixture.store.health().await.panics, 0);
}
