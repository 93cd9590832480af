//! Upserts on Neo4j: one transaction that reads what is there, and writes what differs.
//!
//! Labels and types cannot be parameters, so rows are grouped by them; names were checked to be
//! identifiers and stand in backticks. Everything else is a parameter. Keys are sorted, so that
//! transactions beside each other take their locks in one order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::value::{changes, given, list, map, stored, texts, to_bolt};
use crate::graph::batch::{self, Batch, NodeChange, RelationshipChange};
use crate::graph::error::GraphError;
use crate::graph::model::{KEY_PROPERTY, UpsertMode, UpsertResult};
use crate::graph::property::{Changes, Property};
use crate::neo4j::{BoltMap, BoltType, Job, Neo4jError, Params, Statement, Tx, Verdict, Work};

/// What there is of the nodes to write.
pub(crate) const NODES: &str = "UNWIND $keys AS k MATCH (n:Entity {key: k}) \
    RETURN k AS key, labels(n) AS labels, properties(n) AS properties";
/// Which of the keys name nodes.
pub(crate) const KNOWN: &str = "UNWIND $keys AS k MATCH (n:Entity {key: k}) RETURN k AS key";
/// Changes properties; null removes.
pub(crate) const SET_PROPERTIES: &str =
    "UNWIND $rows AS row MATCH (n:Entity {key: row.key}) SET n += row.set";

/// A checked upsert as a job.
pub(super) struct Upsert {
    pub(super) batch: Arc<Batch>,
    /// Nothing of it is there yet, and nobody else writes: an import into an empty graph.
    pub(super) fresh: bool,
}

impl Job for Upsert {
    type Answer = Result<UpsertResult, GraphError>;

    fn run<'t>(&'t self, tx: &'t mut Tx) -> Work<'t, Self::Answer> {
        Box::pin(async move {
            let mut run =
                Run { batch: &self.batch, fresh: self.fresh, result: UpsertResult::default() };
            if let Some(keys) = run.missing(tx).await? {
                return Ok(Verdict::Rollback(Err(GraphError::MissingEndpoints { keys })));
            }
            let created = run.nodes(tx).await?;
            run.relationships(tx, &created).await?;
            let result = run.result;
            let counts = [result.nodes, result.relationships];
            let changed = counts.iter().any(|counts| counts.created + counts.updated > 0);
            Ok(if changed { Verdict::Commit(Ok(result)) } else { Verdict::Rollback(Ok(result)) })
        })
    }
}

struct Run<'a> {
    batch: &'a Batch,
    fresh: bool,
    result: UpsertResult,
}

/// A node as it is stored.
struct Present {
    labels: Vec<String>,
    properties: BTreeMap<String, Property>,
}

/// Properties of present relationships by the index of the change they are for.
type PresentEnds = HashMap<usize, BTreeMap<String, Property>>;

impl Run<'_> {
    /// Keys that relationships name and nobody has, in order of appearance; `None` without any.
    async fn missing(&self, tx: &mut Tx) -> Result<Option<Vec<String>>, Neo4jError> {
        let given: HashSet<&str> = self.batch.nodes.iter().map(|node| node.key.as_str()).collect();
        let mut asked: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        for relationship in &self.batch.relationships {
            for key in [&relationship.identity.start, &relationship.identity.end] {
                if !given.contains(key.as_str()) && seen.insert(key.as_str()) {
                    asked.push(key);
                }
            }
        }
        if asked.is_empty() || self.fresh {
            return Ok(None);
        }
        let params = Params::new().set("keys", keys(asked.iter().copied()));
        let rows = tx.run(&Statement::new(KNOWN).with(params)).await?;
        let known: HashSet<&str> = rows.records.iter().filter_map(|row| row.text("key")).collect();
        let missing: Vec<String> =
            asked.into_iter().filter(|key| !known.contains(key)).map(str::to_owned).collect();
        Ok((!missing.is_empty()).then_some(missing))
    }

    /// Creates and updates the nodes; answers the keys of the new ones.
    async fn nodes(&mut self, tx: &mut Tx) -> Result<HashSet<String>, Neo4jError> {
        let present = self.present_nodes(tx).await?;
        let mut new: BTreeMap<&[String], Vec<&NodeChange>> = BTreeMap::new();
        let mut created = HashSet::new();
        let mut difference = NodeDifference::default();
        for node in &self.batch.nodes {
            match present.get(&node.key) {
                None => {
                    new.entry(&node.labels).or_default().push(node);
                    created.insert(node.key.clone());
                }
                Some(there) if difference.add(node, there, self.batch.mode) => {
                    self.result.nodes.updated += 1;
                }
                Some(_) => self.result.nodes.unchanged += 1,
            }
        }
        // Old labels go first and new ones come last, so that a unique index sees no state between.
        difference.write(tx, false).await?;
        for (labels, mut nodes) in new {
            nodes.sort_by(|a, b| a.key.cmp(&b.key));
            let rows = nodes.iter().map(|node| {
                let mut row = given(&node.properties);
                row.put(KEY_PROPERTY.into(), BoltType::from(node.key.as_str()));
                BoltType::Map(row)
            });
            let params = Params::new().set("rows", list(rows));
            let rows = tx.run(&Statement::new(create_nodes(labels)).with(params)).await?;
            self.result.nodes.created += rows.nodes_created;
        }
        difference.write(tx, true).await?;
        Ok(created)
    }

    async fn present_nodes(&self, tx: &mut Tx) -> Result<HashMap<String, Present>, Neo4jError> {
        if self.batch.nodes.is_empty() || self.fresh {
            return Ok(HashMap::new());
        }
        let params =
            Params::new().set("keys", keys(self.batch.nodes.iter().map(|node| node.key.as_str())));
        let rows = tx.run(&Statement::new(NODES).with(params)).await?;
        let present = rows.records.iter().filter_map(|row| {
            let labels = texts(row.get("labels"));
            let properties = stored(row.get("properties"));
            Some((row.text("key")?.to_owned(), Present { labels, properties }))
        });
        Ok(present.collect())
    }

    async fn relationships(
        &mut self,
        tx: &mut Tx,
        created: &HashSet<String>,
    ) -> Result<(), Neo4jError> {
        let mut types: BTreeMap<&str, Vec<(usize, &RelationshipChange)>> = BTreeMap::new();
        for (index, change) in self.batch.relationships.iter().enumerate() {
            types.entry(&change.identity.r#type).or_default().push((index, change));
        }
        for (kind, mut changes) in types {
            changes.sort_by(|a, b| {
                let ends =
                    |c: &RelationshipChange| (c.identity.start.clone(), c.identity.end.clone());
                ends(a.1).cmp(&ends(b.1))
            });
            self.relationships_of(tx, kind, changes, created).await?;
        }
        Ok(())
    }

    async fn relationships_of(
        &mut self,
        tx: &mut Tx,
        kind: &str,
        changes: Vec<(usize, &RelationshipChange)>,
        created: &HashSet<String>,
    ) -> Result<(), Neo4jError> {
        let new_end = |change: &RelationshipChange| {
            created.contains(&change.identity.start) || created.contains(&change.identity.end)
        };
        let asked = changes.iter().filter(|(_, change)| !self.fresh && !new_end(change));
        let present = present_ends(tx, kind, asked).await?;
        let (mut new, mut updates) = (Vec::new(), Vec::new());
        for (index, change) in changes {
            let Some(there) = present.get(&index) else {
                new.push(row(change, ("p", BoltType::Map(given(&change.properties)))));
                continue;
            };
            let writes = batch::difference(there, &change.properties, self.batch.mode);
            if writes.is_empty() {
                self.result.relationships.unchanged += 1;
            } else {
                self.result.relationships.updated += 1;
                updates.push(row(change, ("set", BoltType::Map(self::changes(&writes)))));
            }
        }
        if !new.is_empty() {
            let asked = new.len() as u64;
            let params = Params::new().set("rows", list(new));
            let text = create_relationships(kind, self.fresh);
            let rows = tx.run(&Statement::new(text).with(params)).await?;
            self.result.relationships.created += rows.relationships_created;
            // Somebody else created it between our look and our lock.
            self.result.relationships.unchanged += asked - rows.relationships_created.min(asked);
        }
        if !updates.is_empty() {
            let params = Params::new().set("rows", list(updates));
            tx.run(&Statement::new(update_relationships(kind)).with(params)).await?;
        }
        Ok(())
    }
}

async fn present_ends<'a>(
    tx: &mut Tx,
    kind: &str,
    asked: impl Iterator<Item = &'a (usize, &'a RelationshipChange)>,
) -> Result<PresentEnds, Neo4jError> {
    let index = |index: usize| BoltType::from(index as i64);
    let rows: Vec<_> = asked.map(|(at, change)| row(change, ("i", index(*at)))).collect();
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let params = Params::new().set("rows", list(rows));
    let rows = tx.run(&Statement::new(find_relationships(kind)).with(params)).await?;
    let present = rows.records.iter().filter_map(|row| {
        Some((usize::try_from(row.int("i")?).ok()?, stored(row.get("properties"))))
    });
    Ok(present.collect())
}

/// Labels and properties to change, by what one statement can do.
#[derive(Default)]
struct NodeDifference {
    removed: BTreeMap<String, Vec<String>>,
    added: BTreeMap<String, Vec<String>>,
    set: Vec<(String, Changes)>,
}

impl NodeDifference {
    /// Whether the node differs.
    fn add(&mut self, node: &NodeChange, there: &Present, mode: UpsertMode) -> bool {
        let mut differs = false;
        if mode == UpsertMode::Replace {
            for label in there.labels.iter().filter(|label| !node.labels.contains(label)) {
                self.removed.entry(label.clone()).or_default().push(node.key.clone());
                differs = true;
            }
        }
        for label in node.labels.iter().filter(|label| !there.labels.contains(label)) {
            self.added.entry(label.clone()).or_default().push(node.key.clone());
            differs = true;
        }
        let writes = batch::difference(&there.properties, &node.properties, mode);
        if !writes.is_empty() {
            self.set.push((node.key.clone(), writes));
            differs = true;
        }
        differs
    }

    /// First what goes and changes, then what comes.
    async fn write(&mut self, tx: &mut Tx, added: bool) -> Result<(), Neo4jError> {
        let labels = if added { &mut self.added } else { &mut self.removed };
        for (label, nodes) in std::mem::take(labels) {
            let params = Params::new().set("keys", keys(nodes.iter().map(String::as_str)));
            tx.run(&Statement::new(change_label(&label, added)).with(params)).await?;
        }
        if added || self.set.is_empty() {
            return Ok(());
        }
        self.set.sort_by(|a, b| a.0.cmp(&b.0));
        let rows = std::mem::take(&mut self.set).into_iter().map(|(key, writes)| {
            let set: BoltMap = changes(&writes);
            map([("key", BoltType::from(key)), ("set", BoltType::Map(set))])
        });
        let params = Params::new().set("rows", list(rows));
        tx.run(&Statement::new(SET_PROPERTIES).with(params)).await.map(|_| ())
    }
}

fn row(change: &RelationshipChange, more: (&str, BoltType)) -> BoltType {
    let text = |text: &str| BoltType::from(text);
    map([("s", text(&change.identity.start)), ("e", text(&change.identity.end)), more])
}

/// Keys as a parameter, sorted.
pub(super) fn keys<'a>(keys: impl Iterator<Item = &'a str>) -> BoltType {
    let mut keys: Vec<&str> = keys.collect();
    keys.sort_unstable();
    list(keys.into_iter().map(|key| to_bolt(&Property::Text(key.to_owned()))))
}

/// Creates nodes that all have the same labels.
pub(crate) fn create_nodes(labels: &[String]) -> String {
    let labels: String = labels.iter().map(|label| format!(":`{label}`")).collect();
    format!("UNWIND $rows AS row CREATE (n{labels}) SET n = row")
}

pub(crate) fn change_label(label: &str, add: bool) -> String {
    let verb = if add { "SET" } else { "REMOVE" };
    format!("UNWIND $keys AS k MATCH (n:Entity {{key: k}}) {verb} n:`{label}`")
}

/// Both ends by their keys.
const ENDS: &str =
    "UNWIND $rows AS row MATCH (a:Entity {key: row.s}) MATCH (b:Entity {key: row.e})";

pub(crate) fn find_relationships(kind: &str) -> String {
    format!("{ENDS} MATCH (a)-[r:`{kind}`]->(b) RETURN row.i AS i, properties(r) AS properties")
}

pub(crate) fn create_relationships(kind: &str, fresh: bool) -> String {
    if fresh {
        return format!("{ENDS} CREATE (a)-[r:`{kind}`]->(b) SET r = row.p");
    }
    // Takes the locks of both ends before it looks again: two writers make one relationship.
    format!("{ENDS} MERGE (a)-[r:`{kind}`]->(b) ON CREATE SET r = row.p")
}

pub(crate) fn update_relationships(kind: &str) -> String {
    format!("{ENDS} MATCH (a)-[r:`{kind}`]->(b) SET r += row.set")
}
