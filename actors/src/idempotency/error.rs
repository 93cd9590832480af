//! What can go wrong with idempotency keys.

use std::sync::Arc;

use super::KEY_BYTES_MAX;
use crate::fault::{Classify, Kind};
use crate::redis::RedisError;
use crate::supervision::{AskError, SpawnError};

/// Why a key could not be used. Nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The key is empty, oversized or not text.
    #[error("an idempotency key has 1 to {KEY_BYTES_MAX} visible ASCII characters, such as a UUID")]
    BadKey,
    /// The caller has as many keys as one may have.
    #[error("{0} of your idempotency keys are remembered, the most at once; call without one")]
    TooManyOfCaller(usize),
    /// The node remembers as many keys as it may.
    #[error("{0} idempotency keys are remembered, the most at once; try later or call without one")]
    TooMany(usize),
    /// The actor did not take or answer the message.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The actor could not be started.
    #[error("the actor of idempotency keys could not be started")]
    Spawn(#[source] Arc<SpawnError>),
    /// The store cannot be opened, read or written.
    #[error(
        "idempotency keys cannot be stored; free disk space or mend the disk, or call without one"
    )]
    Store(#[from] Arc<rusqlite::Error>),
    /// The store cannot be made.
    #[error("the store of idempotency keys cannot be made")]
    File(#[source] Arc<std::io::Error>),
    /// The Redis shared by the nodes cannot be asked.
    #[error("idempotency keys cannot be stored now; try again or call without one")]
    Redis(#[from] RedisError),
}

impl Classify for IdempotencyError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadKey => Kind::InvalidInput,
            Self::TooManyOfCaller(_) => Kind::LimitExceeded,
            Self::TooMany(_) => Kind::Overloaded,
            Self::Ask(error) => match error.kind() {
                // What was not asked for in time was not begun by us: nothing ran.
                Kind::DeadlineExceeded | Kind::Crashed => Kind::Unavailable,
                kind => kind,
            },
            Self::Spawn(_) | Self::Store(_) | Self::File(_) | Self::Redis(_) => Kind::Unavailable,
        }
    }
}
