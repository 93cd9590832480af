//! Why a change of the configuration was refused. Mapped to the wire in [`crate::error`].

use ultimate_mcp_actors::authorization::AuthorizationError;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::supervision::ReconfigureError;

use crate::config::ConfigError;
use crate::telemetry::TelemetryError;

/// A part did not take its new values.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The log filter.
    #[error(transparent)]
    Log(#[from] TelemetryError),
    /// The supervision tree.
    #[error("the supervisor did not take its policy: {0}")]
    Supervision(#[from] ReconfigureError),
    /// The policy.
    #[error("authorization did not take the policy: {0}")]
    Policy(#[from] AuthorizationError),
}

/// A change that was not made; what was in force is in force.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Values do not check: the patch's, or those of a file.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// These keys are read at the start only.
    #[error("these keys need a restart: {}", .0.join(", "))]
    NeedsRestart(Vec<String>),
    /// The version in `If-Match` is not the one in force.
    #[error("the configuration in force has version {0}; read it again")]
    OtherVersion(String),
    /// Another change was made while this one was checked.
    #[error("another change was made meanwhile; read the configuration again")]
    Overtaken,
    /// Nothing was changed since the start.
    #[error("there is nothing to go back to: nothing was changed since the start")]
    NothingBefore,
    /// A file added these keys since; only the file can take them away.
    #[error("a file added these keys since; take them out there: {}", .0.join(", "))]
    InFiles(Vec<String>),
    /// A part did not take its new values.
    #[error("the change was taken back, because a part did not take it")]
    NotApplied(#[source] ApplyError),
}

impl Classify for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) | Self::NeedsRestart(_) => Kind::InvalidInput,
            Self::OtherVersion(_) | Self::Overtaken | Self::NothingBefore | Self::InFiles(_) => {
                Kind::Conflict
            }
            Self::NotApplied(_) => Kind::Unavailable,
        }
    }
}
