//! What can go wrong with sessions.

use std::sync::Arc;

use crate::fault::{Classify, Kind};
use crate::supervision::{AskError, SpawnError};

/// Why a session operation failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionsError {
    /// The shard did not take or answer the message.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A shard could not be started.
    #[error("a session shard could not be started")]
    Spawn(#[source] Arc<SpawnError>),
    /// The caller has as many sessions as one may have.
    #[error("you have {0} sessions, the most one caller may have; end one with DELETE")]
    TooManyOfOwner(usize),
    /// There are as many sessions as there may be.
    #[error("the server holds {0} sessions, the most it may; try again later")]
    TooMany(usize),
    /// What the client says about itself is too long.
    #[error("{field}: at most {bytes_max} bytes of JSON")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// What is allowed.
        bytes_max: usize,
    },
}

impl Classify for SessionsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ask(error) => error.kind(),
            Self::Spawn(_) => Kind::Unavailable,
            Self::TooManyOfOwner(_) | Self::TooMany(_) => Kind::LimitExceeded,
            Self::TooLong { .. } => Kind::InvalidInput,
        }
    }
}
