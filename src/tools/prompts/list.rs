//! `list_prompts`: what prompts there are.

use std::sync::Arc;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;

use super::{PromptInfo, Prompts};
use crate::error::ApiError;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Arguments of `list_prompts`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct ListPromptsArgs {
    /// Only prompts with this tag.
    #[garde(length(bytes, min = 1, max = 64))]
    pub tag: Option<String>,
}

/// Result of `list_prompts`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListPromptsResult {
    /// The prompts, by slug.
    pub prompts: Vec<PromptInfo>,
}

/// The tool.
pub struct ListPrompts {
    prompts: Arc<Prompts>,
}

impl ListPrompts {
    /// A tool over these prompts.
    pub fn new(prompts: Arc<Prompts>) -> Self {
        Self { prompts }
    }
}

impl TypedTool for ListPrompts {
    type Args = ListPromptsArgs;
    type Output = ListPromptsResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "list_prompts",
            title: "List prompts",
            description: "\
Lists this server's prompts: ready-made instructions with arguments, for work such as planning, review, \
refactoring, testing and clean-up. Get one with get_prompt.

Example: {\"tag\": \"review\"} gives {\"prompts\": [{\"slug\": \"code_review\", \"arguments\": [{\"name\": \"code\", \
\"required\": true, …}], …}]}."
                .to_owned(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: READING,
            permission: "tools:read",
            event_type: EventType::DataRead,
            effects: Effects::None,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: ListPromptsArgs,
        _: &ToolCall<'_>,
    ) -> Result<Answer<ListPromptsResult>, ApiError> {
        let wanted = |prompt: &PromptInfo| {
            args.tag.as_ref().is_none_or(|tag| prompt.tags.iter().any(|own| own == tag))
        };
        let prompts: Vec<_> = self.prompts.list().filter(wanted).collect();
        let count = prompts.len();
        Ok(Answer::from(ListPromptsResult { prompts }).fact("prompts", count))
    }
}

/// Hints of tools that only read.
pub(super) const READING: Annotations = Annotations::READS;
