//! `completion/complete`: values for an argument of a prompt or a variable of a resource template.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::listing::Complete;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::params::Params;
use crate::mcp::wire::{self, object};
use crate::mcp::{Asked, Host, Reference};

/// Most values in an answer (every revision, Completion, `values`).
const VALUES_MAX: usize = 100;
/// Longest name, URI or value that is looked at, in bytes: what is being typed is short.
const TEXT_BYTES_MAX: usize = 1024;
/// Most arguments of the context, and bytes of them together.
const CONTEXT_MAX: usize = 64;
const CONTEXT_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Ref<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Argument<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    arguments: BTreeMap<String, String>,
}

/// Answers `completion/complete`.
pub async fn answer<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let (endpoint, revision) = (&exchange.endpoint, exchange.revision);
    let asked = read(params).map_err(|message| Failure::invalid_params(revision, message))?;
    let deadline = exchange.deadline();
    let completed =
        endpoint.host.complete(&exchange.caller, &exchange.origin, &asked, deadline).await;
    let completed = completed.map_err(|error| Failure::of(revision, error))?;
    let total = completed.values.len();
    let values = &completed.values[..total.min(VALUES_MAX)];
    let completion = Completion { values, total, has_more: total > VALUES_MAX };
    let result = Answered { completion, modern: Complete::of(exchange) };
    wire::success(id, result).map_err(|error| Failure::of(revision, error))
}

fn read(params: &Params<'_>) -> Result<Asked, &'static str> {
    let reference: Option<Ref<'_>> = params.reference.and_then(object);
    let reference = match reference {
        Some(Ref { r#type, name: Some(name), .. }) if r#type == "ref/prompt" => {
            Reference::Prompt(short(name)?)
        }
        Some(Ref { r#type, uri: Some(uri), .. }) if r#type == "ref/resource" => {
            Reference::Template(short(uri)?)
        }
        _ => return Err("ref must be a ref/prompt with name or a ref/resource with uri"),
    };
    let argument: Option<Argument<'_>> = params.argument.and_then(object);
    let argument = argument.ok_or("argument must be an object with the strings name and value")?;
    let context = match params.context {
        None => BTreeMap::new(),
        Some(raw) => object::<Context>(raw).ok_or("context.arguments must hold strings")?.arguments,
    };
    let bytes: usize = context.iter().map(|(name, value)| name.len() + value.len()).sum();
    if context.len() > CONTEXT_MAX || bytes > CONTEXT_BYTES_MAX {
        return Err("context.arguments must be at most 64, with 16384 bytes together");
    }
    Ok(Asked { reference, name: short(argument.name)?, value: short(argument.value)?, context })
}

fn short(text: Cow<'_, str>) -> Result<String, &'static str> {
    match text.len() <= TEXT_BYTES_MAX {
        true => Ok(text.into_owned()),
        false => Err("names, uris and values must have at most 1024 bytes"),
    }
}

#[derive(Serialize)]
struct Answered<'a> {
    completion: Completion<'a>,
    #[serde(flatten)]
    modern: Option<Complete<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Completion<'a> {
    values: &'a [String],
    total: usize,
    has_more: bool,
}
