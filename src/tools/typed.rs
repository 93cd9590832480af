//! From raw JSON to typed arguments and back: one adapter for all tools.
//!
//! The schema clients see is derived from the same type that is deserialized, and the ranges in it
//! come from the same `garde` rules that are checked, so that they cannot disagree.

use std::future::Future;

use futures_util::future::BoxFuture;
use garde::Validate;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Tool, ToolCall, ToolDescriptor, ToolOutput};
use crate::error::{ApiError, Code, Problem};

/// A tool with typed arguments and a typed result.
pub trait TypedTool: Send + Sync + 'static {
    /// The arguments; `#[serde(deny_unknown_fields)]`, rules as `#[garde(…)]`.
    type Args: DeserializeOwned + JsonSchema + Validate<Context = ()> + Send;
    /// The structured result.
    type Output: Serialize + JsonSchema + Send;

    /// Name, permission, description; schemas are filled in by [`Typed::new`].
    fn describe(&self) -> ToolDescriptor;

    /// Runs the tool. Returns the result and facts for the audit.
    fn run(
        &self,
        args: Self::Args,
        call: &ToolCall<'_>,
    ) -> impl Future<Output = Result<Answer<Self::Output>, ApiError>> + Send;
}

/// What a typed tool answers.
pub struct Answer<T> {
    /// The structured result.
    pub output: T,
    /// A text for models when it says more than the JSON.
    pub text: Option<String>,
    /// Facts for the audit.
    pub audit: serde_json::Map<String, serde_json::Value>,
}

impl<T> From<T> for Answer<T> {
    fn from(output: T) -> Self {
        Self { output, text: None, audit: serde_json::Map::new() }
    }
}

/// Adapts a [`TypedTool`] to [`Tool`].
pub struct Typed<T> {
    tool: T,
    descriptor: ToolDescriptor,
}

impl<T: TypedTool> Typed<T> {
    /// Derives the schemas and wraps the tool.
    pub fn new(tool: T) -> Self {
        let mut descriptor = tool.describe();
        descriptor.input_schema = schema_of::<T::Args>(schemars::generate::Contract::Deserialize);
        descriptor.output_schema = schema_of::<T::Output>(schemars::generate::Contract::Serialize);
        Self { tool, descriptor }
    }
}

/// JSON Schema 2020-12, subschemas inlined so that no client has to follow `$ref`.
fn schema_of<S: JsonSchema>(contract: schemars::generate::Contract) -> serde_json::Value {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.contract = contract;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<S>().to_value();
    if let Some(map) = schema.as_object_mut() {
        map.remove("title");
    }
    schema
}

impl<T: TypedTool> Tool for Typed<T> {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Result<ToolOutput, ApiError>> {
        Box::pin(async move {
            let args = decode::<T::Args>(call.arguments.get())?;
            let answer = self.tool.run(args, &call).await?;
            let structured = serde_json::value::to_raw_value(&answer.output).map_err(|error| {
                ApiError::new(Code::Internal, "the result could not be encoded").caused_by(error)
            })?;
            Ok(ToolOutput { structured, text: answer.text, is_error: false, audit: answer.audit })
        })
    }
}

/// Parses and checks arguments; the error names each field, what was wrong and what is allowed.
pub fn decode<A: DeserializeOwned + Validate<Context = ()>>(json: &str) -> Result<A, ApiError> {
    // serde would read an array as the fields in their order.
    if !json.trim_start().starts_with('{') {
        let problem = Problem { path: "arguments".into(), problem: "must be an object".into() };
        return Err(ApiError::invalid_arguments(vec![problem]));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let args: A = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => "arguments".to_owned(),
            path => path,
        };
        ApiError::invalid_arguments(vec![Problem { path, problem: reason(error.inner()) }])
    })?;
    args.validate().map_err(|report| {
        let problems = report
            .iter()
            .map(|(path, error)| Problem { path: path.to_string(), problem: error.to_string() })
            .collect();
        ApiError::invalid_arguments(problems)
    })?;
    Ok(args)
}

/// serde's message without the position, which means nothing to who did not write the bytes.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
