//! `sandbox_*`: an interpreter of the caller's own that keeps its variables and files between calls.
//!
//! Called through the registry. Refuses handles that are none, limits beyond the caller's roles, paths
//! that leave the working directory; whose sandbox it is decides the engine.

mod create;
mod execute;
mod files;
mod manage;
mod result;
#[cfg(test)]
mod tests;

use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::node::Handle;
use ultimate_mcp_actors::sandboxes::{KIND, SandboxesHandle};

use super::artifacts::ArtifactStore;
use super::registry::boxed;
use super::typed::problem;
use super::{Annotations, Edition, Effects, Tool, ToolDescriptor};
use crate::error::ApiError;

/// Longest handle in bytes: kind, node id (32), UUID (36) and two underscores.
const HANDLE_BYTES_MAX: usize = 80;

/// What the seven tools share.
#[derive(Clone)]
struct Parts {
    sandboxes: SandboxesHandle,
    artifacts: ArtifactStore,
}

/// The seven tools.
pub fn tools(sandboxes: SandboxesHandle, artifacts: ArtifactStore) -> Vec<Box<dyn Tool>> {
    let parts = Parts { sandboxes, artifacts };
    vec![
        boxed(create::SandboxCreate(parts.clone())),
        boxed(execute::SandboxExecute(parts.clone())),
        boxed(files::SandboxWriteFiles(parts.clone())),
        boxed(files::SandboxReadFile(parts.clone())),
        boxed(files::SandboxListFiles(parts.clone())),
        boxed(manage::SandboxClose(parts.clone())),
        boxed(manage::SandboxList(parts)),
    ]
}

/// Reads a handle as `sandbox_create` gave it.
fn handle_of(text: &str) -> Result<Handle, ApiError> {
    let wrong = "must be a sandbox_id as sandbox_create returned it (sbx_<node>_<uuid>)";
    Handle::parse(KIND, text).map_err(|_| problem("sandbox_id", wrong))
}

/// What the tools have in common; a tool that only looks has no effects.
fn descriptor(
    name: &'static str,
    title: &'static str,
    description: &str,
    event_type: EventType,
    effects: Effects,
) -> ToolDescriptor {
    let looks = effects == Effects::None;
    ToolDescriptor {
        name,
        title,
        description: description.to_owned(),
        input_schema: Value::Null,
        output_schema: Value::Null,
        annotations: Annotations {
            read_only_hint: looks,
            destructive_hint: false,
            idempotent_hint: looks,
            open_world_hint: false,
        },
        permission: "tools:execute",
        event_type,
        effects,
        edition: Edition::ONLY,
    }
}
