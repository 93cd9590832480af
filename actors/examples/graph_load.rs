//! Loads a graph into a real Neo4j: our import beside the official Python driver doing the same.
//!
//! Run by `loadtest/graph/run.sh`; the arguments are the numbers of nodes and relationships. The same rows, the
//! same server, emptied before each run; a warm-up of each client first. Ours includes reading the file
//! twice and checking every record.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::io::{BufReader, Cursor, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::graph::model::ImportMode;
use ultimate_mcp_actors::graph::{GraphOptions, GraphStore, Neo4jGraph};
use ultimate_mcp_actors::neo4j::{Neo4jClient, Neo4jOptions, Statement};

/// The graph as an export would write it; load.py makes the same rows.
fn file(nodes: usize, edges: usize) -> Vec<u8> {
    let mut text = b"{\"graph\":\"ultimate-mcp\",\"version\":1}\n".to_vec();
    for i in 0..nodes {
        let (born, score) = (1900 + i % 100, i as f64 / 7.0);
        writeln!(
            text,
            r#"{{"node":{{"key":"n{i}","labels":["Entity","Person"],"properties":{{"name":"Person {i}","born":{born},"score":{score:?}}}}}}}"#
        )
        .unwrap();
    }
    for i in 0..edges {
        let start = i % nodes;
        let (end, since) = ((start * 7 + 1 + i / nodes) % nodes, 1950 + i % 70);
        writeln!(
            text,
            r#"{{"relationship":{{"start":"n{start}","type":"KNOWS","end":"n{end}","properties":{{"since":{since}}}}}}}"#
        )
        .unwrap();
    }
    writeln!(text, r#"{{"end":{{"nodes":{nodes},"relationships":{edges}}}}}"#).unwrap();
    text
}

async fn empty(client: &Neo4jClient) {
    let text = "MATCH (n:Entity) WITH n LIMIT 5000 DETACH DELETE n";
    loop {
        let deadline = Deadline::after(Duration::from_secs(600));
        let rows = client.write(vec![Statement::new(text)], deadline, true).await.unwrap();
        if rows[0].nodes_deleted == 0 {
            return;
        }
    }
}

async fn ours(graph: &Neo4jGraph, file: &[u8], mode: ImportMode) -> f64 {
    let source = Box::new(BufReader::new(Cursor::new(file.to_vec())));
    let began = Instant::now();
    graph.import(source, mode).await.unwrap();
    began.elapsed().as_secs_f64()
}

fn python(nodes: usize, edges: usize, kind: &str) -> f64 {
    let program = std::env::var("PYTHON").expect("run loadtest/graph/run.sh");
    let script = std::env::var("LOAD_PY").expect("run loadtest/graph/run.sh");
    let arguments = [script, nodes.to_string(), edges.to_string(), kind.to_owned()];
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|seconds| seconds.parse::<f64>().unwrap()).sum()
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let (nodes, edges) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(300_000));
    let variable =
        |name: &str| std::env::var(name).expect("run loadtest/graph/run.sh with a server");
    let options = Neo4jOptions {
        uri: variable("ULTIMATE_MCP_TEST_NEO4J"),
        password: variable("ULTIMATE_MCP_TEST_NEO4J_PASSWORD"),
        query_timeout_ms: 600_000,
        ..Neo4jOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Neo4jClient::new(options, Arc::new(|_, _| {})).unwrap();
        let graph = Neo4jGraph::new(client.clone(), GraphOptions::default()).unwrap();
        let (text, small) = (file(nodes, edges), file(nodes / 4, edges / 4));
        empty(&client).await;
        ours(&graph, &small, ImportMode::IntoEmpty).await;
        empty(&client).await;
        python(nodes / 20, edges / 20, "merge");
        empty(&client).await;
        let records = (nodes + edges) as f64;
        let told = |name: &str, seconds: f64| {
            println!("{name:<38} {seconds:>7.1} s {:>9.0} records/s", records / seconds);
        };
        let import = ours(&graph, &text, ImportMode::IntoEmpty).await;
        told("import into an empty graph", import);
        let over = ours(&graph, &text, ImportMode::Over).await;
        told("the same over it (all unchanged)", over);
        empty(&client).await;
        let merge = python(nodes, edges, "merge");
        told("python, MERGE into an empty graph", merge);
        let again = python(nodes, edges, "merge");
        told("python, the same over it", again);
        empty(&client).await;
        let create = python(nodes, edges, "create");
        told("python, CREATE into an empty graph", create);
        empty(&client).await;
        println!(
            "ratio to MERGE {:.2}, to CREATE {:.2}, over {:.2}",
            merge / import,
            create / import,
            again / over
        );
    });
}
