//! Stores to test and a small graph to test them with.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::graph::model::{
    DeleteRequest, QueryRequest, QueryResult, TransferReport, UpsertRequest, UpsertResult,
};
use ultimate_mcp_actors::graph::{EmbeddedGraph, GraphError, GraphOptions, GraphStore, Neo4jGraph};
use ultimate_mcp_actors::neo4j::{Neo4jClient, Neo4jOptions};
use ultimate_mcp_testkit::{Exclusive, Neo4j, neo4j_exclusive};

/// A store and what it lives on.
pub struct Fixture {
    pub name: &'static str,
    pub store: Arc<dyn GraphStore>,
    pub folder: TempDir,
    /// The turn on the shared server, for as long as the store is used.
    pub turn: Option<Exclusive>,
}

/// Every implementation, empty; each is made when the one before is done with.
pub fn stores() -> impl Iterator<Item = Fixture> {
    stores_with(GraphOptions::default())
}

/// The same with options.
pub fn stores_with(options: GraphOptions) -> impl Iterator<Item = Fixture> {
    [embedded, neo4j].into_iter().map(move |make| make(options.clone()))
}

/// Two stores, empty, in every combination that one server allows.
pub fn pairs() -> impl Iterator<Item = (Fixture, Fixture)> {
    type Make = fn(GraphOptions) -> Fixture;
    let pairs: [[Make; 2]; 3] = [[embedded, embedded], [embedded, neo4j], [neo4j, embedded]];
    pairs.into_iter().map(|[one, two]| {
        let options = GraphOptions::default();
        (one(options.clone()), two(options))
    })
}

/// Options of a client of a server.
pub fn client_options(server: &Neo4j) -> Neo4jOptions {
    Neo4jOptions {
        uri: server.uri.clone(),
        password: server.password.clone(),
        connect_timeout_ms: 20_000,
        ..Neo4jOptions::default()
    }
}

/// The store on the shared Neo4j, empty.
pub fn neo4j(options: GraphOptions) -> Fixture {
    // A thread of its own: this is called from within a runtime.
    let turn = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(neo4j_exclusive())
    });
    let turn = turn.join().unwrap();
    let client = Neo4jClient::new(client_options(&turn.server), Arc::new(|_, _| {})).unwrap();
    let store = Arc::new(Neo4jGraph::new(client, options).unwrap());
    Fixture { name: "neo4j", store, folder: TempDir::new().unwrap(), turn: Some(turn) }
}

/// The embedded store with options; its file is in a folder of its own.
pub fn embedded(options: GraphOptions) -> Fixture {
    let folder = TempDir::new().unwrap();
    let options = GraphOptions {
        // The tests beside this one grow the process too.
        memory_growth_mb_max: 1 << 20,
        ..options
    };
    let file = folder.path().join("graph.mars");
    let store = Arc::new(EmbeddedGraph::open(Some(&file), options).unwrap());
    Fixture { name: "embedded", store, folder, turn: None }
}

/// Time enough for a loaded machine.
pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Four people and a town.
pub fn people() -> UpsertRequest {
    request(json!({
        "nodes": [
            { "key": "ada", "labels": ["Person", "Poet"],
              "properties": { "name": "Ada", "born": 1815, "tags": ["math", "poems"] } },
            { "key": "charles", "labels": ["Person"], "properties": { "name": "Charles", "born": 1791 } },
            { "key": "grace", "labels": ["Person"], "properties": { "name": "Grace", "born": 1906 } },
            { "key": "alan", "labels": ["Person"], "properties": { "name": "Alan" } },
            { "key": "london", "labels": ["Town"], "properties": { "name": "London" } }
        ],
        "relationships": [
            { "start": "ada", "type": "KNOWS", "end": "charles", "properties": { "since": 1833 } },
            { "start": "charles", "type": "KNOWS", "end": "grace", "properties": { "since": 1900 } },
            { "start": "grace", "type": "ADMIRES", "end": "ada" },
            { "start": "ada", "type": "LIVES_IN", "end": "london" },
            { "start": "charles", "type": "LIVES_IN", "end": "london" }
        ]
    }))
}

/// A request from JSON, as a client sends it.
pub fn request<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

impl Fixture {
    /// Fills the store with [`people`].
    pub async fn with_people(self) -> Self {
        self.store.upsert(people(), soon()).await.unwrap();
        self
    }

    pub async fn query(&self, cypher: &str) -> Result<QueryResult, GraphError> {
        self.query_with(cypher, json!({})).await
    }

    pub async fn query_with(
        &self,
        cypher: &str,
        parameters: Value,
    ) -> Result<QueryResult, GraphError> {
        let request = QueryRequest {
            cypher: cypher.to_owned(),
            parameters: parameters.as_object().cloned().unwrap_or_else(Map::new),
            ..QueryRequest::default()
        };
        self.store.query(request, soon()).await
    }

    /// The rows as a client sees them.
    pub async fn rows(&self, cypher: &str, parameters: Value) -> Value {
        let result = self.query_with(cypher, parameters).await;
        let result = result.unwrap_or_else(|error| panic!("{}: {cypher}: {error}", self.name));
        serde_json::to_value(&result).unwrap()["rows"].clone()
    }

    pub async fn upsert(&self, json: Value) -> Result<UpsertResult, GraphError> {
        self.store.upsert(request(json), soon()).await
    }

    pub async fn delete(
        &self,
        json: Value,
    ) -> Result<ultimate_mcp_actors::graph::model::DeleteResult, GraphError> {
        self.store.delete(request::<DeleteRequest>(json), soon()).await
    }

    /// The whole graph as text, with its report.
    pub async fn export(&self) -> (String, TransferReport) {
        let sink = Sink::default();
        let report = self.store.export(Box::new(sink.clone())).await.unwrap();
        (sink.text(), report)
    }

    /// What tells two states of a graph apart.
    pub async fn digest(&self) -> String {
        self.export().await.1.sha256
    }
}

/// A sink that can be read afterwards.
#[derive(Clone, Default)]
pub struct Sink(Arc<std::sync::Mutex<Vec<u8>>>);

impl Sink {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
