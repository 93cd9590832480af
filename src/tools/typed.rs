//! From raw JSON to typed arguments and back: one adapter for all tools.
//!
//! The schema clients see is derived from the same type that is deserialized, and the ranges in it
//! come from the same `garde` rules that are checked, so that they cannot disagree.
//! Called by [`super::Registry`]; refuses everything the schema does not allow, naming the field.

use std::future::Future;

use futures_util::future::BoxFuture;
use garde::Validate;
use garde::i18n::with_i18n;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::schema::{input_schema_of, output_schema_of};
use super::shape::positional;
use super::wording::Wording;
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

    /// As [`Tool::handle_argument`].
    fn handle_argument(&self) -> Option<&'static str> {
        None
    }

    /// As [`Tool::room`].
    fn room(&self, _call: &ToolCall<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// Runs the tool. Returns the result and facts for the audit.
    fn run(
        &self,
        args: Self::Args,
        call: &ToolCall<'_>,
    ) -> impl Future<Output = Result<Answer<Self::Output>, ApiError>> + Send;
}

/// What a typed tool answers.
#[derive(Debug)]
pub struct Answer<T> {
    /// The structured result.
    pub output: T,
    /// A text for models when it says more than the JSON.
    pub text: Option<String>,
    /// The tool could not do what it is for; `output` says why and still conforms to the schema.
    pub is_error: bool,
    /// Facts for the audit.
    pub audit: Map<String, Value>,
}

impl<T> From<T> for Answer<T> {
    fn from(output: T) -> Self {
        Self { output, text: None, is_error: false, audit: Map::new() }
    }
}

impl<T> Answer<T> {
    /// Adds one fact for the audit: a size, a hash, a status; never code, data or secrets.
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.audit.insert(name.to_owned(), value.into());
        self
    }

    /// The same around another result.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        let Self { output, text, is_error, audit } = self;
        Answer { output: change(output), text, is_error, audit }
    }

    /// Says that the tool could not do what it is for.
    pub fn failed_if(mut self, failed: bool) -> Self {
        self.is_error = failed;
        self
    }

    /// Replaces the JSON by a text in what models read.
    pub fn with_text(mut self, text: String) -> Self {
        self.text = Some(text);
        self
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
        descriptor.input_schema = input_schema_of::<T::Args>();
        descriptor.output_schema = output_schema_of::<T::Output>();
        Self { tool, descriptor }
    }
}

impl<T: TypedTool> Tool for Typed<T> {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    fn handle_argument(&self) -> Option<&'static str> {
        self.tool.handle_argument()
    }

    fn room(&self, call: &ToolCall<'_>) -> Result<(), ApiError> {
        self.tool.room(call)
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Result<ToolOutput, ApiError>> {
        Box::pin(async move {
            let args = decode::<T::Args>(call.arguments.get())?;
            if let Some(path) = positional(&self.descriptor.input_schema, call.arguments.get()) {
                return Err(problem(&path, "must be an object with named fields, not an array"));
            }
            let answer = self.tool.run(args, &call).await?;
            let structured = serde_json::value::to_raw_value(&answer.output).map_err(|error| {
                ApiError::new(Code::Internal, "the result could not be encoded").caused_by(error)
            })?;
            let Answer { text, is_error, audit, .. } = answer;
            Ok(ToolOutput { structured, text, is_error, audit })
        })
    }
}

/// Parses and checks arguments; the error names each field, what was wrong and what is allowed.
pub fn decode<A: DeserializeOwned + Validate<Context = ()>>(json: &str) -> Result<A, ApiError> {
    // serde reads a struct from an array as well, by position; arguments have names.
    if !json.trim_start().starts_with('{') {
        return Err(problem("arguments", "must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let args: A = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => "arguments".to_owned(),
            path => path,
        };
        problem(&path, &reason(error.inner()))
    })?;
    deserializer.end().map_err(|_| problem("arguments", "must be one JSON object"))?;
    with_i18n(Wording, || args.validate()).map_err(|report| {
        let problems = report
            .iter()
            .map(|(path, error)| Problem { path: path.to_string(), problem: error.to_string() })
            .collect();
        ApiError::invalid_arguments(problems)
    })?;
    Ok(args)
}

/// One wrong argument.
pub(super) fn problem(path: &str, problem: &str) -> ApiError {
    ApiError::invalid_arguments(vec![Problem {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }])
}

/// serde's message without the position, which means nothing to who did not write the bytes.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, Validate)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[garde(range(min = 1, max = 3))]
        number: u32,
        #[garde(dive)]
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize, JsonSchema, Validate)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[garde(length(bytes, max = 2))]
        text: String,
    }

    #[test]
    fn every_mistake_names_its_field_and_what_is_allowed() {
        let table = [
            ("[1]", "arguments: must be a JSON object"),
            ("null", "arguments: must be a JSON object"),
            ("{}", "arguments: missing field `number`"),
            (r#"{"number":"x"}"#, "number: invalid type: string \"x\", expected u32"),
            (r#"{"number":9}"#, "number: must be at most 3"),
            (r#"{"number":0}"#, "number: must be at least 1"),
            (r#"{"number":1,"number":2}"#, "arguments: duplicate field `number`"),
            (
                r#"{"number":1,"other":2}"#,
                "other: unknown field `other`, expected `number` or `inner`",
            ),
            (
                r#"{"number":1,"inner":[{"text":"ok"},{"text":"far"}]}"#,
                "inner[1].text: length must be at most 2",
            ),
        ];
        for (json, expected) in table {
            let error = decode::<Outer>(json).unwrap_err();
            assert_eq!(error.code, Code::InvalidArguments);
            assert_eq!(error.public, expected, "for {json}");
        }
    }
}
