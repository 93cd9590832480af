//! What can go wrong with Redis, and whose fault it is.

use std::time::Duration;

use deadpool_redis::redis::{self, ErrorKind, ServerErrorKind};

use crate::fault::{Classify, Kind, Retry};
use crate::resilience::{CallError, Class, Failure};

/// Why Redis did not answer as wanted.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The client cannot be made from these options.
    #[error("redis cannot be used: {0}")]
    Options(String),
    /// No connection, or it broke before the command was sent: nothing was done.
    #[error("redis is away")]
    Away(#[source] redis::RedisError),
    /// It is up but cannot serve now (loading, failing over, out of memory): nothing was done.
    #[error("redis cannot serve now")]
    Busy(#[source] redis::RedisError),
    /// It does not let us in.
    #[error("redis refuses the credentials")]
    Credentials(#[source] redis::RedisError),
    /// The connection broke, or no answer came in time, after the command was sent.
    #[error("redis did not answer; whether the command took effect is unknown")]
    Unknown(#[source] redis::RedisError),
    /// It did not answer by the caller's deadline.
    #[error("redis did not answer by the deadline")]
    Deadline,
    /// It was not asked: it failed too often of late, or too many ask already.
    #[error("redis is not asked for now")]
    NotAsked {
        /// When it is asked again.
        retry_after: Duration,
    },
    /// It refuses this very command.
    #[error("redis refused a command")]
    Command(#[source] redis::RedisError),
    /// Its answer is not of the expected kind.
    #[error("redis gave an unexpected answer")]
    Reply(#[source] redis::RedisError),
}

impl RedisError {
    /// Of a failed attempt to connect: nothing was sent.
    pub(super) fn connecting(error: redis::RedisError) -> Self {
        match error.code() {
            Some("WRONGPASS" | "NOAUTH" | "NOPERM") => Self::Credentials(error),
            _ if error.kind() == ErrorKind::AuthenticationFailed => Self::Credentials(error),
            _ => Self::Away(error),
        }
    }

    /// Of a command that was handed to a connection.
    pub(super) fn command(error: redis::RedisError) -> Self {
        use ServerErrorKind as S;
        match error.kind() {
            ErrorKind::Server(
                S::BusyLoading
                | S::TryAgain
                | S::ClusterDown
                | S::MasterDown
                | S::ReadOnly
                | S::Moved
                | S::Ask,
            )
            | ErrorKind::ClusterConnectionNotFound => Self::Busy(error),
            // Of a transaction nothing was done; in a cluster its slot has moved, most likely.
            ErrorKind::Server(S::ExecAbort) => Self::Busy(error),
            ErrorKind::Server(S::NoPerm) => Self::Credentials(error),
            ErrorKind::Server(_) => Self::Command(error),
            ErrorKind::AuthenticationFailed => Self::Credentials(error),
            ErrorKind::Extension => match error.code() {
                Some("WRONGPASS" | "NOAUTH" | "NOPERM") => Self::Credentials(error),
                Some("OOM" | "MISCONF" | "BUSY" | "NOREPLICAS") => Self::Busy(error),
                _ => Self::Command(error),
            },
            ErrorKind::UnexpectedReturnType => Self::Reply(error),
            ErrorKind::Client | ErrorKind::InvalidClientConfig => Self::Command(error),
            ErrorKind::Io if error.is_connection_refusal() => Self::Away(error),
            _ => Self::Unknown(error),
        }
    }

    /// Whether the connection it came from is of no more use: broken, silent, or to the wrong server.
    pub(super) fn spoils_connection(&self) -> bool {
        match self {
            Self::Away(_) | Self::Credentials(_) | Self::Unknown(_) => true,
            Self::Busy(error) => matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::ExecAbort)
            ),
            _ => false,
        }
    }

    /// Whether Redis did not serve, rather than this command being wrong.
    pub fn is_outage(&self) -> bool {
        !matches!(self, Self::Options(_) | Self::Command(_) | Self::Reply(_))
    }
}

impl Failure for RedisError {
    fn class(&self) -> Class {
        match self {
            Self::Away(_) | Self::Busy(_) | Self::Credentials(_) | Self::NotAsked { .. } => {
                Class::Transient
            }
            Self::Unknown(_) | Self::Deadline => Class::Unknown,
            Self::Options(_) | Self::Command(_) | Self::Reply(_) => Class::Permanent,
        }
    }
}

impl From<CallError<RedisError>> for RedisError {
    fn from(error: CallError<RedisError>) -> Self {
        match error {
            CallError::Open { retry_after, .. } => Self::NotAsked { retry_after },
            CallError::Full { .. } => Self::NotAsked { retry_after: Duration::from_secs(1) },
            CallError::Deadline { .. } => Self::Deadline,
            CallError::Failed(error) => error,
        }
    }
}

impl Classify for RedisError {
    fn kind(&self) -> Kind {
        match self {
            Self::Options(_) | Self::Command(_) | Self::Reply(_) => Kind::Internal,
            Self::Deadline => Kind::DeadlineExceeded,
            _ => Kind::Unavailable,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NotAsked { retry_after } => Retry::After(*retry_after),
            Self::Away(_) | Self::Busy(_) | Self::Credentials(_) => {
                Retry::After(Duration::from_secs(1))
            }
            Self::Unknown(_) | Self::Deadline => Retry::Unsafe,
            Self::Options(_) | Self::Command(_) | Self::Reply(_) => Retry::Never,
        }
    }

    fn public(&self) -> String {
        match self.kind() {
            Kind::Internal => "the engine made a mistake; the log has the details".to_owned(),
            _ => "the store shared by the nodes is unavailable".to_owned(),
        }
    }
}
