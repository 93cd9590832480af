//! Why the graph refused or failed. Called by every part of the graph; the face maps it to the wire.
//!
//! The client's mistakes name the place, the limit and the way out; the engine's own mistakes keep
//! their detail for the log.

use std::fmt;

use crate::fault::{Classify, Kind, Retry};
use crate::supervision::{AskError, SpawnError};

/// How many offenders an error message lists before it only counts.
const LISTED_MAX: usize = 20;

/// A place in a Cypher text, counted as an editor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The place of byte `at` in `text`.
    pub fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Everything that can go wrong between a request and the graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The text is not Cypher.
    #[error("syntax error at {at}: {message}")]
    Syntax {
        /// What the parser met.
        message: String,
        /// Where.
        at: Position,
    },
    /// The text is Cypher, but uses a construct outside the common subset.
    #[error("{construct} is not supported{}; {instead}", place(.at))]
    Unsupported {
        /// The construct, as the client wrote or knows it.
        construct: String,
        /// What to write instead.
        instead: String,
        /// Where, when known.
        at: Option<Position>,
    },
    /// A clause that writes, or reaches outside the graph, in a reading query.
    #[error("{clause} at {at} is refused: graph_query only reads; {instead}")]
    NotReadOnly {
        /// The clause in capitals.
        clause: String,
        /// Where.
        at: Position,
        /// Which tool does it, or how to quote a name.
        instead: String,
    },
    /// The query parses but cannot mean anything, or met a value of the wrong type.
    #[error("{message}")]
    Meaning {
        /// The engine's own words.
        message: String,
    },
    /// A query used up one of its limits.
    #[error("{what} exceeds the limit of {limit}; {instead}")]
    Limit {
        /// Which quantity.
        what: String,
        /// The limit with its unit.
        limit: String,
        /// How to stay below it.
        instead: String,
    },
    /// `$name` stands in the text and not in the parameters.
    #[error("parameter ${name} has no value; pass it in `parameters`")]
    MissingParameter {
        /// Without the dollar sign.
        name: String,
    },
    /// One field of a request is wrong.
    #[error("{path}: {problem}")]
    Invalid {
        /// Path of the field, e.g. `nodes[3].labels[0]`.
        path: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// Relationships name nodes that exist neither in the graph nor in the same request.
    #[error("nothing was written: no node with key {}; upsert the nodes first or in the same call", listed(.keys))]
    MissingEndpoints {
        /// The keys, each once, in order of appearance.
        keys: Vec<String>,
    },
    /// Nodes to delete still have relationships.
    #[error("nothing was deleted: still connected: {}; set `detach` to delete their relationships too", listed(.keys))]
    StillConnected {
        /// The keys.
        keys: Vec<String>,
    },
    /// A unique index already holds this value.
    #[error(
        "another node with label {label} already has this value of {property}, which is unique"
    )]
    NotUnique {
        /// Label of the index.
        label: String,
        /// Property of the index.
        property: String,
    },
    /// The present state of the graph forbids the request.
    #[error("{0}")]
    Conflict(String),
    /// A line of an import is wrong; nothing was imported.
    #[error("nothing was imported: line {line}: {problem}")]
    Import {
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The time was up before the query ended. A query changes nothing.
    #[error("the query ran longer than {limit_ms} ms; narrow the pattern, add LIMIT or a label")]
    QueryTimeout {
        /// The time it had, in milliseconds.
        limit_ms: u64,
    },
    /// The time was up while a write waited or ran.
    #[error("the write did not finish in time{}", if *.started { "; it may still be carried out: send it again, an upsert repeats safely" } else { " and was not begun" })]
    WriteTimeout {
        /// Whether it had begun.
        started: bool,
    },
    /// The caller went away.
    #[error("the caller went away; the query was stopped")]
    Cancelled,
    /// The queue in front of the engine's threads is full.
    #[error("the graph has {waiting} requests waiting; try again shortly")]
    Overloaded {
        /// Length of the queue.
        waiting: usize,
    },
    /// The graph cannot be opened or is closing.
    #[error("the graph is unavailable: {0}")]
    Unavailable(String),
    /// The engine panicked on this request.
    #[error("the graph engine crashed on this request; {}", if *.wrote { "whether it was carried out is unknown" } else { "nothing was changed" })]
    Crashed {
        /// Whether the request was a write.
        wrote: bool,
        /// The panic's message, for the log only.
        detail: String,
    },
    /// The actor did not take or answer the request.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The actor could not be started.
    #[error("the graph could not be started")]
    Spawn(#[source] SpawnError),
    /// The engine failed: storage, input and output, or damaged data.
    #[error("graph engine failure: {detail}")]
    Engine {
        /// For the log only.
        detail: String,
    },
}

fn place(at: &Option<Position>) -> String {
    at.map(|at| format!(" (at {at})")).unwrap_or_default()
}

fn listed(keys: &[String]) -> String {
    let shown: Vec<String> = keys.iter().take(LISTED_MAX).map(|key| format!("{key:?}")).collect();
    let more = keys.len().saturating_sub(LISTED_MAX);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", shown.join(", "))
}

impl GraphError {
    /// A wrong field: `path` says which, `problem` what is allowed.
    pub(crate) fn invalid(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), problem: problem.into() }
    }

    /// A used-up limit.
    pub(crate) fn limit(
        what: impl Into<String>,
        limit: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self::Limit { what: what.into(), limit: limit.into(), instead: instead.into() }
    }
}

impl Classify for GraphError {
    fn kind(&self) -> Kind {
        match self {
            Self::Syntax { .. }
            | Self::Unsupported { .. }
            | Self::NotReadOnly { .. }
            | Self::Meaning { .. }
            | Self::Limit { .. }
            | Self::MissingParameter { .. }
            | Self::Invalid { .. }
            | Self::Import { .. } => Kind::InvalidInput,
            Self::MissingEndpoints { .. } => Kind::NotFound,
            Self::StillConnected { .. } | Self::NotUnique { .. } | Self::Conflict(_) => {
                Kind::Conflict
            }
            Self::QueryTimeout { .. } | Self::WriteTimeout { .. } | Self::Cancelled => {
                Kind::DeadlineExceeded
            }
            Self::Overloaded { .. } => Kind::Overloaded,
            Self::Unavailable(_) => Kind::Unavailable,
            Self::Crashed { .. } => Kind::Crashed,
            Self::Engine { .. } => Kind::Internal,
            Self::Ask(error) => error.kind(),
            Self::Spawn(error) => error.kind(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            // A reading query has no effects; the same one most likely runs out of time again.
            Self::QueryTimeout { .. } | Self::Cancelled | Self::Crashed { wrote: false, .. } => {
                Retry::Never
            }
            Self::WriteTimeout { started: false } => Retry::Safe,
            Self::WriteTimeout { started: true } | Self::Crashed { wrote: true, .. } => {
                Retry::Unsafe
            }
            Self::Ask(error) => error.retry(),
            other => default_retry(other.kind()),
        }
    }
}

/// The classification's own rule, for the kinds this module does not refine.
fn default_retry(kind: Kind) -> Retry {
    match kind {
        Kind::Overloaded | Kind::Unavailable | Kind::LimitExceeded => {
            Retry::After(std::time::Duration::from_secs(1))
        }
        Kind::DeadlineExceeded | Kind::Crashed | Kind::Internal => Retry::Unsafe,
        _ => Retry::Never,
    }
}
