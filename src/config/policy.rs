//! The policy file: roles, permissions, limits. Its own text and its own rules; this reads it from
//! where the configuration says and reports its mistakes like those of the configuration.

use ultimate_mcp_actors::authorization::{DEFAULT_POLICY, Policy};

use super::{Config, ConfigError, Mistake};

/// The policy in force: `policy_file`, or the one that comes with the server.
///
/// # Errors
/// Every mistake, with the file's name and the key.
pub fn load_policy(config: &Config) -> Result<Policy, ConfigError> {
    let source =
        config.policy_file.as_ref().map_or("policy".to_owned(), |path| path.display().to_string());
    let text = policy_text(config)?;
    Policy::from_toml(&text).map_err(|problems| {
        let mistake = |p: ultimate_mcp_actors::authorization::PolicyProblem| Mistake {
            source: source.clone(),
            key: p.key,
            problem: p.problem,
        };
        ConfigError::new(problems.into_iter().map(mistake).collect())
    })
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
