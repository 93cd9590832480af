//! Constraints and indexes of what is shipped, with versions. A list that only grows.

use std::borrow::Cow;

use crate::neo4j::migrations::Migration;

/// The part under which versions are noted.
pub(super) const PART: &str = "audit";

/// Every version so far.
pub(super) fn migrations() -> Vec<Migration> {
    let unique = |name: &str, label: &str, property: &str| -> Cow<'static, str> {
        format!(
            "CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE n.{property} IS UNIQUE"
        )
        .into()
    };
    let index = |name: &str, label: &str, properties: &str| -> Cow<'static, str> {
        format!("CREATE INDEX {name} IF NOT EXISTS FOR (n:{label}) ON ({properties})").into()
    };
    vec![Migration {
        version: 1,
        name: "events, persons, executions",
        statements: vec![
            unique("umcp_event", "UmcpEvent", "event_id"),
            unique("umcp_execution", "UmcpExecution", "call_id"),
            unique("umcp_user", "UmcpUser", "user_id"),
            unique("umcp_role", "UmcpRole", "name"),
            unique("umcp_session", "UmcpSession", "session_id"),
            unique("umcp_trace", "UmcpTrace", "trace_id"),
            unique("umcp_artifact", "UmcpArtifact", "id"),
            unique("umcp_data", "UmcpData", "key"),
            unique("umcp_cursor", "UmcpCursor", "trail_id"),
            index("umcp_event_time", "UmcpEvent", "n.ts"),
            index("umcp_event_user", "UmcpEvent", "n.user_id"),
            index("umcp_execution_time", "UmcpExecution", "n.ts"),
            // An index comes into use when it has caught up.
            "CALL db.awaitIndexes(60)".into(),
        ],
    }]
}
