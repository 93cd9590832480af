//! JSON-RPC 2.0 on the wire: messages in, borrowed from the body; answers out, spliced from raw JSON.
//!
//! No message is ever turned into a tree: parameters, arguments and results stay [`RawValue`], checked
//! for syntax once and copied as bytes. Refuses what JSON-RPC or MCP call invalid (rungs 5 and 6).

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::failure::Failure;
use crate::error::{ApiError, Code};

/// Longest accepted id, in bytes of JSON: it is echoed, and nobody needs more.
const ID_BYTES_MAX: usize = 256;

/// Longest accepted method name, in bytes; the longest of any revision has 43.
const METHOD_BYTES_MAX: usize = 128;

/// One message.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Answers a request of ours.
    Response(Response<'a>),
    /// An array of messages, not looked into yet.
    Batch(&'a RawValue),
}

/// A request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Echoed in the answer: a string or an integer.
    pub id: &'a RawValue,
    /// The method's name.
    pub method: Cow<'a, str>,
    /// The parameters, if there are any.
    pub params: Option<&'a RawValue>,
}

/// A notification.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The method's name.
    pub method: Cow<'a, str>,
    /// The parameters, if there are any.
    pub params: Option<&'a RawValue>,
}

/// An answer of the client's.
#[derive(Debug)]
pub struct Response<'a> {
    /// The id of our request.
    pub id: &'a RawValue,
    /// The result; `None` for an error.
    pub result: Option<&'a RawValue>,
}

/// A message that is refused, with the id to echo (`null` when there is none to read).
#[derive(Debug)]
pub struct Malformed<'a> {
    /// The id, if it was readable.
    pub id: &'a RawValue,
    /// Why.
    pub failure: Failure,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

const NOT_AN_OBJECT: &str = "a message must be one JSON object that names each member once";

/// Reads an object's members. serde alone would also take an array, member by position.
pub fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    is_object(raw).then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// Whether the value is an object.
pub fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Tells `null` from absent.
pub fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&'de RawValue>::deserialize(from).map(Some)
}

impl<'a> Message<'a> {
    /// Parses a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed<'a>> {
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
            let envelope = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
            return Self::of(envelope);
        }
        let other: &RawValue = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        match other.get().starts_with('[') {
            true => Ok(Message::Batch(other)),
            false => Err(refuse(RawValue::NULL, NOT_AN_OBJECT)),
        }
    }

    /// Parses one element of a batch.
    pub fn parse_element(element: &'a RawValue) -> Result<Self, Malformed<'a>> {
        match object(element) {
            Some(envelope) => Self::of(envelope),
            None => Err(refuse(RawValue::NULL, NOT_AN_OBJECT)),
        }
    }

    fn of(envelope: Envelope<'a>) -> Result<Self, Malformed<'a>> {
        let id = match envelope.id {
            Some(id) if !is_id(id) => {
                return Err(refuse(RawValue::NULL, "id must be a string or an integer"));
            }
            id => id,
        };
        let echo = id.unwrap_or(RawValue::NULL);
        if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(refuse(echo, "jsonrpc must be \"2.0\""));
        }
        let answers = envelope.result.is_some() || envelope.error.is_some();
        let Some(method) = envelope.method else {
            return match (answers, id) {
                (true, Some(id)) => {
                    let result = envelope.result.filter(|_| envelope.error.is_none());
                    Ok(Message::Response(Response { id, result }))
                }
                _ => Err(refuse(echo, "method is missing")),
            };
        };
        if answers {
            return Err(refuse(echo, "a message has a method or a result, not both"));
        }
        let method = match text(method) {
            Some(method) if (1..=METHOD_BYTES_MAX).contains(&method.len()) => method,
            _ => return Err(refuse(echo, "method must be a string of 1 to 128 bytes")),
        };
        let params = envelope.params;
        Ok(match id {
            Some(id) => Message::Request(Request { id, method, params }),
            None => Message::Notification(Notification { method, params }),
        })
    }
}

/// A string or an integer: no float, no exponent, no `null` (MCP, Base Protocol, Requests).
fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= ID_BYTES_MAX && (text.starts_with('"') || integer)
}

/// The string, unless it is something else; borrowed when it has no escapes.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

fn refuse<'a>(id: &'a RawValue, message: &str) -> Malformed<'a> {
    let error = ApiError::new(Code::InvalidRequest, message);
    Malformed { id, failure: Failure::bad_request(error) }
}

/// Rung 5 when the bytes are not JSON, rung 6 when the JSON is not a message.
fn malformed<'a>(error: &serde_json::Error) -> Malformed<'a> {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Data => refuse(RawValue::NULL, NOT_AN_OBJECT),
        _ => {
            let message = format!("the body is not JSON: line {line}, column {column}");
            let error = ApiError::new(Code::ParseError, message);
            Malformed { id: RawValue::NULL, failure: Failure::bad_request(error) }
        }
    }
}

#[derive(Serialize)]
struct Success<'a, R> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: R,
}

#[derive(Serialize)]
struct Failed<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    error: serde_json::Value,
}

/// The answer with this result.
pub fn success<R: Serialize>(id: &RawValue, result: R) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(&Success { jsonrpc: "2.0", id, result }).map_err(|error| {
        ApiError::new(Code::Internal, "the result could not be encoded").caused_by(error)
    })
}

/// The answer with this error; without an id when no message was read (rungs 1 to 4).
pub fn failure(id: Option<&RawValue>, error: &ApiError) -> Vec<u8> {
    let body = Failed { jsonrpc: "2.0", id, error: error.to_json_rpc() };
    // Nothing in it can fail to encode: a tree of our own and JSON that was parsed before.
    serde_json::to_vec(&body).unwrap_or_else(|_| {
        br#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"the error could not be encoded"}}"#
            .to_vec()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(body: &str) -> (Code, String) {
        let malformed = Message::parse(body.as_bytes()).unwrap_err();
        assert_eq!(malformed.failure.status, 400);
        (malformed.failure.error.code, malformed.id.get().to_owned())
    }

    #[test]
    fn a_request_is_borrowed_from_the_body() {
        let body = br#" {"jsonrpc":"2.0","id":"a\"b","method":"tools\/call","params":{"x":[1]}}"#;
        let Message::Request(request) = Message::parse(body).unwrap() else { panic!("no request") };
        assert_eq!(request.id.get(), r#""a\"b""#);
        assert_eq!(request.method, "tools/call");
        assert_eq!(request.params.unwrap().get(), r#"{"x":[1]}"#);
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        for body in ["", "  ", "{", "[1", "{\"a\":}", "nul", "{\"jsonrpc\":\"2.0\",}", "\u{1}"] {
            assert_eq!(refused(body), (Code::ParseError, "null".into()), "{body}");
        }
        let bytes = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}";
        assert_eq!(Message::parse(bytes).unwrap_err().failure.error.code, Code::ParseError);
    }

    #[test]
    fn what_is_json_but_no_message_is_an_invalid_request() {
        for (body, id) in [
            ("null", "null"),
            ("\"text\"", "null"),
            ("7", "null"),
            (r#"{"id":1,"method":"ping"}"#, "1"),
            (r#"{"jsonrpc":"1.0","id":"x","method":"ping"}"#, "\"x\""),
            (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "1"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "null"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "null"),
            (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, "null"),
            (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, "null"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, "null"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, "1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, "1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#, "1"),
            (r#"{"jsonrpc":"2.0","result":1}"#, "null"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, "null"),
        ] {
            assert_eq!(refused(body), (Code::InvalidRequest, id.into()), "{body}");
        }
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"a"}}"#, "x".repeat(300));
        assert_eq!(refused(&long).0, Code::InvalidRequest);
    }

    #[test]
    fn an_array_is_not_read_as_an_object_by_position() {
        let element: &RawValue = serde_json::from_str(r#"["2.0",1,"ping",null]"#).unwrap();
        assert!(Message::parse_element(element).is_err());
        assert!(matches!(Message::parse(element.get().as_bytes()), Ok(Message::Batch(_))));
    }

    #[test]
    fn ids_large_and_negative_are_echoed_as_written() {
        for id in ["0", "-7", "123456789012345678901234567890", "\"\""] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let Ok(Message::Request(request)) = Message::parse(body.as_bytes()) else {
                panic!("{id} was refused")
            };
            let answer = success(request.id, 1).unwrap();
            let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#);
            assert_eq!(String::from_utf8(answer).unwrap(), expected);
        }
    }

    #[test]
    fn deep_nesting_is_passed_over_without_recursion() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{deep}}}"#);
        assert!(matches!(Message::parse(body.as_bytes()), Ok(Message::Request(_))));
        assert!(matches!(Message::parse(deep.as_bytes()), Ok(Message::Batch(_))));
    }

    #[test]
    fn an_error_before_a_message_was_read_has_no_id() {
        let error = ApiError::new(Code::Unauthenticated, "no token");
        let body: serde_json::Value = serde_json::from_slice(&failure(None, &error)).unwrap();
        assert!(body.get("id").is_none());
        assert_eq!(body["error"]["code"], -31401);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&body);
        }

        #[test]
        fn no_near_miss_of_an_envelope_panics_or_passes_with_a_bad_id(
            jsonrpc in "\"2\\.0\"|\"\\PC{0,4}\"|[0-9]{1,3}|null",
            id in "\"\\w{0,9}\"|-?[0-9]{1,30}|[0-9]\\.[0-9]|null|true|\\{\\}|\\[1\\]",
            method in "\"[a-z/]{0,12}\"|null|1|\\[\\]",
            params in "null|\\{\\}|\\[\\]|\"x\"|\\{\"_meta\":1\\}",
        ) {
            let body = format!(
                r#"{{"jsonrpc":{jsonrpc},"id":{id},"method":{method},"params":{params}}}"#
            );
            match Message::parse(body.as_bytes()) {
                Ok(Message::Request(request)) => {
                    prop_assert!(is_id(request.id));
                    prop_assert!(!request.method.is_empty());
                }
                Ok(other) => prop_assert!(false, "{other:?}"),
                Err(refusal) => prop_assert_eq!(refusal.failure.status, 400),
            }
        }
    }
}
