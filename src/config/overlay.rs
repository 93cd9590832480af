//! Values set at run time by `PATCH /api/v1/config`, above every other layer. Kept in memory only: what
//! is to survive a restart belongs into a file.
//!
//! Called by the reload module. Refuses nothing: the loader checks the layer like any other.

use figment::value::{Dict, Value};
use serde_json::Map;

/// How this layer is called in messages and in answers.
pub(super) const OVERLAY_NAME: &str = "PATCH /api/v1/config";

/// What was set at run time.
#[derive(Clone, Debug, Default)]
pub struct Overlay(Dict);

impl Overlay {
    /// Takes a patch: nested or dotted keys; `null` gives a key back to the layers below.
    pub fn patched(&self, patch: &Map<String, serde_json::Value>) -> Self {
        let mut dict = self.0.clone();
        for (path, value) in leaves_of("", patch) {
            let keys: Vec<&str> = path.split('.').collect();
            let value = (!value.is_null()).then(|| Value::serialize(value).ok()).flatten();
            put(&mut dict, &keys, value);
        }
        Self(dict)
    }

    /// The dotted keys a patch names.
    pub fn keys_of(patch: &Map<String, serde_json::Value>) -> Vec<String> {
        leaves_of("", patch).into_iter().map(|(key, _)| key).collect()
    }

    /// The dotted keys that are set.
    pub fn keys(&self) -> Vec<String> {
        super::dump::leaves(&self.0)
    }

    pub(super) fn set(&mut self, path: &str, value: Value) {
        put(&mut self.0, &path.split('.').collect::<Vec<_>>(), Some(value));
    }

    pub(super) fn dict(&self) -> Dict {
        self.0.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn leaves_of<'p>(
    above: &str,
    patch: &'p Map<String, serde_json::Value>,
) -> Vec<(String, &'p serde_json::Value)> {
    let mut found = Vec::new();
    for (key, value) in patch {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match value {
            serde_json::Value::Object(inner) => found.extend(leaves_of(&path, inner)),
            _ => found.push((path, value)),
        }
    }
    found
}

/// Sets a value or takes it out; tables that become empty go with it.
fn put(dict: &mut Dict, keys: &[&str], value: Option<Value>) {
    let Some((first, rest)) = keys.split_first() else { return };
    if rest.is_empty() {
        match value {
            Some(value) => drop(dict.insert((*first).to_owned(), value)),
            None => drop(dict.remove(*first)),
        }
        return;
    }
    let mut inner = match dict.remove(*first) {
        Some(Value::Dict(_, inner)) => inner,
        _ => Dict::new(),
    };
    put(&mut inner, rest, value);
    if !inner.is_empty() {
        dict.insert((*first).to_owned(), Value::from(inner));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn nested_and_dotted_keys_say_the_same_and_null_gives_a_key_back() {
        let nested = map(json!({ "admission": { "total_factor": 5 } }));
        let dotted = map(json!({ "admission.total_factor": 5, "telemetry.log_filter": "warn" }));
        let one = Overlay::default().patched(&nested);
        let two = one.patched(&dotted);
        assert_eq!(one.keys(), ["admission.total_factor"]);
        assert_eq!(two.keys(), ["admission.total_factor", "telemetry.log_filter"]);
        let back = two.patched(&map(json!({ "admission": { "total_factor": null } })));
        assert_eq!(back.keys(), ["telemetry.log_filter"]);
        assert!(back.patched(&map(json!({ "telemetry": { "log_filter": null } }))).is_empty());
    }
}
