//! What is known of a tool without running it.

use serde::Serialize;
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;

/// What a call may leave behind; decides how the audit's intent is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// Reads only: the intent is written together with the outcome's commit.
    None,
    /// Runs untrusted code or changes state: the intent is durable before anything happens.
    Durable,
}

/// Hints for clients (MCP 2026-07-28, Tool.annotations). They are hints: admission never reads them.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotations {
    /// Changes nothing.
    pub read_only_hint: bool,
    /// May destroy something.
    pub destructive_hint: bool,
    /// Twice is the same as once.
    pub idempotent_hint: bool,
    /// Reaches beyond the engine.
    pub open_world_hint: bool,
}

impl Annotations {
    /// Of a tool that only reads what is here.
    pub const READS: Self = Self {
        read_only_hint: true,
        destructive_hint: false,
        idempotent_hint: true,
        open_world_hint: false,
    };
}

/// Which version of a tool this is. Versions of one tool stand side by side, each under a name of its own;
/// the policy can say which of them the tool's plain name means to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// From 1.
    pub version: u16,
    /// The plain name, for a version that has another one.
    pub of: Option<&'static str>,
    /// For a version that is going to be removed.
    pub deprecated: Option<Deprecation>,
}

impl Edition {
    /// Of a tool that has one version.
    pub const ONLY: Self = Self { version: 1, of: None, deprecated: None };

    /// Whether there is anything to tell clients.
    pub fn is_only(&self) -> bool {
        *self == Self::ONLY
    }
}

/// That a version is going to be removed. Days are ISO 8601, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Deprecation {
    /// Since when it has been said.
    pub since: &'static str,
    /// Not removed before this day.
    pub removal: &'static str,
    /// What to call instead.
    pub successor: &'static str,
}

/// What is known of a tool without running it.
#[derive(Clone, Debug)]
pub struct ToolDescriptor {
    /// `[A-Za-z0-9_.-]{1,64}`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// For models: what it does, its limits, an example.
    pub description: String,
    /// JSON Schema 2020-12 of the arguments, root `object`.
    pub input_schema: Value,
    /// JSON Schema 2020-12 of the structured result, root `object`.
    pub output_schema: Value,
    /// Hints for clients.
    pub annotations: Annotations,
    /// The permission a caller needs, one of the nine of `config/policy.toml`.
    pub permission: &'static str,
    /// What its calls are in the audit.
    pub event_type: EventType,
    /// What a call may leave behind.
    pub effects: Effects,
    /// Which version it is.
    pub edition: Edition,
}

impl ToolDescriptor {
    /// The name that all versions of the tool share, and with it one rate.
    pub fn plain_name(&self) -> &'static str {
        self.edition.of.unwrap_or(self.name)
    }

    /// What lists say of the version; `None` where there is only one.
    pub fn edition_meta(&self) -> Option<Value> {
        let Edition { version, deprecated, .. } = self.edition;
        if self.edition.is_only() {
            return None;
        }
        let mut meta = serde_json::json!({ "io.ultimate-mcp/version": version });
        if let Some(deprecated) = deprecated {
            meta["io.ultimate-mcp/deprecated"] = serde_json::json!(deprecated);
        }
        Some(meta)
    }
}
