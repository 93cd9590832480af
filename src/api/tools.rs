//! `POST /api/v1/tools/{name}`: the body is the arguments, the answer the structured result. With an
//! `Idempotency-Key` the call is run once however often it is sent. With `?stream=1` the answer tells what
//! happens while the tool runs ([`super::tool_stream`]).

use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use serde_json::value::RawValue;
use ultimate_mcp_actors::deadline::Deadline;

use super::{Authenticated, JsonBody, tool_stream};
use crate::error::{ApiError, Code};
use crate::forward::{ANSWER_HEADER, Envelope};
use crate::once;
use crate::tools::{ToolOutput, ToolRequest};
use crate::tools_call::tools_call;

/// The tools this caller may use, each with its schemas.
pub async fn list(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_rate("tools/list").await?;
    let tools: Vec<_> = auth
        .state
        .descriptors_for(&auth.caller)
        .into_iter()
        .map(|(name, tool)| {
            json!({
                "name": name,
                "version": tool.edition.version,
                "deprecated": tool.edition.deprecated,
                "title": tool.title,
                "description": tool.description,
                "permission": tool.permission,
                "input_schema": tool.input_schema,
                "output_schema": tool.output_schema,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "tools": tools })))
}

/// Calls a tool. 200 with the structured result; 422 when the tool ran and failed.
pub async fn call(
    mut auth: Authenticated,
    request: HttpRequest,
    name: Path<String>,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    let arguments = arguments(&body.0)?;
    auth.origin.idempotency_key = once::key_of(request.headers())?;
    if tool_stream::wanted(&request)? {
        return tool_stream::call(auth, name.into_inner(), arguments.to_owned()).await;
    }
    let forwarded = auth.origin.passage.forwarded_by.is_some();
    let deadline = auth.call_deadline();
    let answer = match auth.origin.idempotency_key {
        None => {
            let request = ToolRequest { name: &name, arguments, deadline, events: None };
            tools_call(&auth.state, &auth.caller, &auth.origin, request).await?
        }
        Some(_) => detached(auth, name.into_inner(), arguments.to_owned(), deadline).await?,
    };
    if forwarded {
        let ToolOutput { structured, text, is_error, .. } = answer;
        let envelope = Envelope { structured, text, is_error };
        return Ok(HttpResponse::Ok().insert_header((ANSWER_HEADER, "output")).json(envelope));
    }
    let status = match answer.is_error {
        true => StatusCode::UNPROCESSABLE_ENTITY,
        false => StatusCode::OK,
    };
    Ok(HttpResponse::build(status)
        .content_type("application/json")
        .body(String::from(Box::<str>::from(answer.structured))))
}

/// A client that hangs up and sends its key again wants the answer of the first run, so that one goes on.
async fn detached(
    auth: Authenticated,
    name: String,
    arguments: Box<RawValue>,
    deadline: Deadline,
) -> Result<ToolOutput, ApiError> {
    let task = actix_rt::spawn(async move {
        let request = ToolRequest { name: &name, arguments: &arguments, deadline, events: None };
        tools_call(&auth.state, &auth.caller, &auth.origin, request).await
    });
    task.await.unwrap_or_else(|error| {
        let crashed = "the call crashed; whether it had effects is unknown";
        Err(ApiError::new(Code::Crashed, crashed).caused_by(error))
    })
}

/// The body as the tool's arguments; an empty body is `{}`.
fn arguments(body: &[u8]) -> Result<&RawValue, ApiError> {
    const NONE: &[u8] = b"{}";
    let body = if body.is_empty() { NONE } else { body };
    let value: &RawValue = serde_json::from_slice(body).map_err(|error| {
        ApiError::new(Code::ParseError, format!("the body is not JSON: {error}"))
    })?;
    match value.get().starts_with('{') {
        true => Ok(value),
        false => Err(ApiError::new(
            Code::InvalidRequest,
            "the body must be a JSON object: the arguments",
        )),
    }
}
