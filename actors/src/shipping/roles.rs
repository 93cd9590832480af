//! Stored roles as relationships.

use super::model::{Row, unwind};
use super::statements as cypher;
use crate::authorization::ChangedRoles;
use crate::neo4j::{BoltList, BoltType, Params, Statement};

/// The statements that make Neo4j say what the store says about these users.
pub(super) fn statements(changed: &[ChangedRoles], node_id: &str) -> Vec<Statement> {
    let known = changed.iter().filter_map(|(user, roles)| {
        let roles = roles.as_ref()?.iter().map(|role| BoltType::from(role.as_str()));
        let mut row = Row::default();
        row.text("user", Some(user))
            .value("roles", BoltType::List(BoltList { value: roles.collect() }));
        Some(row.finish())
    });
    let known = BoltList { value: known.collect() };
    let gone = changed.iter().filter(|(_, roles)| roles.is_none());
    let gone: Vec<_> = gone.map(|(user, _)| BoltType::from(&**user)).collect();
    let mut batch = Vec::new();
    if !known.is_empty() {
        let params = Params::new().set("rows", BoltType::List(known)).set("node", node_id);
        batch.push(Statement::new(cypher::ROLES).with(params));
    }
    if !gone.is_empty() {
        batch.push(unwind(cypher::NO_ROLES, gone.into_iter()));
    }
    batch
}
