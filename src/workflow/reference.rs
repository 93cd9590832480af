//! References: how arguments take values from inputs and earlier results.
//!
//! | written | becomes |
//! |---|---|
//! | `{"$from": "/inputs/code"}` | what the pointer (RFC 6901) leads to; it is an error when nothing is there |
//! | `{"$from": "/steps/lint/result/x", "default": 0}` | the same, or the default |
//! | `{"$json": V}` | V as a JSON text |
//! | `{"$literal": V}` | V as it stands, `$from` in it included |
//!
//! Roots are `/inputs/NAME`, `/steps/ID/result`, `/steps/ID/status` and, in `on_failure`, `/failure`.
//! Refuses everything beyond [`ARGUMENTS_BYTES_MAX`] while it is put together, not afterwards.

use std::borrow::Cow;
use std::io;

use serde_json::{Map, Value};

use super::definition::{Phase, TaskId};
use super::journal::Progress;
use super::{ARGUMENTS_BYTES_MAX, DEPTH_MAX};

/// Longest pointer, in bytes, and most parts of one.
const POINTER_BYTES_MAX: usize = 512;
const POINTER_PARTS_MAX: usize = 32;

/// What an object means.
pub enum Form<'v> {
    /// A reference.
    From { pointer: &'v str, default: Option<&'v Value> },
    /// A value as text.
    Json(&'v Value),
    /// A value as it stands.
    Literal(&'v Value),
    /// An ordinary object.
    Plain,
}

/// Tells what an object means.
///
/// # Errors
/// A name that begins with `$` and is none of ours, or one of ours with something beside it.
pub fn form(map: &Map<String, Value>) -> Result<Form<'_>, String> {
    let Some(name) = map.keys().find(|name| name.starts_with('$')) else { return Ok(Form::Plain) };
    let value = &map[name];
    match (name.as_str(), map.len()) {
        ("$from", 1) => Ok(Form::From { pointer: text(value)?, default: None }),
        ("$from", 2) if map.contains_key("default") => {
            Ok(Form::From { pointer: text(value)?, default: map.get("default") })
        }
        ("$json", 1) => Ok(Form::Json(value)),
        ("$literal", 1) => Ok(Form::Literal(value)),
        ("$from", _) => Err("$from stands alone or with default".to_owned()),
        ("$json" | "$literal", _) => Err(format!("{name} stands alone")),
        _ => Err(format!(
            "{name} is none of $from, $json, $literal; write {{\"$literal\": …}} around an object that has \
             such a name"
        )),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "$from must be a text like /steps/ID/result/FIELD".to_owned())
}

/// The parts of a pointer (RFC 6901).
///
/// # Errors
/// Not a pointer, or beyond the bounds.
pub fn parts(pointer: &str) -> Result<Vec<String>, String> {
    let Some(rest) = pointer.strip_prefix('/').filter(|_| pointer.len() <= POINTER_BYTES_MAX)
    else {
        return Err(format!("must begin with / and have at most {POINTER_BYTES_MAX} bytes"));
    };
    let parts: Vec<String> =
        rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    match parts.len() <= POINTER_PARTS_MAX {
        true => Ok(parts),
        false => Err(format!("must have at most {POINTER_PARTS_MAX} parts")),
    }
}

/// What references can lead to.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The inputs, defaults filled in.
    pub inputs: &'a Map<String, Value>,
    /// What the steps came to.
    pub progress: &'a Progress,
    /// A result that is not part of the progress yet, for `expect`.
    pub own: Option<(&'a str, &'a Value)>,
    /// Why the workflow failed: step, code, message.
    pub failure: Option<&'a Value>,
}

enum Found<'a> {
    Value(Cow<'a, Value>),
    Nothing,
    /// The result was too large to be kept.
    Omitted(u64),
}

impl<'a> Context<'a> {
    /// What the pointer leads to, if anything.
    pub fn look(&self, pointer: &str) -> Option<Cow<'a, Value>> {
        match self.find(pointer) {
            Found::Value(value) => Some(value),
            Found::Nothing | Found::Omitted(_) => None,
        }
    }

    fn find(&self, pointer: &str) -> Found<'a> {
        let Ok(parts) = parts(pointer) else { return Found::Nothing };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (start, rest) = match parts.as_slice() {
            ["inputs", name, rest @ ..] => (self.inputs.get(*name), rest),
            ["failure", rest @ ..] => (self.failure, rest),
            ["steps", id, "status"] => return self.status(id),
            ["steps", id, "result", rest @ ..] => match self.own {
                Some((own, result)) if own == *id => (Some(result), rest),
                _ => {
                    let task = self.progress.task(&TaskId::new(Phase::Step, id));
                    if let Some(bytes) = task.and_then(|task| task.omitted_bytes) {
                        return Found::Omitted(bytes);
                    }
                    (task.and_then(|task| task.result.as_ref()), rest)
                }
            },
            _ => (None, &[][..]),
        };
        match start.and_then(|start| walk(start, rest)) {
            Some(value) => Found::Value(Cow::Borrowed(value)),
            None => Found::Nothing,
        }
    }

    fn status(&self, id: &str) -> Found<'a> {
        let task = self.progress.task(&TaskId::new(Phase::Step, id));
        let status = task.map_or("pending", |task| task.status.as_str());
        Found::Value(Cow::Owned(status.into()))
    }
}

fn walk<'a>(start: &'a Value, parts: &[&str]) -> Option<&'a Value> {
    parts.iter().try_fold(start, |value, part| match value {
        Value::Object(map) => map.get(*part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Fills references in.
///
/// # Errors
/// A reference that leads nowhere, a result that was not kept, too much, too deep.
pub fn resolve(value: &Value, context: &Context<'_>) -> Result<Value, String> {
    Resolver { context, lenient: false, left: ARGUMENTS_BYTES_MAX }.value(value, DEPTH_MAX)
}

/// The same, with null for what leads nowhere.
///
/// # Errors
/// Too much, too deep.
pub fn resolve_lenient(value: &Value, context: &Context<'_>) -> Result<Value, String> {
    Resolver { context, lenient: true, left: ARGUMENTS_BYTES_MAX }.value(value, DEPTH_MAX)
}

struct Resolver<'c, 'a> {
    context: &'c Context<'a>,
    lenient: bool,
    left: usize,
}

impl Resolver<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<Value, String> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("is nested deeper than {DEPTH_MAX} levels"));
        };
        match value {
            Value::Array(items) => {
                items.iter().map(|item| self.value(item, depth)).collect::<Result<_, _>>()
            }
            Value::Object(map) => match form(map)? {
                Form::Plain => map
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), self.value(item, depth)?)))
                    .collect::<Result<Map<_, _>, String>>()
                    .map(Value::Object),
                Form::Literal(value) => self.taken(value),
                Form::Json(value) => {
                    let text = self.value(value, depth)?.to_string();
                    self.spend(text.len())?;
                    Ok(Value::String(text))
                }
                Form::From { pointer, default } => match (self.context.find(pointer), default) {
                    (Found::Value(value), _) => self.taken(&value),
                    (Found::Nothing, Some(default)) => self.value(default, depth),
                    (Found::Nothing | Found::Omitted(_), _) if self.lenient => Ok(Value::Null),
                    (Found::Nothing, None) => Err(format!("{pointer} leads to nothing")),
                    (Found::Omitted(bytes), _) => Err(format!(
                        "{pointer}: the result of {bytes} bytes was too large to be kept"
                    )),
                },
            },
            plain => self.taken(plain),
        }
    }

    fn taken(&mut self, value: &Value) -> Result<Value, String> {
        self.spend(size_of(value))?;
        Ok(value.clone())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| {
            format!("arguments with their references filled in are larger than {ARGUMENTS_BYTES_MAX} bytes")
        })?;
        Ok(())
    }
}

/// Bytes of a value as JSON, without writing it anywhere.
pub fn size_of(value: &impl serde::Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // What cannot be written is larger than anything that may be.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}
