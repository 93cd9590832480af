//! The two ends of asking: what came with a call is opened before it runs, and `input_required` is written when
//! it wants something.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::seal::Bound;
use super::{ClientCan, Input, Wanted};
use crate::error::{ApiError, Code};
use crate::mcp::Host;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::meta::Meta;
use crate::mcp::params::Params;
use crate::mcp::wire;

/// A call that may ask: what its state is bound to.
pub struct Question {
    method: &'static str,
    name: String,
    arguments: String,
}

impl Question {
    /// A call of `method` for `name`; the same arguments in another order or spacing are the same.
    pub fn new(method: &'static str, name: &str, arguments: Option<&RawValue>) -> Self {
        // Absent arguments are none, as they are to the call.
        let value =
            arguments.map_or_else(|| Some(json!({})), |raw| serde_json::from_str(raw.get()).ok());
        let arguments = value.map_or_else(String::new, |value: Value| value.to_string());
        Self { method, name: name.to_owned(), arguments }
    }

    fn bound<'a>(&'a self, caller: &'a str) -> Bound<'a> {
        let Self { method, name, arguments } = self;
        Bound { caller, method, name, arguments }
    }
}

/// Opens what came with a call and puts it where the host finds it. Costs nothing when nothing came and nothing
/// can be asked.
///
/// # Errors
/// -32602: malformed, or a state that is not ours, of another call, used or too old.
pub fn open<H: Host>(
    exchange: &mut Exchange<H>,
    meta: &Meta<'_>,
    params: &Params<'_>,
    method: &str,
) -> Result<(), Failure> {
    let Some(method) = asking(method) else { return Ok(()) };
    let can = meta.client_can();
    let came = params.input_responses.is_some() || params.request_state.is_some();
    if !came && can == ClientCan::default() {
        return Ok(());
    }
    let revision = exchange.revision;
    let invalid = |message: String| Failure::invalid_params(revision, message);
    let (responses, sealed) = super::read(params).map_err(invalid)?;
    let remembered = match sealed {
        None => None,
        Some(sealed) => {
            let name = params.routed_name(method).unwrap_or_default();
            let question = Question::new(method, &name, params.arguments);
            let endpoint = &exchange.endpoint;
            let bound = question.bound(endpoint.host.caller_id(&exchange.caller));
            let opened = endpoint.sealer.open(&bound, &sealed, now_s());
            Some(opened.map_err(|_| invalid(NOT_OURS.to_owned()))?)
        }
    };
    exchange.origin.input = Some(Arc::new(Input { can, responses, remembered }));
    Ok(())
}

/// One wording for every reason: which one it was is nobody's business.
const NOT_OURS: &str = "requestState is not one that this server gave for this call, was used before, or is \
                        too old; call again without it";

/// The methods that may ask (2026-07-28).
fn asking(method: &str) -> Option<&'static str> {
    ["tools/call", "prompts/get", "resources/read"].into_iter().find(|known| *known == method)
}

fn now_s() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp()).unwrap_or(0)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Required<'a> {
    result_type: &'static str,
    input_requests: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<String>,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

/// What a failed call is answered with: `input_required` when it only wants to know more and the client can be
/// asked, else its error.
///
/// # Errors
/// The error; -32021 naming what the client would have to declare.
pub fn refused<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    question: impl FnOnce() -> Question,
    mut error: ApiError,
) -> Result<Vec<u8>, Failure> {
    let revision = exchange.revision;
    let Some(wanted) = error.wanted.take().filter(|_| revision.is_modern()) else {
        return Err(Failure::of(revision, error));
    };
    let can = exchange.origin.input.as_ref().map(|input| input.can).unwrap_or_default();
    check_declared(&wanted, can).map_err(|error| Failure::of(revision, error))?;
    let endpoint = &exchange.endpoint;
    let request_state = match &wanted.state {
        None => None,
        Some(state) => {
            let question = question();
            let bound = question.bound(endpoint.host.caller_id(&exchange.caller));
            let sealed = endpoint.sealer.seal(&bound, state, now_s());
            let none = || ApiError::new(Code::Internal, "the system has no randomness");
            Some(sealed.ok_or_else(|| Failure::of(revision, none()))?)
        }
    };
    let result = Required {
        result_type: "input_required",
        input_requests: wanted.asks.iter().map(|(key, ask)| (key.clone(), ask.on_wire())).collect(),
        request_state,
        meta: &endpoint.result_meta,
    };
    wire::success(id, result).map_err(|error| Failure::of(revision, error))
}

fn check_declared(wanted: &Wanted, can: ClientCan) -> Result<(), ApiError> {
    let capabilities = wanted.asks.iter().map(|(_, ask)| ask.capability(can));
    let missing: Map<String, Value> = capabilities
        .filter(|(_, declared)| !declared)
        .map(|(name, _)| (name.to_owned(), json!({})))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("the call needs capabilities that the client did not declare: {names}");
    let error = ApiError::new(Code::MissingClientCapability, message);
    Err(error.with_data(json!({ "requiredCapabilities": missing })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_arguments_are_the_same_call_however_they_are_written() {
        let of = |json: Option<&str>| {
            let raw = json.map(|json| RawValue::from_string(json.to_owned()).unwrap());
            Question::new("tools/call", "t", raw.as_deref()).arguments
        };
        assert_eq!(of(Some(r#"{"a":1,"b":[2]}"#)), of(Some("{ \"b\":[2],\n\"a\":1 }")));
        assert_ne!(of(Some(r#"{"a":1}"#)), of(Some(r#"{"a":"1"}"#)));
        assert_eq!(of(None), of(Some("{}")));
    }
}
