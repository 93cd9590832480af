//! The suites' prompts, and the completion of one argument. Names and texts are the suites'.

use std::collections::BTreeMap;

use ultimate_mcp::error::{ApiError, Code};
use ultimate_mcp::mcp::{
    Asked, Block, Body, Completed, Input, PromptArgument, PromptEntry, PromptText, Reference,
};

use crate::asking;
use crate::media::PNG;

const WITH_ARGUMENTS: &str = "test_prompt_with_arguments";

/// There at times only: `test_trigger_prompt_change` adds it and takes it away.
const CHANGING: &str = "test_changing_prompt";

/// The prompts by name, with the changing one or without.
pub fn all(with_changing: bool) -> Vec<PromptEntry> {
    let mut all = Vec::new();
    if with_changing {
        all.push(entry(CHANGING, "Is there at times only.", &[]));
    }
    all.push(entry(asking::PROMPT, "Asks for its context.", &[]));
    let arguments = ["arg1", "arg2"];
    all.push(entry(WITH_ARGUMENTS, "Repeats two arguments.", &arguments));
    let embedded = "test_prompt_with_embedded_resource";
    all.push(entry(embedded, "Contains a resource.", &["resourceUri"]));
    all.push(entry("test_prompt_with_image", "Contains a picture.", &[]));
    all.push(entry("test_simple_prompt", "Takes nothing.", &[]));
    all
}

fn entry(name: &str, description: &str, arguments: &[&str]) -> PromptEntry {
    let argument = |name: &&str| PromptArgument {
        name: (*name).to_owned(),
        description: format!("The argument {name}."),
        required: true,
    };
    PromptEntry {
        name: name.to_owned(),
        title: name.to_owned(),
        description: description.to_owned(),
        version: 1,
        arguments: arguments.iter().map(argument).collect(),
    }
}

/// A prompt with its arguments filled in.
///
/// # Errors
/// `InvalidArguments` for an unknown name and for missing arguments.
pub fn get(
    name: &str,
    arguments: &BTreeMap<String, String>,
    input: &Input,
) -> Result<PromptText, ApiError> {
    let argument = |name: &str| {
        let missing = || ApiError::new(Code::InvalidArguments, format!("{name} is missing"));
        arguments.get(name).cloned().ok_or_else(missing)
    };
    let messages = match name {
        "test_simple_prompt" | CHANGING => {
            vec![Block::Text("This is a simple prompt for testing.".to_owned())]
        }
        WITH_ARGUMENTS => {
            let (first, second) = (argument("arg1")?, argument("arg2")?);
            let text = format!("Prompt with arguments: arg1='{first}', arg2='{second}'");
            vec![Block::Text(text)]
        }
        "test_prompt_with_embedded_resource" => vec![
            Block::Resource {
                uri: argument("resourceUri")?,
                mime_type: "text/plain".into(),
                body: Body::Text("Embedded resource content for testing.".into()),
            },
            Block::Text("Please process the embedded resource above.".to_owned()),
        ],
        "test_prompt_with_image" => vec![
            Block::Image { mime_type: "image/png".into(), data: PNG.to_vec() },
            Block::Text("Please analyze the image above.".to_owned()),
        ],
        asking::PROMPT => {
            vec![Block::Text(format!("In this context: {}", asking::context(input)?))]
        }
        _ => return Err(ApiError::new(Code::InvalidArguments, format!("no prompt {name:?}"))),
    };
    Ok(PromptText { description: "A prompt of the suites.".to_owned(), messages })
}

/// Values for `arg1`.
///
/// # Errors
/// `InvalidArguments` for anything else.
pub fn complete(asked: &Asked) -> Result<Completed, ApiError> {
    match &asked.reference {
        Reference::Prompt(name) if name == WITH_ARGUMENTS => {
            let values = ["paris", "park", "party"].into_iter().map(str::to_owned);
            let values = values.filter(|value| value.starts_with(&asked.value)).collect();
            Ok(Completed { values })
        }
        _ => Err(ApiError::new(Code::InvalidArguments, "nothing to complete")),
    }
}
