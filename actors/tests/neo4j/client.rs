//! Answers as JSON, transactions that are all or nothing, limits, whose fault it is.

use std::time::Duration;

use serde_json::{Value, json};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::neo4j::migrations::{Migration, run};
use ultimate_mcp_actors::neo4j::{
    Limits, Neo4jClient, Neo4jError, Neo4jOptions, Params, Statement,
};
use ultimate_mcp_actors::resilience::BreakerObserver;
use ultimate_mcp_testkit::{Neo4j, neo4j_exclusive};

/// Time enough for a loaded machine.
pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// Nobody watches the breaker.
pub fn unobserved() -> BreakerObserver {
    std::sync::Arc::new(|_, _| {})
}

/// Options for a server of the kit.
pub fn options(server: &Neo4j) -> Neo4jOptions {
    Neo4jOptions {
        uri: server.uri.clone(),
        password: server.password.clone(),
        connect_timeout_ms: 20_000,
        ..Neo4jOptions::default()
    }
}

async fn read(client: &Neo4jClient, cypher: &str) -> Result<Value, Neo4jError> {
    let rows = client.read(cypher, Params::new(), Limits::default(), soon()).await?;
    Ok(rows.first().map_or(Value::Null, |row| row.json("x")))
}

/// One turn for all of these: the shared server is emptied once.
#[tokio::test]
async fn the_client_keeps_its_promises_on_a_real_server() {
    let exclusive = neo4j_exclusive().await;
    let client = Neo4jClient::new(options(&exclusive.server), unobserved()).unwrap();
    every_kind_of_value_becomes_json(&client).await;
    a_transaction_is_all_or_nothing(&client).await;
    rows_are_cut_off_and_said(&client).await;
    a_reading_call_cannot_write(&client).await;
    the_fault_is_told_by_the_code(&client).await;
    a_slow_statement_ends_in_time_and_is_no_failure_of_the_server(&client).await;
    an_abandoned_transaction_holds_no_lock(&client).await;
    an_index_that_lost_its_constraint_stops_no_migration(&client).await;
    a_half_finished_migration_is_resumed(&client).await;
    let health = client.health().await;
    assert!(health.serving && health.running == 0, "{health:?}");
    assert!(health.server.unwrap().starts_with(['5', '2']));
}

async fn every_kind_of_value_becomes_json(client: &Neo4jClient) {
    for (cypher, expected) in [
        ("null", json!(null)),
        ("[1, 2.5, 'é', true]", json!([1, 2.5, "é", true])),
        ("{b: 1, a: {c: []}}", json!({"a": {"c": []}, "b": 1})),
        ("9007199254740993", json!(9_007_199_254_740_993_i64)),
        ("[1.0 / 0, -1.0 / 0, 0.0 / 0.0]", json!(["Infinity", "-Infinity", "NaN"])),
        ("date('2024-02-29')", json!("2024-02-29")),
        ("datetime('2024-01-02T03:04:05Z')", json!("2024-01-02T03:04:05Z")),
        ("datetime('2024-01-02T03:04:05.5+02:00')", json!("2024-01-02T03:04:05.5+02:00")),
        (
            "datetime('2024-07-02T03:04:05[Europe/Paris]')",
            json!("2024-07-02T03:04:05+02:00[Europe/Paris]"),
        ),
        ("localdatetime('2024-01-02T03:04:05')", json!("2024-01-02T03:04:05")),
        ("time('03:04:05+01:00')", json!("03:04:05+01:00")),
        ("localtime('03:04:05')", json!("03:04:05")),
        ("duration('P1Y2M3DT4H')", json!("P1Y2M3DT4H")),
    ] {
        let cell = read(client, &format!("RETURN {cypher} AS x")).await.unwrap();
        assert_eq!(cell, expected, "{cypher}");
    }
    let text = "CREATE p = (a:A:B {k: 1})-[:T {w: 2}]->(b:C)<-[:U]-(a) RETURN p AS x";
    let rows = client.write(vec![Statement::new(text)], soon(), false).await.unwrap();
    let path = rows[0].first().unwrap().json("x");
    assert_eq!(path["length"], json!(2));
    assert_eq!(path["nodes"][0]["labels"], json!(["A", "B"]));
    assert_eq!(path["nodes"][0], path["nodes"][2]);
    for relationship in path["relationships"].as_array().unwrap() {
        assert_eq!(relationship["start"], path["nodes"][0]["id"]);
        assert_eq!(relationship["end"], path["nodes"][1]["id"]);
    }
}

async fn a_transaction_is_all_or_nothing(client: &Neo4jClient) {
    let create = Statement::new("CREATE (:Half)");
    let broken = Statement::new("RETURN 1 / 0 AS x");
    let error = client.write(vec![create, broken], soon(), true).await.unwrap_err();
    assert!(matches!(error, Neo4jError::Refused { .. }), "{error:?}");
    assert_eq!(read(client, "MATCH (n:Half) RETURN count(n) AS x").await.unwrap(), json!(0));
}

async fn rows_are_cut_off_and_said(client: &Neo4jClient) {
    let limits = Limits { rows_max: 10, ..Limits::default() };
    for (count, rows, truncated) in [(9, 9, false), (10, 10, false), (1_000, 10, true)] {
        let cypher = format!("UNWIND range(1, {count}) AS x RETURN x");
        let answer = client.read(&cypher, Params::new(), limits, soon()).await.unwrap();
        assert_eq!((answer.records.len(), answer.truncated), (rows, truncated));
    }
    let limits = Limits { bytes_max: 1_000, ..Limits::default() };
    let cypher = "UNWIND range(1, 100) AS i RETURN 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' AS x";
    let answer = client.read(cypher, Params::new(), limits, soon()).await.unwrap();
    assert!(answer.truncated && answer.records.len() < 60, "{}", answer.records.len());
}

async fn a_reading_call_cannot_write(client: &Neo4jClient) {
    let error = read(client, "CREATE (n:Sneaky) RETURN 1 AS x").await.unwrap_err();
    assert!(matches!(error, Neo4jError::Refused { .. }), "{error:?}");
    assert_eq!(read(client, "MATCH (n:Sneaky) RETURN count(n) AS x").await.unwrap(), json!(0));
}

async fn the_fault_is_told_by_the_code(client: &Neo4jClient) {
    let error = read(client, "RETURN nonsense AS x").await.unwrap_err();
    assert_eq!(error.code(), Some("Neo.ClientError.Statement.SyntaxError"));
    let unique = "CREATE CONSTRAINT u IF NOT EXISTS FOR (n:U) REQUIRE n.k IS UNIQUE";
    client.write(vec![Statement::new(unique)], soon(), true).await.unwrap();
    let two = Statement::new("CREATE (:U {k: 1}), (:U {k: 1})");
    assert!(client.write(vec![two], soon(), false).await.unwrap_err().is_not_unique());
}

async fn a_slow_statement_ends_in_time_and_is_no_failure_of_the_server(client: &Neo4jClient) {
    let slow = "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b RETURN count(*) AS x";
    let deadline = Deadline::after(Duration::from_millis(700));
    let error = client.read(slow, Params::new(), Limits::default(), deadline).await.unwrap_err();
    let slow =
        matches!(error, Neo4jError::TimedOut { alive: true, .. } | Neo4jError::Exhausted { .. });
    assert!(slow, "{error:?}");
    assert_eq!(read(client, "RETURN 1 AS x").await.unwrap(), json!(1));
}

/// A caller that goes away at whatever moment of a write leaves no lock behind, also while others use the
/// same client and the next caller is there at once.
async fn an_abandoned_transaction_holds_no_lock(client: &Neo4jClient) {
    client.write(vec![Statement::new("CREATE (:Lock {n: 0})")], soon(), false).await.unwrap();
    let long = "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b RETURN count(*) AS x";
    let limits = (Params::new(), Limits::default(), soon());
    let beside = client.clone();
    let other = tokio::spawn(async move {
        let _ = beside.read(long, limits.0, limits.1, limits.2).await;
    });
    for after_ms in (0..60).step_by(3).chain([500]) {
        let slow = vec![Statement::new("MATCH (l:Lock) SET l.n = 1"), Statement::new(long)];
        let gone = client.write(slow, soon(), true);
        let gone = tokio::time::timeout(Duration::from_millis(after_ms), gone);
        assert!(gone.await.is_err(), "it ended by itself");
        let next = Statement::new("MATCH (l:Lock) WITH l, l.n AS x SET l.n = 0 RETURN x");
        let deadline = Deadline::after(Duration::from_secs(15));
        let rows = client.write(vec![next], deadline, false).await;
        let rows = rows.unwrap_or_else(|error| panic!("left after {after_ms} ms: {error:?}"));
        assert_eq!(rows[0].int("x"), Some(0), "the abandoned write was taken back");
    }
    other.abort();
    let _ = other.await;
    let idle = async {
        while client.health().await.running > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), idle).await.unwrap();
}

async fn a_half_finished_migration_is_resumed(client: &Neo4jClient) {
    let good = |version, name, text: &'static str| Migration {
        version,
        name,
        statements: vec![text.into()],
    };
    let one = good(1, "index", "CREATE INDEX m1 IF NOT EXISTS FOR (n:M) ON (n.a)");
    let broken = Migration {
        version: 2,
        name: "two steps",
        statements: vec!["MERGE (:M {a: 1})".into(), "THIS IS NOT CYPHER".into()],
    };
    assert!(run(client, "test", &[one.clone(), broken], soon()).await.is_err());
    let mended = good(2, "two steps", "MERGE (:M {a: 1})");
    let list = [one, mended];
    let done = run(client, "test", &list, soon()).await.unwrap();
    assert_eq!((done.from, done.to, done.resumed), (1, 2, true));
    assert_eq!(read(client, "MATCH (m:M) RETURN count(m) AS x").await.unwrap(), json!(1));
    let again = run(client, "test", &list, soon()).await.unwrap();
    assert_eq!((again.from, again.to, again.resumed), (2, 2, false));
    let error = run(client, "test", &list[..1], soon()).await.unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
}

/// As a server that was killed at the wrong moment leaves it.
async fn an_index_that_lost_its_constraint_stops_no_migration(client: &Neo4jClient) {
    let text = "CREATE INDEX umcp_lost FOR (n:Lost) ON (n.a)";
    client.write(vec![Statement::new(text)], soon(), true).await.unwrap();
    let text = "CREATE CONSTRAINT umcp_lost IF NOT EXISTS FOR (n:Lost) REQUIRE n.a IS UNIQUE";
    let unique = Migration { version: 1, name: "unique", statements: vec![text.into()] };
    run(client, "lost", &[unique], soon()).await.unwrap();
    let found = "SHOW CONSTRAINTS YIELD name WHERE name = 'umcp_lost' RETURN count(*) AS x";
    assert_eq!(read(client, found).await.unwrap(), json!(1));
}
