//! Parameters, looked at in two steps: which members are there (all revisions, all methods), and then
//! each one's type, when its rung of the ladder is reached.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::revision::Revision;
use super::wire::{object, present, text};
use crate::error::{ApiError, Code};

/// The members of `params` that any method here reads; still raw, so that a wrong type is told at its
/// own rung. Unknown members are ignored, as MCP demands.
#[derive(Default, Deserialize)]
pub struct Params<'a> {
    #[serde(borrow, default, rename = "_meta", deserialize_with = "present")]
    pub meta: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub cursor: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub uri: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "taskId", deserialize_with = "present")]
    pub task_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "protocolVersion", deserialize_with = "present")]
    pub protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "clientInfo", deserialize_with = "present")]
    pub client_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub level: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub notifications: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestId")]
    pub request_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "ref", deserialize_with = "present")]
    pub reference: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub argument: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub context: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputResponses")]
    pub input_responses: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestState")]
    pub request_state: Option<&'a RawValue>,
    #[serde(skip)]
    malformed: bool,
}

impl<'a> Params<'a> {
    /// Reads the members. Malformed parameters have none; [`Params::check_shape`] tells.
    pub fn read(params: Option<&'a RawValue>) -> Self {
        match params.map(object) {
            None => Self::default(),
            Some(Some(params)) => params,
            Some(None) => Self { malformed: true, ..Self::default() },
        }
    }

    /// Whether `params` is absent or an object that names no member twice.
    ///
    /// # Errors
    /// -32602.
    pub fn check_shape(&self, revision: Revision) -> Result<(), Failure> {
        if !self.malformed {
            return Ok(());
        }
        let error = ApiError::new(
            Code::InvalidArguments,
            "params must be an object that names each member once",
        );
        // Modern: part of rung 9, whose status is 400.
        Err(if revision.is_modern() {
            Failure::bad_request(error)
        } else {
            Failure::of(revision, error)
        })
    }

    /// The body value that `Mcp-Name` must repeat for this method, if the method has one and the
    /// body's is a string (2026-07-28, Transports, Standard Request Headers).
    pub fn routed_name(&self, method: &str) -> Option<Cow<'a, str>> {
        let raw = match method {
            "tools/call" | "prompts/get" => self.name,
            "resources/read" => self.uri,
            "tasks/get" | "tasks/update" | "tasks/cancel" => self.task_id,
            _ => None,
        };
        raw.and_then(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn params_that_are_no_object_or_ambiguous_are_refused() {
        for bad in ["[]", "1", "null", r#"{"name":"a","name":"b"}"#] {
            let params = Params::read(Some(raw(bad)));
            assert_eq!(params.check_shape(Revision::V2026_07_28).unwrap_err().status, 400, "{bad}");
            assert_eq!(params.check_shape(Revision::V2025_11_25).unwrap_err().status, 200, "{bad}");
        }
        assert!(Params::read(None).check_shape(Revision::V2026_07_28).is_ok());
    }

    #[test]
    fn each_method_is_routed_by_its_own_member() {
        let params = Params::read(Some(raw(r#"{"name":"n","uri":"u","taskId":7}"#)));
        assert_eq!(params.routed_name("tools/call").unwrap(), "n");
        assert_eq!(params.routed_name("resources/read").unwrap(), "u");
        assert_eq!(params.routed_name("tasks/get"), None);
        assert_eq!(params.routed_name("tools/list"), None);
    }
}
