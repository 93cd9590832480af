//! Export and import on the embedded engine. Called on its threads.
//!
//! An export is one snapshot: identities are sorted in memory, records stream. An import is one
//! transaction: a wrong line takes everything back.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::Arc;

use marsdb_graph::{Direction, GraphStore as Store, NodeId, PropertyValue, Txn};

use super::engine::{Engine, error};
use super::pool::Leash;
use super::write::{Writer, changed, stored, transact};
use crate::graph::error::GraphError;
use crate::graph::model::{
    BASE_LABEL, ImportMode, KEY_PROPERTY, RelationshipRef, TransferReport, UpsertMode,
};
use crate::graph::options::GraphOptions;
use crate::graph::transfer::{ExportWriter, ImportReader, Record};

/// Records between two looks at the leash.
const LOOK_EVERY: usize = 256;

/// Writes the graph.
pub(super) fn export(
    engine: &Engine,
    sink: Box<dyn Write + Send>,
    leash: &Leash,
) -> Result<TransferReport, GraphError> {
    let snapshot = engine.store.begin_read().map_err(error)?;
    let txn = Txn::Read(&snapshot);
    let mut writer = ExportWriter::begin(sink)?;
    let (order, keys) = sorted_keys(txn)?;
    for (count, (key, id)) in order.iter().enumerate() {
        look(count, leash)?;
        let node = Store::get_node_in_txn(txn, *id).map_err(error)?;
        let node = node.ok_or_else(|| missing(id.0))?;
        writer.node(key, node.labels, &stored(&node.props))?;
    }
    for (count, (key, id)) in order.iter().enumerate() {
        look(count, leash)?;
        let entries = Store::neighbors_in_txn(txn, *id, Direction::Out, None).map_err(error)?;
        let mut edges = Vec::with_capacity(entries.len());
        for entry in entries {
            let edge = Store::get_edge_in_txn(txn, entry.edge_id).map_err(error)?;
            let edge = edge.ok_or_else(|| missing(entry.edge_id.0))?;
            let end = keys.get(&entry.other).ok_or_else(|| missing(entry.other.0))?;
            edges.push((edge.label.clone(), Arc::clone(end), edge));
        }
        edges.sort_by(|a, b| (&a.0, &a.1, a.2.id).cmp(&(&b.0, &b.1, b.2.id)));
        for (kind, end, edge) in edges {
            let identity =
                RelationshipRef { start: key.to_string(), end: end.to_string(), r#type: kind };
            writer.relationship(identity, &stored(&edge.props))?;
        }
    }
    writer.finish()
}

type Keys = (Vec<(Arc<str>, NodeId)>, HashMap<NodeId, Arc<str>>);

/// All nodes in the order of their keys, and back.
fn sorted_keys(txn: Txn<'_>) -> Result<Keys, GraphError> {
    let ids = Store::all_node_ids_limited_in_txn(txn, Some(BASE_LABEL), usize::MAX);
    let ids = ids.map_err(error)?;
    let Some(key_id) = Store::lookup_prop_id_in_txn(txn, KEY_PROPERTY).map_err(error)? else {
        return Ok(Keys::default());
    };
    let mut read = Store::node_prop_reader(txn).map_err(error)?;
    let mut order = Vec::with_capacity(ids.len());
    for id in ids {
        match read(id, key_id).map_err(error)? {
            Some(Some(PropertyValue::String(key))) => order.push((Arc::<str>::from(key), id)),
            _ => return Err(missing(id.0)),
        }
    }
    order.sort();
    let keys = order.iter().map(|(key, id)| (*id, Arc::clone(key))).collect();
    Ok((order, keys))
}

fn look(count: usize, leash: &Leash) -> Result<(), GraphError> {
    if count.is_multiple_of(LOOK_EVERY) && leash.token.is_cancelled() {
        return Err(GraphError::Cancelled);
    }
    Ok(())
}

fn missing(id: u64) -> GraphError {
    GraphError::Engine { detail: format!("record {id} is not where the store says") }
}

/// Reads a graph.
pub(super) fn import(
    engine: &Engine,
    options: &GraphOptions,
    source: Box<dyn BufRead + Send>,
    mode: ImportMode,
    leash: &Leash,
) -> Result<(TransferReport, bool), GraphError> {
    let mut reader = ImportReader::begin(source, options)?;
    transact(engine, |txn| {
        if mode == ImportMode::IntoEmpty
            && Store::node_count_in_txn(Txn::Write(txn)).map_err(error)? > 0
        {
            return Err(GraphError::Conflict(
                "the graph is not empty; import over it, or into an empty one".to_owned(),
            ));
        }
        let mut writer = Writer::new(txn, UpsertMode::Replace);
        let mut count = 0;
        while let Some(record) = reader.next_record()? {
            look(count, leash)?;
            count += 1;
            let written = match &record {
                Record::Node(node) => writer.node(node),
                Record::Relationship(relationship) => writer.relationship(relationship),
            };
            written.map_err(|error| match error {
                mistake @ (GraphError::MissingEndpoints { .. } | GraphError::NotUnique { .. }) => {
                    GraphError::Import { line: reader.line(), problem: mistake.to_string() }
                }
                other => other,
            })?;
        }
        let changed = changed(&writer.result);
        Ok(((reader.report(), changed), changed))
    })
}
