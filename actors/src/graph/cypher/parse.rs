//! The proof that a query only reads, and the engine's complaints in our words.
//!
//! The embedded engine's parser gives a syntax tree, and the same function that later chooses
//! between a read and a write transaction decides here whether the tree only reads. So a query that
//! passes runs on a snapshot that has no way to write, whatever its text looked like.

use marsdb_query::{QueryError, Statement};

use crate::graph::error::{GraphError, Position};

/// Longest part of an engine's message that clients see, in characters.
const MESSAGE_CHARS_MAX: usize = 240;

/// Parses one statement and proves that it only reads. Needs a big stack.
///
/// # Errors
/// [`GraphError::Syntax`], [`GraphError::Unsupported`] or [`GraphError::NotReadOnly`].
pub(super) fn reading_statement(text: &str) -> Result<Statement, GraphError> {
    let statement = marsdb_query::parse(text).map_err(explain)?;
    if marsdb_query::is_read_only(&statement) {
        return Ok(statement);
    }
    Err(GraphError::NotReadOnly {
        clause: "this statement".to_owned(),
        at: Position { line: 1, column: 1 },
        instead: "it must consist of MATCH, UNWIND, WITH and RETURN; \
                  write with graph_upsert and graph_delete"
            .to_owned(),
    })
}

/// Puts an engine's error into ours.
pub(crate) fn explain(error: QueryError) -> GraphError {
    match error {
        QueryError::Syntax(message) => syntax(&message),
        QueryError::Semantic(message) => meaning(&message),
        QueryError::Type(message) => GraphError::Meaning { message: shorten(&message) },
        QueryError::UnboundVariable(name) => {
            GraphError::Meaning { message: format!("the variable {name} is not defined here") }
        }
        QueryError::MissingParam(name) => GraphError::MissingParameter { name },
        QueryError::Cancelled => GraphError::Cancelled,
        QueryError::Timeout => GraphError::QueryTimeout { limit_ms: 0 },
        QueryError::ResourceLimit(message) => resource(&message),
        QueryError::Graph(error) => GraphError::Engine { detail: error.to_string() },
    }
}

/// `syntax error: line 1:9 no viable alternative at input 'MATCH (n RETURN'`; columns count from 0.
fn syntax(message: &str) -> GraphError {
    let message = message.trim_start_matches("syntax error: ");
    if message.starts_with("quantified path patterns") {
        return GraphError::Unsupported {
            construct: "a quantified path pattern".to_owned(),
            instead: "use a variable length such as -[:TYPE*1..3]->".to_owned(),
            at: None,
        };
    }
    let place = message.strip_prefix("line ").and_then(|rest| rest.split_once(' '));
    let parsed = place.and_then(|(place, words)| {
        let (line, column) = place.split_once(':')?;
        let at = Position { line: line.parse().ok()?, column: column.parse::<usize>().ok()? + 1 };
        Some((at, words))
    });
    match parsed {
        // The set of tokens that would have fitted fills a screen and helps nobody.
        Some((at, words)) => {
            let words = words.split(" expecting {").next().unwrap_or(words);
            GraphError::Syntax { message: shorten(words), at }
        }
        None => GraphError::Meaning { message: shorten(message) },
    }
}

fn meaning(message: &str) -> GraphError {
    if let Some(name) = message.strip_prefix("unknown function ") {
        return GraphError::Unsupported {
            construct: format!("the function {}", name.trim_matches('\'')),
            instead: "use one of the functions in the tool's description".to_owned(),
            at: None,
        };
    }
    if message.contains("pattern predicate") && message.contains("only be used inside WHERE") {
        return GraphError::Unsupported {
            construct: "a pattern predicate outside WHERE".to_owned(),
            instead: "write size([(a)-->(b) | 1]) > 0".to_owned(),
            at: None,
        };
    }
    GraphError::Meaning { message: shorten(message) }
}

/// `intermediate row count 100001 exceeds configured maximum 100000`.
fn resource(message: &str) -> GraphError {
    match message.split_once(" exceeds configured maximum ") {
        Some((what, limit)) => GraphError::limit(
            format!("the query's {}", what.trim_end_matches(|c: char| c.is_ascii_digit()).trim()),
            limit,
            "narrow the pattern, filter earlier or add LIMIT",
        ),
        None => GraphError::Limit {
            what: shorten(message),
            limit: "the engine".to_owned(),
            instead: "give the pattern an upper bound such as *1..5".to_owned(),
        },
    }
}

fn shorten(message: &str) -> String {
    let mut short: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    if short.len() < message.len() {
        short.push('…');
    }
    short
}
