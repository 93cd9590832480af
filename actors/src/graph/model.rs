//! What is asked of the graph and what it answers: plain data, whatever the engine.

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// Label every node carries, so that `key` identifies it whatever its other labels are.
pub const BASE_LABEL: &str = "Entity";

/// Property that holds a node's key.
pub const KEY_PROPERTY: &str = "key";

/// A reading query.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// One reading statement in the common subset of Cypher.
    pub cypher: String,
    /// Values for `$name` in the text; any JSON.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Most rows to return; the configured default when absent.
    #[serde(default)]
    pub row_limit: Option<usize>,
    /// Shorter time than the configured one, in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Rows of a query, each an object keyed by column, in column order.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
pub struct QueryResult {
    /// Column names as written in `RETURN`, or their `AS` names.
    pub columns: Vec<String>,
    /// One object per row. Nodes are `{id, labels, properties}`, relationships
    /// `{id, type, start, end, properties}` (ids of the nodes), paths `{nodes, relationships,
    /// length}`, temporal values ISO 8601 text, NaN and the infinities the texts `NaN`, `Infinity`
    /// and `-Infinity`; integers are exact.
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub rows: Vec<Vec<Value>>,
    /// Number of rows here.
    pub row_count: usize,
    /// Whether the query has more rows than are here; go on with `SKIP` and `LIMIT` in the query.
    pub truncated: bool,
    /// Which limit cut the rows off.
    pub truncated_by: Option<Truncation>,
    /// How the query ran.
    pub stats: QueryStats,
}

/// Which limit cut a result off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// The row limit of the request.
    Rows,
    /// The byte limit of the configuration.
    Bytes,
}

/// How a query ran.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct QueryStats {
    /// Time in the engine, in milliseconds.
    pub elapsed_ms: f64,
    /// Bytes of JSON in the rows.
    pub bytes: usize,
    /// Generation of the graph before the query began.
    pub generation: u64,
}

struct RowsAsObjects<'a>(&'a QueryResult);
struct RowAsObject<'a>(&'a [String], &'a [Value]);

impl Serialize for RowAsObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for (column, cell) in self.0.iter().zip(self.1) {
            object.serialize_entry(column, cell)?;
        }
        object.end()
    }
}

impl Serialize for RowsAsObjects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rows.iter().map(|row| RowAsObject(&self.0.columns, row)))
    }
}

impl Serialize for QueryResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("columns", &self.columns)?;
        object.serialize_entry("rows", &RowsAsObjects(self))?;
        object.serialize_entry("row_count", &self.row_count)?;
        object.serialize_entry("truncated", &self.truncated)?;
        object.serialize_entry("truncated_by", &self.truncated_by)?;
        object.serialize_entry("stats", &self.stats)?;
        object.end()
    }
}

/// How an upsert treats what is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpsertMode {
    /// Labels are added, properties set one by one, a `null` removes its property.
    #[default]
    Merge,
    /// Labels and properties become exactly the given ones.
    Replace,
}

/// Nodes and relationships to create or update, all or nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpsertRequest {
    /// Nodes, each key once.
    #[serde(default)]
    pub nodes: Vec<NodeInput>,
    /// Relationships, each (start, type, end) once; their nodes exist or are in `nodes`.
    #[serde(default)]
    pub relationships: Vec<RelationshipInput>,
    /// What happens to labels and properties already there.
    #[serde(default)]
    pub mode: UpsertMode,
}

/// A node to create or update.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeInput {
    /// Identity of the node: 1 to 256 bytes of printable text.
    pub key: String,
    /// At least one label; `Entity` is always added.
    pub labels: Vec<String>,
    /// Texts, numbers, booleans and lists of one of them.
    #[serde(default)]
    pub properties: Map<String, Value>,
}

/// A relationship to create or update; identity is (start, type, end).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationshipInput {
    /// Key of the node it leaves.
    pub start: String,
    /// Key of the node it reaches.
    pub end: String,
    /// Its type.
    pub r#type: String,
    /// Texts, numbers, booleans and lists of one of them.
    #[serde(default)]
    pub properties: Map<String, Value>,
}

/// What an upsert did to one kind of thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpsertCounts {
    /// Newly created.
    pub created: u64,
    /// Present before, now different.
    pub updated: u64,
    /// Present before and already as asked.
    pub unchanged: u64,
}

/// What an upsert did; it is durable when this arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpsertResult {
    /// Nodes.
    pub nodes: UpsertCounts,
    /// Relationships.
    pub relationships: UpsertCounts,
    /// Generation of the graph after it.
    pub generation: u64,
}

/// Names one relationship.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationshipRef {
    /// Key of the node it leaves.
    pub start: String,
    /// Key of the node it reaches.
    pub end: String,
    /// Its type.
    pub r#type: String,
}

/// Relationships and nodes to delete, all or nothing; relationships go first.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// Keys of nodes.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Relationships.
    #[serde(default)]
    pub relationships: Vec<RelationshipRef>,
    /// Also deletes the relationships of the nodes; without it a connected node is refused.
    #[serde(default)]
    pub detach: bool,
}

/// What a delete did; it is durable when this arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteResult {
    /// Nodes deleted.
    pub nodes_deleted: u64,
    /// Relationships deleted, detached ones included.
    pub relationships_deleted: u64,
    /// Keys that named no node.
    pub missing_nodes: Vec<String>,
    /// Relationships that did not exist.
    pub missing_relationships: Vec<RelationshipRef>,
    /// Generation of the graph after it.
    pub generation: u64,
}

/// A name and how often it occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameCount {
    /// Label or relationship type.
    pub name: String,
    /// Occurrences.
    pub count: u64,
}

/// An index on one property of one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexSpec {
    /// Label.
    pub label: String,
    /// Property.
    pub property: String,
    /// Whether a value may occur once only.
    #[serde(default)]
    pub unique: bool,
}

/// Size and schema of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphStats {
    /// Nodes.
    pub nodes: u64,
    /// Relationships.
    pub relationships: u64,
    /// Labels in use.
    pub labels: Vec<NameCount>,
    /// Relationship types in use.
    pub relationship_types: Vec<NameCount>,
    /// Property names ever used.
    pub property_keys: Vec<String>,
    /// Declared indexes.
    pub indexes: Vec<IndexSpec>,
    /// Size of the file in bytes; 0 in memory.
    pub file_bytes: u64,
    /// Generation of the graph.
    pub generation: u64,
}

/// Whether the graph serves, and how busy it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphHealth {
    /// Which engine answers.
    pub engine: String,
    /// Whether a read went through just now.
    pub serving: bool,
    /// What is wrong, when something is.
    pub problem: Option<String>,
    /// Threads at work.
    pub running: usize,
    /// Requests waiting for a thread.
    pub waiting: usize,
    /// Threads in queries that ignore their end.
    pub stuck: usize,
    /// Panics of the engine caught since the start.
    pub panics: u64,
    /// Generation of the graph.
    pub generation: u64,
}

/// What was exported or imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferReport {
    /// Nodes.
    pub nodes: u64,
    /// Relationships.
    pub relationships: u64,
    /// SHA-256 over the header and all records, in hexadecimal: equal graphs have equal digests.
    pub sha256: String,
}

/// What an import may meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    /// Refuses a graph that already has nodes.
    #[default]
    IntoEmpty,
    /// Replaces labels and properties of what is already there and keeps everything else.
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_objects_in_column_order() {
        let result = QueryResult {
            columns: vec!["z".into(), "a".into()],
            rows: vec![vec![Value::from(1), Value::from(i64::MAX)]],
            row_count: 1,
            truncated: false,
            truncated_by: None,
            stats: QueryStats { elapsed_ms: 0.5, bytes: 9, generation: 3 },
        };
        let text = serde_json::to_string(&result).unwrap();
        assert!(text.contains(r#""rows":[{"z":1,"a":9223372036854775807}]"#), "{text}");
    }
}
