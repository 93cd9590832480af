//! No query writes: refused by its syntax tree, whatever the text hides, and shown by digests.

use proptest::prelude::*;
use serde_json::json;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::{GraphError, cypher};

use super::fixture::{Fixture, stores};

const WRITES: [&str; 46] = [
    "CREATE (n:X)",
    "CREATE (n:X) RETURN n",
    "create (n) return n",
    "CrEaTe\n(n) RETURN n",
    "/* MATCH */ CREATE (n) RETURN n",
    "// read only\nCREATE (n) RETURN n",
    "// read only\rCREATE (n) RETURN n",
    "MATCH (n) /* x */ SET /* y */ n.a = 1 RETURN n",
    "MATCH (n) SET n.a = 1",
    "MATCH (n) SET n:X RETURN n",
    "MATCH (n) SET n += {a: 1} RETURN n",
    "MATCH (n) REMOVE n.name RETURN n",
    "MATCH (n) REMOVE n:Person",
    "MATCH (n) DELETE n",
    "MATCH (n) DETACH DELETE n",
    "MATCH (n) WITH n DETACH DELETE n RETURN 1 AS x",
    "MATCH (n) DETACH/**/DELETE n RETURN 1 AS x",
    "MERGE (n:X {a: 1}) RETURN n",
    "MERGE (n:X) ON CREATE SET n.a = 1 RETURN n",
    "MATCH (n) MERGE (n)-[:SELF]->(n) RETURN n",
    "UNWIND [1] AS x CREATE (n:X {a: x}) RETURN n",
    "MATCH (n) FOREACH (x IN [1] | SET n.a = x)",
    "MATCH (n) CALL { WITH n CREATE (m) RETURN m } RETURN m",
    "CALL db.labels()",
    "CALL db.labels() YIELD label RETURN label",
    "CALL apoc.create.node(['X'], {}) YIELD node RETURN node",
    "CALL `db`.`labels`() YIELD label RETURN label",
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
    "LOAD CSV WITH HEADERS FROM 'http://127.0.0.1/' AS line RETURN line",
    "CREATE INDEX ON :Person(name)",
    "CREATE CONSTRAINT FOR (n:X) REQUIRE n.a IS UNIQUE",
    "DROP INDEX x",
    "EXPLAIN CREATE (n)",
    "EXPLAIN MATCH (n) RETURN n",
    "PROFILE MATCH (n) RETURN n",
    "BEGIN",
    "begin transaction;",
    "COMMIT",
    "ROLLBACK",
    "SHOW INDEXES",
    "USE neo4j MATCH (n) RETURN n",
    "MATCH (n) WHERE EXISTS { MATCH (n)-->(m) SET m.a = 1 RETURN m } RETURN n",
    "MATCH (n) RETURN n UNION CREATE (n) RETURN n",
    "RETURN 1 AS n UNION ALL MATCH (n) DELETE n RETURN n",
    "INSERT (n:X)",
    "MATCH (n) RETURN n; MATCH (n) DETACH DELETE n",
];

#[tokio::test]
async fn every_writing_clause_is_refused_and_the_graph_stays_the_same() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let before = fixture.digest().await;
        for cypher in WRITES {
            let error = fixture.query(cypher).await.expect_err(cypher);
            assert_eq!(error.kind(), Kind::InvalidInput, "{cypher}: {error:?}");
            let refused = matches!(error, GraphError::NotReadOnly { .. });
            assert!(refused || cypher.contains(';'), "{cypher}: {error:?}");
        }
        assert_eq!(fixture.digest().await, before);
        assert_eq!(fixture.store.stats(super::fixture::soon()).await.unwrap().indexes.len(), 1);
    }
}

#[tokio::test]
async fn writing_in_disguise_is_refused_too() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let before = fixture.digest().await;
        for cypher in [
            "\u{feff}CREATE (n)",
            "\u{a0}CREATE (n)",
            "MATCH (n)\u{200b}SET n.a = 1 RETURN n",
            "MATCH (n) ſET n.a = 1 RETURN n",
            "\\u0043REATE (n) RETURN n",
            "RETURN '\\u0027 CREATE (n) //' AS x",
            "MATCH (n:`x`` ) DETACH DELETE n //`) RETURN n",
            "RETURN '\nCREATE (n) '",
            "RETURN 1 /* CREATE (n)",
            "MATCH (n) RETURN n AS `x` CREATE (m)",
            "ＣＲＥＡＴＥ (n) RETURN n",
            "MATCH (n {a: 1}) SET n = {} RETURN n",
            "MATCH (n) RETURN n LIMIT 1 CREATE (m)",
            "MATCH (n) RETURN n.x : CREATE (m)",
        ] {
            let error = fixture.query(cypher).await.expect_err(cypher);
            assert_eq!(error.kind(), Kind::InvalidInput, "{cypher}: {error:?}");
        }
        assert_eq!(fixture.digest().await, before);
    }
}

#[tokio::test]
async fn a_name_that_looks_like_a_clause_is_fine() {
    for fixture in stores() {
        let node = json!({ "key": "CREATE", "labels": ["CREATE", "Set"], "properties": { "delete": "DROP" } });
        let relationship = json!({ "start": "CREATE", "type": "MERGE", "end": "CREATE" });
        fixture.upsert(json!({ "nodes": [node], "relationships": [relationship] })).await.unwrap();
        for cypher in [
            "MATCH (n:CREATE) RETURN n.key AS k",
            "MATCH (n:Set:CREATE)-[r:MERGE]->() RETURN n.key AS k",
            "MATCH (n {delete: 'DROP'}) RETURN 'CREATE' AS k",
            "MATCH (n)-[:SET|MERGE]->() WHERE n.delete = \"DROP\" RETURN n.key AS k",
            "MATCH (`MERGE`) RETURN `MERGE`.key AS k // CREATE (n)",
            "MATCH (load {key: 'CREATE'}) WITH load AS foreach RETURN foreach.key AS k",
        ] {
            assert_eq!(
                fixture.rows(cypher, json!({})).await,
                json!([{ "k": "CREATE" }]),
                "{cypher}"
            );
        }
    }
}

/// Pieces that queries and attacks are made of.
const PIECES: [&str; 64] = [
    "MATCH ",
    "(n)",
    "(n:Person)",
    "-[r:KNOWS]->",
    "(m)",
    "WHERE ",
    "n.born",
    " > ",
    "1800",
    " AND ",
    "RETURN ",
    "n",
    "m",
    "r",
    " AS x",
    "x",
    ", ",
    "WITH ",
    "UNWIND ",
    "[1,2]",
    " AS y ",
    "ORDER BY ",
    "LIMIT ",
    "1 ",
    "SKIP ",
    "UNION ",
    "ALL ",
    "OPTIONAL ",
    "DISTINCT ",
    "count(n)",
    "collect(n)",
    "CREATE ",
    "MERGE ",
    "SET ",
    "n.a = 1 ",
    "DELETE ",
    "DETACH ",
    "REMOVE ",
    "n.name ",
    "CALL ",
    "db.labels() ",
    "FOREACH ",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "'",
    "\"",
    "`",
    "/*",
    "*/",
    "//",
    "\n",
    "\r",
    ";",
    "\\",
    "$p",
    ":",
    "|",
    "EXISTS ",
    "\u{a0}",
    "ſ",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.as_slice()), 1..24).prop_map(|p| p.concat())
}

/// A reading query with writing pieces pushed in at random places.
fn spoiled() -> impl Strategy<Value = String> {
    let valid = prop::sample::select(vec![
        "MATCH (n:Person)-[r:KNOWS]->(m) WHERE n.born > 1800 RETURN n.key, count(r) AS c ORDER BY c LIMIT 3",
        "MATCH (n) WITH n.name AS x, collect(n) AS l UNWIND l AS y RETURN x, y.key",
        "MATCH (n) WHERE EXISTS { (n)-->(m) WHERE m.born > 1 } RETURN n UNION MATCH (n:Town) RETURN n",
        "UNWIND [1, 2] AS x OPTIONAL MATCH (n {born: x}) RETURN [y IN [1] | y] AS l, n",
    ]);
    (valid, prop::collection::vec((0usize..200, prop::sample::select(PIECES.as_slice())), 0..4))
        .prop_map(|(text, insertions)| {
            let mut text = text.to_owned();
            for (at, piece) in insertions {
                let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
                text.insert_str(at.unwrap_or(0), piece);
            }
            text
        })
}

async fn unchanged_by(fixture: &Fixture, before: &str, cypher: &str) -> bool {
    let accepted = match fixture.query_with(cypher, json!({ "p": 1 })).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), Kind::InvalidInput, "{cypher:?}: {error:?}");
            false
        }
    };
    assert_eq!(fixture.digest().await, before, "{cypher:?} changed the graph");
    accepted
}

#[test]
fn no_accepted_query_changes_the_graph() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for fixture in stores() {
        let fixture = runtime.block_on(fixture.with_people());
        let before = runtime.block_on(fixture.digest());
        let accepted = std::cell::Cell::new(0u32);
        // Each case exports the whole graph; a server takes its time for that.
        let cases = if fixture.turn.is_some() { 80 } else { 400 };
        let config =
            ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
        proptest!(config, |(cypher in prop_oneof![1 => soup(), 3 => spoiled()])| {
            if runtime.block_on(unchanged_by(&fixture, &before, &cypher)) {
                accepted.set(accepted.get() + 1);
            }
        });
        assert!(accepted.get() > cases / 20, "only {} queries got through", accepted.get());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn the_checks_never_panic_on_any_text(text in "\\PC{0,200}", soup in soup()) {
        let parameters = serde_json::Map::new();
        let _ = cypher::check(&text, &parameters);
        let _ = cypher::check(&soup, &parameters);
    }

    #[test]
    fn the_checks_never_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = cypher::check(&String::from_utf8_lossy(&bytes), &serde_json::Map::new());
    }
}
