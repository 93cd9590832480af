//! Tools: what agents can call. Each is written once; every transport reaches it through
//! [`crate::tools_call`].

#[cfg(feature = "bench")]
mod add;
pub mod artifacts;
mod cell;
mod descriptor;
pub mod documents;
pub mod events;
pub mod execute;
mod files;
pub mod generate;
pub mod graph;
pub(crate) mod hash;
pub mod jobs;
mod limits;
mod links;
pub mod lint;
mod live;
mod memo;
mod outcome;
pub mod prompts;
mod registry;
pub mod run_tests;
pub mod sandbox;
mod schema;
mod shape;
#[cfg(test)]
mod testing;
mod typed;
pub mod views;
mod wording;
pub mod workflow;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use ultimate_mcp_actors::deadline::Deadline;

use crate::admission::Permit;
use crate::error::ApiError;
use crate::origin::Origin;
pub use cell::Cell;
pub use descriptor::{Annotations, Deprecation, Edition, Effects, ToolDescriptor};
use events::EventSink;
pub use memo::{Memo, Unkept};
pub use registry::{Registry, ToolParts};
pub use typed::{Answer, Typed, TypedTool, decode};

/// Tools with several versions, and the newest of each: what a policy may pin.
pub const VERSIONS: [(&str, u16); 1] = [("lint_code", 2)];

/// One call, as it came in.
#[derive(Clone, Copy)]
pub struct ToolRequest<'a> {
    /// Which tool.
    pub name: &'a str,
    /// The raw arguments, a JSON object.
    pub arguments: &'a RawValue,
    /// When the caller stops waiting.
    pub deadline: Deadline,
    /// Where the tool may write what happens while it runs; `None` when nobody reads it.
    pub events: Option<&'a EventSink>,
}

/// What a tool gets to work with.
#[derive(Clone, Copy)]
pub struct ToolCall<'a> {
    /// Proof that this caller may run this tool, with the limits of the caller's roles.
    pub permit: &'a Permit,
    /// Where the call comes from.
    pub origin: &'a Origin,
    /// The raw arguments, a JSON object.
    pub arguments: &'a RawValue,
    /// When the caller stops waiting.
    pub deadline: Deadline,
    /// Where to write what happens while the tool runs; `None` when nobody reads it.
    pub events: Option<&'a EventSink>,
}

/// What a tool answers.
#[derive(Debug)]
pub struct ToolOutput {
    /// The structured result: a JSON object that conforms to the tool's output schema, also when
    /// `is_error`: clients check it.
    pub structured: Box<RawValue>,
    /// A text for models when it says more than the JSON; `None` repeats the JSON as text.
    pub text: Option<String>,
    /// The tool ran and failed: a result, not a protocol error.
    pub is_error: bool,
    /// Facts for the audit event's `details` (sizes, hashes, status; never code, data or secrets).
    pub audit: serde_json::Map<String, serde_json::Value>,
}

/// One tool.
pub trait Tool: Send + Sync + 'static {
    /// Name, schemas, permission, annotations.
    fn descriptor(&self) -> &ToolDescriptor;

    /// The argument that holds the handle of what the call works on, if there is one: a call for what
    /// lives on another node is sent there.
    fn handle_argument(&self) -> Option<&'static str> {
        None
    }

    /// Whether there is room for the call, as it looks now. Asked before the intent: what is turned away costs
    /// one event and not two, which is what keeps an overloaded server at work.
    ///
    /// # Errors
    /// What [`Tool::call`] would say at once.
    fn room(&self, _call: &ToolCall<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// Runs it. `Err` is for what is not the tool's own outcome: wrong arguments
    /// (`Code::InvalidArguments`), a part of the engine that is down, the deadline.
    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Result<ToolOutput, ApiError>>;
}
