//! Conditions of `if` and `expect`: five forms, no language.
//!
//! `{"eq": [a, b]}` · `{"not": c}` · `{"all": [c, …]}` · `{"any": [c, …]}` · `{"exists": "/pointer"}`.
//! `a` and `b` are JSON with references; what leads nowhere is null there. A number equals another of the same
//! value, whether written 1 or 1.0. Refuses anything else, and nesting deeper than [`DEPTH_MAX`].

use serde_json::Value;

use super::DEPTH_MAX;
use super::reference::{Context, resolve_lenient};

/// A condition, read.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'v> {
    /// Both are the same.
    Eq(&'v Value, &'v Value),
    /// It does not hold.
    Not(&'v Value),
    /// All hold.
    All(&'v [Value]),
    /// At least one holds.
    Any(&'v [Value]),
    /// The pointer leads to something other than null.
    Exists(&'v str),
}

/// Reads one level.
///
/// # Errors
/// None of the five forms.
pub fn read(value: &Value) -> Result<Condition<'_>, String> {
    let wrong = || {
        "must be one of {\"eq\": [a, b]}, {\"not\": c}, {\"all\": [c, …]}, {\"any\": [c, …]}, \
         {\"exists\": \"/pointer\"}"
            .to_owned()
    };
    let map = value.as_object().filter(|map| map.len() == 1).ok_or_else(wrong)?;
    let (name, inner) = map.iter().next().ok_or_else(wrong)?;
    match (name.as_str(), inner) {
        ("eq", Value::Array(pair)) => match pair.as_slice() {
            [a, b] => Ok(Condition::Eq(a, b)),
            _ => Err(wrong()),
        },
        ("not", inner) => Ok(Condition::Not(inner)),
        ("all", Value::Array(list)) => Ok(Condition::All(list)),
        ("any", Value::Array(list)) => Ok(Condition::Any(list)),
        ("exists", Value::String(pointer)) => Ok(Condition::Exists(pointer)),
        _ => Err(wrong()),
    }
}

/// Whether it holds.
///
/// # Errors
/// Not a condition, or too deep: a definition that was checked has none such.
pub fn holds(value: &Value, context: &Context<'_>) -> Result<bool, String> {
    level(value, context, DEPTH_MAX)
}

fn level(value: &Value, context: &Context<'_>, depth: usize) -> Result<bool, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("is nested deeper than {DEPTH_MAX} levels"));
    };
    Ok(match read(value)? {
        Condition::Eq(a, b) => same(&resolve_lenient(a, context)?, &resolve_lenient(b, context)?),
        Condition::Not(inner) => !level(inner, context, depth)?,
        Condition::All(list) => {
            for inner in list {
                if !level(inner, context, depth)? {
                    return Ok(false);
                }
            }
            true
        }
        Condition::Any(list) => {
            for inner in list {
                if level(inner, context, depth)? {
                    return Ok(true);
                }
            }
            false
        }
        Condition::Exists(pointer) => context.look(pointer).is_some_and(|found| !found.is_null()),
    })
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}
