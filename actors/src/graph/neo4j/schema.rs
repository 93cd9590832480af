//! Constraints, indexes and sizes of the graph on Neo4j.
//!
//! The graph's own are told from others by the prefix of their names. What is counted are nodes with
//! the label `Entity` and relationships between them: the database holds others too.

use super::error::{not_unique, query_error, write_error};
use crate::deadline::Deadline;
use crate::graph::error::GraphError;
use crate::graph::model::{BASE_LABEL, GraphStats, IndexSpec, KEY_PROPERTY, NameCount};
use crate::neo4j::migrations::Migration;
use crate::neo4j::{Limits, Neo4jClient, Params, Rows, Statement};

/// Name of the graph's list of migrations.
pub(super) const PART: &str = "graph";
/// Prefix of the names of the graph's indexes.
const PREFIX: &str = "umcp_graph_";

/// Labels in use.
pub(crate) const LABELS: &str = "MATCH (n:Entity) UNWIND labels(n) AS name \
    RETURN name, count(*) AS count ORDER BY name";
/// Relationship types in use.
pub(crate) const TYPES: &str =
    "MATCH (:Entity)-[r]->(:Entity) RETURN type(r) AS name, count(*) AS count ORDER BY name";
/// Property names in use.
pub(crate) const PROPERTIES: &str = "MATCH (n:Entity) UNWIND keys(n) AS name RETURN DISTINCT name \
    UNION MATCH (:Entity)-[r]->(:Entity) UNWIND keys(r) AS name RETURN DISTINCT name";
/// Nodes, from the counts the server keeps.
pub(crate) const NODES: &str = "MATCH (n:Entity) RETURN count(n) AS count";
/// The graph's indexes.
const INDEXES: &str = "SHOW INDEXES YIELD name, labelsOrTypes, properties, owningConstraint \
    WHERE name STARTS WITH 'umcp_graph_' \
    RETURN labelsOrTypes[0] AS label, properties[0] AS property, \
           owningConstraint IS NOT NULL AS unique ORDER BY label, property";

/// What the graph needs before its first use.
pub(super) fn migrations() -> Vec<Migration> {
    let key = create_index(&base());
    vec![Migration { version: 1, name: "unique key of every node", statements: vec![key.into()] }]
}

fn base() -> IndexSpec {
    IndexSpec { label: BASE_LABEL.to_owned(), property: KEY_PROPERTY.to_owned(), unique: true }
}

fn create_index(index: &IndexSpec) -> String {
    let IndexSpec { label, property, unique } = index;
    // Identifiers hold no backticks; as a name, both together say which index it is.
    let name = format!("{PREFIX}{label}.{property}");
    if *unique {
        format!(
            "CREATE CONSTRAINT `{name}` IF NOT EXISTS FOR (n:`{label}`) REQUIRE n.`{property}` IS UNIQUE"
        )
    } else {
        format!("CREATE INDEX `{name}` IF NOT EXISTS FOR (n:`{label}`) ON (n.`{property}`)")
    }
}

async fn indexes(client: &Neo4jClient, deadline: Deadline) -> Result<Vec<IndexSpec>, GraphError> {
    let rows = client.read(INDEXES, Params::new(), Limits::default(), deadline).await;
    let spec = |row: &crate::neo4j::Record| {
        Some(IndexSpec {
            label: row.text("label")?.to_owned(),
            property: row.text("property")?.to_owned(),
            unique: row.truth("unique")?,
        })
    };
    Ok(rows.map_err(query_error)?.records.iter().filter_map(spec).collect())
}

/// Declares an index; answers whether it is new.
pub(super) async fn ensure_index(
    client: &Neo4jClient,
    index: &IndexSpec,
    deadline: Deadline,
) -> Result<bool, GraphError> {
    let same = |other: &&IndexSpec| other.label == index.label && other.property == index.property;
    match indexes(client, deadline).await?.iter().find(same) {
        Some(present) if present.unique == index.unique => return Ok(false),
        Some(present) => {
            let is = if present.unique { "unique" } else { "not unique" };
            return Err(GraphError::Conflict(format!(
                "the index on {}.{} exists and is {is}",
                index.label, index.property
            )));
        }
        None => {}
    }
    let created = client.write(vec![Statement::new(create_index(index))], deadline, true).await;
    created.map(|_| true).map_err(|error| {
        let collide = not_unique(&error).is_some()
            || error.code().is_some_and(|code| code.ends_with("ConstraintCreationFailed"));
        if collide {
            let (label, property) = (index.label.clone(), index.property.clone());
            return GraphError::NotUnique { label, property };
        }
        write_error(error)
    })
}

fn counts(rows: &Rows) -> Vec<NameCount> {
    let count = |row: &crate::neo4j::Record| {
        let count = u64::try_from(row.int("count")?).ok()?;
        Some(NameCount { name: row.text("name")?.to_owned(), count })
    };
    rows.records.iter().filter_map(count).collect()
}

/// Size and schema.
pub(super) async fn stats(
    client: &Neo4jClient,
    deadline: Deadline,
) -> Result<GraphStats, GraphError> {
    let read = |text: &'static str| async move {
        let rows = client.read(text, Params::new(), Limits::default(), deadline).await;
        rows.map_err(query_error)
    };
    let relationship_types = counts(&read(TYPES).await?);
    let properties = read(PROPERTIES).await?;
    let mut property_keys: Vec<String> =
        properties.records.iter().filter_map(|row| Some(row.text("name")?.to_owned())).collect();
    property_keys.sort();
    Ok(GraphStats {
        nodes: read(NODES).await?.int("count").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        relationships: relationship_types.iter().map(|kind| kind.count).sum(),
        labels: counts(&read(LABELS).await?),
        relationship_types,
        property_keys,
        indexes: indexes(client, deadline).await?,
        file_bytes: 0,
        generation: 0,
    })
}
