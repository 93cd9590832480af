//! The graph's tools on a real embedded graph.

use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use ultimate_mcp_actors::cache::{CacheHandle, CacheOptions};
use ultimate_mcp_actors::graph::{GraphHandle, GraphOptions};
use ultimate_mcp_actors::supervision::{SupervisionOptions, Supervisor};

use super::*;
use crate::tools::Typed;
use crate::tools::testing::{call, refusal, result};

struct Bench {
    upsert: Typed<GraphUpsert>,
    query: Typed<GraphQuery>,
    delete: Typed<GraphDelete>,
    _root: Supervisor,
    _folder: TempDir,
}

async fn bench() -> Bench {
    let folder = TempDir::new().unwrap();
    let policy = SupervisionOptions::default().policy("root");
    let (root, _exit) = Supervisor::root("root", policy, Arc::new(|_| {})).unwrap();
    let path = folder.path().join("graph.mars");
    let graph = GraphHandle::start(&root, &path, GraphOptions::default()).await.unwrap();
    let cache = CacheHandle::start(&root, CacheOptions::default(), None).await.unwrap();
    let results = GraphCache::new(cache);
    Bench {
        upsert: Typed::new(GraphUpsert::new(graph.clone(), results.clone())),
        query: Typed::new(GraphQuery::new(graph.clone(), results.clone())),
        delete: Typed::new(GraphDelete::new(graph, results)),
        _root: root,
        _folder: folder,
    }
}

#[actix_rt::test]
async fn what_is_written_can_be_read_and_deleted() {
    let bench = bench().await;
    let nodes = json!([
        {"key": "ada", "labels": ["Person"], "properties": {"age": 36}},
        {"key": "engine", "labels": ["Machine"]}
    ]);
    let relationships = json!([{"start": "ada", "type": "DESCRIBED", "end": "engine"}]);
    let batch = json!({"nodes": nodes, "relationships": relationships});
    let said = result(&bench.upsert, batch.clone()).await;
    assert_eq!(said["nodes"]["created"], 2);
    assert_eq!(said["relationships"]["created"], 1);
    assert_eq!(result(&bench.upsert, batch).await["nodes"]["unchanged"], 2);

    let cypher =
        "MATCH (p:Person)-[:DESCRIBED]->(m) WHERE p.age > $age RETURN p.key, m.key AS made";
    let said = result(&bench.query, json!({"cypher": cypher, "parameters": {"age": 30}})).await;
    assert_eq!(said["rows"], json!([{"p.key": "ada", "made": "engine"}]));

    let said = result(&bench.delete, json!({"nodes": ["ada", "nobody"], "detach": true})).await;
    assert_eq!(said["nodes_deleted"], 1);
    assert_eq!(said["missing_nodes"], json!(["nobody"]));
}

#[actix_rt::test]
async fn bad_input_names_the_field_and_what_is_allowed() {
    let bench = bench().await;
    result(
        &bench.upsert,
        json!({"nodes": [{"key": "a", "labels": ["N"]}, {"key": "b", "labels": ["N"]}],
               "relationships": [{"start": "a", "type": "T", "end": "b"}]}),
    )
    .await;
    let node = json!({"key": "c", "labels": ["Bad Label"]});
    let upserts = [
        (json!({}), "arguments: must have at least one node"),
        (json!({"nodes": [{"labels": ["N"]}]}), "nodes[0]: missing field `key`"),
        (json!({"nodes": [node]}), "nodes[0].labels[0]: "),
        (json!({"nodes": [{"key": "c", "labels": ["N"], "x": 1}]}), "nodes[0].x: unknown field"),
        (json!({"mode": "add"}), "mode: unknown variant `add`"),
        (
            json!({"relationships": [{"start": "a", "type": "T", "end": "z"}]}),
            "relationships: nothing was written: no node with key",
        ),
    ];
    for (arguments, expected) in upserts {
        let said = refusal(&bench.upsert, arguments).await;
        assert!(said.starts_with(expected), "{said}");
    }
    let queries = [
        (json!({}), "arguments: missing field `cypher`"),
        (json!({"cypher": ""}), "cypher: length must be at least 1"),
        (json!({"cypher": "MATCH (n RETURN n"}), "cypher: syntax error at line 1"),
        (json!({"cypher": "MATCH (n) DELETE n"}), "cypher: DELETE at line 1, column 11 is refused"),
        (
            json!({"cypher": "MATCH (n) WHERE n.x = $x RETURN n"}),
            "parameters.x: parameter $x has no",
        ),
        (json!({"cypher": "RETURN 1", "row_limit": 0}), "row_limit: must be at least 1"),
        (json!({"cypher": "RETURN 1", "row_limit": 999999}), "row_limit: "),
        (json!({"cypher": "RETURN 1", "timeout_seconds": 0}), "timeout_seconds: must be at least"),
        (json!({"cypher": "RETURN 1", "parameters": []}), "parameters: invalid type"),
    ];
    for (arguments, expected) in queries {
        let said = refusal(&bench.query, arguments).await;
        assert!(said.starts_with(expected), "{said}");
    }
    let deletes = [
        (json!({"detach": true}), "arguments: must name at least one"),
        (json!({"nodes": ["a"]}), "nodes: nothing was deleted: still connected"),
        (json!({"nodes": [1]}), "nodes[0]: invalid type"),
    ];
    for (arguments, expected) in deletes {
        let said = refusal(&bench.delete, arguments).await;
        assert!(said.starts_with(expected), "{said}");
    }
}

#[actix_rt::test]
async fn the_audit_gets_counts_hashes_and_keys_and_never_data() {
    let bench = bench().await;
    let node = json!({"key": "paper:1", "labels": ["N"], "properties": {"p": "SECRET"}});
    let written = call(&bench.upsert, json!({"nodes": [node]})).await.unwrap();
    let arguments = json!({"cypher": "MATCH (n {p: $p}) RETURN n", "parameters": {"p": "SECRET"}});
    let read = call(&bench.query, arguments).await.unwrap();
    for output in [written, read] {
        assert_eq!(output.audit["touched"], json!(["paper:1"]));
        assert!(!serde_json::to_string(&output.audit).unwrap().contains("SECRET"));
    }
}

#[actix_rt::test]
async fn a_query_is_remembered_until_somebody_writes() {
    let bench = bench().await;
    let count = || result(&bench.query, json!({"cypher": "MATCH (n:N) RETURN count(n) AS n"}));
    let first = count().await;
    assert_eq!(first["rows"], json!([{"n": 0}]));
    assert_eq!(count().await["stats"], first["stats"], "the second time nothing ran");
    result(&bench.upsert, json!({"nodes": [{"key": "a", "labels": ["N"]}]})).await;
    assert_eq!(count().await["rows"], json!([{"n": 1}]));
    result(&bench.delete, json!({"nodes": ["a"]})).await;
    let last = count().await;
    assert_eq!(last["rows"], json!([{"n": 0}]));
    assert_eq!(last.get("stale_seconds"), None);
}
