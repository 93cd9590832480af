//! Nothing acknowledged is lost: ten thousand writes and their events, while Neo4j and Redis are killed
//! at random moments.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use ultimate_mcp_testkit::{Neo4j, Redis};

use crate::app::{TestApp, eventually};

/// Writes that must be acknowledged.
const WRITES: usize = 10_000;
/// Callers at once.
const CALLERS: usize = 16;
/// Every call of the test goes through this often at most.
const CALL_ATTEMPTS_MAX: usize = 2_000;
/// When, in shares of the work done, which server dies.
const DEATHS: [(usize, Victim); 4] =
    [(15, Victim::Redis), (30, Victim::Neo4j), (55, Victim::Redis), (70, Victim::Neo4j)];

#[derive(Clone, Copy)]
enum Victim {
    Neo4j,
    Redis,
}

#[actix_web::test]
async fn ten_thousand_acknowledged_writes_survive_the_deaths_of_neo4j_and_redis() {
    let neo4j = Neo4j::start_own();
    let redis = Arc::new(Mutex::new(Redis::start()));
    let urls = format!("[\"{}\"]", redis.lock().unwrap().url());
    let app = TestApp::start_with(&[
        ("ULTIMATE_MCP__GRAPH__ENGINE", "neo4j"),
        ("ULTIMATE_MCP__NEO4J__URI", &neo4j.server.uri),
        ("ULTIMATE_MCP__NEO4J__PASSWORD", &neo4j.server.password),
        ("ULTIMATE_MCP__REDIS__URLS", &urls),
        ("ULTIMATE_MCP__AUDIT__STDOUT", "off"),
    ]);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let killer = {
        let (acknowledged, ended) = (acknowledged.clone(), ended.clone());
        std::thread::spawn(move || {
            let due = DEATHS.iter().map(|(percent, victim)| (percent * WRITES / 100, victim));
            for (at, victim) in due {
                while acknowledged.load(Ordering::SeqCst) < at && !ended.load(Ordering::SeqCst) {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                match victim {
                    Victim::Redis => redis.lock().unwrap().restart(),
                    Victim::Neo4j => {
                        neo4j.kill();
                        neo4j.restart();
                    }
                }
            }
            (neo4j, redis)
        })
    };
    // A caller each: one alone would be told that its calls of the minute are used up.
    let tokens: Vec<String> =
        (0..CALLERS).map(|caller| app.token(&format!("writer-{caller}"), "admin")).collect();
    let began = Instant::now();
    let callers = tokens.iter().enumerate();
    join_all(callers.map(|(caller, token)| write_all(&app, token, caller, &acknowledged))).await;
    ended.store(true, Ordering::SeqCst);
    let (neo4j, _redis) = killer.join().unwrap();
    assert!(acknowledged.load(Ordering::SeqCst) >= WRITES);
    eprintln!("{WRITES} writes in {:.1} s", began.elapsed().as_secs_f64());

    let graph = neo4j.server.graph().await;
    let mut found = HashSet::new();
    let written = neo4rs::query("MATCH (n:Entity:Written) RETURN n.key AS key");
    let mut rows = graph.execute(written).await.unwrap();
    while let Some(row) = rows.next().await.unwrap() {
        found.insert(row.get::<String>("key").unwrap());
    }
    let expected: HashSet<String> = (0..WRITES).map(key).collect();
    assert_eq!(expected.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new());

    // Every event of the node's own trail arrives in Neo4j, once.
    let trail = rusqlite::Connection::open(app.data.path().join("audit.db")).unwrap();
    let count = "SELECT count(*) FROM event WHERE tool = 'graph_upsert'";
    let spooled: i64 = trail.query_row(count, [], |row| row.get(0)).unwrap();
    assert!(spooled >= 2 * WRITES as i64, "{spooled} events: an intent and an outcome each");
    eventually("every event is shipped", || async {
        let shipped = "MATCH (e:AuditEvent {tool: 'graph_upsert'}) \
                       RETURN count(e) AS events, count(DISTINCT e.event_id) AS ids";
        let row = graph.execute(neo4rs::query(shipped)).await.ok()?.next().await.ok()??;
        let (events, ids) = (row.get::<i64>("events").ok()?, row.get::<i64>("ids").ok()?);
        assert_eq!(events, ids, "an event was shipped twice");
        (events == spooled).then_some(())
    })
    .await;
    assert!(app.cli(&["audit", "verify"]).status.success());
}

fn key(number: usize) -> String {
    format!("w-{number:05}")
}

/// Writes this caller's share; sends again whatever was not acknowledged, as an upsert allows.
async fn write_all(app: &TestApp, token: &str, caller: usize, acknowledged: &AtomicUsize) {
    for number in (caller..WRITES).step_by(CALLERS) {
        let node = json!({ "nodes": [{ "key": key(number), "labels": ["Written"] }] });
        let mut attempts = 0;
        loop {
            let answer = app.tool(token, "graph_upsert", node.clone()).await;
            if answer.status == 200 && answer.body["isError"] != json!(true) {
                break;
            }
            // What is down says so, in a type; nothing else may come.
            assert!(matches!(answer.status, 429 | 503 | 504 | 500), "{answer:?}");
            assert_ne!(answer.code(), "internal", "{answer:?}");
            attempts += 1;
            assert!(attempts < CALL_ATTEMPTS_MAX, "never acknowledged: {answer:?}");
            actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}
