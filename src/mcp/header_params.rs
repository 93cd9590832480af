//! `x-mcp-header`: tool parameters that a 2026-07-28 client repeats as `Mcp-Param-*` headers, so that
//! a gateway can route or refuse by them (rung 13).

use std::collections::BTreeMap;

use actix_web::http::header::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::headers::{decode, single};
use super::wire::text;

/// How deep `properties` are followed.
const DEPTH_MAX: usize = 8;

/// A parameter that is repeated in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParam {
    /// `mcp-param-…`, lower-case.
    header: String,
    /// Where the value is in the arguments.
    path: Vec<String>,
}

/// The annotated parameters of a tool's input schema.
///
/// # Errors
/// Says which annotation is not allowed: the header must be an RFC 9110 token, unique without regard
/// to case, on a string, integer or boolean reachable by `properties` alone.
pub fn of_schema(schema: &Value) -> Result<Vec<HeaderParam>, String> {
    let mut found = Vec::new();
    walk(schema, &mut Vec::new(), &mut found)?;
    for (index, param) in found.iter().enumerate() {
        if found[..index].iter().any(|other: &HeaderParam| other.header == param.header) {
            return Err(format!("two parameters share the header {}", param.header));
        }
    }
    Ok(found)
}

fn walk(
    schema: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<HeaderParam>,
) -> Result<(), String> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    if path.len() == DEPTH_MAX {
        return Ok(());
    }
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(header) = property.get("x-mcp-header") {
            let kind = property.get("type").and_then(Value::as_str);
            let header = header.as_str().filter(|text| is_token(text));
            match (header, kind) {
                (Some(header), Some("string" | "integer" | "boolean")) => {
                    let header = format!("mcp-param-{}", header.to_ascii_lowercase());
                    found.push(HeaderParam { header, path: path.clone() });
                }
                _ => return Err(format!("x-mcp-header is not allowed on {}", path.join("."))),
            }
        }
        walk(property, path, found)?;
        path.pop();
    }
    Ok(())
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// Compares the headers with the arguments. A value that is absent, `null` or of another type than a
/// header can repeat expects no header: its type is told at rung 16.
///
/// # Errors
/// HTTP 400 / -32020.
pub fn check(
    params: &[HeaderParam],
    headers: &HeaderMap,
    arguments: Option<&RawValue>,
) -> Result<(), Failure> {
    for param in params {
        let Some(value) = arguments.and_then(|arguments| lookup(arguments, &param.path)) else {
            continue;
        };
        let Some(header) = single(headers, &param.header)? else {
            return Err(Failure::header_mismatch(format!(
                "the header {} is missing",
                param.header
            )));
        };
        if !same(value, &decode(header)?) {
            let message = format!("the header {} differs from the arguments", param.header);
            return Err(Failure::header_mismatch(message));
        }
    }
    Ok(())
}

/// The scalar at this path.
fn lookup<'a>(arguments: &'a RawValue, path: &[String]) -> Option<&'a RawValue> {
    let mut value = arguments;
    for name in path {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
        value = members.get(name)?;
    }
    let scalar = !value.get().starts_with(['{', '[', 'n']);
    scalar.then_some(value)
}

/// Texts are equal as texts, numbers as numbers (`42.0` is `42`), booleans by name.
fn same(value: &RawValue, header: &str) -> bool {
    if let Some(text) = text(value) {
        return text == header;
    }
    if value.get() == header {
        return true;
    }
    let numbers = (value.get().parse::<f64>(), header.parse::<f64>());
    matches!(numbers, (Ok(body), Ok(header)) if body == header)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn params() -> Vec<HeaderParam> {
        of_schema(&json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "job": {"type": "object", "properties": {
                "priority": {"type": "integer", "x-mcp-header": "Priority"},
            }},
        }}))
        .unwrap()
    }

    fn checked(arguments: &str, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let arguments: &RawValue = serde_json::from_str(arguments).unwrap();
        check(&params(), &headers, Some(arguments)).is_ok()
    }

    #[test]
    fn a_header_repeats_its_parameter_or_the_call_is_refused() {
        let region = ("mcp-param-region", "eu");
        assert!(checked(r#"{"region":"eu"}"#, &[region]));
        assert!(checked(r#"{"region":"eu"}"#, &[("mcp-param-region", "=?base64?ZXU=?=")]));
        assert!(!checked(r#"{"region":"eu"}"#, &[]));
        assert!(!checked(r#"{"region":"us"}"#, &[region]));
        assert!(!checked(r#"{"region":"eu"}"#, &[region, region]));
        assert!(checked(r#"{"job":{"priority":42}}"#, &[("mcp-param-priority", "42.0")]));
        assert!(!checked(r#"{"job":{"priority":42}}"#, &[("mcp-param-priority", "43")]));
        assert!(!checked(r#"{"job":{"priority":42}}"#, &[("mcp-param-priority", "NaN")]));
    }

    #[test]
    fn an_absent_or_null_parameter_expects_no_header() {
        for arguments in ["{}", r#"{"region":null}"#, r#"{"job":7}"#, "[]", r#"{"region":["x"]}"#] {
            assert!(checked(arguments, &[]), "{arguments}");
        }
    }

    #[test]
    fn an_annotation_that_no_client_may_follow_is_refused() {
        for property in [
            json!({"type": "string", "x-mcp-header": "a b"}),
            json!({"type": "string", "x-mcp-header": 7}),
            json!({"type": "array", "x-mcp-header": "A"}),
        ] {
            assert!(of_schema(&json!({"properties": {"p": property}})).is_err());
        }
        let twice = json!({"properties": {
            "a": {"type": "string", "x-mcp-header": "X"},
            "b": {"type": "string", "x-mcp-header": "x"},
        }});
        assert!(of_schema(&twice).is_err());
    }
}
