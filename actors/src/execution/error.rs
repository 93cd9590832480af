//! Why a run has no report. A program that ran and failed is a report, not an error.

use std::sync::Arc;
use std::time::Duration;

use ultimate_mcp_sandbox::CellError;

use crate::fault::{Classify, Kind, Retry};
use crate::supervision::{AskError, SpawnError};

/// What [`super::ExecutionHandle`] answers instead of a report.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecutionError {
    /// All places and the whole queue are taken. Nothing was run.
    #[error("the execution queue is full; try again in {retry_after:?}")]
    QueueFull {
        /// When a place may be free.
        retry_after: Duration,
    },
    /// The caller has as many runs waiting as it may. Nothing was run.
    #[error("you already have {waiting} runs waiting, the most one caller may have")]
    CallerQueueFull {
        /// Runs of the caller that wait.
        waiting: usize,
    },
    /// By what runs take at present, the turn would come after the deadline. Nothing was run.
    #[error("the run would not begin before its deadline; try again in {retry_after:?}")]
    TooLate {
        /// When it may begin in time.
        retry_after: Duration,
    },
    /// The deadline passed while the run waited for a place. Nothing was run.
    #[error("the deadline passed before the run could begin")]
    NotBegun,
    /// The deadline passed while it ran; its processes were killed.
    #[error("the deadline passed while the code ran; it was killed")]
    DeadlinePassed,
    /// The launcher died with the run in hand; the run died with it.
    #[error("the sandbox launcher died with this run in hand; the run ended with it")]
    LauncherLost,
    /// The launcher is being started again. Nothing was run.
    #[error("the sandbox launcher is not running yet ({0}); try again shortly")]
    LauncherDown(Arc<str>),
    /// The prepared sandbox ended before the code in it began. Nothing was run.
    #[error("the sandbox ended before the code in it began; try again")]
    SandboxLost,
    /// This host cannot isolate code as demanded. Nothing was run.
    #[error("this host cannot isolate code: {0}")]
    IsolationUnavailable(Arc<str>),
    /// The run was described wrongly. Nothing was run.
    #[error("invalid run: {0}")]
    InvalidSpec(Arc<str>),
    /// A system call of ours failed; the run was cancelled.
    #[error("the run could not be carried out: {0}")]
    Internal(Arc<str>),
    /// The actor did not take or finish the message.
    #[error(transparent)]
    Actor(#[from] AskError),
    /// The actor could not be started.
    #[error("the execution actor did not start: {0}")]
    Spawn(Arc<SpawnError>),
}

impl From<CellError> for ExecutionError {
    fn from(error: CellError) -> Self {
        match error {
            CellError::LauncherLost => Self::LauncherLost,
            CellError::SandboxLost => Self::SandboxLost,
            CellError::IsolationUnavailable(why) => Self::IsolationUnavailable(why.into()),
            CellError::InvalidSpec(why) => Self::InvalidSpec(why.into()),
            CellError::Busy => Self::QueueFull { retry_after: Duration::from_secs(1) },
            CellError::Start(why) => Self::LauncherDown(why.into()),
            CellError::Io(error) => Self::Internal(error.to_string().into()),
        }
    }
}

impl Classify for ExecutionError {
    fn kind(&self) -> Kind {
        match self {
            Self::QueueFull { .. } | Self::TooLate { .. } => Kind::Overloaded,
            Self::CallerQueueFull { .. } => Kind::LimitExceeded,
            Self::NotBegun | Self::DeadlinePassed => Kind::DeadlineExceeded,
            Self::LauncherLost => Kind::Crashed,
            Self::LauncherDown(_) | Self::SandboxLost => Kind::Unavailable,
            Self::IsolationUnavailable(_) => Kind::IsolationUnavailable,
            Self::InvalidSpec(_) => Kind::InvalidInput,
            Self::Internal(_) => Kind::Internal,
            Self::Actor(error) => error.kind(),
            Self::Spawn(error) => error.kind(),
        }
    }

    /// A run leaves nothing behind outside of its sandbox: even one that was lost may be repeated.
    fn retry(&self) -> Retry {
        match self {
            Self::QueueFull { retry_after } | Self::TooLate { retry_after } => {
                Retry::After(*retry_after)
            }
            Self::CallerQueueFull { .. } | Self::LauncherDown(_) => {
                Retry::After(Duration::from_secs(1))
            }
            Self::NotBegun | Self::LauncherLost | Self::SandboxLost => Retry::Safe,
            Self::DeadlinePassed | Self::IsolationUnavailable(_) | Self::InvalidSpec(_) => {
                Retry::Never
            }
            Self::Internal(_) => Retry::Safe,
            Self::Actor(error) => error.retry(),
            Self::Spawn(error) => error.retry(),
        }
    }
}
