//! What can go wrong with sessions.

use std::sync::Arc;

use crate::fault::{Classify, Kind};
use crate::redis::RedisError;
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
    /// Redis cannot be asked, and the session is not known here.
    #[error("the store of sessions cannot be reached; your session is not lost, try again")]
    Away(#[source] Arc<RedisError>),
    /// A session of another version of the program.
    #[error("the session cannot be read")]
    Unreadable(#[source] Arc<serde_json::Error>),
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
            Self::Spawn(_) | Self::Away(_) => Kind::Unavailable,
            Self::Unreadable(_) => Kind::Internal,
            Self::TooManyOfOwner(_) | Self::TooMany(_) => Kind::LimitExceeded,
            Self::TooLong { .. } => Kind::InvalidInput,
        }
    }
}

impl From<RedisError> for SessionsError {
    fn from(error: RedisError) -> Self {
        Self::Away(Arc::new(error))
    }
}

impl SessionsError {
    pub(super) fn read(error: serde_json::Error) -> Self {
        Self::Unreadable(Arc::new(error))
    }
}
