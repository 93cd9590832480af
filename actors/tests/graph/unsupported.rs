//! What is outside the subset is refused by name, with what to write instead.

use serde_json::json;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::GraphError;

use super::fixture::stores;

/// Construct, part of its name in the error, part of the advice.
const OUTSIDE: [(&str, &str, &str); 32] = [
    ("MATCH (a), () WHERE EXISTS { (:Poet)-->() } RETURN a", "nameless node", "name it"),
    ("MATCH (n) WHERE n.name =~ 'A.*' RETURN n", "=~", "STARTS WITH"),
    ("MATCH (n) RETURN COUNT { (n)-->() } AS c", "COUNT { }", "count()"),
    ("MATCH (n) RETURN COLLECT { MATCH (n)-->(m) RETURN m } AS c", "COLLECT { }", "collect()"),
    ("MATCH (n) WHERE EXISTS { MATCH (n)-->(m) } RETURN n", "EXISTS { MATCH", "EXISTS { (a)-->(b)"),
    ("MATCH (n) WHERE exists(n.name) RETURN n", "exists()", "IS NOT NULL"),
    ("MATCH (n) RETURN n {.name, .key}", "map projection", "{name: n.name}"),
    ("MATCH (n) RETURN n{.*}", "map projection", "properties(n)"),
    ("RETURN reduce(a = 0, x IN [1] | a + x) AS s", "reduce()", "UNWIND"),
    ("MATCH (n) RETURN elementId(n)", "elementId()", "its id is in the result"),
    ("MATCH (a)((x)-[:KNOWS]->(y)){1,2}(b) RETURN a", "quantified path", "*1..3"),
    ("MATCH ((a)-[:KNOWS]->(b))+ RETURN a", "quantified path", "*1..3"),
    ("MATCH (n:A|B) RETURN n", "label alternative", "n:A OR n:B"),
    ("MATCH (n) WHERE n:A|B RETURN n", "label alternative", "n:A OR n:B"),
    ("MATCH (n:A&B) RETURN n", "label expression", "NOT n:B"),
    ("MATCH (n:!A) RETURN n", "label expression", "NOT n:B"),
    ("MATCH (n) RETURN (n)-->() AS x", "pattern predicate", "size("),
    ("MATCH (n) RETURN CASE WHEN (n)-->() THEN 1 END AS x", "pattern predicate", "size("),
    ("MATCH (n WHERE n.born > 1) RETURN n", "WHERE inside a pattern", "after the pattern"),
    ("MATCH ()-[r WHERE r.since > 1]->() RETURN r", "WHERE inside a pattern", "after the pattern"),
    ("MATCH p = allShortestPaths((a)-[*..3]->(b)) RETURN p", "allShortestPaths()", "shortestPath"),
    ("RETURN apoc.text.join(['a'], ',')", "apoc", "common subset"),
    ("RETURN gds.version()", "gds", "common subset"),
    ("RETURN point({x: 1, y: 2})", "point()", "numbers"),
    ("RETURN stDev(1)", "stdev", "tool's description"),
    ("WITH [{a: 1}] AS l RETURN l[0].a", "property of a list element", "(list[0]).name"),
    ("RETURN 'a' || 'b'", "||", "+"),
    ("MATCH (n) WHERE n.a != 1 RETURN n", "!=", "<>"),
    ("MATCH (n) WHERE n.a IS :: STRING RETURN n", "::", "values"),
    ("RETURN '\\u0041'", "\\u", "parameter"),
    ("MATCH (n:`A``B`) RETURN n", "backtick", "without backticks"),
    ("MATCH (n) WHERE EXISTS { (n)-->() } RETURN COUNT { (n)--() }", "COUNT { }", "count()"),
];

#[tokio::test]
async fn what_is_outside_the_subset_is_named_with_a_way_round() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        for (cypher, construct, advice) in OUTSIDE {
            let error = fixture.query(cypher).await.expect_err(cypher);
            assert!(matches!(error, GraphError::Unsupported { .. }), "{cypher}: {error:?}");
            let message = error.public();
            assert!(message.contains(construct) && message.contains(advice), "{cypher}: {message}");
            assert_eq!(error.kind(), Kind::InvalidInput);
        }
    }
}

#[tokio::test]
async fn mistakes_say_where_they_are() {
    for fixture in stores() {
        for (cypher, line, column) in [
            ("MATCH (n RETURN n", 1, 7),
            ("MATCH (n)\n  RETURN n n", 2, 12),
            ("", 1, 1),
            ("MATCH (n)", 1, 9),
            ("RETURN 'x", 1, 8),
            ("RETURN 1; RETURN 2", 1, 9),
            ("RETURN /* é */ 1 # 2", 1, 18),
            ("RETURN )", 1, 8),
            ("RETURN [1)", 1, 10),
        ] {
            match fixture.query(cypher).await {
                Err(GraphError::Syntax { at, message }) => {
                    assert_eq!((at.line, at.column), (line, column), "{cypher:?}: {message}");
                }
                other => panic!("{cypher:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_missing_parameter_is_named() {
    for fixture in stores() {
        match fixture.query_with("MATCH (n {key: $key}) RETURN n", json!({ "kye": 1 })).await {
            Err(GraphError::MissingParameter { name }) => assert_eq!(name, "key"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn nonsense_is_the_clients_mistake() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        for cypher in [
            "MATCH (n) RETURN m",
            "RETURN 1 / 0",
            "RETURN 1 + {a: 1}",
            "MATCH (n) RETURN n.key, n.key",
            "MATCH (n) RETURN count(n), count(n)",
            "RETURN 9223372036854775808",
            "RETURN date('yesterday')",
            "MATCH (n) RETURN n LIMIT -1",
            "RETURN 9223372036854775807 + 1",
        ] {
            let error = fixture.query(cypher).await.expect_err(cypher);
            let crashed = matches!(error, GraphError::Crashed { .. });
            assert!(crashed || error.kind() == Kind::InvalidInput, "{cypher}: {error:?}");
            assert!(fixture.query("RETURN 1").await.is_ok(), "dead after {cypher}");
        }
    }
}
