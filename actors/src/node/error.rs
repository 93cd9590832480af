//! What can go wrong with a node's identity.

use std::io;
use std::path::PathBuf;

use super::id::InvalidNodeId;
use crate::fault::{Classify, Kind};

/// Why this node cannot say who it is.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// `node.id` is none.
    #[error("node.id: {0}")]
    Configured(#[from] InvalidNodeId),
    /// The file with the id cannot be read or written.
    #[error("cannot keep the node's id in {path}: {source}", path = .path.display())]
    IdFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold a node id: delete it, a new one is made at the next start", path = .0.display())]
    NotAnId(PathBuf),
    /// `node.secret_file` cannot be read.
    #[error("node.secret_file: cannot read {path}: {source}", path = .path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can read the secret.
    #[error(
        "node.secret_file: {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`",
        path = .path.display()
    )]
    SecretExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The secret is too short or too long.
    #[error(
        "node.secret_file: {path} holds {bytes} bytes, use {min} to {max}: \
         `openssl rand -base64 48 > {path}`",
        path = .path.display()
    )]
    SecretLength {
        /// The file.
        path: PathBuf,
        /// What it holds.
        bytes: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
}

impl Classify for NodeError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}
