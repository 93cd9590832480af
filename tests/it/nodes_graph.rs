//! Three nodes on one Neo4j and one Redis: a graph for all, and one query over what all of them did.

use std::io::Write;

use serde_json::json;
use ultimate_mcp_testkit::neo4j_exclusive;

use crate::app::eventually;
use crate::nodes::Cluster;

#[actix_web::test]
async fn three_nodes_share_a_graph_its_cache_its_jobs_and_one_account_of_who_did_what() {
    let turn = neo4j_exclusive().await;
    // Mode 0600, as made.
    let mut key = tempfile::NamedTempFile::new().unwrap();
    key.write_all(b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    let cluster = Cluster::start_with(&[
        ("ULTIMATE_MCP__GRAPH__ENGINE", "neo4j"),
        ("ULTIMATE_MCP__NEO4J__URI", &turn.server.uri),
        ("ULTIMATE_MCP__NEO4J__PASSWORD", &turn.server.password),
        ("ULTIMATE_MCP__JOBS__ENGINE", "redis"),
        ("ULTIMATE_MCP__JOBS__SECRET_FILE", key.path().to_str().unwrap()),
    ])
    .await;
    let token = cluster.mint.token("ada", &["admin"]);
    let node = |born: i64| {
        json!({ "nodes": [{ "key": "ada", "labels": ["Person"],
        "properties": { "born": born } }] })
    };
    let query = json!({ "cypher": "MATCH (n {key: 'ada'}) RETURN n.born AS born" });

    for (writer, born) in [(0, 1815), (1, 1816), (2, 1817)] {
        let written = cluster.nodes[writer].tool(&token, "graph_upsert", node(born)).await;
        assert_eq!(written.status, 200, "{written:?}");
        for reader in &cluster.nodes {
            eventually("every node reads what one wrote, its cache too", || async {
                let found = reader.tool(&token, "graph_query", query.clone()).await;
                (found.body["rows"] == json!([{ "born": born }])).then_some(())
            })
            .await;
        }
    }

    let job = json!({ "tool": "graph_upsert", "arguments": node(1818) });
    let queued = cluster.send("POST", "/api/v1/jobs", Some(&token), Some(&job)).await.unwrap();
    assert_eq!(queued.status, 202, "{queued:?}");
    eventually("a job of one node wrote for all", || async {
        let found = cluster.nodes[0].tool(&token, "graph_query", query.clone()).await;
        (found.body["rows"] == json!([{ "born": 1818 }])).then_some(())
    })
    .await;

    let graph = turn.server.graph().await;
    eventually("one query tells who wrote what on which node", || async {
        let who = neo4rs::query(
            "MATCH (u:User {user_id: 'ada'})-[:RAN]->(x:Execution {tool: 'graph_upsert'})\
             -[:TOUCHED]->(:DataRef {key: 'ada'}) \
             RETURN count(x) AS calls, count(DISTINCT x.node_id) AS nodes",
        );
        let row = graph.execute(who).await.ok()?.next().await.ok()??;
        let seen = (row.get::<i64>("calls").ok()?, row.get::<i64>("nodes").ok()?);
        (seen == (4, 3)).then_some(())
    })
    .await;
}
