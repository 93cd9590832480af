//! An upsert or delete with every field checked: what engines carry out without looking again.
//!
//! Called by every store before it writes. Refuses wrong identifiers, repeated keys, oversized
//! batches; all paths are the client's own.

use std::collections::{BTreeMap, HashMap};

use super::error::GraphError;
use super::model::{DeleteRequest, RelationshipRef, UpsertMode, UpsertRequest};
use super::options::GraphOptions;
use super::property::{self, Changes, Property};

/// A checked node.
#[derive(Clone, Debug)]
pub struct NodeChange {
    /// Identity.
    pub key: String,
    /// Sorted, once each, base label included.
    pub labels: Vec<String>,
    /// What to set and remove.
    pub properties: Changes,
}

/// A checked relationship.
#[derive(Clone, Debug)]
pub struct RelationshipChange {
    /// Identity.
    pub identity: RelationshipRef,
    /// What to set and remove.
    pub properties: Changes,
}

/// A checked upsert.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Nodes, each key once.
    pub nodes: Vec<NodeChange>,
    /// Relationships, each identity once.
    pub relationships: Vec<RelationshipChange>,
    /// What happens to what is there.
    pub mode: UpsertMode,
}

/// Checks an upsert.
///
/// # Errors
/// [`GraphError::Invalid`] with the path of the first wrong field.
pub fn check_upsert(request: &UpsertRequest, options: &GraphOptions) -> Result<Batch, GraphError> {
    let max = options.batch_max;
    check_size("nodes", request.nodes.len(), max)?;
    check_size("relationships", request.relationships.len(), max)?;
    if request.nodes.is_empty() && request.relationships.is_empty() {
        return Err(GraphError::invalid("nodes", "neither nodes nor relationships are given"));
    }
    let mut nodes = Vec::with_capacity(request.nodes.len());
    let mut seen = HashMap::new();
    for (index, node) in request.nodes.iter().enumerate() {
        let path = format!("nodes[{index}]");
        property::check_key(&node.key, &format!("{path}.key"))?;
        if let Some(first) = seen.insert(node.key.as_str(), index) {
            return Err(repeated(format!("{path}.key"), &format!("nodes[{first}].key")));
        }
        nodes.push(NodeChange {
            key: node.key.clone(),
            labels: property::parse_labels(&node.labels, &format!("{path}.labels"))?,
            properties: property::parse_properties(
                &node.properties,
                &format!("{path}.properties"),
                options,
            )?,
        });
    }
    let mut relationships = Vec::with_capacity(request.relationships.len());
    let mut seen = HashMap::new();
    for (index, input) in request.relationships.iter().enumerate() {
        let path = format!("relationships[{index}]");
        let identity = RelationshipRef {
            start: input.start.clone(),
            end: input.end.clone(),
            r#type: input.r#type.clone(),
        };
        check_relationship(&identity, &path)?;
        if let Some(first) = seen.insert(identity.clone(), index) {
            return Err(repeated(path, &format!("relationships[{first}]")));
        }
        let properties =
            property::parse_properties(&input.properties, &format!("{path}.properties"), options)?;
        relationships.push(RelationshipChange { identity, properties });
    }
    Ok(Batch { nodes, relationships, mode: request.mode })
}

/// Checks a delete.
///
/// # Errors
/// [`GraphError::Invalid`] with the path of the first wrong field.
pub fn check_delete(request: &DeleteRequest, options: &GraphOptions) -> Result<(), GraphError> {
    let max = options.batch_max;
    check_size("nodes", request.nodes.len(), max)?;
    check_size("relationships", request.relationships.len(), max)?;
    if request.nodes.is_empty() && request.relationships.is_empty() {
        return Err(GraphError::invalid("nodes", "neither nodes nor relationships are named"));
    }
    let mut seen = HashMap::new();
    for (index, key) in request.nodes.iter().enumerate() {
        let path = format!("nodes[{index}]");
        property::check_key(key, &path)?;
        if let Some(first) = seen.insert(key, index) {
            return Err(repeated(path, &format!("nodes[{first}]")));
        }
    }
    let mut seen = HashMap::new();
    for (index, relationship) in request.relationships.iter().enumerate() {
        let path = format!("relationships[{index}]");
        check_relationship(relationship, &path)?;
        if let Some(first) = seen.insert(relationship, index) {
            return Err(repeated(path, &format!("relationships[{first}]")));
        }
    }
    Ok(())
}

fn check_size(path: &str, size: usize, max: usize) -> Result<(), GraphError> {
    if size <= max {
        return Ok(());
    }
    Err(GraphError::invalid(path, format!("{size} in one call; at most {max} are allowed")))
}

fn repeated(path: String, first: &str) -> GraphError {
    GraphError::invalid(path, format!("repeats {first}; name each once"))
}

pub(super) fn check_relationship(
    relationship: &RelationshipRef,
    path: &str,
) -> Result<(), GraphError> {
    property::check_key(&relationship.start, &format!("{path}.start"))?;
    property::check_key(&relationship.end, &format!("{path}.end"))?;
    property::check_identifier(&relationship.r#type, &format!("{path}.type"))
}

/// What has to be written so that `present` becomes what `changes` ask for.
pub fn difference(
    present: &BTreeMap<String, Property>,
    changes: &Changes,
    mode: UpsertMode,
) -> Changes {
    let mut writes: Changes = changes
        .iter()
        .filter(|(name, change)| present.get(*name) != change.as_ref())
        .map(|(name, change)| (name.clone(), change.clone()))
        .collect();
    if mode == UpsertMode::Replace {
        for name in present.keys().filter(|name| !changes.contains_key(*name)) {
            writes.insert(name.clone(), None);
        }
    }
    writes
}
