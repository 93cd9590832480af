//! `add`: the cheapest tool there can be, for `make bench` only (feature `bench`). What a call of it
//! costs is what the request path costs.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_actors::audit::EventType;

use super::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};
use crate::error::ApiError;

/// Arguments of `add`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct AddArgs {
    /// One number.
    #[garde(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub a: i64,
    /// The other.
    #[garde(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub b: i64,
}

/// Result of `add`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AddResult {
    /// Their sum.
    pub sum: i64,
}

/// The tool.
pub struct Add;

impl TypedTool for Add {
    type Args = AddArgs;
    type Output = AddResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "add",
            title: "Add",
            description:
                "Adds two numbers; measures the request path. Example: {\"a\": 1, \"b\": 2} gives \
{\"sum\": 3}."
                    .to_owned(),
            input_schema: serde_json::Value::Null,
            output_schema: serde_json::Value::Null,
            annotations: Annotations::READS,
            permission: "tools:read",
            event_type: EventType::DataRead,
            effects: Effects::None,
            edition: Edition::ONLY,
        }
    }

    async fn run(&self, args: AddArgs, _: &ToolCall<'_>) -> Result<Answer<AddResult>, ApiError> {
        Ok(AddResult { sum: args.a + args.b }.into())
    }
}
