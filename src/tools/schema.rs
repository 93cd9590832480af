//! JSON Schemas of arguments and results, in the plain form every client can read.
//!
//! Called once per tool at start, by [`super::typed::Typed::new`].

use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::Value;

/// Schema of the arguments: JSON Schema 2020-12, root `object`, no `$ref`, and no `null` beside a
/// type: an optional argument is left out, not sent as null (which is still accepted).
pub(super) fn input_schema_of<S: JsonSchema>() -> Value {
    let mut schema = schema_of::<S>(Contract::Deserialize);
    drop_null(&mut schema);
    schema
}

/// Schema of the structured result: JSON Schema 2020-12, root `object`, no `$ref`.
pub(super) fn output_schema_of<S: JsonSchema>() -> Value {
    schema_of::<S>(Contract::Serialize)
}

fn schema_of<S: JsonSchema>(contract: Contract) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.contract = contract;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<S>().to_value();
    if let Some(map) = schema.as_object_mut() {
        map.remove("title");
    }
    drop_number_formats(&mut schema);
    schema
}

/// Removes `uint32` and the like, at every depth: names of Rust's numbers, which JSON Schema does not know (its formats:
/// draft 2020-12, validation, section 7.3) and some validators warn of. The bounds they stand for are beside them.
fn drop_number_formats(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(drop_number_formats),
        Value::Object(map) => {
            let is_numbers = |format: &str| {
                ["uint", "int", "float", "double"].iter().any(|name| format.starts_with(name))
            };
            if map.get("format").and_then(Value::as_str).is_some_and(is_numbers) {
                map.remove("format");
            }
            map.values_mut().for_each(drop_number_formats);
        }
        _ => {}
    }
}

/// Removes the `null` alternative that optional fields carry, at every depth.
fn drop_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = map.get_mut("anyOf") {
                options.retain(|option| option != &serde_json::json!({ "type": "null" }));
                if let [Value::Object(only)] = options.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    for (key, value) in only {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            if let Some(Value::Array(values)) = map.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            map.values_mut().for_each(drop_null);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Sample {
        /// A number.
        number: Option<u32>,
        /// A thing.
        thing: Option<Thing>,
        /// A choice.
        choice: Option<Choice>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Thing {
        inner: Option<String>,
        format: f64,
        many: Vec<u64>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        One,
        Two,
    }

    #[test]
    fn optional_arguments_are_said_without_null_and_without_references() {
        let text = input_schema_of::<Sample>().to_string();
        assert!(!text.contains("null") && !text.contains("$ref"), "{text}");
        assert!(!text.contains("uint") && !text.contains("double"), "{text}");
        let schema = input_schema_of::<Sample>();
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["properties"]["thing"]["type"], "object");
        assert_eq!(schema["properties"]["thing"]["description"], "A thing.");
        let members = &schema["properties"]["thing"]["properties"];
        assert_eq!(members["format"]["type"], "number", "a member of that name stays");
        assert_eq!(schema["properties"]["choice"]["enum"], serde_json::json!(["one", "two"]));
        assert_eq!(schema["additionalProperties"], false);
    }
}
