//! What a failure of a dependency means, and how a guarded call ends. Called by `Dependency` and by
//! everybody who implements [`Failure`] for the errors of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::{Classify, Kind, Retry};

/// What a failed attempt says about the dependency, and about sending it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The dependency failed before the attempt had effects: sent again, counted by the breaker.
    Transient,
    /// The dependency asks for a pause: sent again after it, counted by the breaker.
    Throttled(Duration),
    /// The request is wrong; the dependency is well. Not sent again, never counted.
    Permanent,
    /// The attempt may have had effects: sent again only where a repetition does no harm; counted.
    Unknown,
}

/// An error that can say which class it is of.
pub trait Failure {
    /// The class.
    fn class(&self) -> Class;
}

/// How a guarded call ended without an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The breaker refuses: the dependency failed too often. Nothing was sent.
    Open {
        /// Which.
        dependency: Arc<str>,
        /// When it will be tried again.
        retry_after: Duration,
    },
    /// Too many calls are in flight and no place came free in time. Nothing was sent.
    Full {
        /// Which.
        dependency: Arc<str>,
    },
    /// The time was up.
    Deadline {
        /// Which.
        dependency: Arc<str>,
        /// Attempts begun; with none, nothing was sent.
        attempts: u32,
    },
    /// The last attempt's error.
    Failed(E),
}

impl<E> CallError<E> {
    /// Turns the inner error into another.
    pub fn map<F>(self, into: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Open { dependency, retry_after } => CallError::Open { dependency, retry_after },
            Self::Full { dependency } => CallError::Full { dependency },
            Self::Deadline { dependency, attempts } => CallError::Deadline { dependency, attempts },
            Self::Failed(error) => CallError::Failed(into(error)),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { dependency, retry_after } => {
                let ms = retry_after.as_millis();
                write!(f, "{dependency} is failing and is tried again in {ms} ms; nothing was sent")
            }
            Self::Full { dependency } => {
                write!(f, "{dependency} is busy: no place came free in time; nothing was sent")
            }
            Self::Deadline { dependency, attempts: 0 } => {
                write!(f, "no time was left for {dependency}; nothing was sent")
            }
            Self::Deadline { dependency, .. } => {
                write!(f, "{dependency} did not answer in time")
            }
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // `Display` is the inner error's already.
            Self::Failed(error) => error.source(),
            _ => None,
        }
    }
}

impl<E: Classify> Classify for CallError<E> {
    fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } => Kind::Unavailable,
            Self::Full { .. } => Kind::Overloaded,
            Self::Deadline { .. } => Kind::DeadlineExceeded,
            Self::Failed(error) => error.kind(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Open { retry_after, .. } => Retry::After(*retry_after),
            Self::Full { .. } => Retry::After(Duration::from_secs(1)),
            Self::Deadline { attempts: 0, .. } => Retry::Safe,
            Self::Deadline { .. } => Retry::Unsafe,
            Self::Failed(error) => error.retry(),
        }
    }
}
