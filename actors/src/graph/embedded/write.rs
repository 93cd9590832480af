//! Upserts and deletes on the embedded engine, through its typed interface: no Cypher text.
//!
//! Called on the writing thread. One transaction each; whatever fails takes all of it back.

use std::collections::{BTreeMap, HashMap};

use marsdb_graph::{
    Direction, EdgeId, GraphError as EngineError, GraphStore as Store, NodeId, PropertyValue, Txn,
    WriteTransaction,
};

use super::engine::{Engine, error};
use super::query::key_value;
use super::value::{from_engine, to_engine};
use crate::graph::batch::{self, Batch, NodeChange, RelationshipChange};
use crate::graph::error::GraphError;
use crate::graph::model::{
    BASE_LABEL, DeleteRequest, DeleteResult, KEY_PROPERTY, UpsertCounts, UpsertMode, UpsertResult,
};
use crate::graph::property::Property;

/// Most relationships remembered while a transaction looks for present ones.
const REMEMBERED_MAX: usize = 200_000;

/// Relationships of one type that leave one node: their ends.
type Ends = HashMap<NodeId, EdgeId>;

/// An open write transaction that knows nodes by key.
pub(super) struct Writer<'a> {
    txn: &'a WriteTransaction,
    nodes: HashMap<String, NodeId>,
    present: HashMap<(NodeId, String), Ends>,
    remembered: usize,
    mode: UpsertMode,
    pub(super) result: UpsertResult,
}

/// Carries out a checked upsert. Answers the counts; nothing is committed when nothing changed.
pub(super) fn upsert(engine: &Engine, batch: &Batch) -> Result<UpsertResult, GraphError> {
    transact(engine, |txn| {
        let mut writer = Writer::new(txn, batch.mode);
        writer.check_endpoints(batch)?;
        for node in &batch.nodes {
            writer.node(node)?;
        }
        for relationship in &batch.relationships {
            writer.relationship(relationship)?;
        }
        let result = writer.result;
        Ok((result, changed(&result)))
    })
}

/// Whether an upsert wrote anything.
pub(super) fn changed(result: &UpsertResult) -> bool {
    let counts = |counts: &UpsertCounts| counts.created + counts.updated;
    counts(&result.nodes) + counts(&result.relationships) > 0
}

/// Runs `work` in a write transaction; commits, with an fsync, when it says so.
pub(super) fn transact<T>(
    engine: &Engine,
    work: impl FnOnce(&WriteTransaction) -> Result<(T, bool), GraphError>,
) -> Result<T, GraphError> {
    let txn = engine.store.begin_write().map_err(error)?;
    match work(&txn) {
        Ok((answer, true)) => Store::commit(txn).map_err(error).map(|()| answer),
        Ok((answer, false)) => Store::abort(txn).map_err(error).map(|()| answer),
        Err(refused) => {
            // The refusal is what the caller must hear; a transaction that is dropped aborts too.
            let _ = Store::abort(txn);
            Err(refused)
        }
    }
}

fn find(txn: &WriteTransaction, key: &str) -> Result<Option<NodeId>, GraphError> {
    let found =
        Store::lookup_by_index_in_txn(Txn::Write(txn), BASE_LABEL, KEY_PROPERTY, &key_value(key));
    Ok(found.map_err(error)?.first().copied())
}

impl<'a> Writer<'a> {
    pub(super) fn new(txn: &'a WriteTransaction, mode: UpsertMode) -> Self {
        Self {
            txn,
            nodes: HashMap::new(),
            present: HashMap::new(),
            remembered: 0,
            mode,
            result: UpsertResult::default(),
        }
    }

    fn find(&mut self, key: &str) -> Result<Option<NodeId>, GraphError> {
        if let Some(id) = self.nodes.get(key) {
            return Ok(Some(*id));
        }
        let found = find(self.txn, key)?;
        if let Some(id) = found {
            self.nodes.insert(key.to_owned(), id);
        }
        Ok(found)
    }

    /// All missing endpoints at once, before anything is written.
    fn check_endpoints(&mut self, batch: &Batch) -> Result<(), GraphError> {
        let given: std::collections::HashSet<&str> =
            batch.nodes.iter().map(|node| node.key.as_str()).collect();
        let mut missing: Vec<String> = Vec::new();
        for relationship in &batch.relationships {
            for key in [&relationship.identity.start, &relationship.identity.end] {
                let known = given.contains(key.as_str()) || self.find(key)?.is_some();
                if !known && !missing.contains(key) {
                    missing.push(key.clone());
                }
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(GraphError::MissingEndpoints { keys: missing })
        }
    }

    /// Creates or updates one node.
    pub(super) fn node(&mut self, change: &NodeChange) -> Result<(), GraphError> {
        let Some(id) = self.find(&change.key)? else {
            let labels: Vec<&str> = change.labels.iter().map(String::as_str).collect();
            let mut properties = given(&change.properties);
            properties.insert(KEY_PROPERTY.to_owned(), key_value(&change.key));
            let id = Store::create_node_in_txn(self.txn, &labels, properties).map_err(error)?;
            self.nodes.insert(change.key.clone(), id);
            self.result.nodes.created += 1;
            return Ok(());
        };
        if self.update_node(id, change)? {
            self.result.nodes.updated += 1;
        } else {
            self.result.nodes.unchanged += 1;
        }
        Ok(())
    }

    fn update_node(&self, id: NodeId, change: &NodeChange) -> Result<bool, GraphError> {
        let node = Store::get_node_in_txn(Txn::Write(self.txn), id).map_err(error)?;
        let node = node.ok_or_else(|| gone("node", id.0))?;
        let mut touched = false;
        // Old labels go first and new ones come last, so that a unique index sees no state between.
        if self.mode == UpsertMode::Replace {
            for label in node.labels.iter().filter(|label| !change.labels.contains(label)) {
                Store::remove_node_label_in_txn(self.txn, id, label).map_err(error)?;
                touched = true;
            }
        }
        for (name, write) in batch::difference(&stored(&node.props), &change.properties, self.mode)
        {
            match write {
                Some(value) => Store::set_node_prop_in_txn(self.txn, id, &name, to_engine(&value)),
                None => Store::remove_node_prop_in_txn(self.txn, id, &name),
            }
            .map_err(error)?;
            touched = true;
        }
        for label in change.labels.iter().filter(|label| !node.labels.contains(label)) {
            Store::add_node_label_in_txn(self.txn, id, label).map_err(error)?;
            touched = true;
        }
        Ok(touched)
    }

    /// Creates or updates one relationship.
    pub(super) fn relationship(&mut self, change: &RelationshipChange) -> Result<(), GraphError> {
        let identity = &change.identity;
        let (Some(start), Some(end)) = (self.find(&identity.start)?, self.find(&identity.end)?)
        else {
            let mut keys = vec![identity.start.clone(), identity.end.clone()];
            keys.retain(|key| !self.nodes.contains_key(key));
            return Err(GraphError::MissingEndpoints { keys });
        };
        let Some(edge) = self.ends(start, &identity.r#type)?.get(&end).copied() else {
            let properties = given(&change.properties);
            let created =
                Store::create_edge_in_txn(self.txn, &identity.r#type, start, end, properties);
            let id = created.map_err(error)?;
            self.ends(start, &identity.r#type)?.insert(end, id);
            self.result.relationships.created += 1;
            return Ok(());
        };
        if self.update_relationship(edge, change)? {
            self.result.relationships.updated += 1;
        } else {
            self.result.relationships.unchanged += 1;
        }
        Ok(())
    }

    fn update_relationship(
        &self,
        id: EdgeId,
        change: &RelationshipChange,
    ) -> Result<bool, GraphError> {
        let edge = Store::get_edge_in_txn(Txn::Write(self.txn), id).map_err(error)?;
        let edge = edge.ok_or_else(|| gone("relationship", id.0))?;
        let writes = batch::difference(&stored(&edge.props), &change.properties, self.mode);
        let touched = !writes.is_empty();
        for (name, write) in writes {
            match write {
                Some(value) => Store::set_edge_prop_in_txn(self.txn, id, &name, to_engine(&value)),
                None => Store::remove_edge_prop_in_txn(self.txn, id, &name),
            }
            .map_err(error)?;
        }
        Ok(touched)
    }

    /// The relationships of one type that leave `start`, read once per transaction: a batch that
    /// hangs a thousand on one hub must not scan the hub a thousand times.
    fn ends(&mut self, start: NodeId, kind: &str) -> Result<&mut Ends, GraphError> {
        if self.remembered > REMEMBERED_MAX {
            self.present.clear();
            self.remembered = 0;
        }
        let slot = (start, kind.to_owned());
        if !self.present.contains_key(&slot) {
            let ends = neighbours(self.txn, start, kind)?;
            self.remembered += ends.len() + 1;
            self.present.insert(slot.clone(), ends);
        }
        Ok(self.present.entry(slot).or_default())
    }
}

fn neighbours(txn: &WriteTransaction, start: NodeId, kind: &str) -> Result<Ends, GraphError> {
    let entries = Store::neighbors_in_txn(Txn::Write(txn), start, Direction::Out, Some(kind));
    Ok(entries.map_err(error)?.into_iter().map(|entry| (entry.other, entry.edge_id)).collect())
}

fn gone(what: &str, id: u64) -> GraphError {
    GraphError::Engine { detail: format!("{what} {id} is in an index and not in the store") }
}

fn given(changes: &crate::graph::property::Changes) -> BTreeMap<String, PropertyValue> {
    changes
        .iter()
        .filter_map(|(name, change)| Some((name.clone(), to_engine(change.as_ref()?))))
        .collect()
}

/// Stored properties without the key.
pub(super) fn stored(properties: &BTreeMap<String, PropertyValue>) -> BTreeMap<String, Property> {
    properties
        .iter()
        .filter(|(name, _)| name.as_str() != KEY_PROPERTY)
        .filter_map(|(name, value)| Some((name.clone(), from_engine(value)?)))
        .collect()
}

/// Carries out a checked delete.
pub(super) fn delete(engine: &Engine, request: &DeleteRequest) -> Result<DeleteResult, GraphError> {
    transact(engine, |txn| {
        let mut result = DeleteResult::default();
        for relationship in &request.relationships {
            let edge = match (find(txn, &relationship.start)?, find(txn, &relationship.end)?) {
                (Some(start), Some(end)) => {
                    neighbours(txn, start, &relationship.r#type)?.get(&end).copied()
                }
                _ => None,
            };
            match edge {
                Some(id) => {
                    Store::delete_edge_in_txn(txn, id).map_err(error)?;
                    result.relationships_deleted += 1;
                }
                None => result.missing_relationships.push(relationship.clone()),
            }
        }
        delete_nodes(txn, request, &mut result)?;
        let changed = result.nodes_deleted + result.relationships_deleted > 0;
        Ok((result, changed))
    })
}

fn delete_nodes(
    txn: &WriteTransaction,
    request: &DeleteRequest,
    result: &mut DeleteResult,
) -> Result<(), GraphError> {
    let mut found = Vec::new();
    for key in &request.nodes {
        match find(txn, key)? {
            Some(id) => found.push((key, id)),
            None => result.missing_nodes.push(key.clone()),
        }
    }
    let mut connected = Vec::new();
    for (key, id) in found {
        match Store::delete_node_in_txn(txn, id, request.detach) {
            Ok(edges) => {
                result.nodes_deleted += 1;
                result.relationships_deleted += edges.unwrap_or(0);
            }
            Err(EngineError::NodeHasEdges(_)) => connected.push(key.clone()),
            Err(other) => return Err(error(other)),
        }
    }
    if connected.is_empty() { Ok(()) } else { Err(GraphError::StillConnected { keys: connected }) }
}
