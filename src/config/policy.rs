//! The policy file: roles, permissions, limits. Its own text and its own rules; this reads it from
//! where the configuration says and reports its mistakes like those of the configuration.

use ultimate_mcp_actors::authorization::{DEFAULT_POLICY, Policy};

use super::{Config, ConfigError, Mistake};

/// The policy in force: `policy_file`, or the one that comes with the server.
///
/// # Errors
/// Every mistake, with the file's name and the key.
pub fn load_policy(config: &Config) -> Result<Policy, ConfigError> {
    let (source, text) = match &config.policy_file {
        None => ("policy".to_owned(), DEFAULT_POLICY.to_owned()),
        Some(path) => {
            let source = path.display().to_string();
            let text = super::layers::read_text(path)
                .map_err(|mistake| ConfigError::new(vec![mistake]))?;
            (source, text)
        }
    };
    Policy::from_toml(&text).map_err(|problems| {
        let mistake = |p: ultimate_mcp_actors::authorization::PolicyProblem| Mistake {
            source: source.clone(),
            key: p.key,
            problem: p.problem,
        };
        ConfigError::new(problems.into_iter().map(mistake).collect())
    })
}
