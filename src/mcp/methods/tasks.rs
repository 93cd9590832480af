//! `tasks/get`, `tasks/update`, `tasks/cancel` (extension `io.modelcontextprotocol/tasks`): how a task stands, the
//! answers it waits for, its end.
//!
//! Refuses clients that did not declare the extension with the request, and ids that are none of the caller's:
//! the three reasons for that look the same.

use serde::Serialize;
use serde_json::value::RawValue;

use super::tools_call::{CallResult, Ending};
use crate::error::{ApiError, Code};
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::input;
use crate::mcp::meta::Meta;
use crate::mcp::params::Params;
use crate::mcp::task::{TaskState, TaskView, not_declared};
use crate::mcp::wire::{self, Request, text};
use crate::mcp::{Called, Host};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Got<'a> {
    result_type: &'static str,
    #[serde(flatten)]
    task: TaskView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<CallResult<'a>>,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledged<'a> {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

/// One of the three methods.
///
/// # Errors
/// -32021 (400) when the client did not declare the extension; -32602 for no such task and malformed parameters.
pub async fn answer<H: Host>(
    exchange: &Exchange<H>,
    request: &Request<'_>,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let revision = exchange.revision;
    if !Meta::read(params).client_can().tasks {
        return Err(Failure::bad_request(not_declared()));
    }
    let Some(task) = params.task_id.and_then(text) else {
        return Err(Failure::invalid_params(revision, "taskId must be a string"));
    };
    let Exchange { endpoint, caller, origin, .. } = exchange;
    let (host, deadline, meta) = (&endpoint.host, exchange.deadline(), &*endpoint.result_meta);
    let failed = |error: ApiError| match error.code {
        Code::NotFound => Failure::invalid_params(revision, "there is no such task of yours"),
        _ => Failure::of(revision, error),
    };
    match &*request.method {
        "tasks/get" => {
            let task = host.task(caller, origin, &task, deadline).await.map_err(failed)?;
            let result = match &task.state {
                TaskState::Completed(called) => Some(result_of(exchange, called)),
                _ => None,
            };
            let got = Got { result_type: "complete", task: TaskView::full(&task), result, meta };
            return wire::success(request.id, got).map_err(|error| Failure::of(revision, error));
        }
        "tasks/update" => {
            if params.input_responses.is_none() {
                return Err(Failure::invalid_params(revision, "inputResponses is missing"));
            }
            let invalid = |message: String| Failure::invalid_params(revision, message);
            let (responses, _) = input::read(params).map_err(invalid)?;
            let answered = host.answer_task(caller, origin, &task, responses, deadline).await;
            answered.map_err(failed)?;
        }
        _ => host.cancel_task(caller, origin, &task, deadline).await.map_err(failed)?,
    }
    let acknowledged = Acknowledged { result_type: "complete", meta };
    wire::success(request.id, acknowledged).map_err(|error| Failure::of(revision, error))
}

fn result_of<'a, H: Host>(exchange: &Exchange<H>, called: &'a Called) -> CallResult<'a> {
    let ending = if called.output.is_error { Ending::ToolFailed } else { Ending::Succeeded };
    CallResult::of(exchange.revision, ending, called, None)
}
