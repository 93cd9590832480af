//! Loading more than one transaction holds: batches in parallel over several connections.
//!
//! Nodes go first; their batches do not meet. Relationships are dealt into cells by their two ends'
//! buckets, and only cells without a common bucket run beside each other: no two transactions ever want
//! the lock of the same node, so there is no deadlock to wait for. Within a batch it is all or nothing;
//! across batches it is not: a load into an empty graph that fails deletes what it wrote, one over a graph
//! says how far it came and may be repeated.

use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Neo4jGraph;
use super::error::write_error;
use super::transfer::{STEP, again, blocking, spool_failed};
use crate::deadline::Deadline;
use crate::graph::batch::{Batch, NodeChange, RelationshipChange};
use crate::graph::error::GraphError;
use crate::graph::model::UpsertMode;
use crate::graph::transfer::{ImportReader, Record};
use crate::neo4j::{Params, Statement, runtime};

/// Nodes in one transaction.
const NODE_BATCH: usize = 4_000;
/// Relationships in one transaction.
const RELATIONSHIP_BATCH: usize = 4_000;
/// Transactions at once.
const PARALLEL: usize = 4;
/// Buckets of ends; half as many cells run at once.
const BUCKETS: usize = 2 * PARALLEL;
/// Relationships dealt at once: what is held in memory.
const DEAL: usize = 400_000;
/// Batches read ahead.
const AHEAD: usize = 4;
/// Nodes deleted in one transaction when a load is taken back.
const UNDO_NODES: usize = 2_000;

/// What a reader hands over.
enum Part {
    Nodes(Vec<NodeChange>),
    Relationships(Vec<RelationshipChange>),
}

/// Loads a checked file.
pub(super) async fn load(graph: &Neo4jGraph, spool: File, fresh: bool) -> Result<(), GraphError> {
    let again = spool.try_clone().map_err(spool_failed)?;
    let outcome = parts(graph, spool, fresh).await;
    if let Err(error) = &outcome
        && fresh
    {
        tracing::warn!(%error, "a load into an empty graph failed; taking it back");
        undo(graph, again).await?;
    }
    outcome
}

async fn parts(graph: &Neo4jGraph, spool: File, fresh: bool) -> Result<(), GraphError> {
    let (sender, receiver) = tokio::sync::mpsc::channel(AHEAD);
    let options = graph.options.clone();
    let runtime = runtime::handle().map_err(write_error)?;
    let reading = runtime.spawn_blocking(move || {
        let mut reader = ImportReader::begin(again(spool)?, &options)?;
        read(&mut reader, &sender)
    });
    let written = write(graph, receiver, fresh).await;
    let read = reading.await;
    let read = read.map_err(|error| GraphError::Engine { detail: error.to_string() })?;
    written.and(read)
}

/// Reads until the end, or until nobody listens any more.
fn read(
    reader: &mut ImportReader<'_>,
    sender: &tokio::sync::mpsc::Sender<Part>,
) -> Result<(), GraphError> {
    let (mut nodes, mut relationships) = (Vec::new(), Vec::new());
    while let Some(record) = reader.next_record()? {
        let full = match record {
            Record::Node(node) => {
                nodes.push(node);
                (nodes.len() == NODE_BATCH).then(|| Part::Nodes(std::mem::take(&mut nodes)))
            }
            Record::Relationship(change) => {
                relationships.push(change);
                let full = relationships.len() == DEAL;
                full.then(|| Part::Relationships(std::mem::take(&mut relationships)))
            }
        };
        if let Some(part) = full
            && sender.blocking_send(part).is_err()
        {
            return Ok(());
        }
    }
    // Whoever does not listen any more has an error of its own.
    let _ = sender.blocking_send(Part::Nodes(nodes));
    let _ = sender.blocking_send(Part::Relationships(relationships));
    Ok(())
}

async fn write(
    graph: &Neo4jGraph,
    mut parts: tokio::sync::mpsc::Receiver<Part>,
    fresh: bool,
) -> Result<(), GraphError> {
    let mut running = stream::FuturesUnordered::new();
    while let Some(part) = parts.recv().await {
        match part {
            Part::Nodes(nodes) => {
                if running.len() == PARALLEL {
                    running.next().await.transpose()?;
                }
                running.push(batch(graph, nodes, Vec::new(), fresh));
            }
            Part::Relationships(relationships) => {
                // Nodes of hand-made files may come after relationships; those before must be there.
                while running.next().await.transpose()?.is_some() {}
                deal(graph, relationships, fresh).await?;
            }
        }
    }
    while running.next().await.transpose()?.is_some() {}
    Ok(())
}

async fn batch(
    graph: &Neo4jGraph,
    nodes: Vec<NodeChange>,
    relationships: Vec<RelationshipChange>,
    fresh: bool,
) -> Result<(), GraphError> {
    if nodes.is_empty() && relationships.is_empty() {
        return Ok(());
    }
    let batch = Batch { nodes, relationships, mode: UpsertMode::Replace };
    graph.write(batch, fresh, Deadline::after(STEP)).await.map(drop)
}

/// Writes relationships cell by cell.
async fn deal(
    graph: &Neo4jGraph,
    relationships: Vec<RelationshipChange>,
    fresh: bool,
) -> Result<(), GraphError> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let bucket = |key: &str| (hasher.hash_one(key) % BUCKETS as u64) as usize;
    let mut cells: Vec<Vec<RelationshipChange>> = Vec::new();
    cells.resize_with(BUCKETS * BUCKETS, Vec::new);
    for change in relationships {
        let (a, b) = (bucket(&change.identity.start), bucket(&change.identity.end));
        cells[a.min(b) * BUCKETS + a.max(b)].push(change);
    }
    for round in rounds() {
        let cells = round.into_iter().map(|(a, b)| std::mem::take(&mut cells[a * BUCKETS + b]));
        let cells: Vec<_> = cells.collect();
        stream::iter(cells)
            .map(|cell| async move {
                let mut rest = cell.into_iter().peekable();
                while rest.peek().is_some() {
                    let part = rest.by_ref().take(RELATIONSHIP_BATCH).collect();
                    batch(graph, Vec::new(), part, fresh).await?;
                }
                Ok::<_, GraphError>(())
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
    }
    Ok(())
}

/// Every pair of buckets once, in rounds of pairs without a common bucket: the tournament in which
/// everybody meets everybody. The last round holds the pairs of a bucket with itself.
fn rounds() -> Vec<Vec<(usize, usize)>> {
    let last = BUCKETS - 1;
    let mut rounds: Vec<Vec<(usize, usize)>> = (0..last)
        .map(|round| {
            let mut pairs = vec![(round.min(last), round.max(last))];
            for step in 1..BUCKETS / 2 {
                let (a, b) = ((round + step) % last, (round + last - step) % last);
                pairs.push((a.min(b), a.max(b)));
            }
            pairs
        })
        .collect();
    rounds.push((0..BUCKETS).map(|bucket| (bucket, bucket)).collect());
    rounds
}

/// Deletes what a failed load into an empty graph wrote: the nodes that its file names, no others.
async fn undo(graph: &Neo4jGraph, spool: File) -> Result<(), GraphError> {
    let options = graph.options.clone();
    let keys = blocking(move || {
        let mut reader = ImportReader::begin(again(spool)?, &options)?;
        let mut keys = Vec::new();
        while let Some(record) = reader.next_record()? {
            if let Record::Node(node) = record {
                keys.push(node.key);
            }
        }
        Ok(keys)
    });
    for part in keys.await?.chunks(UNDO_NODES) {
        let keys = super::upsert::keys(part.iter().map(String::as_str));
        let statement = Statement::new(super::delete::DETACH).with(Params::new().set("keys", keys));
        let deleted = graph.client.write(vec![statement], Deadline::after(STEP), true).await;
        deleted.map_err(write_error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_buckets_meets_once_and_no_bucket_twice_in_a_round() {
        let rounds = rounds();
        let mut seen = std::collections::HashSet::new();
        for round in &rounds {
            let mut buckets = std::collections::HashSet::new();
            for (a, b) in round {
                assert!(a <= b && *b < BUCKETS && seen.insert((*a, *b)));
                assert!(buckets.insert(*a) && (a == b || buckets.insert(*b)), "{round:?}");
            }
        }
        assert_eq!(seen.len(), BUCKETS * (BUCKETS + 1) / 2);
    }
}
