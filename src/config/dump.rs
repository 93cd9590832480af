//! The effective configuration as TOML, each value with its source, secrets redacted.

use figment::Figment;
use figment::value::{Dict, Num, Value};

use super::check::SECRET_KEYS;
use super::docs::KeyDoc;
use super::layers::BASE_NAME;

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// All keys in the order of `base.toml`: `key = value  # source`; then those of its open tables, whose
/// keys are the operator's.
pub(super) fn dump(figment: &Figment, docs: &[KeyDoc]) -> String {
    let mut text = String::new();
    let mut section = String::new();
    let root: Dict = figment.extract().unwrap_or_default();
    let documented = docs.iter().map(|doc| doc.key.clone());
    let others = leaves(&root).into_iter().filter(|key| !docs.iter().any(|doc| &doc.key == key));
    for path in documented.chain(others) {
        let Ok(value) = figment.find_value(&path) else { continue };
        let (header, key) = path.rsplit_once('.').unwrap_or(("", &path));
        if header != section {
            text.push_str(&format!("\n[{header}]\n"));
            header.clone_into(&mut section);
        }
        let source =
            figment.get_metadata(value.tag()).map_or(BASE_NAME, |metadata| metadata.name.as_ref());
        text.push_str(&format!("{} = {}  # {source}\n", name(key), literal(key, &value)));
    }
    text
}

/// Keys whose values belong to one machine: nodes differ in them and still are the same service.
const PER_NODE: &[&str] = &[
    "data_dir",
    "http.bind",
    "http.port",
    "http.workers",
    "http.allowed_hosts",
    "node.id",
    "node.advertise_url",
    "cell.uid_base",
];

/// The values that nodes have in common, without their sources.
pub(super) fn shared(figment: &Figment, docs: &[KeyDoc]) -> String {
    let root: Dict = figment.extract().unwrap_or_default();
    let documented = docs.iter().map(|doc| doc.key.clone());
    let others = leaves(&root).into_iter().filter(|key| !docs.iter().any(|doc| &doc.key == key));
    let values = documented.chain(others).filter(|key| !PER_NODE.contains(&key.as_str()));
    let lines = values.filter_map(|path| {
        let value = figment.find_value(&path).ok()?;
        let key = path.rsplit('.').next().unwrap_or(&path);
        Some(format!("{path} = {}\n", literal(key, &value)))
    });
    lines.collect()
}

/// The dotted keys of all values that are no tables.
pub(super) fn leaves(dict: &Dict) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in dict {
        match value {
            Value::Dict(_, inner) => {
                keys.extend(leaves(inner).into_iter().map(|leaf| format!("{key}.{leaf}")));
            }
            _ => keys.push(key.clone()),
        }
    }
    keys
}

/// A value as JSON, secrets redacted; `path` is its dotted key.
pub(super) fn json(path: &str, value: &Value) -> serde_json::Value {
    let key = path.rsplit('.').next().unwrap_or(path);
    match value {
        Value::String(_, text) if SECRET_KEYS.contains(&key) && !text.is_empty() => REDACTED.into(),
        Value::Dict(_, dict) => dict.iter().map(|(key, v)| (key.clone(), json(key, v))).collect(),
        Value::Array(_, list) => list.iter().map(|item| json(key, item)).collect(),
        // Without secrets in it: serde's own form.
        plain => serde_json::to_value(plain).unwrap_or_default(),
    }
}

/// A value as TOML (v1.0.0), on one line.
fn literal(key: &str, value: &Value) -> String {
    match value {
        Value::String(_, text) if SECRET_KEYS.contains(&key) && !text.is_empty() => quote(REDACTED),
        Value::String(_, text) => quote(text),
        Value::Char(_, c) => quote(&c.to_string()),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => digits(number),
        Value::Empty(..) => quote(""),
        Value::Dict(_, dict) => table(dict),
        Value::Array(_, list) => {
            let items: Vec<String> = list.iter().map(|item| literal(key, item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

fn table(dict: &Dict) -> String {
    let pairs: Vec<String> = dict
        .iter()
        .map(|(key, value)| format!("{} = {}", name(key), literal(key, value)))
        .collect();
    match pairs.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", pairs.join(", ")),
    }
}

fn digits(number: &Num) -> String {
    match (number.to_i128(), number.to_u128(), number.to_f64()) {
        (Some(n), _, _) => n.to_string(),
        (_, Some(n), _) => n.to_string(),
        (_, _, Some(n)) => format!("{n:?}"),
        _ => "0".to_owned(),
    }
}

/// A bare key where TOML allows one.
fn name(key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { key.to_owned() } else { quote(key) }
}

/// A basic string: TOML's escapes are JSON's, but for DEL, which TOML wants escaped too.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
