//! The policy file: roles, permissions, limits. Its own text and its own rules; this reads it from
//! where the configuration says and reports its mistakes like those of the configuration.

use std::sync::Arc;

use ultimate_mcp_actors::authorization::{DEFAULT_POLICY, Policy, PolicyProblem};

use super::{Config, ConfigError, Mistake};
use crate::tools::VERSIONS;

/// A policy and the text it was read from.
#[derive(Clone, Debug)]
pub struct PolicyText {
    /// As it was written.
    pub text: Arc<str>,
    /// What it says.
    pub policy: Policy,
}

/// The policy in force: `policy_file`, or the one that comes with the server.
///
/// # Errors
/// Every mistake, with the file's name and the key.
pub fn load_policy(config: &Config) -> Result<PolicyText, ConfigError> {
    let source =
        config.policy_file.as_ref().map_or("policy".to_owned(), |path| path.display().to_string());
    read_policy(&policy_text(config)?, &source)
}

fn read_policy(text: &str, source: &str) -> Result<PolicyText, ConfigError> {
    let policy = Policy::from_toml(text).map_err(|problems| {
        let mistake = |p: PolicyProblem| Mistake {
            source: source.to_owned(),
            key: p.key,
            problem: p.problem,
        };
        ConfigError::new(problems.into_iter().map(mistake).collect())
    })?;
    let unknown = unknown_versions(&policy, source);
    match unknown.is_empty() {
        true => Ok(PolicyText { text: text.into(), policy }),
        false => Err(ConfigError::new(unknown)),
    }
}

/// Versions that are pinned and that no tool has: its callers would be without it.
fn unknown_versions(policy: &Policy, source: &str) -> Vec<Mistake> {
    let pins = policy.roles.iter().flat_map(|(role, what)| {
        what.versions.iter().map(move |(tool, version)| (role, tool, *version))
    });
    pins.filter_map(|(role, tool, version)| {
        let newest = VERSIONS.iter().find(|(name, _)| name == tool).map(|(_, newest)| *newest);
        let problem = match newest {
            Some(newest) if (1..=newest).contains(&version) => return None,
            Some(newest) => format!("there are versions 1 to {newest}"),
            None => "no tool of this name has several versions".to_owned(),
        };
        let key = format!("roles.{role}.versions.{tool}");
        Some(Mistake { source: source.to_owned(), key, problem })
    })
    .collect()
}

/// The text of the policy in force.
///
/// # Errors
/// The file cannot be read.
pub fn policy_text(config: &Config) -> Result<String, ConfigError> {
    match &config.policy_file {
        None => Ok(DEFAULT_POLICY.to_owned()),
        Some(path) => {
            super::layers::read_text(path).map_err(|mistake| ConfigError::new(vec![mistake]))
        }
    }
}
