//! What may be stored: identifiers, keys and property values that every engine takes alike.
//!
//! Called by upsert, delete and import; refuses maps, mixed lists, numbers beyond 64 bits and
//! anything oversized, with the path of the field.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::error::GraphError;
use super::model::{BASE_LABEL, KEY_PROPERTY};
use super::options::GraphOptions;
use crate::neo4j::SYSTEM_LABEL_PREFIX;

/// Longest identifier (label, type, property name) in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 64;
/// Longest node key in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Most labels of one node.
pub const LABELS_MAX: usize = 16;
/// Most bytes in the values of one node or relationship: a query that returns a thousand of them must
/// fit into memory.
pub const ENTITY_BYTES_MAX: usize = 256 * 1024;
/// Largest integer a double holds exactly (2^53); beyond it a list does not widen to floats.
const EXACT_INTEGER_MAX: i64 = 1 << 53;

/// A value that can be stored. Lists hold one kind of scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// Truth value.
    Bool(bool),
    /// 64-bit signed integer.
    Int(i64),
    /// Finite double.
    Float(f64),
    /// Text.
    Text(String),
    /// Scalars of one kind.
    List(Vec<Property>),
}

/// Properties by name; `None` removes.
pub type Changes = BTreeMap<String, Option<Property>>;

impl Property {
    /// Parses one JSON value; `null` is not a value and is the caller's business.
    ///
    /// # Errors
    /// [`GraphError::Invalid`] with `path`: maps, nested or mixed lists, oversized values.
    pub fn parse(value: &Value, path: &str, options: &GraphOptions) -> Result<Self, GraphError> {
        match value {
            Value::Array(items) => Self::parse_list(items, path, options),
            scalar => Self::parse_scalar(scalar, path, options),
        }
    }

    fn parse_scalar(value: &Value, path: &str, options: &GraphOptions) -> Result<Self, GraphError> {
        match value {
            Value::Bool(truth) => Ok(Self::Bool(*truth)),
            Value::Number(number) => parse_number(number, path),
            Value::String(text) if text.len() > options.property_bytes_max => {
                let max = options.property_bytes_max;
                Err(GraphError::invalid(path, format!("longer than {max} bytes")))
            }
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Object(_) => Err(GraphError::invalid(
                path,
                "is a map; store its fields as properties of their own or as a node of its own",
            )),
            Value::Array(_) => {
                Err(GraphError::invalid(path, "a list inside a list cannot be stored"))
            }
            Value::Null => Err(GraphError::invalid(path, "null cannot stand inside a list")),
        }
    }

    fn parse_list(items: &[Value], path: &str, options: &GraphOptions) -> Result<Self, GraphError> {
        if items.len() > options.list_items_max {
            let max = options.list_items_max;
            return Err(GraphError::invalid(path, format!("more than {max} items")));
        }
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            list.push(Self::parse_scalar(item, &format!("{path}[{index}]"), options)?);
        }
        // JSON has one kind of number: a list that holds 1 and 2.5 means floats.
        if list.iter().any(|item| matches!(item, Self::Float(_))) {
            for item in &mut list {
                if let Self::Int(int) = item
                    && int.abs() <= EXACT_INTEGER_MAX
                {
                    *item = Self::Float(*int as f64);
                }
            }
        }
        let bytes: usize = list.iter().map(Self::bytes).sum();
        if bytes > options.property_bytes_max {
            let max = options.property_bytes_max;
            return Err(GraphError::invalid(path, format!("longer than {max} bytes")));
        }
        let mut kinds = list.iter().map(std::mem::discriminant);
        let first = kinds.next();
        if kinds.any(|kind| Some(kind) != first) {
            return Err(GraphError::invalid(path, "all items of a list must be of one type"));
        }
        Ok(Self::List(list))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 8,
            Self::Text(text) => text.len(),
            Self::List(items) => items.iter().map(Self::bytes).sum(),
        }
    }

    /// The value as JSON; what [`Property::parse`] reads back.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Int(int) => Value::from(*int),
            Self::Float(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
        }
    }
}

fn parse_number(number: &Number, path: &str) -> Result<Property, GraphError> {
    if let Some(int) = number.as_i64() {
        return Ok(Property::Int(int));
    }
    match number.as_f64() {
        Some(float) if number.is_f64() && float.is_finite() => Ok(Property::Float(float)),
        _ => Err(GraphError::invalid(
            path,
            "integers must fit into 64 bits with sign; store longer ones as text",
        )),
    }
}

/// Parses a map of properties; `null` becomes `None`.
///
/// # Errors
/// [`GraphError::Invalid`] naming the property.
pub fn parse_properties(
    properties: &Map<String, Value>,
    path: &str,
    options: &GraphOptions,
) -> Result<Changes, GraphError> {
    if properties.len() > options.properties_max {
        let max = options.properties_max;
        return Err(GraphError::invalid(path, format!("more than {max} properties")));
    }
    let mut changes = Changes::new();
    for (name, value) in properties {
        let path = format!("{path}.{name}");
        check_property_name(name, &path)?;
        let change = match value {
            Value::Null => None,
            value => Some(Property::parse(value, &path, options)?),
        };
        changes.insert(name.clone(), change);
    }
    check_entity(&changes, path)?;
    Ok(changes)
}

/// Checks the size of all values together.
///
/// # Errors
/// [`GraphError::Invalid`] with `path`.
pub fn check_entity(changes: &Changes, path: &str) -> Result<(), GraphError> {
    let bytes: usize = changes.values().flatten().map(Property::bytes).sum();
    if bytes <= ENTITY_BYTES_MAX {
        return Ok(());
    }
    let problem = format!("{bytes} bytes in all; at most {ENTITY_BYTES_MAX} are allowed");
    Err(GraphError::invalid(path, problem))
}

/// Checks a property's name; `key` is taken.
///
/// # Errors
/// [`GraphError::Invalid`] with `path`.
pub fn check_property_name(name: &str, path: &str) -> Result<(), GraphError> {
    check_identifier(name, path)?;
    if name == KEY_PROPERTY {
        return Err(GraphError::invalid(
            path,
            format!("the property `{KEY_PROPERTY}` holds the node's key; choose another name"),
        ));
    }
    Ok(())
}

/// Checks a label, type or property name against `^[A-Za-z_][A-Za-z0-9_\-:]{0,63}$`.
///
/// # Errors
/// [`GraphError::Invalid`] with `path`.
pub fn check_identifier(name: &str, path: &str) -> Result<(), GraphError> {
    let mut bytes = name.bytes();
    let head = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let tail = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':'));
    if head && tail && name.len() <= IDENTIFIER_BYTES_MAX {
        return Ok(());
    }
    Err(GraphError::invalid(
        path,
        format!(
            "is not an identifier: a letter or _, then letters, digits, _ - or :, \
             at most {IDENTIFIER_BYTES_MAX} in all"
        ),
    ))
}

/// Checks a label: an identifier that is not one of ours.
///
/// # Errors
/// [`GraphError::Invalid`] with `path`.
pub fn check_label(label: &str, path: &str) -> Result<(), GraphError> {
    check_identifier(label, path)?;
    if label.starts_with(SYSTEM_LABEL_PREFIX) {
        let problem = format!("labels that begin with {SYSTEM_LABEL_PREFIX} are the server's own");
        return Err(GraphError::invalid(path, problem));
    }
    Ok(())
}

/// Checks a node's key: printable, trimmed, 1 to 256 bytes.
///
/// # Errors
/// [`GraphError::Invalid`] with `path`.
pub fn check_key(key: &str, path: &str) -> Result<(), GraphError> {
    let printable = !key.chars().any(char::is_control);
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.trim() != key || !printable {
        return Err(GraphError::invalid(
            path,
            format!(
                "must be 1 to {KEY_BYTES_MAX} bytes of printable text without spaces at either end"
            ),
        ));
    }
    Ok(())
}

/// Checks labels and returns them sorted, once each, with the base label.
///
/// # Errors
/// [`GraphError::Invalid`] when there is none, too many, or one is no identifier.
pub fn parse_labels(labels: &[String], path: &str) -> Result<Vec<String>, GraphError> {
    if labels.is_empty() || labels.len() > LABELS_MAX {
        return Err(GraphError::invalid(path, format!("must hold 1 to {LABELS_MAX} labels")));
    }
    for (index, label) in labels.iter().enumerate() {
        check_label(label, &format!("{path}[{index}]"))?;
    }
    let mut all: Vec<String> = labels.to_vec();
    all.push(BASE_LABEL.to_owned());
    all.sort();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Property, GraphError> {
        Property::parse(&serde_json::from_str(json).unwrap(), "p", &GraphOptions::default())
    }

    #[test]
    fn what_no_engine_stores_is_refused_with_its_path() {
        for (json, path) in [
            (r#"{"a":1}"#, "p"),
            (r#"[1,"a"]"#, "p"),
            ("[[1]]", "p[0]"),
            ("[1,null]", "p[1]"),
            ("18446744073709551615", "p"),
            (r#"[1.5, 9007199254740993]"#, "p"),
        ] {
            match parse(json) {
                Err(GraphError::Invalid { path: at, .. }) => assert_eq!(at, path, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_servers_own_labels_are_refused_on_every_engine() {
        assert!(check_label("User", "p").is_ok());
        assert!(check_label("UmcpUser", "p").is_err());
        assert!(parse_labels(&["A".to_owned(), "Umcp".to_owned()], "p").is_err());
    }

    #[test]
    fn numbers_keep_their_kind() {
        assert_eq!(parse("9007199254740993").unwrap(), Property::Int(9_007_199_254_740_993));
        assert_eq!(parse("1.0").unwrap(), Property::Float(1.0));
        let widened = Property::List(vec![Property::Float(1.0), Property::Float(2.5)]);
        assert_eq!(parse("[1, 2.5]").unwrap(), widened);
    }

    #[test]
    fn identifiers_are_what_the_contract_says() {
        for good in ["a", "_", "A-b:c_9", &"x".repeat(64)] {
            assert!(check_identifier(good, "p").is_ok(), "{good}");
        }
        for bad in ["", "9a", "-a", "a b", "a`b", "é", "a.b", &"x".repeat(65)] {
            assert!(check_identifier(bad, "p").is_err(), "{bad}");
        }
    }
}
