//! Configuration: embedded defaults < files < environment < flags, all mistakes reported at once.
//!
//! `config/base.toml` is defaults, list of known keys, ranges and documentation in one. The command
//! line calls [`load`]; everything else gets its typed section. Refuses unknown keys, wrong types,
//! values out of range, and combinations that would open the server to the network unguarded.

mod change;
mod check;
mod docs;
mod dump;
mod error;
mod issuers;
mod layers;
mod options;
mod overlay;
mod policy;
mod rules;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use figment::Figment;
use serde::Deserialize;
use ultimate_mcp_actors::audit::AuditOptions;
use ultimate_mcp_actors::authorization::AuthorizationOptions;
use ultimate_mcp_actors::cache::CacheOptions;
use ultimate_mcp_actors::execution::ExecutionOptions;
use ultimate_mcp_actors::graph::GraphOptions;
use ultimate_mcp_actors::idempotency::IdempotencyOptions;
use ultimate_mcp_actors::jobs::JobsOptions;
use ultimate_mcp_actors::neo4j::Neo4jOptions;
use ultimate_mcp_actors::node::NodeOptions;
use ultimate_mcp_actors::redis::RedisOptions;
use ultimate_mcp_actors::sandboxes::SandboxesOptions;
use ultimate_mcp_actors::sessions::SessionsOptions;
use ultimate_mcp_actors::supervision::SupervisionOptions;

use crate::http::HttpOptions;
use crate::mcp::McpOptions;
use crate::telemetry::TelemetryOptions;

pub use change::{Change, LIVE, is_live};
pub use docs::{BASE_TOML, KeyDoc, read as read_docs};
pub use error::{ConfigError, Mistake};
pub use issuers::{IssuerOptions, is_issuer_url};
pub use layers::{ENV_PREFIX, Inputs};
pub use options::{
    AdmissionOptions, AuthOptions, BackupOptions, KeyAlgorithm, KeyOptions, ToolsOptions,
};
pub use overlay::Overlay;
pub use policy::{PolicyText, load_policy, policy_text};
pub use rules::KID_BYTES_MAX;

/// The effective configuration; keys, units and reasons are in `config/base.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// Roles, permissions, limits; `None` = the built-in policy.
    #[serde(deserialize_with = "options::path_opt")]
    pub policy_file: Option<PathBuf>,
    /// The HTTP server.
    pub http: HttpOptions,
    /// The MCP endpoint.
    pub mcp: McpOptions,
    /// Tokens.
    pub auth: AuthOptions,
    /// Rate limits.
    pub admission: AdmissionOptions,
    /// Runs in the cell.
    pub cell: ExecutionOptions,
    /// Sandboxes that stay between calls.
    pub sandboxes: SandboxesOptions,
    /// The knowledge graph.
    pub graph: GraphOptions,
    /// Tools.
    pub tools: ToolsOptions,
    /// Backups.
    pub backup: BackupOptions,
    /// The audit trail.
    pub audit: AuditOptions,
    /// Stored roles and revocations.
    pub authorization: AuthorizationOptions,
    /// Sessions of the 2025 revisions.
    pub sessions: SessionsOptions,
    /// This node and its dealings with others.
    pub node: NodeOptions,
    /// Results worth keeping.
    pub cache: CacheOptions,
    /// Keys of calls that must be run once.
    pub idempotency: IdempotencyOptions,
    /// Neo4j.
    pub neo4j: Neo4jOptions,
    /// The job queue.
    pub jobs: JobsOptions,
    /// The Redis shared by the nodes.
    pub redis: RedisOptions,
    /// Restarts of actors.
    pub supervision: SupervisionOptions,
    /// Logs.
    pub telemetry: TelemetryOptions,
}

/// Characters of a configuration's hash that are shown: 64 bits.
const VERSION_CHARS: usize = 16;

/// A configuration and where each value of it comes from.
#[derive(Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    figment: Figment,
    docs: Vec<KeyDoc>,
    inputs: Inputs,
}

// By hand: the raw values behind `config` hold secrets in the clear.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Loaded {
    /// The effective configuration as TOML, each line with its source, secrets redacted.
    pub fn dump(&self) -> String {
        dump::dump(&self.figment, &self.docs)
    }

    /// What nodes must have in common to serve the same clients, as a hash: the policy, and every value
    /// but those that name one machine. Secrets are not part of it, their files' names are.
    pub fn version(&self) -> Result<String, ConfigError> {
        Ok(self.version_under(&policy_text(&self.config)?))
    }

    /// The same for the text of a policy that was read before.
    pub fn version_under(&self, policy: &str) -> String {
        let values = dump::shared(&self.figment, &self.docs);
        let mut hash = ultimate_mcp_actors::hex::sha256(format!("{policy}\0{values}").as_bytes());
        hash.truncate(VERSION_CHARS);
        hash
    }

    /// The source of a key, e.g. `default`, a file, a variable.
    pub fn source_of(&self, key: &str) -> String {
        source_of(&self.figment, key)
    }
}

/// Reads and checks everything; either the configuration or all that is wrong with it.
pub fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let docs = docs::read(BASE_TOML);
    let base = layers::base();
    let mut mistakes = Vec::new();
    let mut layers = layers::read(inputs, &base, &mut mistakes);
    let mut figment = Figment::from(base.clone());
    for layer in &mut layers {
        mistakes.extend(check::clean::<Config>(layer, &base, &docs));
        figment = figment.merge(layer.clone());
    }
    let config: Config = match figment.extract() {
        Ok(config) => config,
        Err(error) => {
            // Only if base.toml itself were broken; each layer was made sound above.
            mistakes.push(Mistake {
                source: layers::BASE_NAME.to_owned(),
                key: error.path.join("."),
                problem: error.kind.to_string(),
            });
            return Err(ConfigError::new(mistakes));
        }
    };
    let findings = rules::check(&config, |key| mistakes.iter().any(|m| m.key.starts_with(key)));
    for (key, problem) in findings {
        mistakes.push(Mistake { source: source_of(&figment, &key), key, problem });
    }
    match mistakes.is_empty() {
        true => Ok(Loaded { config, figment, docs, inputs: inputs.clone() }),
        false => Err(ConfigError::new(mistakes)),
    }
}

fn source_of(figment: &Figment, key: &str) -> String {
    let plain = key.split('[').next().unwrap_or(key);
    let metadata = figment.find_metadata(plain);
    metadata.map_or(layers::BASE_NAME, |metadata| metadata.name.as_ref()).to_owned()
}
