//! The policy beside the configuration: which text counts, and what a change of it looks like.
//!
//! Called when a change is planned. A policy that a rollback brought back is held against the file it
//! differs from until somebody writes that file again.

use std::sync::Arc;

use serde_json::{Value, json};
use ultimate_mcp_actors::hex;

use crate::config::{Change, Config, ConfigError, PolicyText, load_policy};

/// The key under which a change of the policy is told; there is no such key in any file.
pub const KEY: &str = "policy";

/// A policy that is in force instead of what its file says.
#[derive(Clone)]
pub(super) struct Held {
    file: Arc<str>,
    instead: PolicyText,
}

/// The policy in force.
#[derive(Clone)]
pub struct PolicyStanding {
    /// Its text and what it says.
    pub current: PolicyText,
    held: Option<Held>,
}

impl PolicyStanding {
    /// As read from its file.
    pub(super) fn first(current: PolicyText) -> Self {
        Self { current, held: None }
    }

    /// What its file asks for now.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn again(&self, config: &Config) -> Result<Self, ConfigError> {
        let read = load_policy(config)?;
        Ok(match &self.held {
            Some(held) if held.file == read.text => {
                Self { current: held.instead.clone(), held: Some(held.clone()) }
            }
            _ => Self::first(read),
        })
    }

    /// This one in force again, whatever its file says now.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn restored(&self, config: &Config) -> Result<Self, ConfigError> {
        let read = load_policy(config)?;
        if read.text == self.current.text {
            return Ok(Self::first(read));
        }
        let held = Held { file: read.text, instead: self.current.clone() };
        Ok(Self { current: self.current.clone(), held: Some(held) })
    }

    /// How `next` differs, if it does: digests and roles, for the texts may be long.
    pub(super) fn change_to(&self, next: &Self) -> Option<Change> {
        let differs = self.current.text != next.current.text;
        differs.then(|| Change {
            key: KEY.to_owned(),
            old: Some(summary(&self.current)),
            new: Some(summary(&next.current)),
        })
    }
}

fn summary(policy: &PolicyText) -> Value {
    let roles: Vec<&String> = policy.policy.roles.keys().collect();
    json!({ "sha256": hex::sha256(policy.text.as_bytes()), "roles": roles })
}
