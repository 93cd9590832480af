//! Why a backup was not made, or not restored. Called by every part of the backup; the command line maps
//! it to an exit code.

use std::path::{Path, PathBuf};

use crate::audit::AuditError;
use crate::fault::{Classify, Kind};
use crate::graph::GraphError;

/// Everything that can go wrong between an instance and its backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The place named for backups cannot be one.
    #[error("{given}: {problem}; name a folder or s3://BUCKET/PREFIX")]
    BadTarget {
        /// As given.
        given: String,
        /// What is wrong.
        problem: String,
    },
    /// The key is not one.
    #[error("{path}: not a backup key: {problem}", path = .path.display())]
    BadKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A local file.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A database.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The place of the backups failed or cannot be reached.
    #[error("the target failed to {action} {name}: {source}")]
    Target {
        /// What was tried.
        action: &'static str,
        /// Name of the object.
        name: String,
        /// Why not.
        source: object_store::Error,
    },
    /// There is no such backup.
    #[error("{0}")]
    NotFound(String),
    /// An object does not open: another key, or somebody changed it.
    #[error("{name} does not open: it was sealed with another key, changed, or cut short")]
    Sealed {
        /// Name of the object.
        name: String,
    },
    /// What was read back is not what was written.
    #[error("{name}: {problem}; this backup cannot be trusted, use another")]
    Damaged {
        /// Which part.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Something is already where the restored instance should go.
    #[error("{path} is not empty; restore into a new directory", path = .path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// A segment that is needed to continue the audit is missing.
    #[error("the audit cannot be continued beyond event {have}: no segment begins at {need}")]
    Gap {
        /// Last event there is.
        have: i64,
        /// First event that is missing.
        need: i64,
    },
    /// The audit.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl BackupError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn database(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Database { action, path, source }
    }

    pub(super) fn damaged(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged { name: name.into(), problem: problem.into() }
    }
}

impl Classify for BackupError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadTarget { .. } | Self::BadKey { .. } => Kind::InvalidInput,
            Self::NotFound(_) | Self::Gap { .. } => Kind::NotFound,
            Self::Occupied { .. } => Kind::Conflict,
            Self::Sealed { .. } | Self::Damaged { .. } => Kind::InvalidInput,
            Self::Target { .. } => Kind::Unavailable,
            Self::Io { .. } | Self::Database { .. } => Kind::Internal,
            Self::Audit(error) => error.kind(),
            Self::Graph(error) => error.kind(),
        }
    }
}
