//! What a call worked on and what it left: names for the audit, from which "who ran what on which data"
//! is answered. Used by every tool that reads or writes data or keeps files.
//!
//! Names only, never contents, and bounded: beyond the bounds it is said how many more there were.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::artifacts::URI_PREFIX;
use super::execute::ArtifactRef;
use super::typed::Answer;

/// Most names of data in one event.
pub const TOUCHED_MAX: usize = 64;
/// Most bytes of them: the event's details hold other facts too.
const TOUCHED_BYTES_MAX: usize = 8 * 1024;
/// Most artifacts in one event.
const PRODUCED_MAX: usize = 24;

impl<T> Answer<T> {
    /// Says on which data the call worked: keys of the graph's nodes.
    pub fn touched<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        let keys: BTreeSet<&str> = keys.into_iter().collect();
        let mut bytes = 0;
        let within = |key: &&&str| {
            bytes += key.len();
            bytes <= TOUCHED_BYTES_MAX
        };
        let named: Vec<&str> = keys.iter().take(TOUCHED_MAX).take_while(within).copied().collect();
        let more = keys.len() - named.len();
        match (named.is_empty(), more) {
            (true, 0) => self,
            (_, 0) => self.fact("touched", named),
            _ => self.fact("touched", named).fact("touched_more", more),
        }
    }

    /// Says which files the call left, as `names_of` them.
    pub fn produced(self, artifacts: Vec<Value>) -> Self {
        if artifacts.is_empty() { self } else { self.fact("produced", artifacts) }
    }
}

/// Artifacts as the audit names them.
pub fn names_of(artifacts: &[ArtifactRef]) -> Vec<Value> {
    let name = |artifact: &ArtifactRef| {
        let id = artifact.uri.strip_prefix(URI_PREFIX).unwrap_or(&artifact.uri);
        json!({ "id": id, "sha256": artifact.sha256, "size": artifact.size_bytes })
    };
    artifacts.iter().take(PRODUCED_MAX).map(name).collect()
}

/// Keys of the nodes in a result, the first few: wherever a cell holds a node.
pub fn keys_of_nodes<'a>(cells: impl IntoIterator<Item = &'a Value>) -> BTreeSet<&'a str> {
    let mut keys = BTreeSet::new();
    for cell in cells {
        collect(cell, &mut keys);
        if keys.len() >= TOUCHED_MAX {
            break;
        }
    }
    keys
}

fn collect<'a>(cell: &'a Value, keys: &mut BTreeSet<&'a str>) {
    if keys.len() >= TOUCHED_MAX {
        return;
    }
    match cell {
        Value::Array(cells) => cells.iter().for_each(|cell| collect(cell, keys)),
        Value::Object(fields) => {
            let key = fields.get("properties").and_then(|properties| properties.get("key"));
            match key.and_then(Value::as_str) {
                Some(key) if fields.contains_key("labels") => {
                    keys.insert(key);
                }
                _ => fields.values().for_each(|cell| collect(cell, keys)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_named_once_and_bounded_in_number_and_bytes() {
        let answer = Answer::from(()).touched(["b", "a", "b"]);
        assert_eq!(answer.audit["touched"], json!(["a", "b"]));
        assert!(!answer.audit.contains_key("touched_more"));
        assert!(Answer::from(()).touched([]).audit.is_empty());
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let answer = Answer::from(()).touched(many.iter().map(String::as_str));
        assert_eq!(answer.audit["touched"].as_array().unwrap().len(), TOUCHED_MAX);
        assert_eq!(answer.audit["touched_more"], 36);
        let long: Vec<String> = (0..60).map(|n| format!("{n:0256}")).collect();
        let answer = Answer::from(()).touched(long.iter().map(String::as_str));
        assert_eq!(answer.audit["touched"].as_array().unwrap().len(), 32);
        assert_eq!(answer.audit["touched_more"], 28);
    }

    #[test]
    fn nodes_are_found_wherever_a_row_holds_them() {
        let node =
            |key: &str| json!({ "id": "1", "labels": ["Entity"], "properties": { "key": key } });
        let relationship = json!({ "type": "KNOWS", "properties": { "key": "none" } });
        let path = json!({ "nodes": [node("a"), node("b")], "relationships": [relationship] });
        let row = json!({ "p": path, "n": node("c"), "list": [[node("d")]], "text": "e" });
        let rows = [row];
        let keys: Vec<_> = keys_of_nodes(&rows).into_iter().collect();
        assert_eq!(keys, ["a", "b", "c", "d"]);
    }
}
