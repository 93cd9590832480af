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
}
