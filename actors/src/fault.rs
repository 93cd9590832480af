//! The two questions every error answers: whose fault is it, and is a retry safe?
//!
//! Each actor has its own error enum and implements [`Classify`]; the face maps the answers to HTTP
//! and JSON-RPC in one place and nowhere else.

use std::time::Duration;

/// What kind of failure this is. The face owns the mapping to status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller's input is wrong; the message says what and how to mend it.
    InvalidInput,
    /// What the caller names does not exist (or is not theirs to see).
    NotFound,
    /// The request contradicts the present state.
    Conflict,
    /// Some limit of the caller is used up.
    LimitExceeded,
    /// A queue is full; nothing was done.
    Overloaded,
    /// A part of the engine is down, starting or draining; nothing was done.
    Unavailable,
    /// The deadline passed; effects are unknown.
    DeadlineExceeded,
    /// The part that handled the message crashed; effects are unknown.
    Crashed,
    /// The host cannot isolate code, so none is run.
    IsolationUnavailable,
    /// A mistake of ours.
    Internal,
}

/// Whether sending the same thing again is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was done: the same request may be sent again at once.
    Safe,
    /// Nothing was done: the same request may be sent again after this long.
    After(Duration),
    /// The request may have been carried out: sending it again may do it twice.
    Unsafe,
    /// The same request will fail the same way.
    Never,
}

/// How an engine error presents itself to the border.
pub trait Classify: std::error::Error + Send + Sync + 'static {
    /// What kind of failure this is.
    fn kind(&self) -> Kind;

    /// Whether a retry is safe.
    fn retry(&self) -> Retry {
        match self.kind() {
            Kind::Overloaded | Kind::Unavailable => Retry::After(Duration::from_secs(1)),
            Kind::DeadlineExceeded | Kind::Crashed | Kind::Internal => Retry::Unsafe,
            Kind::LimitExceeded => Retry::After(Duration::from_secs(1)),
            Kind::InvalidInput | Kind::NotFound | Kind::Conflict | Kind::IsolationUnavailable => {
                Retry::Never
            }
        }
    }

    /// The message for the caller: no paths, no SQL, no secrets. Mistakes of ours stay bland.
    fn public(&self) -> String {
        match self.kind() {
            Kind::Internal => "the engine made a mistake; the log has the details".to_owned(),
            _ => self.to_string(),
        }
    }
}
