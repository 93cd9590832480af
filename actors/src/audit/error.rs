//! What can go wrong in the audit, and whose fault it is.

use std::sync::Arc;

use super::event::EventType;
use super::query::LIMIT_MAX;
use crate::fault::{Classify, Kind};
use crate::supervision::{AskError, SpawnError};

/// Why an audit operation failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// The writer did not take or answer the event.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The event could not be made durable (disk full, I/O error); nothing of it was kept.
    #[error("the audit cannot be written; free disk space or mend the disk, then try again")]
    Write(#[source] Arc<rusqlite::Error>),
    /// The trail could not be read.
    #[error("the audit cannot be read just now")]
    Read(#[source] Arc<rusqlite::Error>),
    /// No reader became free, or the query took too long.
    #[error("the query took too long; narrow it by time, user, tool or type")]
    TooSlow,
    /// Too many queries are waiting.
    #[error("too many audit queries are waiting")]
    ReadersBusy,
    /// The cursor is none of ours or belongs to another query.
    #[error("cursor: not one that this query returned; repeat the query without it")]
    BadCursor,
    /// `limit` is out of range.
    #[error("limit: must be 1 to {LIMIT_MAX}, not {0}")]
    BadLimit(usize),
    /// `start` is not before `end`.
    #[error("start: must be before end")]
    BadRange,
    /// There is no such event type.
    #[error("type: there is no event type {given:?}; known are {}", known_types())]
    UnknownType {
        /// What was given, cut to 64 bytes.
        given: String,
    },
    /// The file was written with another key.
    #[error("the audit file belongs to another key; restore the key file or move the audit aside")]
    WrongKey,
    /// The end of the chain is not as it was left.
    #[error(
        "the audit was tampered with ({0}); run `ultimate-mcp audit verify`, then move it aside"
    )]
    Tampered(&'static str),
    /// Another process writes here.
    #[error("another server uses this audit file; stop it or choose another data directory")]
    Locked,
    /// The file cannot be opened.
    #[error("the audit file cannot be opened")]
    Open(#[source] Arc<std::io::Error>),
    /// The writer could not be started.
    #[error("the audit actor could not be started")]
    Spawn(#[source] Arc<SpawnError>),
    /// A reader's thread died.
    #[error("an audit reader crashed")]
    ReaderCrashed,
}

fn known_types() -> String {
    let names: Vec<_> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    names.join(", ")
}

impl Classify for AuditError {
    fn kind(&self) -> Kind {
        match self {
            AuditError::Ask(error) => error.kind(),
            AuditError::Write(_)
            | AuditError::Read(_)
            | AuditError::WrongKey
            | AuditError::Tampered(_)
            | AuditError::Locked
            | AuditError::Open(_)
            | AuditError::Spawn(_) => Kind::Unavailable,
            AuditError::TooSlow => Kind::DeadlineExceeded,
            AuditError::ReadersBusy => Kind::Overloaded,
            AuditError::BadCursor
            | AuditError::BadLimit(_)
            | AuditError::BadRange
            | AuditError::UnknownType { .. } => Kind::InvalidInput,
            AuditError::ReaderCrashed => Kind::Crashed,
        }
    }
}

impl AuditError {
    pub(crate) fn write(error: rusqlite::Error) -> Self {
        AuditError::Write(Arc::new(error))
    }

    pub(crate) fn read(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => AuditError::TooSlow,
            _ => AuditError::Read(Arc::new(error)),
        }
    }
}
