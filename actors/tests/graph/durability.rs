//! What was acknowledged survives `kill -9`: a child process writes until it is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use ultimate_mcp_actors::graph::model::QueryRequest;
use ultimate_mcp_actors::graph::{EmbeddedGraph, GraphOptions, GraphStore};

use super::fixture::{request, soon};

/// Tells a copy of this test binary which file to write.
const CHILD: &str = "ULTIMATE_MCP_TEST_GRAPH_CHILD";
/// Kills; each on the file the one before left behind.
const ROUNDS: usize = 6;

fn open(file: &Path) -> EmbeddedGraph {
    EmbeddedGraph::open(Some(file), GraphOptions::default()).unwrap()
}

/// Starts this binary again, running only `test` with the file named.
pub fn child(test: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The file when this process is such a child.
pub fn is_child() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

/// Not a test by itself: the child's part. It says each acknowledged number, until killed.
#[tokio::test]
async fn child_writes_until_killed() {
    let Some(file) = is_child() else { return };
    let store = open(&file);
    let first = store.stats(soon()).await.unwrap().nodes;
    for number in first.. {
        let key = format!("k{number}");
        let mut relationships = vec![json!({ "start": key, "type": "SELF", "end": key })];
        if number > 0 {
            relationships
                .push(json!({ "start": key, "type": "AFTER", "end": format!("k{}", number - 1) }));
        }
        let node = json!({ "key": key, "labels": ["K"], "properties": { "n": number } });
        let batch = json!({ "nodes": [node], "relationships": relationships });
        store.upsert(request(batch), soon()).await.unwrap();
        writeln!(std::io::stdout(), "acknowledged {number}").unwrap();
    }
}

#[tokio::test]
async fn no_acknowledged_upsert_is_lost_by_kill_9() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("graph.mars");
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = child("durability::child_writes_until_killed", &file);
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        let mut last = None;
        // A different moment in each round.
        while seen < 5 + round * 7 {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
            if let Some(number) = number(&line) {
                last = Some(number);
                seen += 1;
            }
        }
        child.kill().unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        child.wait().unwrap();
        let complete = rest.rsplit_once('\n').map_or("", |(complete, _)| complete);
        last = complete.lines().rev().find_map(number).or(last);
        acknowledged = acknowledged.max(last.unwrap() + 1);
        let store = open(&file);
        let cypher = "MATCH (n:K)-[:SELF]->(n) RETURN count(n) AS c, max(n.n) AS m";
        let query = QueryRequest { cypher: cypher.to_owned(), ..QueryRequest::default() };
        let row = store.query(query, soon()).await.unwrap().rows.remove(0);
        let (count, max) = (row[0].as_u64().unwrap(), row[1].as_u64().unwrap());
        assert!(count >= acknowledged, "{count} of {acknowledged} acknowledged nodes are left");
        assert!(count <= acknowledged + 1, "only the one in hand may be there unannounced");
        assert_eq!(max + 1, count, "none is missing between");
        let stats = store.stats(soon()).await.unwrap();
        assert_eq!(stats.relationships, 2 * count - 1, "each upsert is there whole or not at all");
        acknowledged = count;
    }
}

fn number(line: &str) -> Option<u64> {
    line.trim().rsplit_once("acknowledged ")?.1.parse().ok()
}
