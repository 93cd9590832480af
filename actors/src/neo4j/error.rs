//! What can go wrong between us and Neo4j, and whose fault it is.
//!
//! Called by the client, the graph's store, the shipping of the audit. The server's own codes decide:
//! a client's mistake is never a failure of the server.

use std::io::ErrorKind;
use std::time::Duration;

use crate::fault::{Classify, Kind, Retry};
use crate::resilience::{Class, Failure};

/// Longest part of the server's own words that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// Everything that can go wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Neo4jError {
    /// The options are wrong.
    #[error("neo4j.{0}")]
    Config(String),
    /// It cannot be reached or does not let us in. Nothing was done.
    #[error("Neo4j is away: {reason}")]
    Away {
        /// Why, in words an operator can act on; no secrets.
        reason: String,
    },
    /// The connection broke before the answer.
    #[error("the connection to Neo4j broke{}", if *.committing { " during the commit" } else { "" })]
    Interrupted {
        /// Whether the commit was on its way: then it may have taken effect.
        committing: bool,
        /// For the log.
        detail: String,
    },
    /// The time was up.
    #[error("Neo4j did not answer within {limit_ms} ms")]
    TimedOut {
        /// The time it had, in milliseconds.
        limit_ms: u64,
        /// Whether the commit was on its way: then it may have taken effect.
        committing: bool,
        /// Whether the server answered others meanwhile: then this statement was too slow.
        alive: bool,
    },
    /// The server refused the statement: wrong text, a constraint, a missing parameter.
    #[error("Neo4j refused the statement ({code}): {message}")]
    Refused {
        /// `Neo.ClientError.…`.
        code: String,
        /// The server's words, shortened.
        message: String,
    },
    /// The statement used up one of the server's limits: time or memory.
    #[error("the statement used up a limit of Neo4j ({code}): {message}")]
    Exhausted {
        /// The server's code.
        code: String,
        /// The server's words, shortened.
        message: String,
    },
    /// A deadlock or another passing condition; everything was rolled back.
    #[error("a passing failure of Neo4j ({code}): {message}")]
    Transient {
        /// `Neo.TransientError.…`.
        code: String,
        /// The server's words, shortened.
        message: String,
    },
    /// A failure of the server itself; everything was rolled back.
    #[error("a failure of Neo4j ({code}): {message}")]
    Database {
        /// `Neo.DatabaseError.…`.
        code: String,
        /// The server's words, shortened.
        message: String,
    },
    /// Too many calls failed lately: the breaker is open. Nothing was done.
    #[error("calls to Neo4j failed lately; the next is tried in {} ms", .retry_after.as_millis())]
    Open {
        /// When the next call is let through.
        retry_after: Duration,
    },
    /// As many calls are in hand as are allowed. Nothing was done.
    #[error("as many calls to Neo4j are in hand as are allowed; try again shortly")]
    Busy,
    /// An answer that we cannot read.
    #[error("an answer of Neo4j cannot be read: {0}")]
    Answer(String),
}

/// Where in its life a call met an error of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Getting a connection, or opening a transaction.
    Opening,
    /// Statements run; nothing is committed.
    Running,
    /// The commit is on its way.
    Committing,
}

impl Neo4jError {
    /// An error of the driver in our words.
    pub(super) fn from_driver(error: neo4rs::Error, stage: Stage) -> Self {
        match error {
            neo4rs::Error::Neo4j(error) => Self::from_code(error.code(), error.message()),
            neo4rs::Error::AuthenticationError(message) => Self::Away { reason: log_in(&message) },
            neo4rs::Error::IOError { detail } if stage == Stage::Opening => {
                Self::Away { reason: io_reason(&detail) }
            }
            neo4rs::Error::ConnectionTimedOut if stage == Stage::Opening => {
                Self::Away { reason: "it does not answer".to_owned() }
            }
            neo4rs::Error::ProtocolMismatch(_) | neo4rs::Error::UnsupportedVersion(..) => {
                let reason = "what listens there does not speak Bolt 4.4; is it the HTTP port?";
                Self::Away { reason: reason.to_owned() }
            }
            neo4rs::Error::RoutingTableError((code, message)) => Self::Away {
                reason: format!("it gives no routing table ({code}): {}", shorten(&message)),
            },
            neo4rs::Error::ServerUnavailableError(message)
            | neo4rs::Error::RoutingTableRefreshFailed(message) => {
                Self::Away { reason: shorten(&message) }
            }
            neo4rs::Error::DeserializationError(error) => Self::Answer(error.to_string()),
            neo4rs::Error::UnknownType(_) | neo4rs::Error::ConversionError => {
                Self::Answer(shorten(&error.to_string()))
            }
            other if stage == Stage::Opening => Self::Away { reason: shorten(&other.to_string()) },
            other => Self::Interrupted {
                committing: stage == Stage::Committing,
                detail: shorten(&other.to_string()),
            },
        }
    }

    fn from_code(code: &str, message: &str) -> Self {
        let (code, message) = (code.to_owned(), shorten(message));
        let tail = code.rsplit('.').next().unwrap_or_default();
        if code.contains(".Security.") {
            return Self::Away { reason: log_in(&message) };
        }
        match tail {
            "DatabaseNotFound" | "DatabaseUnavailable" => {
                return Self::Away { reason: message };
            }
            "TransactionTimedOut"
            | "TransactionTimedOutClientConfiguration"
            | "MemoryPoolOutOfMemoryError"
            | "OutOfMemoryError"
            | "StackOverFlowError" => {
                return Self::Exhausted { code, message };
            }
            "Terminated"
            | "LockClientStopped"
            | "NotALeader"
            | "ForbiddenOnReadOnlyDatabase"
            | "Outdated" => return Self::Transient { code, message },
            _ => {}
        }
        match code.split('.').nth(1) {
            Some("ClientError") => Self::Refused { code, message },
            Some("TransientError") => Self::Transient { code, message },
            _ => Self::Database { code, message },
        }
    }

    /// The server's code, when it gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. }
            | Self::Exhausted { code, .. }
            | Self::Transient { code, .. }
            | Self::Database { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether transactions got into each other's way: rolled back, and worth another try at once.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Transient { code, .. }
            if code.ends_with("DeadlockDetected") || code.ends_with("LockClientStopped")
                || code.ends_with("Outdated"))
    }

    /// Whether a unique constraint refused the statement.
    pub fn is_not_unique(&self) -> bool {
        self.code().is_some_and(|code| code.ends_with(".Schema.ConstraintValidationFailed"))
    }

    /// Whether nothing was changed, for certain.
    pub fn is_without_effect(&self) -> bool {
        !matches!(
            self,
            Self::Interrupted { committing: true, .. } | Self::TimedOut { committing: true, .. }
        )
    }
}

impl Failure for Neo4jError {
    fn class(&self) -> Class {
        match self {
            Self::Away { .. } | Self::Transient { .. } | Self::Database { .. } => Class::Transient,
            Self::Interrupted { committing: false, .. } => Class::Transient,
            // The server answered others meanwhile: the statement was slow, not the server.
            Self::TimedOut { alive: true, committing: false, .. } => Class::Permanent,
            Self::Interrupted { .. } | Self::TimedOut { .. } => Class::Unknown,
            _ => Class::Permanent,
        }
    }
}

impl Classify for Neo4jError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused { .. } | Self::Exhausted { .. } => Kind::InvalidInput,
            Self::TimedOut { .. } => Kind::DeadlineExceeded,
            Self::Busy => Kind::Overloaded,
            Self::Away { .. }
            | Self::Interrupted { .. }
            | Self::Transient { .. }
            | Self::Open { .. } => Kind::Unavailable,
            Self::Config(_) | Self::Database { .. } | Self::Answer(_) => Kind::Internal,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Refused { .. } | Self::Exhausted { .. } | Self::Config(_) | Self::Answer(_) => {
                Retry::Never
            }
            Self::Transient { .. } => Retry::Safe,
            Self::Open { retry_after } => Retry::After(*retry_after),
            error if !error.is_without_effect() => Retry::Unsafe,
            _ => Retry::After(Duration::from_secs(1)),
        }
    }
}

fn log_in(message: &str) -> String {
    format!("it refuses user or password: {}", shorten(message))
}

fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens at its address".to_owned(),
        ErrorKind::InvalidData => format!("TLS: {error}"),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "it closed the connection".to_owned()
        }
        _ => shorten(&error.to_string()),
    }
}

/// The first line, without the text of the query that the server repeats below it.
fn shorten(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_code_decides_whose_fault_it_is() {
        for (code, kind, retry) in [
            ("Neo.ClientError.Statement.SyntaxError", Kind::InvalidInput, Retry::Never),
            ("Neo.ClientError.Schema.ConstraintValidationFailed", Kind::InvalidInput, Retry::Never),
            ("Neo.TransientError.Transaction.DeadlockDetected", Kind::Unavailable, Retry::Safe),
            ("Neo.ClientError.Transaction.TransactionTimedOut", Kind::InvalidInput, Retry::Never),
            (
                "Neo.TransientError.General.MemoryPoolOutOfMemoryError",
                Kind::InvalidInput,
                Retry::Never,
            ),
        ] {
            let error = Neo4jError::from_code(code, "x\ny");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code}");
        }
        let refused = Neo4jError::from_code("Neo.ClientError.Security.Unauthorized", "no");
        assert!(matches!(refused, Neo4jError::Away { .. }));
    }
}
