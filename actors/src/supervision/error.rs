//! What can go wrong when one asks a child, starts one, or changes a policy.

use std::sync::Arc;
use std::time::Duration;

use super::node::ChildState;
use super::options::InvalidOption;
use crate::fault::{Classify, Kind, Retry};

/// Why a message got no answer. Says whether anything may have been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Every place in the mailbox is taken. Nothing was done.
    #[error("{child} is at its limit of {capacity} messages; try again shortly")]
    Overloaded {
        /// Name of the child.
        child: Arc<str>,
        /// Its places.
        capacity: usize,
    },
    /// The child restarts and will not be back before the deadline. Nothing was done.
    #[error("{child} is restarting and not back before the deadline; try again in {retry_after:?}")]
    Restarting {
        /// Name of the child.
        child: Arc<str>,
        /// When it is expected back.
        retry_after: Duration,
    },
    /// The child takes no messages: it drains, stopped, or failed for good. Nothing was done.
    #[error("{child} takes no messages, it is {state}")]
    Unavailable {
        /// Name of the child.
        child: Arc<str>,
        /// The state that refuses.
        state: ChildState,
    },
    /// The deadline passed.
    #[error("{child} did not answer before the deadline ({})",
        if *begun { "work had begun, its effects are unknown" } else { "work had not begun" })]
    Timeout {
        /// Name of the child.
        child: Arc<str>,
        /// Whether the handler had taken the message. When false it never will: nothing was done.
        begun: bool,
    },
    /// The child crashed, was replaced or stopped with this message in hand. Effects are unknown;
    /// the message is not delivered again.
    #[error("{child} crashed with this message in hand; its effects are unknown")]
    Crashed {
        /// Name of the child.
        child: Arc<str>,
    },
}

/// Why a child was not restarted by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// There is no child of that name here.
    #[error("{supervisor} has no child {name:?}; it has {}", .known.join(", "))]
    Unknown {
        /// Who was asked.
        supervisor: Arc<str>,
        /// What was asked for, cut to the longest name there can be.
        name: String,
        /// The names there are, in start order.
        known: Vec<String>,
    },
    /// The child ended for good; only a new process has it again.
    #[error("{child} is {state}, for good: restart the process")]
    Ended {
        /// Name of the child.
        child: Arc<str>,
        /// How it ended.
        state: ChildState,
    },
    /// The supervisor drains, is suspended, failed or is gone.
    #[error("the supervisor is {0} and restarts nothing")]
    Unavailable(ChildState),
}

impl Classify for RestartError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown { .. } => Kind::NotFound,
            Self::Ended { .. } => Kind::Conflict,
            Self::Unavailable(_) => Kind::Unavailable,
        }
    }
}

impl Classify for AskError {
    fn kind(&self) -> Kind {
        match self {
            Self::Overloaded { .. } => Kind::Overloaded,
            Self::Restarting { .. } | Self::Unavailable { .. } => Kind::Unavailable,
            Self::Timeout { .. } => Kind::DeadlineExceeded,
            Self::Crashed { .. } => Kind::Crashed,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Overloaded { .. } | Self::Unavailable { .. } => {
                Retry::After(Duration::from_secs(1))
            }
            Self::Restarting { retry_after, .. } => Retry::After(*retry_after),
            Self::Timeout { begun: false, .. } => Retry::Safe,
            Self::Timeout { begun: true, .. } | Self::Crashed { .. } => Retry::Unsafe,
        }
    }
}

/// Why a child or supervisor was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The name cannot stand in the tree.
    #[error("{0:?} is no name for a child: use 1 to 64 of a-z, 0-9, - and _")]
    InvalidName(String),
    /// A living sibling has it.
    #[error("a child named {0} already runs under this supervisor")]
    NameTaken(Arc<str>),
    /// The mailbox bound is zero or absurd.
    #[error("a mailbox of {0} places cannot be: use 1 to 1000000")]
    InvalidMailbox(usize),
    /// The policy is out of range.
    #[error("the policy is out of range: {}", list(.0))]
    InvalidPolicy(Vec<InvalidOption>),
    /// The supervisor has as many children as it may.
    #[error("the supervisor already has {0} children, its limit")]
    TooMany(usize),
    /// The supervisor drains, failed or is gone.
    #[error("the supervisor is {0} and starts nothing")]
    Unavailable(ChildState),
    /// No thread could be started.
    #[error("no thread could be started for the child")]
    Thread(#[source] std::io::Error),
}

/// Why a policy was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ReconfigureError {
    /// The new policy is out of range; the old one stays.
    #[error("the policy is out of range: {}", list(.0))]
    Invalid(Vec<InvalidOption>),
    /// The supervisor is gone.
    #[error("the supervisor is {0} and takes no policy")]
    Unavailable(ChildState),
}

impl Classify for SpawnError {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidName(_) | Self::InvalidMailbox(_) | Self::InvalidPolicy(_) => {
                Kind::InvalidInput
            }
            Self::NameTaken(_) => Kind::Conflict,
            Self::TooMany(_) => Kind::LimitExceeded,
            Self::Unavailable(_) => Kind::Unavailable,
            Self::Thread(_) => Kind::Internal,
        }
    }
}

impl Classify for ReconfigureError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::InvalidInput,
            Self::Unavailable(_) => Kind::Unavailable,
        }
    }
}

fn list(mistakes: &[InvalidOption]) -> String {
    mistakes.iter().map(InvalidOption::to_string).collect::<Vec<_>>().join("; ")
}
