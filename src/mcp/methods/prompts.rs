//! `prompts/list` and `prompts/get`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::blocks::BlockView;
use super::listing::{Complete, Page};
use crate::mcp::cursor::List;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::input::{self, Question};
use crate::mcp::params::Params;
use crate::mcp::revision::Revision;
use crate::mcp::wire::{self, object, text};
use crate::mcp::{Block, Host, PromptArgument, PromptEntry};

/// Answers `prompts/list`.
pub async fn list<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let page = Page::read(exchange, params, List::Prompts)?;
    let (host, revision) = (&exchange.endpoint.host, exchange.revision);
    let prompts = host.prompts(&exchange.caller, &exchange.origin, page.deadline).await;
    let prompts = page.entries(prompts)?;
    page.answer(id, &prompts, |prompt| &prompt.name, |prompt| View::of(prompt, revision))
}

/// Answers `prompts/get`.
pub async fn get<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let (endpoint, revision) = (&exchange.endpoint, exchange.revision);
    let invalid = |message| Failure::invalid_params(revision, message);
    let name = params.name.and_then(text).ok_or_else(|| invalid("name must be a string"))?;
    let arguments: BTreeMap<String, String> = match params.arguments {
        None => BTreeMap::new(),
        Some(raw) => {
            object(raw).ok_or_else(|| invalid("arguments must be an object of strings"))?
        }
    };
    let deadline = exchange.deadline();
    let (caller, origin) = (&exchange.caller, &exchange.origin);
    let prompt = endpoint.host.prompt(caller, origin, &name, &arguments, deadline).await;
    let prompt = match prompt {
        Ok(prompt) => prompt,
        Err(error) => {
            let question = || Question::new("prompts/get", &name, params.arguments);
            return input::refused(exchange, id, question, error);
        }
    };
    let result = Filled {
        description: &prompt.description,
        messages: prompt.messages.iter().map(Message::of_user).collect(),
        modern: Complete::of(exchange),
    };
    wire::success(id, result).map_err(|error| Failure::of(revision, error))
}

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    description: &'a str,
    arguments: Vec<ArgumentView<'a>>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Version>,
}

#[derive(Serialize)]
struct ArgumentView<'a> {
    name: &'a str,
    description: &'a str,
    required: bool,
}

/// `_meta` of a prompt.
#[derive(Serialize)]
struct Version {
    #[serde(rename = "io.ultimate-mcp/version")]
    version: u32,
}

impl<'a> View<'a> {
    /// 2025-03-26 has neither titles nor `_meta` on prompts.
    fn of(prompt: &'a PromptEntry, revision: Revision) -> Self {
        let titled = revision != Revision::V2025_03_26;
        let argument = |a: &'a PromptArgument| ArgumentView {
            name: &a.name,
            description: &a.description,
            required: a.required,
        };
        Self {
            name: &prompt.name,
            title: titled.then_some(prompt.title.as_str()),
            description: &prompt.description,
            arguments: prompt.arguments.iter().map(argument).collect(),
            meta: titled.then_some(Version { version: prompt.version }),
        }
    }
}

#[derive(Serialize)]
struct Filled<'a> {
    description: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(flatten)]
    modern: Option<Complete<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: BlockView<'a>,
}

impl<'a> Message<'a> {
    fn of_user(content: &'a Block) -> Self {
        Self { role: "user", content: content.into() }
    }
}
