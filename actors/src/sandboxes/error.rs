//! Why a sandbox did not do what was asked. A step that ran and failed is a report, not an error.

use std::sync::Arc;
use std::time::Duration;

use ultimate_mcp_sandbox::CellError;
use ultimate_mcp_sandbox::client::WriteError;
use ultimate_mcp_sandbox::client::files::FileError;
use ultimate_mcp_sandbox::step::End;

use crate::execution::ExecutionError;
use crate::fault::{Classify, Kind, Retry};
use crate::supervision::{AskError, SpawnError};

/// What [`super::SandboxesHandle`] answers instead of a result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SandboxesError {
    /// No such sandbox, or somebody else's.
    #[error("no such sandbox; it never was, ended long ago, or is not yours")]
    NotFound,
    /// It was there and is no more.
    #[error("the sandbox has ended: {0}; create another with sandbox_create")]
    Ended(End),
    /// Another call is at work in it.
    #[error("another call is at work in this sandbox; one step at a time")]
    Busy,
    /// The caller has as many as one may have.
    #[error("you have {0} sandboxes open, the most one caller may have; close one")]
    TooManyOfCaller(usize),
    /// The caller's sandboxes together would exceed their memory.
    #[error(
        "your open sandboxes may use {0} MiB together; close one or ask for less limits.memory_mb"
    )]
    CallerMemory(u64),
    /// There are as many as there may be, in number or in memory.
    #[error("the server has as many sandboxes open as it may; try again later")]
    Full,
    /// Not a language that sandboxes speak, or one that this host lacks.
    #[error("{0}")]
    Unsupported(Arc<str>),
    /// The path, or what stands there.
    #[error("{0}")]
    File(FileError),
    /// The interpreter did not take the files.
    #[error("{0}")]
    NotWritten(Arc<str>),
    /// A place, the launcher, the deadline.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// The actor did not take or finish the message.
    #[error(transparent)]
    Actor(#[from] AskError),
    /// The actor could not be started.
    #[error("the sandboxes actor did not start: {0}")]
    Spawn(Arc<SpawnError>),
}

impl From<CellError> for SandboxesError {
    fn from(error: CellError) -> Self {
        Self::Execution(error.into())
    }
}

impl From<FileError> for SandboxesError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<WriteError> for SandboxesError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Ended(end) => Self::Ended(end),
            WriteError::File(error) => Self::File(error),
            WriteError::Refused(_) | WriteError::Changed(_) => {
                Self::NotWritten(error.to_string().into())
            }
        }
    }
}

impl Classify for SandboxesError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound | Self::File(FileError::Absent) => Kind::NotFound,
            Self::Ended(_) | Self::Busy | Self::NotWritten(_) => Kind::Conflict,
            Self::TooManyOfCaller(_) | Self::CallerMemory(_) => Kind::LimitExceeded,
            Self::Full => Kind::Overloaded,
            Self::Unsupported(_) | Self::File(_) => Kind::InvalidInput,
            Self::Execution(error) => error.kind(),
            Self::Actor(error) => error.kind(),
            Self::Spawn(error) => error.kind(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Busy => Retry::After(Duration::from_secs(1)),
            Self::Full | Self::TooManyOfCaller(_) | Self::CallerMemory(_) => {
                Retry::After(Duration::from_secs(10))
            }
            Self::NotFound
            | Self::Ended(_)
            | Self::Unsupported(_)
            | Self::File(_)
            | Self::NotWritten(_) => Retry::Never,
            Self::Execution(error) => error.retry(),
            Self::Actor(error) => error.retry(),
            Self::Spawn(error) => error.retry(),
        }
    }
}
