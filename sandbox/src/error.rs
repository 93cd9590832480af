//! Why a run could not be carried out. A payload that ran and failed is not an error: it is a report.

use std::io;

/// What [`crate::Link`] can answer instead of a report.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The launcher died or broke the protocol while the run was in hand; the run died with it.
    #[error("the sandbox launcher was lost; the run in hand ended with it")]
    LauncherLost,
    /// This host cannot isolate code as demanded; nothing was run.
    #[error("this host cannot isolate code: {0}")]
    IsolationUnavailable(String),
    /// The prepared sandbox ended before the code in it began; nothing was run, another one may do.
    #[error("the sandbox ended before the code in it began; try again")]
    SandboxLost,
    /// The run was described wrongly; nothing was run.
    #[error("invalid run: {0}")]
    InvalidSpec(String),
    /// Every slot of the launcher is taken; nothing was run.
    #[error("every sandbox slot is taken; try again shortly")]
    Busy,
    /// The launcher could not be started.
    #[error("cannot start the sandbox launcher: {0}")]
    Start(String),
    /// A system call of the client failed; the run was cancelled.
    #[error("the sandbox client failed")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for CellError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}
