//! `get_prompt`: one prompt with its arguments filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;

use super::list::READING;
use super::{ARGUMENTS_BYTES_MAX, PromptInfo, Prompts};
use crate::error::ApiError;
use crate::tools::{Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Arguments of `get_prompt`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with slug")]
pub struct GetPromptArgs {
    /// The prompt's name, as `list_prompts` says it.
    #[garde(length(bytes, min = 1, max = 64))]
    pub slug: String,
    /// The prompt's arguments, texts by name; together at most 512 KiB.
    #[serde(default)]
    #[garde(custom(bounded))]
    pub arguments: BTreeMap<String, String>,
}

fn bounded(arguments: &BTreeMap<String, String>, _: &()) -> garde::Result {
    let bytes: usize = arguments.iter().map(|(name, text)| name.len() + text.len()).sum();
    if bytes > ARGUMENTS_BYTES_MAX {
        let problem = format!("must be at most {ARGUMENTS_BYTES_MAX} bytes together");
        return Err(garde::Error::new(problem));
    }
    Ok(())
}

/// Result of `get_prompt`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetPromptResult {
    /// What is known of the prompt.
    pub prompt: PromptInfo,
    /// The instructions, to be followed as if the user had written them.
    pub text: String,
}

/// The tool.
pub struct GetPrompt {
    prompts: Arc<Prompts>,
}

impl GetPrompt {
    /// A tool over these prompts.
    pub fn new(prompts: Arc<Prompts>) -> Self {
        Self { prompts }
    }
}

impl TypedTool for GetPrompt {
    type Args = GetPromptArgs;
    type Output = GetPromptResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "get_prompt",
            title: "Get a prompt",
            description: DESCRIPTION.to_owned(),
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
        args: GetPromptArgs,
        _: &ToolCall<'_>,
    ) -> Result<Answer<GetPromptResult>, ApiError> {
        let (prompt, text) = self.prompts.get(&args.slug, &args.arguments)?;
        let (slug, version, bytes) = (prompt.slug.clone(), prompt.version, text.len());
        let answer = Answer::from(GetPromptResult { prompt, text: text.clone() });
        Ok(answer.with_text(text).fact("slug", slug).fact("version", version).fact("bytes", bytes))
    }
}

const DESCRIPTION: &str = "\
Returns one prompt of this server with its arguments filled in: instructions to follow. list_prompts says \
which there are and what they take.

Example: {\"slug\": \"code_review\", \"arguments\": {\"code\": \"def f(): ...\", \"language\": \"python\", \
\"seniority\": \"senior\"}} gives {\"prompt\": {\"slug\": \"code_review\", …}, \"text\": \"Review this python code. …\"}.";
