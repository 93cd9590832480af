//! What can go wrong when roles and revocations are changed.

use std::sync::Arc;

use crate::fault::{Classify, Kind};
use crate::supervision::{AskError, SpawnError};

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// The actor did not take or answer the message.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The actor could not be started.
    #[error("the authorization actor could not be started")]
    Spawn(#[source] Arc<SpawnError>),
    /// There is no such role.
    #[error("role: there is no role {given:?}; known are {}", known.join(", "))]
    UnknownRole {
        /// What was given, cut to 64 bytes.
        given: String,
        /// The roles of the policy.
        known: Vec<String>,
    },
    /// The user has as many roles as one may have.
    #[error("the user already has {0} roles, remove one first")]
    TooManyRoles(usize),
    /// The store knows as many users as it may.
    #[error("the store knows {0} users, the configured most (authorization.users_max)")]
    TooManyUsers(usize),
    /// Too many tokens are revoked one by one.
    #[error("{0} tokens are revoked one by one, the configured most; revoke the user instead")]
    TooManyTokens(usize),
    /// There are as many bans as there may be.
    #[error(
        "{0} bans hold, the configured most (authorization.bans_max); lift some, or ban a network"
    )]
    TooManyBans(usize),
    /// The reason of a ban is too long or unprintable.
    #[error("reason: must be at most {0} bytes of printable text")]
    BadReason(usize),
    /// A ban that would have ended already.
    #[error("expires_at: must lie ahead")]
    BanInThePast,
    /// The token id is empty or oversized.
    #[error("jti: must be 1 to {0} bytes of printable text")]
    BadTokenId(usize),
    /// Nobody could undo the removal.
    #[error(
        "this is the last administrator, and by the policy only stored roles count; \
             give another user the role first"
    )]
    LastAdministrator,
    /// The change could not be made durable; nothing was changed.
    #[error("roles and revocations cannot be written; free disk space or mend the disk")]
    Write(#[source] Arc<rusqlite::Error>),
    /// The store cannot be opened or read.
    #[error("the store of roles and revocations cannot be opened")]
    Open(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Classify for AuthorizationError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ask(error) => error.kind(),
            Self::UnknownRole { .. }
            | Self::BadTokenId(_)
            | Self::BadReason(_)
            | Self::BanInThePast => Kind::InvalidInput,
            Self::TooManyRoles(_) | Self::LastAdministrator => Kind::Conflict,
            Self::TooManyUsers(_) | Self::TooManyTokens(_) | Self::TooManyBans(_) => {
                Kind::LimitExceeded
            }
            Self::Write(_) | Self::Open(_) | Self::Spawn(_) => Kind::Unavailable,
        }
    }
}

impl AuthorizationError {
    pub(crate) fn write(error: rusqlite::Error) -> Self {
        Self::Write(Arc::new(error))
    }

    pub(crate) fn open(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Open(Arc::new(error))
    }
}
