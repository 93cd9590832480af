//! The server's own account of every statement: it is found by an index, or by what is in hand already.

use ultimate_mcp_testkit::neo4j_exclusive;

use super::super::statements as cypher;
use super::super::{model, schema};
use super::*;
use crate::neo4j::{BoltList, BoltType, migrations};

/// Steps that look at everything of a label or of the database.
const SCANS: [&str; 3] = ["AllNodesScan", "NodeByLabelScan", "RelationshipTypeScan"];

#[actix::test]
async fn every_statement_of_ours_uses_an_index() {
    let turn = neo4j_exclusive().await;
    let client = client(options(&turn.server));
    migrations::run(&client, schema::PART, &schema::migrations(), soon()).await.unwrap();
    let rows = || {
        let mut row = model::Row::default();
        for name in ["event_id", "call_id", "id", "call", "to", "user"] {
            row.text(name, Some("x"));
        }
        row.value("roles", BoltType::List(BoltList { value: vec![BoltType::from("viewer")] }));
        BoltType::List(BoltList { value: vec![row.finish()] })
    };
    let names = || BoltType::List(BoltList { value: vec![BoltType::from("x")] });
    let of_names = [cypher::USERS, cypher::SESSIONS, cypher::TRACES, cypher::DATA];
    let of_names = [&of_names[..], &[cypher::NO_ROLES, cypher::UNLINK_DATA]].concat();
    for text in [
        cypher::EVENTS,
        cypher::EXECUTIONS,
        cypher::USERS,
        cypher::SESSIONS,
        cypher::TRACES,
        cypher::ARTIFACTS,
        cypher::DATA,
        cypher::RAN,
        cypher::IN_SESSION,
        cypher::IN_TRACE,
        cypher::PRODUCED,
        cypher::TOUCHED,
        cypher::MOVE_CURSOR,
        cypher::READ_CURSOR,
        cypher::DROP_CURSOR,
        cypher::ROLES,
        cypher::NO_ROLES,
        cypher::ERASE_EVENTS,
        cypher::ERASE_SESSIONS,
        cypher::ERASE_RAN,
        cypher::ERASE_USER,
        cypher::REPLACE_EVENTS,
        cypher::UNLINK_DATA,
        cypher::TIDY_EVENTS,
        cypher::TIDY_EXECUTIONS,
        cypher::WHO_RAN_WHAT,
    ] {
        let rows = if of_names.contains(&text) { names() } else { rows() };
        let steps = plan(&turn.server, text, rows).await;
        let scan = steps.iter().find(|step| SCANS.iter().any(|scan| step.starts_with(scan)));
        assert_eq!(scan, None, "{text}\n{steps:?}");
        let index = steps.iter().any(|step| step.contains("Index"));
        assert!(index, "{text}\n{steps:?}");
    }
    // What is new is created, and only what it is linked to is looked for.
    for (text, id) in [(cypher::NEW_EVENTS, "event_id"), (cypher::NEW_EXECUTIONS, "call_id")] {
        let new = || {
            let mut row = model::Row::default();
            row.text(id, Some("new"));
            row
        };
        let mut row = new();
        if text == cypher::NEW_EXECUTIONS {
            row.text("user", Some("x")).value("call", new().finish());
            row.value("touched", names()).value("produced", names());
        }
        let rows = BoltType::List(BoltList { value: vec![row.finish()] });
        let steps = plan(&turn.server, text, rows).await;
        assert!(!steps.iter().any(|step| SCANS.iter().any(|s| step.starts_with(s))), "{steps:?}");
        assert!(text.contains("CREATE") && !text.contains("MERGE"), "{text}");
    }
    // Few roles, each holder once: by the roles.
    assert!(cypher::ROLE_HOLDERS.starts_with("MATCH (r:UmcpRole)"));
}

/// The steps the server took. The driver shows its account of them only as text.
async fn plan(server: &Neo4j, text: &str, rows: BoltType) -> Vec<String> {
    let mut query = neo4rs::query(&format!("PROFILE {text}")).param("rows", rows);
    for name in ["max", "before", "seq"] {
        query = query.param(name, 1);
    }
    for name in ["trail", "node", "hash", "user", "key"] {
        query = query.param(name, "x");
    }
    let mut rows = server.graph().await.execute(query).await.unwrap();
    while rows.next().await.unwrap().is_some() {}
    let account = format!("{:?}", rows.finish().await.unwrap());
    let steps = account.split("operatorType").skip(1);
    let name = |step: &str| {
        step.split('"').find(|part| part.starts_with(char::is_uppercase)).map(str::to_owned)
    };
    steps.filter_map(name).collect()
}
