//! What is sent to Neo4j and what comes back.

use std::borrow::Cow;
use std::collections::HashMap;

use neo4rs::{BoltMap, BoltType};
use serde_json::Value;

use super::error::Neo4jError;
use super::value;

/// Values for `$name` in a statement.
#[derive(Clone, Debug, Default)]
pub struct Params(pub(super) BoltMap);

impl Params {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more value.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<BoltType>) -> Self {
        self.0.put(name.into(), value.into());
        self
    }

    /// With one more value, from JSON.
    #[must_use]
    pub fn json(self, name: &str, json: &Value) -> Self {
        self.set(name, value::from_json(json))
    }
}

/// One statement of a transaction.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(super) cypher: Cow<'static, str>,
    pub(super) params: Params,
}

impl Statement {
    /// A statement; data belongs into parameters, never into the text.
    pub fn new(cypher: impl Into<Cow<'static, str>>) -> Self {
        Self { cypher: cypher.into(), params: Params::new() }
    }

    /// With parameters.
    #[must_use]
    pub fn with(mut self, params: Params) -> Self {
        self.params = params;
        self
    }
}

/// How much an answer may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most rows; more are cut off and said.
    pub rows_max: usize,
    /// Most bytes in the rows, as they would be in JSON, about; the row that passes it is the last.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 100_000, bytes_max: 64 << 20 }
    }
}

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Record(pub(super) HashMap<String, BoltType>);

impl Record {
    /// The cell of a column.
    pub fn get(&self, column: &str) -> Option<&BoltType> {
        self.0.get(column)
    }

    /// Names of the columns, in no order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The cell as JSON; null when there is no such column.
    pub fn json(&self, column: &str) -> Value {
        self.get(column).map_or(Value::Null, value::to_json)
    }

    /// The cell when it is text.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column)? {
            BoltType::String(text) => Some(&text.value),
            _ => None,
        }
    }

    /// The cell when it is an integer.
    pub fn int(&self, column: &str) -> Option<i64> {
        match self.get(column)? {
            BoltType::Integer(int) => Some(int.value),
            _ => None,
        }
    }

    /// The cell when it is a truth value.
    pub fn truth(&self, column: &str) -> Option<bool> {
        match self.get(column)? {
            BoltType::Boolean(truth) => Some(truth.value),
            _ => None,
        }
    }
}

/// The answer to one statement.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The rows.
    pub records: Vec<Record>,
    /// Whether there were more than the limits let through.
    pub truncated: bool,
    /// Nodes created.
    pub nodes_created: u64,
    /// Relationships created.
    pub relationships_created: u64,
    /// Nodes deleted.
    pub nodes_deleted: u64,
    /// Relationships deleted.
    pub relationships_deleted: u64,
    /// Properties set or removed.
    pub properties_set: u64,
}

impl Rows {
    /// The first row.
    pub fn first(&self) -> Option<&Record> {
        self.records.first()
    }

    /// An integer of the first row.
    pub fn int(&self, column: &str) -> Option<i64> {
        self.first()?.int(column)
    }

    pub(super) fn count(&mut self, summary: &neo4rs::RunResult) {
        let stats = summary.stats();
        self.nodes_created = stats.nodes_created;
        self.relationships_created = stats.relationships_created;
        self.nodes_deleted = stats.nodes_deleted;
        self.relationships_deleted = stats.relationships_deleted;
        self.properties_set = stats.properties_set;
    }
}

/// A row of the driver.
pub(super) fn record(row: &neo4rs::Row) -> Result<Record, Neo4jError> {
    let mut cells = HashMap::new();
    for name in row.keys() {
        let cell = row.get::<BoltType>(&name.value);
        let cell = cell.map_err(|error| Neo4jError::Answer(format!("{}: {error}", name.value)))?;
        cells.insert(name.value.clone(), cell);
    }
    Ok(Record(cells))
}

/// About as many bytes as the cell has in JSON.
pub(super) fn weight(cell: &BoltType) -> usize {
    match cell {
        BoltType::String(text) => text.value.len() + 2,
        BoltType::List(items) => items.iter().map(|item| weight(item) + 1).sum::<usize>() + 2,
        BoltType::Map(map) => map_weight(map),
        BoltType::Node(node) => map_weight(&node.properties) + 64,
        BoltType::Relation(relation) => map_weight(&relation.properties) + 96,
        BoltType::UnboundedRelation(relation) => map_weight(&relation.properties) + 96,
        BoltType::Path(path) => path.nodes.iter().chain(path.rels.iter()).map(weight).sum(),
        BoltType::Bytes(bytes) => bytes.value.len() * 4,
        _ => 8,
    }
}

fn map_weight(map: &BoltMap) -> usize {
    map.value.iter().map(|(name, cell)| name.value.len() + 4 + weight(cell)).sum()
}
