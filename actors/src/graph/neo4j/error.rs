//! What goes wrong in Neo4j in the graph's words. Called by everything beside it.

use crate::graph::error::GraphError;
use crate::graph::model::{BASE_LABEL, KEY_PROPERTY};
use crate::neo4j::Neo4jError;

/// A failed query of a client.
pub(super) fn query_error(error: Neo4jError) -> GraphError {
    match error {
        Neo4jError::Refused { message, .. } => GraphError::Meaning { message: words(&message) },
        Neo4jError::TimedOut { limit_ms, alive: true, .. } => GraphError::QueryTimeout { limit_ms },
        other => common(other),
    }
}

/// A failed write of ours.
pub(super) fn write_error(error: Neo4jError) -> GraphError {
    if let Some((label, property)) = not_unique(&error) {
        return GraphError::NotUnique { label, property };
    }
    match error {
        Neo4jError::Interrupted { committing: true, .. } => {
            GraphError::WriteTimeout { started: true }
        }
        Neo4jError::TimedOut { committing, alive: true, .. } => {
            GraphError::WriteTimeout { started: committing }
        }
        Neo4jError::TimedOut { committing: true, .. } => GraphError::WriteTimeout { started: true },
        Neo4jError::Refused { code, message } => {
            GraphError::Engine { detail: format!("{code}: {message}") }
        }
        other => common(other),
    }
}

fn common(error: Neo4jError) -> GraphError {
    match error {
        Neo4jError::Exhausted { code, .. } if code.contains("TimedOut") => {
            GraphError::QueryTimeout { limit_ms: 0 }
        }
        Neo4jError::Exhausted { message, .. } => GraphError::Limit {
            what: "the memory of the query".to_owned(),
            limit: format!("the server's ({})", words(&message)),
            instead: "narrow the pattern, collect fewer rows or add LIMIT".to_owned(),
        },
        Neo4jError::Busy => GraphError::Overloaded { waiting: 0 },
        Neo4jError::Away { .. }
        | Neo4jError::Open { .. }
        | Neo4jError::Interrupted { .. }
        | Neo4jError::TimedOut { .. }
        | Neo4jError::Transient { .. } => GraphError::Unavailable(error.to_string()),
        other => GraphError::Engine { detail: other.to_string() },
    }
}

/// The server's words up to the place they name: that is one in the text we sent.
fn words(message: &str) -> String {
    let end = message.find(" (line ").unwrap_or(message.len());
    message[..end].trim().to_owned()
}

/// Label and property of the constraint that refused a value: the server quotes both in backticks.
pub(super) fn not_unique(error: &Neo4jError) -> Option<(String, String)> {
    let Neo4jError::Refused { message, .. } = error else { return None };
    if !error.is_not_unique() {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    Some((quoted.next()?.to_owned(), quoted.next()?.to_owned()))
}

/// Whether two writers created the same node at once: one of them finds it on the second try.
pub(super) fn is_race(error: &Neo4jError) -> bool {
    not_unique(error)
        .is_some_and(|(label, property)| label == BASE_LABEL && property == KEY_PROPERTY)
}
