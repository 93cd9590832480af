//! Deletes on Neo4j: one transaction, relationships first.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::upsert::keys;
use super::value::{list, map};
use crate::graph::error::GraphError;
use crate::graph::model::{DeleteRequest, DeleteResult};
use crate::neo4j::{BoltType, Job, Neo4jError, Params, Statement, Tx, Verdict, Work};

/// Nodes to delete and how many relationships each still has.
pub(crate) const DEGREES: &str = "UNWIND $keys AS k MATCH (n:Entity {key: k}) \
    RETURN k AS key, COUNT { (n)--() } AS degree";
/// Deletes nodes; one that got a relationship meanwhile is refused by the server.
pub(crate) const DELETE: &str = "UNWIND $keys AS k MATCH (n:Entity {key: k}) DELETE n";
/// Deletes nodes and their relationships.
pub(crate) const DETACH: &str = "UNWIND $keys AS k MATCH (n:Entity {key: k}) DETACH DELETE n";

/// A checked delete as a job.
pub(super) struct Delete(pub(super) DeleteRequest);

impl Job for Delete {
    type Answer = Result<DeleteResult, GraphError>;

    fn run<'t>(&'t self, tx: &'t mut Tx) -> Work<'t, Self::Answer> {
        Box::pin(async move {
            let mut result = DeleteResult::default();
            self.relationships(tx, &mut result).await?;
            let connected = self.nodes(tx, &mut result).await?;
            if !connected.is_empty() {
                let refused = GraphError::StillConnected { keys: connected };
                return Ok(Verdict::Rollback(Err(refused)));
            }
            let changed = result.nodes_deleted + result.relationships_deleted > 0;
            Ok(if changed { Verdict::Commit(Ok(result)) } else { Verdict::Rollback(Ok(result)) })
        })
    }
}

impl Delete {
    async fn relationships(
        &self,
        tx: &mut Tx,
        result: &mut DeleteResult,
    ) -> Result<(), Neo4jError> {
        let mut types: BTreeMap<&str, Vec<BoltType>> = BTreeMap::new();
        for (index, identity) in self.0.relationships.iter().enumerate() {
            let text = |text: &str| BoltType::from(text);
            types.entry(&identity.r#type).or_default().push(map([
                ("s", text(&identity.start)),
                ("e", text(&identity.end)),
                ("i", BoltType::from(index as i64)),
            ]));
        }
        let mut found: HashSet<i64> = HashSet::new();
        for (kind, rows) in types {
            let params = Params::new().set("rows", list(rows));
            let rows = tx.run(&Statement::new(delete_relationships(kind)).with(params)).await?;
            result.relationships_deleted += rows.relationships_deleted;
            found.extend(rows.records.iter().filter_map(|row| row.int("i")));
        }
        let all = self.0.relationships.iter().enumerate();
        let missing = all.filter(|(index, _)| !found.contains(&(*index as i64)));
        result.missing_relationships = missing.map(|(_, identity)| identity.clone()).collect();
        Ok(())
    }

    /// Deletes the nodes, or answers those that are still connected.
    async fn nodes(
        &self,
        tx: &mut Tx,
        result: &mut DeleteResult,
    ) -> Result<Vec<String>, Neo4jError> {
        if self.0.nodes.is_empty() {
            return Ok(Vec::new());
        }
        let asked = || Params::new().set("keys", keys(self.0.nodes.iter().map(String::as_str)));
        let rows = tx.run(&Statement::new(DEGREES).with(asked())).await?;
        let degrees: HashMap<&str, i64> = rows
            .records
            .iter()
            .filter_map(|row| Some((row.text("key")?, row.int("degree")?)))
            .collect();
        let named = |keep: &dyn Fn(Option<&i64>) -> bool| -> Vec<String> {
            let kept = self.0.nodes.iter().filter(|key| keep(degrees.get(key.as_str())));
            kept.cloned().collect()
        };
        result.missing_nodes = named(&|degree| degree.is_none());
        if !self.0.detach {
            let connected = named(&|degree| degree.is_some_and(|degree| *degree > 0));
            if !connected.is_empty() {
                return Ok(connected);
            }
        }
        let text = if self.0.detach { DETACH } else { DELETE };
        let rows = tx.run(&Statement::new(text).with(asked())).await?;
        result.nodes_deleted = rows.nodes_deleted;
        result.relationships_deleted += rows.relationships_deleted;
        Ok(Vec::new())
    }
}

pub(crate) fn delete_relationships(kind: &str) -> String {
    format!(
        "UNWIND $rows AS row MATCH (a:Entity {{key: row.s}}) MATCH (b:Entity {{key: row.e}}) \
         MATCH (a)-[r:`{kind}`]->(b) DELETE r RETURN DISTINCT row.i AS i"
    )
}
