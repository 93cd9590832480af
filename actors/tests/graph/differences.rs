//! Where the engines differ, as docs/graph.md lists it: each row of its table, on both.

use serde_json::{Value, json};
use ultimate_mcp_actors::graph::{GraphError, GraphOptions};

use super::fixture::{Fixture, embedded, neo4j};

/// What an engine gives.
enum Gives {
    /// These rows.
    Rows(Value),
    /// These rows, or a refusal as out of range: servers of different versions differ.
    RowsOrRange(Value),
    /// Rows that depend on the engine's own order or numbers; any are fine.
    Any,
    /// A crash of the engine, caught: nothing was changed.
    Crash,
}

use Gives::{Any, Crash, Rows, RowsOrRange};

/// Query, what the embedded engine gives, what Neo4j gives.
fn table() -> Vec<(&'static str, Gives, Gives)> {
    vec![
        ("RETURN abs(-9223372036854775808) AS x", Crash, RowsOrRange(json!([{ "x": i64::MIN }]))),
        ("MATCH (n:Town) RETURN keys(n) AS x", Rows(json!([{ "x": ["key", "name"] }])), Any),
        ("MATCH (n:Poet) RETURN id(n) AS x", Any, Any),
    ]
}

async fn check(fixture: &Fixture, cypher: &str, gives: Gives) {
    let outcome = fixture.query(cypher).await;
    let name = fixture.name;
    match gives {
        Rows(rows) => {
            let result = outcome.unwrap_or_else(|error| panic!("{name}: {cypher}: {error}"));
            assert_eq!(serde_json::to_value(&result).unwrap()["rows"], rows, "{name}: {cypher}");
        }
        RowsOrRange(rows) => match outcome {
            Ok(result) => {
                assert_eq!(
                    serde_json::to_value(&result).unwrap()["rows"],
                    rows,
                    "{name}: {cypher}"
                );
            }
            Err(error) => {
                assert!(error.to_string().contains("out of range"), "{name}: {cypher}: {error:?}");
            }
        },
        Any => assert!(outcome.is_ok(), "{name}: {cypher}: {outcome:?}"),
        Crash => {
            let error = outcome.expect_err(cypher);
            assert!(matches!(error, GraphError::Crashed { wrote: false, .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn the_engines_differ_only_as_documented() {
    let server = neo4j(GraphOptions::default()).with_people().await;
    let file = embedded(GraphOptions::default()).with_people().await;
    for (cypher, here, there) in table() {
        check(&file, cypher, here).await;
        check(&server, cypher, there).await;
    }
}
