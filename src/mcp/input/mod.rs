//! Input that a call needs from the person or model behind the client (2026-07-28, MRTR): the answer says
//! `input_required`, and the client calls again with what it learned.
//!
//! Nothing waits here. What the asker wants to remember goes out sealed as `requestState` and comes back with
//! the next call; [`seal`] refuses what is not ours. Only what the client declared for this request is asked.
//! Sessions of 2025 are asked in their own way: [`session`].

mod answer;
pub(super) mod seal;
pub(super) mod session;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use ultimate_mcp_actors::deadline::Deadline;

pub(super) use answer::{Question, open, refused};
pub use seal::Remembered;

use super::params::Params;
use super::task::EXTENSION;
use super::wire::{object, text};
use crate::error::ApiError;

/// Most answers in one call.
const RESPONSES_MAX: usize = 16;
/// Longest `requestState`, in bytes; ours are far shorter.
const STATE_BYTES_MAX: usize = 16_384;

/// One thing to ask of the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// The person, by a form: what to say, and a flat JSON Schema of what to fill in. Never for secrets.
    Form {
        /// What the person reads.
        message: String,
        /// An object of strings, numbers, booleans and enums.
        schema: Value,
    },
    /// The model: the parameters of `sampling/createMessage`.
    Sample(Value),
    /// The folders the client works in.
    Roots,
}

/// What can be asked of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCan {
    /// Show a form.
    pub form: bool,
    /// Ask its model.
    pub sample: bool,
    /// Name its folders.
    pub roots: bool,
    /// Fetch the answer of a call later ([`super::Task`]).
    pub tasks: bool,
}

/// What a call needs before it can go on.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What to ask, each under a key that its answer will have.
    pub asks: Vec<(String, Ask)>,
    /// What to remember until then; the client carries it and can neither read nor change it.
    pub state: Option<String>,
}

/// What came with a call.
#[derive(Debug, Default)]
pub struct Input {
    /// What may be asked of the client.
    pub can: ClientCan,
    /// Its answers so far, by key. They are the client's words: check them.
    pub responses: BTreeMap<String, Value>,
    /// What the asker of before wanted to remember; it was sealed by this server for this caller and call.
    pub remembered: Option<Remembered>,
}

impl Input {
    /// What the asker of before wanted to remember; reading uses it up, for every call but this one.
    ///
    /// # Errors
    /// Whether it was used on another node cannot be said now: the call may be repeated.
    pub async fn state(&self, deadline: Deadline) -> Result<Option<&str>, ApiError> {
        match &self.remembered {
            Some(remembered) => remembered.read(deadline).await,
            None => Ok(None),
        }
    }

    /// What the person filled in under this key, when it was accepted.
    pub fn accepted(&self, key: &str) -> Option<&Value> {
        let response = self.responses.get(key)?;
        let accepted = response["action"] == "accept";
        response.get("content").filter(|content| accepted && content.is_object())
    }

    /// Whether the person said no, or went away, under this key.
    pub fn is_declined(&self, key: &str) -> bool {
        let action = self.responses.get(key).map(|response| &response["action"]);
        action.is_some_and(|action| action == "decline" || action == "cancel")
    }
}

impl Ask {
    fn method(&self) -> &'static str {
        match self {
            Ask::Form { .. } => "elicitation/create",
            Ask::Sample(_) => "sampling/createMessage",
            Ask::Roots => "roots/list",
        }
    }

    fn params(&self) -> Value {
        match self {
            Ask::Form { message, schema } => {
                json!({ "mode": "form", "message": message, "requestedSchema": schema })
            }
            Ask::Sample(params) => params.clone(),
            Ask::Roots => json!({}),
        }
    }

    /// The request as the client gets it, inside of an answer.
    pub(super) fn on_wire(&self) -> Value {
        json!({ "method": self.method(), "params": self.params() })
    }

    /// Name of the client's capability that this takes, and whether it has it.
    fn capability(&self, can: ClientCan) -> (&'static str, bool) {
        match self {
            Ask::Form { .. } => ("elicitation", can.form),
            Ask::Sample(_) => ("sampling", can.sample),
            Ask::Roots => ("roots", can.roots),
        }
    }
}

#[derive(Default, Deserialize)]
struct Declared<'a> {
    #[serde(borrow, default)]
    elicitation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sampling: Option<&'a RawValue>,
    #[serde(borrow, default)]
    roots: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

impl ClientCan {
    /// From `clientCapabilities`; what is malformed is not there. An `elicitation` without a mode has forms.
    pub(super) fn read(capabilities: Option<&RawValue>) -> Self {
        let Some(raw) = capabilities.filter(|raw| raw.get() != "{}") else {
            return Self::default();
        };
        let Some(declared) = object::<Declared<'_>>(raw) else { return Self::default() };
        let extensions = declared.extensions.and_then(object::<BTreeMap<String, &RawValue>>);
        let modes = declared.elicitation.and_then(object::<BTreeMap<String, Value>>);
        Self {
            form: modes.is_some_and(|modes| modes.is_empty() || modes.contains_key("form")),
            sample: declared.sampling.is_some_and(|raw| raw.get() != "null"),
            roots: declared.roots.is_some_and(|raw| raw.get() != "null"),
            tasks: extensions.is_some_and(|known| known.contains_key(EXTENSION)),
        }
    }
}

/// `inputResponses` and `requestState`, still sealed.
pub(super) type Sent = (BTreeMap<String, Value>, Option<String>);

/// Reads what came with a call.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(params: &Params<'_>) -> Result<Sent, String> {
    let responses: BTreeMap<String, Value> = match params.input_responses {
        None => BTreeMap::new(),
        Some(raw) => object(raw).ok_or("inputResponses must be an object")?,
    };
    if responses.len() > RESPONSES_MAX {
        return Err(format!("inputResponses must have at most {RESPONSES_MAX} members"));
    }
    let Some(state) = params.request_state else { return Ok((responses, None)) };
    let state = text(state).filter(|state| state.len() <= STATE_BYTES_MAX);
    let state = state.ok_or("requestState must be a string that this server gave")?;
    Ok((responses, Some(state.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn can(json: &str) -> ClientCan {
        ClientCan::read(Some(serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn only_what_a_client_declares_may_be_asked_of_it() {
        let none = ClientCan::default();
        for json in ["{}", "[]", "7", r#"{"elicitation":{"url":{}}}"#, r#"{"sampling":null}"#] {
            assert_eq!(can(json), none, "{json}");
        }
        assert!(can(r#"{"elicitation":{}}"#).form);
        assert!(can(r#"{"elicitation":{"form":{},"url":{}}}"#).form);
        let both = can(r#"{"sampling":{},"roots":{"listChanged":true}}"#);
        assert_eq!(both, ClientCan { sample: true, roots: true, ..none });
        assert!(can(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#).tasks);
        assert_eq!(can(r#"{"extensions":{"x":{}},"tasks":{}}"#), none);
    }

    #[test]
    fn an_answer_counts_only_when_the_person_accepted() {
        let input = |json: Value| Input {
            responses: serde_json::from_value(json).unwrap(),
            ..Input::default()
        };
        let yes = input(json!({ "k": { "action": "accept", "content": { "a": 1 } } }));
        assert_eq!(yes.accepted("k"), Some(&json!({ "a": 1 })));
        for bad in [json!({}), json!({ "k": 1 }), json!({ "k": { "action": "accept" } })] {
            let input = input(bad);
            assert!(input.accepted("k").is_none() && !input.is_declined("k"));
        }
        let no = input(json!({ "k": { "action": "decline", "content": { "a": 1 } } }));
        assert!(no.accepted("k").is_none() && no.is_declined("k"));
    }
}
