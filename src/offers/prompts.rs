//! `prompts/list` and `prompts/get`: calls of the tools `list_prompts` and `get_prompt`, so that permission,
//! rate and audit are theirs.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::Ask;
use crate::error::{ApiError, Code};
use crate::mcp::{Block, PromptArgument, PromptEntry, PromptText};
use crate::tools::ToolRequest;
use crate::tools::prompts::{GetPromptResult, ListPromptsResult, PromptInfo};
use crate::tools_call::tools_call;

/// All prompts, by name.
///
/// # Errors
/// As the tool `list_prompts`.
pub async fn list(ask: Ask<'_>) -> Result<Vec<PromptEntry>, ApiError> {
    let listed: ListPromptsResult = ask.tool("list_prompts", &json!({})).await?;
    Ok(listed.prompts.into_iter().map(entry).collect())
}

/// One prompt with its arguments filled in.
///
/// # Errors
/// As the tool `get_prompt`.
pub async fn get(
    ask: Ask<'_>,
    name: &str,
    arguments: &BTreeMap<String, String>,
) -> Result<PromptText, ApiError> {
    let call = json!({ "slug": name, "arguments": arguments });
    let got: GetPromptResult = ask.tool("get_prompt", &call).await?;
    Ok(PromptText { description: got.prompt.description, messages: vec![Block::Text(got.text)] })
}

impl Ask<'_> {
    /// Calls a tool and reads its result back.
    pub(super) async fn tool<T: DeserializeOwned>(
        &self,
        name: &str,
        arguments: &serde_json::Value,
    ) -> Result<T, ApiError> {
        let unreadable = |error| {
            ApiError::new(Code::Internal, "a result of ours is not what it should be")
                .caused_by(error)
        };
        let arguments = to_raw_value(arguments).map_err(unreadable)?;
        let Self { state, caller, origin, deadline } = *self;
        // On the heap: a call of a tool is large.
        let request = ToolRequest { name, arguments: &arguments, deadline, events: None };
        let call = Box::pin(tools_call(state, caller, origin, request));
        let output = call.await?;
        serde_json::from_str(output.structured.get()).map_err(unreadable)
    }
}

fn entry(prompt: PromptInfo) -> PromptEntry {
    let argument = |argument: crate::tools::prompts::PromptArgument| PromptArgument {
        name: argument.name,
        description: argument.description,
        required: argument.required,
    };
    PromptEntry {
        name: prompt.slug,
        title: prompt.title,
        description: prompt.description,
        version: prompt.version,
        arguments: prompt.arguments.into_iter().map(argument).collect(),
    }
}
