//! Another node's answer, turned back into what it was there: a tool's output or an error.

use std::time::Duration;

use reqwest::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ultimate_mcp_actors::fault::Retry;
use ultimate_mcp_actors::node::NodeId;

use super::gone;
use crate::error::{ApiError, Code, Problem};
use crate::tools::ToolOutput;

/// Marks an answer as an [`Envelope`].
pub const ANSWER_HEADER: &str = "x-umcp-node-answer";

/// A tool's output between nodes: a REST client gets only part of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`ToolOutput::structured`].
    pub structured: Box<RawValue>,
    /// [`ToolOutput::text`].
    pub text: Option<String>,
    /// [`ToolOutput::is_error`].
    pub is_error: bool,
}

/// What of an answer is looked at beside its body.
pub(super) struct Head {
    pub is_success: bool,
    is_envelope: bool,
}

impl Head {
    pub(super) fn of(response: &Response) -> Self {
        let is_envelope = response.headers().contains_key(ANSWER_HEADER);
        Self { is_success: response.status().is_success(), is_envelope }
    }
}

#[derive(Deserialize)]
struct Failure {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    message: String,
    retry: String,
    retry_after_seconds: Option<u64>,
    #[serde(default)]
    problems: Vec<Problem>,
    #[serde(default)]
    required_permissions: Vec<String>,
}

/// The output, or the other node's error.
pub(super) fn output(head: &Head, body: &[u8], node: &NodeId) -> Result<ToolOutput, ApiError> {
    if !(head.is_success && head.is_envelope) {
        return Err(failure(body, node));
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| foreign(node))?;
    let Envelope { structured, text, is_error } = envelope;
    Ok(ToolOutput { structured, text, is_error, audit: serde_json::Map::new() })
}

/// The other node's error as it would have told the client.
pub(super) fn failure(body: &[u8], node: &NodeId) -> ApiError {
    let Ok(Failure { error }) = serde_json::from_slice::<Failure>(body) else {
        return foreign(node);
    };
    let code = Code::ALL.iter().copied().find(|code| code.slug() == error.code);
    let mut mapped = ApiError::new(code.unwrap_or(Code::Internal), error.message);
    mapped.retry = match error.retry.as_str() {
        "safe" => Retry::Safe,
        "after" => Retry::After(Duration::from_secs(error.retry_after_seconds.unwrap_or(1))),
        "never" => Retry::Never,
        _ => Retry::Unsafe,
    };
    mapped.problems = error.problems;
    mapped.scopes = error.required_permissions.into();
    mapped
}

/// Something between the nodes answered, or a node of another version.
fn foreign(node: &NodeId) -> ApiError {
    let message = format!("node {node} did not answer as a node does; effects are unknown");
    gone(message, Retry::Unsafe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeId {
        NodeId::parse("b").unwrap()
    }

    #[test]
    fn an_error_comes_back_as_it_was() {
        let problem = Problem { path: "code".into(), problem: "is missing".into() };
        let wrong = ApiError::invalid_arguments(vec![problem]);
        let busy = ApiError::new(Code::Overloaded, "busy").retry_after(Duration::from_secs(3));
        let mut forbidden = ApiError::new(Code::Forbidden, "no");
        forbidden.scopes = Box::new(["tools:execute".into()]);
        for error in [wrong, busy, forbidden, ApiError::new(Code::Crashed, "crashed")] {
            let body = error.to_rest();
            let back = failure(body.to_string().as_bytes(), &node());
            assert_eq!((back.to_rest(), back.code), (body, error.code));
        }
    }

    #[test]
    fn an_output_comes_back_as_it_was_and_what_is_no_answer_is_an_error() {
        let head = |is_success, is_envelope| Head { is_success, is_envelope };
        let body = br#"{"structured":{"error":1},"text":"words","is_error":true}"#;
        let back = output(&head(true, true), body, &node()).unwrap();
        assert_eq!((back.structured.get(), back.is_error), (r#"{"error":1}"#, true));
        assert_eq!(back.text.as_deref(), Some("words"));
        for (head, body) in [(head(true, false), &body[..]), (head(false, true), b"<html>")] {
            let error = output(&head, body, &node()).unwrap_err();
            assert_eq!((error.code, error.retry), (Code::NodeGone, Retry::Unsafe));
        }
    }
}
