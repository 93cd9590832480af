//! Export and import on Neo4j.
//!
//! An export walks the keys in order, page by page, so it needs little memory; Neo4j knows no snapshot
//! across statements, so what others write meanwhile may or may not be in it. An import is read twice:
//! the first time to check everything, before anything is written; up to [`ONE_TRANSACTION_MAX`] records
//! it is then one transaction, above that parallel batches (see [`super::bulk`]).

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use super::Neo4jGraph;
use super::error::query_error;
use super::upsert::{KNOWN, keys};
use super::value::{stored, texts};
use crate::deadline::Deadline;
use crate::graph::batch::Batch;
use crate::graph::error::GraphError;
use crate::graph::model::{ImportMode, RelationshipRef, TransferReport, UpsertMode};
use crate::graph::property::Property;
use crate::graph::transfer::{ExportWriter, ImportReader, Record};
use crate::neo4j::{Limits, Neo4jClient, Params, Rows, runtime};

/// Records that fit into one transaction of a small server.
pub(super) const ONE_TRANSACTION_MAX: u64 = 20_000;
/// Nodes per page of an export.
const PAGE_NODES: i64 = 500;
/// Keys asked for at once while an import is checked.
const CHECKED_KEYS: usize = 5_000;
/// Longest time for one statement or batch of a transfer.
pub(super) const STEP: Duration = Duration::from_secs(600);

/// Nodes after a key.
pub(crate) const NODES: &str = "MATCH (n:Entity) WHERE n.key > $after \
    RETURN n.key AS key, labels(n) AS labels, properties(n) AS properties \
    ORDER BY n.key LIMIT $page";
/// Relationships that leave the nodes after a key.
pub(crate) const RELATIONSHIPS: &str = "MATCH (n:Entity) WHERE n.key > $after \
    WITH n ORDER BY n.key LIMIT $page \
    OPTIONAL MATCH (n)-[r]->(m:Entity) \
    RETURN n.key AS start, type(r) AS type, m.key AS end, properties(r) AS properties";

/// Writes the graph.
pub(super) async fn export(
    graph: &Neo4jGraph,
    sink: Box<dyn Write + Send>,
) -> Result<TransferReport, GraphError> {
    graph.ready(Deadline::after(STEP)).await?;
    let mut writer = ExportWriter::begin(sink)?;
    let mut after = String::new();
    loop {
        let rows = page(&graph.client, NODES, &after).await?;
        let Some(last) = rows.records.last().and_then(|row| row.text("key")) else { break };
        after = last.to_owned();
        for row in &rows.records {
            let key = row.text("key").unwrap_or_default();
            writer.node(key, texts(row.get("labels")), &stored(row.get("properties")))?;
        }
    }
    after.clear();
    loop {
        let rows = page(&graph.client, RELATIONSHIPS, &after).await?;
        let mut found: Vec<(RelationshipRef, BTreeMap<String, Property>)> = Vec::new();
        let mut last = None;
        for row in &rows.records {
            let Some(start) = row.text("start") else { continue };
            last = last.max(Some(start));
            let (Some(kind), Some(end)) = (row.text("type"), row.text("end")) else { continue };
            let identity = RelationshipRef {
                start: start.to_owned(),
                end: end.to_owned(),
                r#type: kind.to_owned(),
            };
            found.push((identity, stored(row.get("properties"))));
        }
        let Some(last) = last else { break };
        after = last.to_owned();
        found.sort_by(|(a, _), (b, _)| {
            (&a.start, &a.r#type, &a.end).cmp(&(&b.start, &b.r#type, &b.end))
        });
        for (identity, properties) in found {
            writer.relationship(identity, &properties)?;
        }
    }
    writer.finish()
}

async fn page(client: &Neo4jClient, text: &str, after: &str) -> Result<Rows, GraphError> {
    let params = Params::new().set("after", after).set("page", PAGE_NODES);
    let limits = Limits { rows_max: 1 << 22, bytes_max: 1 << 30 };
    let rows =
        client.read(text, params, limits, Deadline::after(STEP)).await.map_err(query_error)?;
    if rows.truncated {
        let instead = "export with Neo4j's own tools";
        return Err(GraphError::limit(
            format!("the relationships of {PAGE_NODES} nodes"),
            format!("{} rows", limits.rows_max),
            instead,
        ));
    }
    Ok(rows)
}

/// What the first reading of an import found.
struct Checked {
    spool: File,
    /// What stands in it, or the first mistake.
    report: Result<TransferReport, GraphError>,
    /// Keys that relationships name and the file does not hold, with the line that names them first.
    foreign: Vec<(String, u64)>,
}

/// Reads a graph.
pub(super) async fn import(
    graph: &Neo4jGraph,
    source: Box<dyn BufRead + Send>,
    mode: ImportMode,
) -> Result<TransferReport, GraphError> {
    let options = graph.options.clone();
    let checked = blocking(move || {
        let spool = spool()?;
        let copy = spool.try_clone().map_err(spool_failed)?;
        let mut reader = ImportReader::begin(Box::new(Tee::new(source, copy)), &options)?;
        let mut foreign = Vec::new();
        let report = look_through(&mut reader, &mut foreign);
        Ok(Checked { spool, report, foreign })
    })
    .await?;
    graph.ready(Deadline::after(STEP)).await?;
    let empty = is_empty(graph).await?;
    if mode == ImportMode::IntoEmpty && !empty {
        return Err(GraphError::Conflict(
            "the graph is not empty; import over it, or into an empty one".to_owned(),
        ));
    }
    // The first mistake in the file is told: a missing node may stand before what did not parse.
    check_foreign(graph, &checked.foreign).await?;
    let report = checked.report?;
    let records = report.nodes + report.relationships;
    if records == 0 {
        return Ok(report);
    }
    if records <= ONE_TRANSACTION_MAX {
        one_transaction(graph, checked.spool).await?;
    } else {
        super::bulk::load(graph, checked.spool, empty).await?;
    }
    graph.counter.advance();
    Ok(report)
}

/// Reads to the end, or to the first mistake; collects the keys that only the graph can hold.
fn look_through(
    reader: &mut ImportReader<'_>,
    foreign: &mut Vec<(String, u64)>,
) -> Result<TransferReport, GraphError> {
    let mut present = HashSet::new();
    while let Some(record) = reader.next_record()? {
        match record {
            Record::Node(node) => {
                present.insert(node.key);
            }
            Record::Relationship(change) => {
                for key in [change.identity.start, change.identity.end] {
                    if present.insert(key.clone()) {
                        foreign.push((key, reader.line()));
                    }
                }
            }
        }
    }
    Ok(reader.report())
}

async fn is_empty(graph: &Neo4jGraph) -> Result<bool, GraphError> {
    let text = super::schema::NODES;
    let rows =
        graph.client.read(text, Params::new(), Limits::default(), Deadline::after(STEP)).await;
    Ok(rows.map_err(query_error)?.int("count") == Some(0))
}

/// Nodes that only the graph can hold.
async fn check_foreign(graph: &Neo4jGraph, foreign: &[(String, u64)]) -> Result<(), GraphError> {
    for part in foreign.chunks(CHECKED_KEYS) {
        let params = Params::new().set("keys", keys(part.iter().map(|(key, _)| key.as_str())));
        let rows = graph.client.read(KNOWN, params, Limits::default(), Deadline::after(STEP)).await;
        let rows = rows.map_err(query_error)?;
        let known: HashSet<&str> = rows.records.iter().filter_map(|row| row.text("key")).collect();
        if let Some((key, line)) = part.iter().find(|(key, _)| !known.contains(key.as_str())) {
            let missing = GraphError::MissingEndpoints { keys: vec![key.clone()] };
            return Err(GraphError::Import { line: *line, problem: missing.to_string() });
        }
    }
    Ok(())
}

async fn one_transaction(graph: &Neo4jGraph, spool: File) -> Result<(), GraphError> {
    let options = graph.options.clone();
    let batch = blocking(move || {
        let mut batch =
            Batch { nodes: Vec::new(), relationships: Vec::new(), mode: UpsertMode::Replace };
        let mut reader = ImportReader::begin(again(spool)?, &options)?;
        while let Some(record) = reader.next_record()? {
            match record {
                Record::Node(node) => batch.nodes.push(node),
                Record::Relationship(change) => batch.relationships.push(change),
            }
        }
        Ok(batch)
    })
    .await?;
    // What somebody else wrote since the graph was found empty is met as a race, and then merged.
    graph.write(batch, false, Deadline::after(STEP)).await.map(drop)
}

/// The spooled file from its start.
pub(super) fn again(mut spool: File) -> Result<Box<dyn BufRead + Send>, GraphError> {
    spool.rewind().map_err(spool_failed)?;
    Ok(Box::new(BufReader::new(spool)))
}

/// Runs what reads files or parses much on threads made for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GraphError> + Send + 'static,
) -> Result<T, GraphError> {
    let runtime = runtime::handle().map_err(query_error)?;
    let joined = runtime.spawn_blocking(work).await;
    joined.map_err(|error| GraphError::Crashed { wrote: false, detail: error.to_string() })?
}

pub(super) fn spool_failed(error: std::io::Error) -> GraphError {
    GraphError::Engine { detail: format!("the temporary file of an import: {error}") }
}

/// A file without a name: it is gone when it is closed, whatever happens.
fn spool() -> Result<File, GraphError> {
    let path = std::env::temp_dir().join(format!("ultimate-mcp-import-{}", uuid::Uuid::new_v4()));
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&path).map_err(spool_failed)?;
    std::fs::remove_file(&path).map_err(spool_failed)?;
    Ok(file)
}

/// Copies what is read.
struct Tee {
    source: Box<dyn BufRead + Send>,
    copy: std::io::BufWriter<File>,
}

impl Tee {
    fn new(source: Box<dyn BufRead + Send>, copy: File) -> Self {
        Self { source, copy: std::io::BufWriter::new(copy) }
    }
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.copy.write_all(&buffer[..length])?;
        Ok(length)
    }
}

impl BufRead for Tee {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What was filled is still there; a failed copy shows when the second reading ends early.
        if let Ok(filled) = self.source.fill_buf() {
            let _ = self.copy.write_all(&filled[..amount.min(filled.len())]);
        }
        self.source.consume(amount);
    }
}
