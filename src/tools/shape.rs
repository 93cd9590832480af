//! Arguments have names: an array where the schema says "object" is refused.
//!
//! serde also reads a struct from an array, field by field in the order of our source. A call that
//! relied on it would change its meaning with that order. Called by [`super::typed::Typed`] after the
//! arguments have decoded; refuses nothing else.

use serde_json::Value;

/// Where an array stands in the place of an object; `None` when nowhere. `schema` has no references.
pub(super) fn positional(schema: &Value, json: &str) -> Option<String> {
    // Most calls have no array at all and need not be read twice.
    if !json.contains('[') {
        return None;
    }
    let arguments: Value = serde_json::from_str(json).ok()?;
    find(schema, &arguments, String::new())
}

/// Follows the schema, so it goes no deeper than the schema does.
fn find(schema: &Value, value: &Value, path: String) -> Option<String> {
    match value {
        Value::Array(_) if schema["type"] == "object" => Some(path),
        Value::Array(items) => {
            let schema = schema.get("items")?;
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| find(schema, item, format!("{path}[{index}]")))
        }
        Value::Object(fields) => {
            let schemas = schema.get("properties")?;
            fields.iter().find_map(|(name, field)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                find(schemas.get(name)?, field, path)
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_array_in_the_place_of_an_object_is_found_at_any_depth() {
        let inner = json!({ "type": "object", "properties": { "list": { "type": "array" } } });
        let schema = json!({ "type": "object", "properties": {
            "limits": inner,
            "files": { "type": "array", "items": inner },
            "anything": { "type": "object" },
        }});
        for (json, expected) in [
            (r#"{"limits":[1]}"#, Some("limits")),
            (r#"{"files":[{},["a","b"]]}"#, Some("files[1]")),
            (r#"{"files":[{"list":[[1]]}],"limits":{"list":[]}}"#, None),
            (r#"{"anything":{"a":[1,[2]]}}"#, None),
            (r#"{"limits":{}}"#, None),
        ] {
            assert_eq!(positional(&schema, json).as_deref(), expected, "{json}");
        }
    }
}
