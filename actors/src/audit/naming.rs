//! Where a text names a person, and the text without the name.
//!
//! Pure; used by [`super::erasure`]. A name is found as a whole: erasing `ada` leaves `adaptive` and the
//! other person `ada@example.org` alone.

use serde_json::{Map, Value};

/// What stands in the place of a name.
pub(crate) const ERASED: &str = "[erased]";
/// Fields of the first format's body that tell of a person.
const WHO: [&str; 3] = ["ip_address", "user_agent", "session_id"];

/// Whether a JSON text names the person in any of its strings.
pub(crate) fn names(json: &str, name: &str) -> bool {
    let escaped = serde_json::to_string(name).unwrap_or_default();
    let escaped = escaped.trim_matches('"');
    if escaped.is_empty() || !json.contains(escaped) {
        return false;
    }
    match serde_json::from_str::<Value>(json) {
        Ok(Value::Object(fields)) => {
            let test = |text: &str| find(text, name, 0).is_some();
            fields.values().any(|value| any(value, &test))
        }
        _ => true,
    }
}

/// The JSON object with every mention replaced; `with_who` also drops the fields that tell of its author.
pub(crate) fn without_name(json: &str, name: &str, with_who: bool) -> String {
    let Ok(mut value) = serde_json::from_str::<Map<String, Value>>(json) else {
        return r#"{"action":"[erased]"}"#.to_owned();
    };
    if with_who {
        for field in WHO {
            value.remove(field);
        }
    }
    // The outermost keys are ours, whatever somebody's name is.
    let clean = value.into_iter().map(|(key, item)| (key, replace(item, name)));
    Value::Object(clean.collect()).to_string()
}

fn any(value: &Value, test: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Array(items) => items.iter().any(|item| any(item, test)),
        Value::Object(fields) => fields.iter().any(|(key, item)| test(key) || any(item, test)),
        _ => false,
    }
}

fn replace(value: Value, name: &str) -> Value {
    match value {
        Value::String(text) => Value::String(cleaned(&text, name)),
        Value::Array(items) => items.into_iter().map(|item| replace(item, name)).collect(),
        Value::Object(fields) => {
            let clean = |(key, item): (String, Value)| (cleaned(&key, name), replace(item, name));
            Value::Object(fields.into_iter().map(clean).collect())
        }
        other => other,
    }
}

fn cleaned(text: &str, name: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = find(text, name, from) {
        clean.push_str(&text[from..at]);
        clean.push_str(ERASED);
        from = at + name.len();
    }
    clean.push_str(&text[from..]);
    clean
}

/// Where the name next stands as a whole, at or after `from`.
fn find(text: &str, name: &str, from: usize) -> Option<usize> {
    let found = text[from..].match_indices(name).map(|(at, _)| from + at);
    let mut whole = found.filter(|at| {
        let (before, after) = (&text[..*at], &text[at + name.len()..]);
        !continues(before.chars().rev()) && !continues(after.chars())
    });
    whole.next()
}

/// Whether a word goes on in this direction: a letter or digit, or what joins an address to one.
fn continues(mut chars: impl Iterator<Item = char>) -> bool {
    match chars.next() {
        Some(c) if c.is_alphanumeric() || c == '_' => true,
        Some('@' | '.' | '-' | '+') => chars.next().is_some_and(char::is_alphanumeric),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_whole_and_nowhere_else() {
        for text in ["ada", "user:ada", "ada left.", "by ada.", "(ada)", "ada, bob", "/users/ada/x"]
        {
            let json = serde_json::json!({ "resource": text }).to_string();
            assert!(names(&json, "ada"), "{text}");
            assert!(!names(&without_name(&json, "ada", false), "ada"), "{text}");
        }
        for text in ["adaptive", "nevada", "ada@example.org", "x-ada", "ada_1", "ada.b", "Ada"] {
            let json = serde_json::json!({ "resource": text }).to_string();
            assert!(!names(&json, "ada"), "{text}");
            assert_eq!(without_name(&json, "ada", false), json);
        }
        assert!(names(r#"{"details":{"a":[{"b":"user:ada@example.org"}]}}"#, "ada@example.org"));
        assert!(names(r#"{"details":{"ada":1}}"#, "ada"));
        let quoted = serde_json::json!({ "resource": "user:a\"b\\c" }).to_string();
        assert!(names(&quoted, "a\"b\\c"));
    }

    #[test]
    fn every_mention_goes_and_the_rest_stays() {
        let json = r#"{"action":"x","ip_address":"1.2.3.4","details":{"to":"ada","n":1,"also":["ada-1","by ada and ada"]}}"#;
        let clean: Value = serde_json::from_str(&without_name(json, "ada", true)).unwrap();
        let also = serde_json::json!(["ada-1", "by [erased] and [erased]"]);
        let details = serde_json::json!({ "to": "[erased]", "n": 1, "also": also });
        assert_eq!(clean, serde_json::json!({ "action": "x", "details": details }));
    }
}
