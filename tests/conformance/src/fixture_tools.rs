//! The suites' tools: what they are, and what each answers. Names and texts are the suites'.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use ultimate_mcp::error::{ApiError, Code};
use ultimate_mcp::mcp::{Block, Body, Called, InvalidTool, ToolList};
use ultimate_mcp::tools::events::{EventSink, LogLevel};
use ultimate_mcp::tools::{Annotations, Edition, Effects, ToolDescriptor, ToolOutput};
use ultimate_mcp_actors::audit::EventType;

use crate::media::{PNG, WAV};
use crate::{asking, tasks};

/// Between two events, as the suites ask for.
const PAUSE: Duration = Duration::from_millis(50);

/// There at times only: `test_trigger_tool_change` adds it and takes it away.
pub const CHANGING: &str = "test_changing_tool";

/// Tools without arguments.
const PLAIN: [(&str, &str); 14] = [
    ("test_simple_text", "Answers a text."),
    ("test_image_content", "Answers a picture."),
    ("test_audio_content", "Answers a sound."),
    ("test_embedded_resource", "Answers a resource with its content."),
    ("test_multiple_content_types", "Answers a text, a picture and a resource."),
    ("test_error_handling", "Fails, always."),
    ("test_tool_with_logging", "Says three things at level info."),
    ("test_logging_tool", "Says three things at level info."),
    ("test_tool_with_progress", "Tells its progress three times."),
    ("test_reconnection", "Takes a moment."),
    ("test_trigger_tool_change", "Adds a tool to the list, or takes it away."),
    ("test_trigger_prompt_change", "Adds a prompt to the list, or takes it away."),
    ("greet", "Greets by name."),
    (CHANGING, "Is there at times only."),
];

fn descriptor(name: &'static str, description: &str, input_schema: Value) -> ToolDescriptor {
    ToolDescriptor {
        name,
        title: name,
        description: description.to_owned(),
        input_schema,
        output_schema: Value::Null,
        annotations: Annotations::READS,
        permission: "tools:read",
        event_type: EventType::DataRead,
        effects: Effects::None,
        edition: Edition::ONLY,
    }
}

/// Every tool.
///
/// # Errors
/// One of them could not be called.
pub fn all() -> Result<ToolList, InvalidTool> {
    let mut tools: Vec<_> = PLAIN
        .into_iter()
        .chain(asking::ASKING)
        .chain(tasks::TASKS)
        .map(|(name, text)| descriptor(name, text, json!({"type": "object"})))
        .collect();
    let value = json!({"type": "string", "x-mcp-header": "Value"});
    let schema = json!({"type": "object", "properties": {"value": value}});
    tools.push(descriptor("test_custom_header", "Takes a value from a header too.", schema));
    let what = "Its input schema has what JSON Schema 2020-12 can say.";
    tools.push(descriptor("json_schema_2020_12_tool", what, schema_2020_12()));
    ToolList::new(&tools)
}

/// Word for word the one the suite compares with.
fn schema_2020_12() -> Value {
    let street = json!({"street": {"type": "string"}, "city": {"type": "string"}});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": street}},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

/// What a tool answers that changes nothing.
///
/// # Errors
/// `UnknownTool`.
pub async fn call(
    name: &str,
    arguments: &RawValue,
    events: Option<&EventSink>,
) -> Result<Called, ApiError> {
    match name {
        "test_simple_text" => said("This is a simple text response for testing."),
        "test_image_content" => shown(vec![picture()]),
        "test_audio_content" => {
            shown(vec![Block::Audio { mime_type: "audio/wav".into(), data: WAV.to_vec() }])
        }
        "test_embedded_resource" => shown(vec![embedded(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        )]),
        "test_multiple_content_types" => {
            let content = r#"{"test":"data","value":123}"#;
            shown(vec![
                Block::Text("Multiple content types test:".to_owned()),
                picture(),
                embedded("test://mixed-content-resource", "application/json", content),
            ])
        }
        "test_error_handling" => {
            output(Some("This tool intentionally returns an error for testing"), vec![], true)
        }
        "test_tool_with_logging" | "test_logging_tool" => {
            let lines =
                ["Tool execution started", "Tool processing data", "Tool execution completed"];
            for line in lines {
                if let Some(events) = events {
                    events.log(LogLevel::Info, "fixture", line.to_owned());
                }
                sleep(PAUSE).await;
            }
            said("Said it.")
        }
        "test_tool_with_progress" => {
            for progress in [0.0, 50.0, 100.0] {
                if let Some(events) = events {
                    events.progress(progress, Some(100.0), None);
                }
                sleep(PAUSE).await;
            }
            said("Did it.")
        }
        "test_reconnection" => {
            sleep(2 * PAUSE).await;
            said("Still here.")
        }
        "greet" => {
            let name = argument(arguments, "name").unwrap_or_else(|| "nobody".to_owned());
            said(&format!("Hello, {name}!"))
        }
        "test_custom_header" | "json_schema_2020_12_tool" | CHANGING => said("Well received."),
        _ => Err(ApiError::new(Code::UnknownTool, format!("no tool {name:?}"))),
    }
}

/// What a tool that asks is given to ask.
pub fn text_of(arguments: &RawValue) -> String {
    let text = argument(arguments, "message").or_else(|| argument(arguments, "prompt"));
    text.unwrap_or_else(|| "Please fill this in".to_owned())
}

/// A text among the arguments.
pub fn argument(arguments: &RawValue, name: &str) -> Option<String> {
    let arguments: Map<String, Value> = serde_json::from_str(arguments.get()).ok()?;
    arguments.get(name)?.as_str().map(str::to_owned)
}

fn picture() -> Block {
    Block::Image { mime_type: "image/png".into(), data: PNG.to_vec() }
}

fn embedded(uri: &str, mime_type: &'static str, text: &'static str) -> Block {
    let body = Body::Text(text.into());
    Block::Resource { uri: uri.to_owned(), mime_type: mime_type.into(), body }
}

/// A text.
///
/// # Errors
/// None; as every answer of a tool.
pub fn said(text: &str) -> Result<Called, ApiError> {
    output(Some(text), Vec::new(), false)
}

fn shown(blocks: Vec<Block>) -> Result<Called, ApiError> {
    output(None, blocks, false)
}

/// Any answer of a tool.
///
/// # Errors
/// None.
pub fn output(text: Option<&str>, blocks: Vec<Block>, is_error: bool) -> Result<Called, ApiError> {
    let structured = RawValue::NULL.to_owned();
    let (text, audit) = (text.map(str::to_owned), Map::new());
    let output = ToolOutput { structured, text, is_error, audit };
    Ok(Called { blocks, ..Called::from(output) })
}
