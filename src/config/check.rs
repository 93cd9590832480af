//! Finds every mistake of a layer, not only the first.
//!
//! serde stops at the first mistake. So the loader takes the culprit out of the layer and asks
//! again until the rest is sound; what is taken out is reported with the layer's name and its key.
//! Ranges come from the comments of `base.toml`.

use std::collections::HashMap;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};
use figment::{Error, Figment};
use serde::de::DeserializeOwned;

use super::docs::KeyDoc;
use super::error::Mistake;
use super::layers::Layer;

/// Keys whose values are never shown, neither in messages nor by `config dump`.
pub(super) const SECRET_KEYS: &[&str] = &["secret", "password"];

/// More mistakes than this in one file are not ours to list.
const MISTAKES_MAX: usize = 200;

/// How alike two keys must be (Jaro-Winkler, 0 to 1) for one to be offered in place of the other.
const LIKENESS_MIN: f64 = 0.75;

/// Takes everything that does not fit `T` out of the layer and reports it.
pub(super) fn clean<T: DeserializeOwned>(
    layer: &mut Layer,
    base: &Layer,
    docs: &[KeyDoc],
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut indices = Indices::default();
    while mistakes.len() < MISTAKES_MAX {
        let figment = Figment::from(base.clone()).merge(layer.clone());
        let Err(error) = figment.extract::<T>() else { break };
        for error in error {
            mistakes.push(Mistake {
                source: layer.name.clone(),
                key: indices.display(&error.path),
                problem: explain(&error, docs),
            });
            let culprit = culprit(&error, &layer.dict);
            indices.removing(culprit, &layer.dict);
            if !remove(&mut layer.dict, culprit) {
                // The mistake is not where the error points: nothing of this layer can be trusted.
                layer.dict.clear();
            }
        }
    }
    mistakes.extend(out_of_range(layer, docs));
    mistakes
}

fn out_of_range(layer: &mut Layer, docs: &[KeyDoc]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for doc in docs {
        let path: Vec<String> = doc.key.split('.').map(str::to_owned).collect();
        let Some((low, high)) = doc.range else { continue };
        let Some(Value::Num(_, number)) = find(&layer.dict, &path) else { continue };
        let value = number
            .to_f64()
            .or_else(|| number.to_i128().map(|n| n as f64))
            .or_else(|| number.to_u128().map(|n| n as f64));
        if !value.is_some_and(|value| value >= low && value <= high) {
            mistakes.push(Mistake {
                source: layer.name.clone(),
                key: doc.key.clone(),
                problem: format!(
                    "must be from {low} to {high}, found {}",
                    show(&number.to_actual())
                ),
            });
            remove(&mut layer.dict, &path);
        }
    }
    mistakes
}

/// What has to go so that the error goes: an unknown key alone, an element of a list as a whole.
fn culprit<'e>(error: &'e Error, dict: &Dict) -> &'e [String] {
    if matches!(error.kind, Kind::UnknownField(..)) {
        return &error.path;
    }
    let in_list = (1..error.path.len())
        .find(|&end| matches!(find(dict, &error.path[..end]), Some(Value::Array(..))));
    match in_list {
        Some(end) => &error.path[..=end],
        None => &error.path,
    }
}

fn find<'d>(dict: &'d Dict, path: &[String]) -> Option<&'d Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(dict.get(first)?, |value, key| match value {
        Value::Dict(_, dict) => dict.get(key),
        Value::Array(_, list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn remove(dict: &mut Dict, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if rest.is_empty() {
        return dict.remove(first).is_some();
    }
    let Some(mut value) = dict.get_mut(first) else { return false };
    for (depth, key) in rest.iter().enumerate() {
        let last = depth + 1 == rest.len();
        let next = match value {
            Value::Dict(_, dict) if last => return dict.remove(key).is_some(),
            Value::Dict(_, dict) => dict.get_mut(key),
            Value::Array(_, list) => match key.parse::<usize>() {
                Ok(index) if last && index < list.len() => {
                    list.remove(index);
                    return true;
                }
                Ok(index) => list.get_mut(index),
                Err(_) => None,
            },
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return false,
        }
    }
    false
}

/// Which elements are left in lists that lost some, so that messages name the index in the file.
#[derive(Default)]
struct Indices(HashMap<Vec<String>, Vec<usize>>);

impl Indices {
    fn removing(&mut self, path: &[String], dict: &Dict) {
        let Some((index, list_path)) = path.split_last() else { return };
        let Some(Value::Array(_, list)) = find(dict, list_path) else { return };
        let Ok(index) = index.parse::<usize>() else { return };
        let left = self.0.entry(list_path.to_vec()).or_insert_with(|| (0..list.len()).collect());
        if index < left.len() {
            left.remove(index);
        }
    }

    fn display(&self, path: &[String]) -> String {
        let mut text = String::new();
        for (depth, part) in path.iter().enumerate() {
            match part.parse::<usize>() {
                Ok(index) => {
                    let left = self.0.get(&path[..depth]);
                    let index = left.and_then(|left| left.get(index)).copied().unwrap_or(index);
                    text.push_str(&format!("[{index}]"));
                }
                Err(_) if text.is_empty() => text.push_str(part),
                Err(_) => text.push_str(&format!(".{part}")),
            }
        }
        text
    }
}

fn explain(error: &Error, docs: &[KeyDoc]) -> String {
    let secret = error.path.last().is_some_and(|key| SECRET_KEYS.contains(&key.as_str()));
    let found = |actual: &Actual| match secret {
        true => String::new(),
        false => format!(", found {}", show(actual)),
    };
    let doc = docs.iter().find(|doc| doc.key == error.path.join("."));
    match &error.kind {
        Kind::UnknownField(name, known) => unknown(name, known),
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("expected {}{}", describe(expected, doc), found(actual))
        }
        Kind::UnknownVariant(name, known) => {
            format!("`{name}` is not known; one of {}", known.join(", "))
        }
        Kind::MissingField(name) => format!("`{name}` is missing"),
        other if secret => {
            let _ = other;
            "is not usable".to_owned()
        }
        other => other.to_string(),
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let likeness = |candidate: &str| strsim::jaro_winkler(name, candidate);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best {
        Some(best) if likeness(best) >= LIKENESS_MIN => {
            format!("unknown key; did you mean `{best}`?")
        }
        _ => format!("unknown key; known here: {}", known.join(", ")),
    }
}

/// serde's name of a type, for people.
fn describe(expected: &str, doc: Option<&KeyDoc>) -> String {
    let kind = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
            "an integer"
        }
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "text",
        "a sequence" => "a list",
        "a map" => "a table",
        text if text.starts_with("struct ") => "a table",
        other => other,
    };
    match doc.and_then(|doc| doc.range) {
        Some((low, high)) => format!("{kind} from {low} to {high}"),
        None => kind.to_owned(),
    }
}

fn show(actual: &Actual) -> String {
    match actual {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(value) => format!("\"{}\"", value.chars().take(80).collect::<String>()),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}
