//! What a host offers beside tools: prompts, resources, completions; as it hands them to this layer.
//!
//! Plain data; how each revision writes it is in `methods/prompts.rs`, `resources.rs`, `completion.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::task::Task;
use crate::tools::ToolOutput;

/// A prompt in a list.
#[derive(Clone, Debug)]
pub struct PromptEntry {
    /// Its name for `prompts/get`, at most 64 bytes of visible ASCII.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it is good for.
    pub description: String,
    /// Counts its revisions, from 1.
    pub version: u32,
    /// What it takes.
    pub arguments: Vec<PromptArgument>,
}

/// An argument of a prompt; a text.
#[derive(Clone, Debug)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What to give.
    pub description: String,
    /// Whether it must be given.
    pub required: bool,
}

/// A prompt, filled in: messages of the user's.
#[derive(Clone, Debug)]
pub struct PromptText {
    /// What it is good for.
    pub description: String,
    /// The messages, at least one.
    pub messages: Vec<Block>,
}

/// One piece of content, in a message of a prompt or in the result of a tool.
#[derive(Clone, Debug)]
pub enum Block {
    /// Words.
    Text(String),
    /// A picture.
    Image {
        /// Its media type.
        mime_type: Cow<'static, str>,
        /// Sent as Base64.
        data: Vec<u8>,
    },
    /// A sound.
    Audio {
        /// Its media type.
        mime_type: Cow<'static, str>,
        /// Sent as Base64.
        data: Vec<u8>,
    },
    /// A resource with its content.
    Resource {
        /// Its URI.
        uri: String,
        /// Its media type.
        mime_type: Cow<'static, str>,
        /// Its content.
        body: Body,
    },
}

/// What a call of a tool gave.
#[derive(Debug)]
pub struct Called {
    /// The tool's answer. A structured result of `null` is none: such a tool has no output schema.
    pub output: ToolOutput,
    /// What is shown beside it, in this order after its text.
    pub blocks: Vec<Block>,
    /// Set when the answer is to be fetched later: then this is the answer.
    pub task: Option<Box<Task>>,
}

impl From<ToolOutput> for Called {
    fn from(output: ToolOutput) -> Self {
        Self { output, blocks: Vec::new(), task: None }
    }
}

/// A resource in a list.
#[derive(Clone, Debug)]
pub struct ResourceEntry {
    /// Its URI, at most 256 bytes of visible ASCII.
    pub uri: String,
    /// A short name.
    pub name: String,
    /// For people.
    pub title: String,
    /// What is in it.
    pub description: String,
    /// Its media type.
    pub mime_type: Cow<'static, str>,
    /// Bytes of content, when known beforehand.
    pub size: Option<u64>,
}

/// A family of resources.
#[derive(Clone, Copy, Debug)]
pub struct TemplateEntry {
    /// RFC 6570, level 1.
    pub uri_template: &'static str,
    /// A short name.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What is in them.
    pub description: &'static str,
    /// Their media type, when all have the same.
    pub mime_type: Option<&'static str>,
}

/// The content of a resource.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its media type.
    pub mime_type: Cow<'static, str>,
    /// The content.
    pub body: Body,
    /// Whether it stays the same while the server runs, so that clients may keep it.
    pub is_fixed: bool,
    /// What is said about it (`_meta`), if anything.
    pub meta: Option<Value>,
}

/// Text, or bytes that are none.
#[derive(Clone, Debug)]
pub enum Body {
    /// Sent as it is.
    Text(Cow<'static, str>),
    /// Sent as Base64.
    Blob(Vec<u8>),
}

/// What values are wanted for.
#[derive(Clone, Debug)]
pub enum Reference {
    /// The prompt of this name.
    Prompt(String),
    /// The template with this text.
    Template(String),
}

/// What a client wants to have completed.
#[derive(Clone, Debug)]
pub struct Asked {
    /// A prompt or a template.
    pub reference: Reference,
    /// The argument or variable.
    pub name: String,
    /// What is typed so far.
    pub value: String,
    /// Other arguments, by name.
    pub context: BTreeMap<String, String>,
}

/// Values that would do.
#[derive(Clone, Debug, Default)]
pub struct Completed {
    /// The first of them; this layer sends 100 at most.
    pub values: Vec<String>,
}
