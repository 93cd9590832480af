//! Prompts: ready-made instructions for models, with arguments.
//!
//! Built in (`config/prompts/*.md`) or from an operator's folder; checked at start and, when a file of the
//! folder changed, again ([`watch`]): what does not check changes nothing. Served by the tools `list_prompts` and
//! `get_prompt`, through which `prompts/list` and `prompts/get` go too. The bodies are trusted
//! templates of this server or its operator, and arguments are only texts printed into them, so they
//! are rendered in this process.

mod get;
mod list;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use get::{GetPrompt, GetPromptResult};
pub use list::{ListPrompts, ListPromptsResult};
pub use watch::watch;

use super::documents::{Document, DocumentError, Library};
use super::generate::engine::{Escape, Job, Reply, render};
use super::typed::problem;
use crate::error::{ApiError, Problem};

/// Largest arguments of one prompt together, in bytes.
pub const ARGUMENTS_BYTES_MAX: usize = 512 * 1024;

const BUILT_IN: &[(&str, &str)] = &[
    ("clean.md", include_str!("../../../config/prompts/clean.md")),
    ("code_review.md", include_str!("../../../config/prompts/code_review.md")),
    ("evaluate.md", include_str!("../../../config/prompts/evaluate.md")),
    ("improve.md", include_str!("../../../config/prompts/improve.md")),
    ("proceed.md", include_str!("../../../config/prompts/proceed.md")),
    ("real-a.md", include_str!("../../../config/prompts/real-a.md")),
    ("synthesize.md", include_str!("../../../config/prompts/synthesize.md")),
    ("test-a.md", include_str!("../../../config/prompts/test-a.md")),
];

/// What is known of a prompt without its text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PromptInfo {
    /// Its name for `get_prompt`.
    pub slug: String,
    /// For people.
    pub title: String,
    /// What it is good for.
    pub description: String,
    /// Counts its revisions, from 1.
    pub version: u32,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What it takes.
    pub arguments: Vec<PromptArgument>,
}

/// One argument of a prompt; a text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What to give.
    pub description: String,
    /// Whether it must be given.
    pub required: bool,
}

/// The prompts of this server; replaced as a whole when the operator's change.
#[derive(Debug)]
pub struct Prompts {
    folder: Option<PathBuf>,
    library: ArcSwap<Library>,
}

impl Prompts {
    /// The built-in prompts and those of an operator's folder (`*.md`).
    ///
    /// # Errors
    /// The first prompt that cannot be used.
    pub fn load(folder: Option<&Path>) -> Result<Self, DocumentError> {
        let library = ArcSwap::from_pointee(Library::load(BUILT_IN, folder, "md")?);
        Ok(Self { folder: folder.map(Path::to_owned), library })
    }

    /// Reads the operator's folder again. Blocks on the disk.
    ///
    /// # Errors
    /// The first prompt that cannot be used; what was in force stays.
    pub fn reload(&self) -> Result<(), DocumentError> {
        let library = Library::load(BUILT_IN, self.folder.as_deref(), "md")?;
        self.library.store(library.into());
        Ok(())
    }

    /// All prompts, by slug.
    pub fn list(&self) -> impl Iterator<Item = PromptInfo> + use<> {
        self.library.load().iter().map(info).collect::<Vec<_>>().into_iter()
    }

    /// Values that a prompt's document proposes for an argument; `None` when there is no such prompt or
    /// argument.
    pub fn values(&self, slug: &str, argument: &str) -> Option<Vec<String>> {
        let library = self.library.load();
        let arguments = &library.get(slug)?.head.arguments;
        Some(arguments.iter().find(|known| known.name == argument)?.values.clone())
    }

    /// A prompt with its arguments filled in.
    ///
    /// # Errors
    /// An unknown slug; an argument that is missing or unknown.
    pub fn get(
        &self,
        slug: &str,
        arguments: &BTreeMap<String, String>,
    ) -> Result<(PromptInfo, String), ApiError> {
        let library = self.library.load();
        let Some(document) = library.get(slug) else {
            let slugs = library.slugs();
            return Err(problem("slug", &format!("no such prompt; there are: {slugs}")));
        };
        let context = filled(document, arguments)?;
        let job = Job { source: document.body.clone(), context, escape: Escape::None };
        match render(&job) {
            Reply::Rendered(text) => Ok((info(document), text)),
            Reply::Refused { problem: why, .. } => Err(problem("arguments", &why)),
        }
    }
}

fn info(document: &Document) -> PromptInfo {
    let head = document.head.clone();
    let argument = |argument: super::documents::Argument| PromptArgument {
        name: argument.name,
        description: argument.description,
        required: argument.required,
    };
    PromptInfo {
        slug: head.slug,
        title: head.title,
        description: head.description,
        version: head.version,
        tags: head.tags,
        arguments: head.arguments.into_iter().map(argument).collect(),
    }
}

/// The variables of the body: what is given, and `none` for what is optional and not given.
fn filled(
    document: &Document,
    arguments: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, ApiError> {
    let declared = &document.head.arguments;
    let mut problems = Vec::new();
    for name in arguments.keys() {
        if !declared.iter().any(|argument| argument.name == *name) {
            let known: Vec<_> = declared.iter().map(|argument| argument.name.as_str()).collect();
            let problem = format!("unknown argument; this prompt has: {}", known.join(", "));
            problems.push(Problem { path: format!("arguments.{name}"), problem });
        }
    }
    let mut context = Map::new();
    for argument in declared {
        let value = arguments.get(&argument.name);
        if argument.required && value.is_none_or(|text| text.trim().is_empty()) {
            let path = format!("arguments.{}", argument.name);
            let problem = format!("is required: {}", argument.description);
            problems.push(Problem { path, problem });
        }
        context.insert(argument.name.clone(), value.cloned().map_or(Value::Null, Value::String));
    }
    if problems.is_empty() { Ok(context) } else { Err(ApiError::invalid_arguments(problems)) }
}
