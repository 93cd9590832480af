//! `generate_code`: renders a template, given in the call or named in the library.
//!
//! Called through the registry. Refuses templates and contexts beyond the size bounds, variables a
//! named template does not know, and work beyond fuel and process limits (see [`engine`], [`worker`]).

pub mod engine;
pub mod worker;

use std::path::Path;
use std::sync::Arc;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ultimate_mcp_actors::audit::EventType;

use super::documents::{Document, DocumentError, Library};
use super::hash::sha256_hex;
use super::typed::problem;
use super::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};
use crate::error::{ApiError, Problem};
use engine::{Escape, Job, Reply};
use worker::Renderer;

/// Longest template in a call, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 128 * 1024;
/// Largest context, in bytes of JSON.
pub const CONTEXT_BYTES_MAX: usize = 512 * 1024;

/// The named templates every server has.
const BUILT_IN: &[(&str, &str)] = &[
    ("bash_script.j2", include_str!("../../../config/templates/bash_script.j2")),
    ("dockerfile.j2", include_str!("../../../config/templates/dockerfile.j2")),
    ("express_handler.j2", include_str!("../../../config/templates/express_handler.j2")),
    ("pytest_suite.j2", include_str!("../../../config/templates/pytest_suite.j2")),
    ("python_module.j2", include_str!("../../../config/templates/python_module.j2")),
    ("rust_cli.j2", include_str!("../../../config/templates/rust_cli.j2")),
];

/// The built-in templates and those of an operator's folder (`*.j2`).
///
/// # Errors
/// The first template that cannot be used.
pub fn load_templates(folder: Option<&Path>) -> Result<Library, DocumentError> {
    Library::load(BUILT_IN, folder, "j2")
}

/// Arguments of `generate_code`: exactly one of `template` and `name`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with template or name")]
pub struct GenerateArgs {
    /// The template itself, in Jinja syntax, at most 128 KiB. Give this or `name`.
    #[garde(length(bytes, min = 1, max = TEMPLATE_BYTES_MAX))]
    pub template: Option<String>,
    /// A named template of this server. Give this or `template`.
    #[garde(length(bytes, min = 1, max = 64))]
    pub name: Option<String>,
    /// Variables of the template: any JSON, at most 512 KiB.
    #[serde(default)]
    #[garde(custom(context_size))]
    pub context: Map<String, Value>,
    /// Language of the output: html and xml escape values as entities, json writes them as JSON;
    /// every other language writes them as they are. Default: the named template's, else none.
    #[garde(length(bytes, min = 1, max = 32))]
    pub language: Option<String>,
}

fn context_size(context: &Map<String, Value>, _: &()) -> garde::Result {
    let mut bytes = Counter(0);
    let counted = serde_json::to_writer(&mut bytes, context);
    if counted.is_err() || bytes.0 > CONTEXT_BYTES_MAX {
        let problem = format!("must be at most {CONTEXT_BYTES_MAX} bytes of JSON");
        return Err(garde::Error::new(problem));
    }
    Ok(())
}

/// Counts what is written and keeps nothing.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Result of `generate_code`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GenerateResult {
    /// The rendered text.
    pub output: String,
    /// SHA-256 of the template in hexadecimal.
    pub template_hash: String,
    /// The named template; null when the call brought its own.
    pub name: Option<String>,
    /// Language of the output, when known.
    pub language: Option<String>,
}

/// The tool.
pub struct GenerateCode {
    library: Arc<Library>,
    renderer: Arc<dyn Renderer>,
}

impl GenerateCode {
    /// A tool with these named templates.
    pub fn new(library: Arc<Library>, renderer: Arc<dyn Renderer>) -> Self {
        Self { library, renderer }
    }

    /// The template, and the document it is of.
    fn source<'a>(
        &'a self,
        template: Option<&'a str>,
        name: Option<&str>,
    ) -> Result<(&'a str, Option<&'a Document>), ApiError> {
        match (template, name) {
            (Some(template), None) => Ok((template, None)),
            (None, Some(name)) => match self.library.get(name) {
                Some(document) => Ok((&document.body, Some(document))),
                None => {
                    let names = self.library.slugs();
                    Err(problem("name", &format!("no such template; there are: {names}")))
                }
            },
            (Some(_), Some(_)) => Err(problem("arguments", "must have template or name, not both")),
            (None, None) => Err(problem("arguments", "must have template or name")),
        }
    }
}

/// A named template's variables: all required ones are there, and no others than it declares.
/// Optional ones that are not given are `none`.
fn complete(
    document: &Document,
    mut context: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let declared = &document.head.arguments;
    let mut problems = Vec::new();
    for name in context.keys() {
        if !declared.iter().any(|argument| argument.name == *name) {
            let known: Vec<_> = declared.iter().map(|argument| argument.name.as_str()).collect();
            let problem = format!("unknown variable; this template has: {}", known.join(", "));
            problems.push(Problem { path: format!("context.{name}"), problem });
        }
    }
    for argument in declared {
        if argument.required && !context.contains_key(&argument.name) {
            let path = format!("context.{}", argument.name);
            let problem = format!("is required: {}", argument.description);
            problems.push(Problem { path, problem });
        }
        context.entry(argument.name.clone()).or_insert(Value::Null);
    }
    if problems.is_empty() { Ok(context) } else { Err(ApiError::invalid_arguments(problems)) }
}

impl TypedTool for GenerateCode {
    type Args = GenerateArgs;
    type Output = GenerateResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "generate_code",
            title: "Generate code from a template",
            description: format!("{DESCRIPTION}{}", catalogue(&self.library)),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations::READS,
            permission: "tools:generate",
            event_type: EventType::CodeGeneration,
            effects: Effects::None,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: GenerateArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<GenerateResult>, ApiError> {
        let GenerateArgs { template, name, context, language } = args;
        let (source, document) = self.source(template.as_deref(), name.as_deref())?;
        let (source, template_hash) = (source.to_owned(), sha256_hex(source.as_bytes()));
        let own_language = document.and_then(|document| document.head.language.clone());
        let language = language.or(own_language);
        let context = match document {
            Some(document) => complete(document, context)?,
            None => context,
        };
        let (variables, template_bytes) = (context.len(), source.len());
        let job = Job { source, context, escape: Escape::of(language.as_deref()) };
        let output = match self.renderer.render(job, call.deadline).await? {
            Reply::Rendered(output) => output,
            Reply::Refused { line, problem: why } => {
                let why = match line {
                    Some(line) => format!("line {line}: {why}"),
                    None => why,
                };
                let path = if name.is_some() { "context" } else { "template" };
                return Err(problem(path, &why));
            }
        };
        let output_bytes = output.len();
        let result = GenerateResult {
            output,
            template_hash: template_hash.clone(),
            name: name.clone(),
            language,
        };
        Ok(Answer::from(result)
            .fact("template_hash", template_hash)
            .fact("template", name)
            .fact("template_bytes", template_bytes)
            .fact("variables", variables)
            .fact("output_bytes", output_bytes))
    }
}

/// The named templates, a line each, for the description.
fn catalogue(library: &Library) -> String {
    let line = |document: &Document| {
        let arguments = document.head.arguments.iter();
        let arguments: Vec<String> =
            arguments.map(|a| format!("{}{}", a.name, if a.required { "" } else { "?" })).collect();
        let head = &document.head;
        format!("\n- {}({}): {}", head.slug, arguments.join(", "), head.description)
    };
    library.iter().map(line).collect()
}

const DESCRIPTION: &str = "\
Renders a Jinja template to text: code, configuration, documents. Bring your own `template`, or use a \
named one by `name`. Every variable the template uses must be in `context`; an undefined one is an error \
that names it and its line. Loops, conditions, macros, filters and tests of Jinja work; including other \
templates does not, and nothing of the server can be reached. Work, memory and output (1 MiB) are bounded.

Example: {\"template\": \"{% for f in fields %}{{ f.name }}: {{ f.type }}\\n{% endfor %}\", \"context\": \
{\"fields\": [{\"name\": \"id\", \"type\": \"int\"}]}, \"language\": \"python\"} gives {\"output\": \"id: int\\n\", …}.

Named templates (? = optional variable):";

#[cfg(test)]
mod tests;
