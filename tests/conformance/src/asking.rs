//! The suites' tools that ask, and the prompt that does. Keys, states and words are the suites'.

use std::time::Duration;

use serde_json::{Value, json};
use ultimate_mcp::error::ApiError;
use ultimate_mcp::mcp::{Ask, Called, Input, Wanted};
use ultimate_mcp_actors::deadline::Deadline;

use crate::fixture_tools::said;

/// The tools by name, with what they are for.
pub const ASKING: [(&str, &str); 14] = [
    ("test_input_required_result_elicitation", "Asks for a name."),
    ("test_input_required_result_sampling", "Asks the model."),
    ("test_input_required_result_list_roots", "Asks for folders."),
    ("test_input_required_result_request_state", "Asks and remembers."),
    ("test_input_required_result_tampered_state", "Asks and remembers."),
    ("test_input_required_result_multiple_inputs", "Asks three things at once."),
    ("test_input_required_result_multi_round", "Asks twice."),
    ("test_input_required_result_capabilities", "Asks what can be asked."),
    ("test_missing_capability", "Needs a model."),
    ("test_streaming_elicitation", "Asks for a confirmation."),
    ("test_sampling", "Asks the model for what it is given."),
    ("test_elicitation", "Asks for a user."),
    ("test_elicitation_sep1034_defaults", "Asks with defaults of every kind."),
    ("test_elicitation_sep1330_enums", "Asks with enums of every kind."),
];

/// No other node is to be asked: it does not take this long.
const READ_MAX: Duration = Duration::from_secs(1);

/// The prompt that asks.
pub const PROMPT: &str = "test_input_required_result_prompt";

/// A form with one field.
pub fn form(message: &str, field: &str, kind: &str) -> Ask {
    let schema = json!({
        "type": "object", "properties": { field: { "type": kind } }, "required": [field],
    });
    Ask::Form { message: message.to_owned(), schema }
}

fn sample(text: &str, tokens: u32) -> Ask {
    let content = json!({ "type": "text", "text": text });
    Ask::Sample(
        json!({ "messages": [{ "role": "user", "content": content }], "maxTokens": tokens }),
    )
}

/// An answer that asks.
///
/// # Errors
/// Always: that is how a tool asks.
pub fn ask<T>(asks: Vec<(&str, Ask)>, state: Option<&str>) -> Result<T, ApiError> {
    let asks = asks.into_iter().map(|(key, ask)| (key.to_owned(), ask)).collect();
    let wanted = Wanted { asks, state: state.map(str::to_owned) };
    Err(ApiError::input_required(wanted, "the client cannot be asked"))
}

/// The text that was filled in under this key.
pub fn filled(input: &Input, key: &str, field: &str) -> Option<String> {
    input.accepted(key)?[field].as_str().map(str::to_owned)
}

/// What the prompt is filled in with.
///
/// # Errors
/// It asks first.
pub fn context(input: &Input) -> Result<String, ApiError> {
    match filled(input, "user_context", "context") {
        Some(context) => Ok(context),
        None => {
            let question = form("What context should the prompt use?", "context", "string");
            ask(vec![("user_context", question)], None)
        }
    }
}

/// One call of a tool that asks; `None` for the others.
pub async fn call(name: &str, text: &str, input: &Input) -> Option<Result<Called, ApiError>> {
    if let Some(schema) = schema_of(name) {
        return Some(match input.responses.get("user") {
            Some(answer) => {
                let (action, content) = (&answer["action"], &answer["content"]);
                said(&format!("Elicitation completed: action={action}, content={content}"))
            }
            None => ask(vec![("user", Ask::Form { message: text.to_owned(), schema })], None),
        });
    }
    let name = name.strip_prefix("test_")?;
    Some(match name.strip_prefix("input_required_result_").unwrap_or(name) {
        "elicitation" if name != "elicitation" => name_of(input),
        "sampling" if name != "sampling" => match input.responses.get("capital_question") {
            Some(answer) => said(&format!("The model said: {}", answer["content"]["text"])),
            None => ask(vec![("capital_question", sample(CAPITAL, 100))], None),
        },
        "list_roots" => match input.responses.get("client_roots") {
            Some(answer) => said(&format!("The folders: {}", answer["roots"])),
            None => ask(vec![("client_roots", Ask::Roots)], None),
        },
        "request_state" | "tampered_state" => remembers(input).await,
        "multiple_inputs" => several(input),
        "multi_round" => rounds(input).await,
        "capabilities" => possible(input),
        "missing_capability" => match input.responses.get("capital_question") {
            Some(_) => said("The model answered."),
            None => ask(vec![("capital_question", sample(CAPITAL, 100))], None),
        },
        "sampling" => match input.responses.get("answer") {
            Some(answer) => said(&format!("LLM response: {}", answer["content"]["text"])),
            None => ask(vec![("answer", sample(text, 100))], None),
        },
        "streaming_elicitation" => match input.accepted("confirm") {
            Some(_) => said("Confirmed."),
            None => ask(vec![("confirm", form("Please confirm", "ok", "boolean"))], None),
        },
        _ => return None,
    })
}

/// The form of a tool that asks for a user.
fn schema_of(name: &str) -> Option<Value> {
    let text = json!({ "type": "string" });
    let titled = json!([
        { "const": "value1", "title": "First" }, { "const": "value2", "title": "Second" },
    ]);
    let (properties, required) = match name {
        "test_elicitation" => {
            (json!({ "username": text, "email": text }), json!(["username", "email"]))
        }
        "test_elicitation_sep1034_defaults" => (
            json!({
                "name": { "type": "string", "default": "John Doe" },
                "age": { "type": "integer", "default": 30 },
                "score": { "type": "number", "default": 95.5 },
                "status": {
                    "type": "string", "enum": ["active", "inactive", "pending"], "default": "active",
                },
                "verified": { "type": "boolean", "default": true },
            }),
            json!([]),
        ),
        "test_elicitation_sep1330_enums" => (
            json!({
                "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
                "titledSingle": { "type": "string", "oneOf": titled },
                "legacyEnum": {
                    "type": "string", "enum": ["opt1", "opt2"], "enumNames": ["One", "Two"],
                },
                "untitledMulti": {
                    "type": "array", "items": { "type": "string", "enum": ["option1", "option2"] },
                },
                "titledMulti": { "type": "array", "items": { "anyOf": titled } },
            }),
            json!([]),
        ),
        _ => return None,
    };
    Some(json!({ "type": "object", "properties": properties, "required": required }))
}

const CAPITAL: &str = "What is the capital of France?";

fn name_of(input: &Input) -> Result<Called, ApiError> {
    match filled(input, "user_name", "name") {
        Some(name) => said(&format!("Hello, {name}!")),
        None => ask(vec![("user_name", form("What is your name?", "name", "string"))], None),
    }
}

fn several(input: &Input) -> Result<Called, ApiError> {
    let keys = ["user_name", "greeting", "client_roots"];
    if keys.iter().all(|key| input.responses.contains_key(*key)) {
        let answers: Vec<&Value> = keys.iter().map(|key| &input.responses[*key]).collect();
        return said(&format!("All three came: {answers:?}"));
    }
    let asks = vec![
        ("user_name", form("What is your name?", "name", "string")),
        ("greeting", sample("Generate a greeting", 50)),
        ("client_roots", Ask::Roots),
    ];
    ask(asks, Some("several"))
}

async fn remembers(input: &Input) -> Result<Called, ApiError> {
    match (input.accepted("confirm"), input.state(Deadline::after(READ_MAX)).await?) {
        (Some(_), Some("remembered")) => said("state-ok"),
        _ => ask(vec![("confirm", form("Please confirm", "ok", "boolean"))], Some("remembered")),
    }
}

async fn rounds(input: &Input) -> Result<Called, ApiError> {
    let state = input.state(Deadline::after(READ_MAX)).await?.unwrap_or_default();
    if let (Some(name), Some(colour)) = (state.strip_prefix("2:"), filled(input, "step2", "color"))
    {
        return said(&format!("{name} likes {colour}."));
    }
    match filled(input, "step1", "name") {
        Some(name) if state == "1" => {
            let question = form("Step 2: What is your favorite color?", "color", "string");
            ask(vec![("step2", question)], Some(&format!("2:{name}")))
        }
        _ => ask(vec![("step1", form("Step 1: What is your name?", "name", "string"))], Some("1")),
    }
}

fn possible(input: &Input) -> Result<Called, ApiError> {
    if !input.responses.is_empty() {
        return said("It answered.");
    }
    let mut asks = Vec::new();
    if input.can.form {
        asks.push(("user_name", form("What is your name?", "name", "string")));
    }
    if input.can.sample {
        asks.push(("greeting", sample("Generate a greeting", 50)));
    }
    if asks.is_empty() { said("Nothing can be asked.") } else { ask(asks, None) }
}
