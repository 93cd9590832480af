//! Why a run did not come to a report.

use std::sync::Arc;
use std::time::Duration;

use ultimate_mcp_sandbox::CellError;

use crate::fault::{Classify, Kind, Retry};
use crate::supervision::{AskError, SpawnError};

/// Why a run did not come to a report. A payload that failed is a report, not one of these.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// The actor cannot be started.
    #[error("the execution actor cannot be started")]
    Spawn(#[from] SpawnError),
    /// The actor did not take or finish the message.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The queue is full, or its wait would outlast the deadline; nothing was run.
    #[error("every place in the cell is taken and the wait would be about {} s", wait.as_secs())]
    Overloaded {
        /// How long the wait would be about.
        wait: Duration,
    },
    /// The deadline passed while the run waited for a place; nothing was run.
    #[error("the deadline passed while waiting for a place in the cell; nothing was run")]
    Expired,
    /// The deadline passed while it ran; its processes were killed.
    #[error("the deadline passed while the code ran; it was killed")]
    Outlasted,
    /// The launcher died with the run in hand.
    #[error("the launcher of the cell was lost with this run in hand; the run has ended")]
    LauncherLost,
    /// No launcher is up; the next is being started.
    #[error("the launcher of the cell is being started; nothing was run")]
    LauncherStarting,
    /// This host cannot isolate code as demanded.
    #[error("this host cannot isolate code, so none is run: {0}")]
    IsolationUnavailable(String),
    /// Anything else the cell says.
    #[error(transparent)]
    Cell(Arc<CellError>),
}

impl From<CellError> for ExecutionError {
    fn from(error: CellError) -> Self {
        match error {
            CellError::LauncherLost => Self::LauncherLost,
            CellError::IsolationUnavailable(why) => Self::IsolationUnavailable(why),
            CellError::Busy => Self::Overloaded { wait: Duration::from_secs(1) },
            other => Self::Cell(Arc::new(other)),
        }
    }
}

impl Classify for ExecutionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ask(error) => error.kind(),
            Self::Overloaded { .. } => Kind::Overloaded,
            Self::Expired | Self::Outlasted => Kind::DeadlineExceeded,
            Self::LauncherLost => Kind::Crashed,
            Self::LauncherStarting => Kind::Unavailable,
            Self::IsolationUnavailable(_) => Kind::IsolationUnavailable,
            Self::Cell(error) => match **error {
                CellError::InvalidSpec(_) => Kind::InvalidInput,
                // Nothing was run; another launcher is tried.
                CellError::Start(_) => Kind::Unavailable,
                _ => Kind::Internal,
            },
            Self::Spawn(_) => Kind::Internal,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Ask(error) => error.retry(),
            Self::Overloaded { wait } => Retry::After((*wait).max(Duration::from_secs(1))),
            // A run has no effects outside the cell, and the cell is gone: again is safe.
            Self::LauncherLost | Self::Expired => Retry::Safe,
            Self::LauncherStarting => Retry::After(Duration::from_secs(1)),
            Self::Outlasted | Self::IsolationUnavailable(_) | Self::Spawn(_) => Retry::Never,
            Self::Cell(error) => match **error {
                CellError::InvalidSpec(_) => Retry::Never,
                _ => Retry::Safe,
            },
        }
    }
}
