//! On Neo4j the graph shares its database with nodes of the server: no query sees, counts, reaches or
//! is changed by them.

use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use serde_json::{Value, json};
use ultimate_mcp_actors::graph::GraphOptions;

use super::fixture::{Fixture, embedded, neo4j};

/// Nodes of the server that look as much like the graph's as they can: same labels, types and keys.
const SYSTEM: [&str; 5] = [
    "CREATE (:User:UmcpUser {key: 'root', name: 'Root'})-[:HAS_ROLE]->(:Role:UmcpRole {key: 'admin'})",
    "CREATE (a:Person:Poet:UmcpUser {key: 'ada', name: 'Spy', born: 1815})\
     -[:KNOWS {since: 1833}]->(b:Person:UmcpUser {key: 'mole', name: 'Mole'})-[:LIVES_IN]->(:Town:UmcpData {key: 'lair'})",
    "UNWIND range(1, 20) AS i CREATE (:AuditEvent:UmcpAudit {key: 'event' + i, id: i})",
    "MATCH (a:UmcpUser {key: 'mole'}), (b:UmcpUser {key: 'root'}) CREATE (a)-[:ADMIRES]->(b)-[:KNOWS]->(a)",
    "MATCH (a:UmcpAudit) MATCH (u:UmcpUser {key: 'root'}) CREATE (u)-[:DID]->(a)",
];

/// Ways to reach for nodes that are not named.
const REACHES: [&str; 44] = [
    "MATCH (n) RETURN count(n) AS c",
    "MATCH () RETURN count(*) AS c",
    "MATCH (n:User) RETURN n",
    "MATCH (n:UmcpUser) RETURN n",
    "MATCH (n:`UmcpUser`) RETURN n",
    "MATCH (n:Person:UmcpUser) RETURN n",
    "MATCH (n) WHERE n:UmcpUser RETURN n",
    "MATCH (n) WHERE NOT n:Entity RETURN n",
    "MATCH (n) WHERE n.name = 'Root' RETURN n",
    "MATCH (n {key: 'root'}) RETURN n",
    "MATCH (n:Person) RETURN n.key AS k ORDER BY k",
    "MATCH (n:Person {key: 'ada'}) RETURN n.name AS n",
    "MATCH ()-[r]->() RETURN count(r) AS c",
    "MATCH ()-[r:HAS_ROLE]->() RETURN r",
    "MATCH ()-[r:HAS_ROLE]-() RETURN startNode(r) AS s, endNode(r) AS e",
    "MATCH ()-[r:DID|HAS_ROLE]->(x) RETURN x",
    "MATCH (a)-[*1..3]->(b) RETURN count(*) AS c",
    "MATCH (a)-[*0..2]-(b) RETURN count(*) AS c",
    "MATCH (a)-[*0..0]-(b) RETURN count(*) AS c",
    "MATCH (a)-[r*]->(b) RETURN count(*) AS c",
    "MATCH p = (a)-[:KNOWS]->() RETURN [x IN nodes(p) | x.key] AS k ORDER BY k",
    "OPTIONAL MATCH (n:UmcpUser) RETURN n",
    "OPTIONAL MATCH (n:User)-[:HAS_ROLE]->(r) RETURN n, r",
    "MATCH (n:Town) OPTIONAL MATCH (m:UmcpAudit) RETURN n.key AS n, m",
    "OPTIONAL MATCH (n:Nothing) WITH n MATCH (m) WHERE n IS NULL RETURN count(m) AS c",
    "MATCH (n:Poet) WHERE (n)-[:KNOWS]->() RETURN n.key AS k",
    "MATCH (n:Poet) WHERE (n)--(:UmcpUser) RETURN n.key AS k",
    "MATCH (n:Poet) WHERE EXISTS { (x:UmcpUser) } RETURN n.key AS k",
    "MATCH (n:Poet) WHERE EXISTS { (m) WHERE m.key = 'root' } RETURN n.key AS k",
    "MATCH (n:Poet) WHERE EXISTS { (x:User)-[:HAS_ROLE]->() } RETURN n.key AS k",
    "MATCH (n:Poet) WHERE EXISTS { MATCH (m:UmcpUser) RETURN m } RETURN n.key AS k",
    "MATCH (n:Poet) WHERE EXISTS { MATCH (m), (o:UmcpRole) RETURN m } RETURN n.key AS k",
    "MATCH (n:Poet) RETURN [(x:User)-[:HAS_ROLE]->(r) | r.key] AS l",
    "MATCH (n:Poet) RETURN [(:UmcpUser)-->(x) | x.key] AS l",
    "MATCH (n:Poet) RETURN [p = ()-[:HAS_ROLE]->() | length(p)] AS l",
    "MATCH (n:Poet) RETURN [(n)-->(b) WHERE EXISTS { (x:UmcpUser) } | b.key] AS l",
    "MATCH (n:Poet) RETURN size([(x)-->() | 1]) AS c",
    "MATCH (a {key: 'root'}), (b {key: 'mole'}) MATCH p = shortestPath((a)-[*..5]-(b)) RETURN length(p) AS l",
    "MATCH (a:Entity {key: 'ada'}), (b) MATCH p = shortestPath((a)-[*..5]->(b)) WHERE b.key <> 'ada' RETURN count(p) AS c",
    "MATCH (n:Poet) RETURN n.key AS k UNION MATCH (n:UmcpUser) RETURN n.key AS k",
    "MATCH (n:Poet) RETURN n.key AS k UNION ALL MATCH (n) RETURN n.key AS k ORDER BY k",
    "MATCH (n), (m) RETURN count(*) AS c",
    "UNWIND ['root', 'ada', 'event1'] AS k OPTIONAL MATCH (n {key: k}) RETURN k, n.name AS n",
    "MATCH (n) UNWIND labels(n) AS l RETURN DISTINCT l ORDER BY l",
];

async fn intrude(fixture: &Fixture) {
    let graph = fixture.turn.as_ref().unwrap().server.graph().await;
    for text in SYSTEM {
        graph.run(neo4rs::query(text)).await.unwrap();
    }
}

#[tokio::test]
async fn nodes_of_the_server_are_out_of_reach_and_change_no_answer() {
    let fixture = neo4j(GraphOptions::default()).with_people().await;
    let mut before = Vec::new();
    for cypher in REACHES {
        before.push(fixture.rows(cypher, json!({})).await);
    }
    let stats = fixture.store.stats(super::fixture::soon()).await.unwrap();
    let digest = fixture.digest().await;
    intrude(&fixture).await;
    for (cypher, before) in REACHES.iter().zip(before) {
        assert_eq!(fixture.rows(cypher, json!({})).await, before, "{cypher}");
    }
    assert_eq!(fixture.store.stats(super::fixture::soon()).await.unwrap(), stats);
    assert_eq!(fixture.digest().await, digest);
    writes_do_not_touch_them(&fixture).await;
}

async fn writes_do_not_touch_them(fixture: &Fixture) {
    let count = async |text: &str| {
        let graph = fixture.turn.as_ref().unwrap().server.graph().await;
        let mut rows = graph.execute(neo4rs::query(text)).await.unwrap();
        rows.next().await.unwrap().unwrap().get::<i64>("c").unwrap()
    };
    let all = "MATCH (n) WHERE NOT n:Entity AND NOT n:UmcpMigration RETURN count(n) AS c";
    let present = count(all).await;
    let ghost = json!({ "nodes": [{ "key": "root", "labels": ["User"], "properties": { "name": "Fake" } }] });
    assert_eq!(fixture.upsert(ghost).await.unwrap().nodes.created, 1, "another node, not theirs");
    let link = json!({ "relationships": [{ "start": "ada", "type": "KNOWS", "end": "mole" }] });
    assert!(fixture.upsert(link).await.is_err(), "there is no such node in the graph");
    let gone = fixture.delete(json!({ "nodes": ["root", "mole", "event1"], "detach": true })).await;
    assert_eq!(gone.unwrap().missing_nodes, ["mole", "event1"]);
    let label = json!({ "nodes": [{ "key": "x", "labels": ["UmcpUser"] }] });
    assert!(fixture.upsert(label).await.unwrap_err().to_string().contains("server's own"));
    assert_eq!(count(all).await, present);
    let touched = "MATCH (n:UmcpUser) WHERE n.name = 'Fake' RETURN count(n) AS c";
    assert_eq!(count(touched).await, 0);
}

/// A node pattern; `name` is empty for an anonymous one.
fn node(name: &'static str) -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec![
        "",
        "",
        ":Person",
        ":Town",
        ":Poet:Person",
        ":User",
        ":UmcpUser",
    ]);
    let map =
        prop::sample::select(vec!["", "", "", " {key: 'ada'}", " {born: 1815}", " {key: 'root'}"]);
    (label, map).prop_map(move |(label, map)| format!("({name}{label}{map})"))
}

fn relationship() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "-->",
        "<--",
        "--",
        "-[:KNOWS]->",
        "<-[:KNOWS|LIVES_IN]-",
        "-[:HAS_ROLE]-",
        "-[*1..2]->",
        "-[:KNOWS*0..2]-",
    ])
    .prop_map(str::to_owned)
}

fn chain(first: &'static str, second: &'static str) -> impl Strategy<Value = String> {
    let tail = prop::collection::vec((relationship(), node("")), 0..2);
    (node(first), relationship(), node(second), tail).prop_map(|(a, r, b, tail)| {
        let tail: String = tail.into_iter().map(|(r, n)| format!("{r}{n}")).collect();
        format!("{a}{r}{b}{tail}")
    })
}

fn condition() -> impl Strategy<Value = String> {
    let pattern = (relationship(), node("")).prop_map(|(r, n)| format!("(a){r}{n}"));
    let exists = chain("y", "").prop_map(|chain| format!("EXISTS {{ {chain} }}"));
    let inner = (node("x"), relationship(), node(""))
        .prop_map(|(x, r, n)| format!("EXISTS {{ {x}{r}{n} WHERE x.key <> a.key }}"));
    let plain = Just("a.key STARTS WITH 'a'".to_owned());
    let label = Just("NOT a:Town".to_owned());
    let one = prop_oneof![pattern, exists, inner, plain, label];
    (any::<bool>(), one).prop_map(|(not, one)| if not { format!("NOT {one}") } else { one })
}

/// Queries whose answers do not depend on the order of rows.
fn query() -> impl Strategy<Value = String> {
    let first =
        prop_oneof![node("a"), chain("a", ""), chain("a", "b").prop_map(|c| format!("{c}, ()"))];
    let condition =
        prop_oneof![Just(String::new()), condition().prop_map(|c| format!(" WHERE {c}"))];
    let more = prop_oneof![
        Just(String::new()),
        chain("a", "o").prop_map(|chain| format!(" OPTIONAL MATCH {chain}")),
        node("m").prop_map(|node| format!(" MATCH {node}")),
    ];
    let end = prop_oneof![
        Just(" RETURN count(*) AS c".to_owned()),
        Just(" RETURN a.key AS c ORDER BY c".to_owned()),
        chain("a", "z")
            .prop_map(|chain| format!(" RETURN size([{chain} | z.key]) AS c ORDER BY c")),
        node("u")
            .prop_map(|node| format!(" RETURN a.key AS c UNION MATCH {node} RETURN u.key AS c")),
    ];
    (first, condition, more, end)
        .prop_map(|(first, condition, more, end)| format!("MATCH {first}{condition}{more}{end}"))
}

fn sorted(rows: Value) -> Vec<String> {
    let rows = rows.as_array().cloned().unwrap_or_default();
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

/// The embedded engine, which holds the graph alone, is the judge.
#[test]
fn any_query_answers_as_if_the_graph_were_alone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let alone = runtime.block_on(embedded(GraphOptions::default()).with_people());
    let shared = runtime.block_on(neo4j(GraphOptions::default()).with_people());
    runtime.block_on(intrude(&shared));
    // A server plans each new query anew: a tenth of a second and more.
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) };
    let answered = std::cell::Cell::new(0u32);
    let outcome = TestRunner::new(config).run(&query(), |cypher| {
        let expected = runtime.block_on(alone.query(&cypher));
        let found = runtime.block_on(shared.query(&cypher));
        let rows = |result: &Result<_, _>| {
            result
                .as_ref()
                .ok()
                .map(|result| sorted(serde_json::to_value(result).unwrap()["rows"].clone()))
        };
        prop_assert_eq!(
            rows(&found),
            rows(&expected),
            "{}: {:?} {:?}",
            cypher,
            found.err(),
            expected.err()
        );
        answered.set(answered.get() + u32::from(rows(&expected).is_some()));
        Ok(())
    });
    outcome.unwrap();
    assert!(answered.get() > 15, "only {} queries were answered", answered.get());
}
