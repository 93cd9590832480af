//! What workflows promise: in the planner by random walks, in the runner by cutting it off everywhere.

mod checking;
mod filling;
mod planning;
mod running;

use serde_json::{Map, Value, json};

use super::calls::KnownTool;
use super::definition::Definition;

/// A definition from JSON.
fn definition(value: Value) -> Definition {
    serde_json::from_value(value).unwrap()
}

/// Tools for tests: `write` leaves something behind, `put` may be repeated, `look` leaves nothing.
fn known(tool: &str, _: &Map<String, Value>) -> Result<KnownTool, String> {
    let (harmless, idempotent) = match tool {
        "write" => (false, false),
        "put" => (false, true),
        "look" => (true, true),
        _ => return Err("there is no such tool".to_owned()),
    };
    let output_schema = json!({ "type": "object", "properties": {
        "n": { "type": "integer" },
        "list": { "type": "array", "items": { "type": "object", "properties": { "x": {} } } },
        "open": { "type": "object" },
    } });
    Ok(KnownTool { harmless, idempotent, output_schema })
}
