//! What can go wrong with the queue. What a job itself ran into is kept with the job.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::{Classify, Kind, Retry};
use crate::supervision::SpawnError;

/// Why an operation on the queue failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JobsError {
    /// The caller has as many jobs waiting or running as one may have.
    #[error(
        "you have {0} jobs waiting or running, the most one caller may have; wait for one to end or cancel one"
    )]
    CallerFull(usize),
    /// The queue holds as many jobs as it may.
    #[error("the queue holds {0} jobs, the most it may; try again later")]
    Full(usize),
    /// The caller has as many schedules as one may have.
    #[error("you have {0} schedules, the most one caller may have; delete one")]
    CallerSchedulesFull(usize),
    /// There are as many schedules as there may be.
    #[error("there are {0} schedules, the most there may be")]
    SchedulesFull(usize),
    /// The idempotency key was used for another request.
    #[error("this Idempotency-Key was used for another request; use a new key")]
    KeyConflict,
    /// Not a cron expression.
    #[error(
        "cron: {0}; use five fields (minute hour day month weekday) in UTC, e.g. \"*/5 * * * *\""
    )]
    Cron(String),
    /// Arguments are too large.
    #[error("arguments: {bytes} bytes of JSON are more than jobs.payload_bytes_max = {max}")]
    TooLarge {
        /// How large.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// What is stored was sealed with a key this node does not have.
    #[error(
        "the job was sealed with a key this node does not have; see jobs.previous_secret_files"
    )]
    UnknownKey,
    /// What is stored is not what was stored.
    #[error("the stored job cannot be read")]
    Corrupt(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The queue's store does not answer; nothing was done.
    #[error("the job queue is not available; try again shortly")]
    Away {
        /// When it may be back.
        retry_after: Duration,
    },
    /// The queue's store did not answer in time; whether it did as asked is unknown.
    #[error("the job queue did not answer in time")]
    Unanswered,
    /// Redis asked for and not configured.
    #[error("jobs.engine = \"redis\" needs redis.urls")]
    NoRedis,
    /// The file.
    #[error("the job store cannot be written or read; try again shortly")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// The actor or the thread could not be started.
    #[error("the job queue did not start: {0}")]
    Start(Arc<str>),
}

impl JobsError {
    pub(crate) fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Corrupt(Arc::new(error))
    }
}

impl From<rusqlite::Error> for JobsError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<SpawnError> for JobsError {
    fn from(error: SpawnError) -> Self {
        Self::Start(error.to_string().into())
    }
}

impl Classify for JobsError {
    fn kind(&self) -> Kind {
        match self {
            Self::CallerFull(_) | Self::CallerSchedulesFull(_) => Kind::LimitExceeded,
            Self::Full(_) | Self::SchedulesFull(_) => Kind::Overloaded,
            Self::KeyConflict => Kind::Conflict,
            Self::Cron(_) | Self::TooLarge { .. } => Kind::InvalidInput,
            // A transaction that failed did nothing.
            Self::Away { .. } | Self::NoRedis | Self::Start(_) | Self::Sqlite(_) => {
                Kind::Unavailable
            }
            Self::Unanswered => Kind::DeadlineExceeded,
            Self::UnknownKey | Self::Corrupt(_) => Kind::Internal,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Away { retry_after } => Retry::After(*retry_after),
            Self::CallerFull(_) | Self::Full(_) => Retry::After(Duration::from_secs(5)),
            Self::CallerSchedulesFull(_) | Self::SchedulesFull(_) => Retry::Never,
            Self::Unanswered => Retry::Unsafe,
            _ => match self.kind() {
                Kind::Internal => Retry::Unsafe,
                Kind::Unavailable => Retry::After(Duration::from_secs(1)),
                _ => Retry::Never,
            },
        }
    }
}
