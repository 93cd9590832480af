//! What the tools' tests share: a permit, a way to call a tool by JSON.

use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::execution::{ExecutionHandle, ExecutionOptions};
use ultimate_mcp_actors::node::NodeId;
use ultimate_mcp_actors::sandboxes::{SandboxesHandle, SandboxesOptions};
use ultimate_mcp_actors::supervision::Supervisor;

use super::events::EventSink;
use super::{Tool, ToolCall, ToolOutput};
use crate::admission::{Permit, RunCaps};
use crate::error::ApiError;
use crate::origin::{Origin, Transport};

/// The node the tests run on.
pub fn node() -> NodeId {
    NodeId::parse("here").unwrap()
}

/// Caps of an ordinary developer.
pub fn caps() -> RunCaps {
    RunCaps {
        timeout_seconds_max: 60.0,
        memory_mb_max: 1024,
        pids_max: 256,
        output_kb_max: 8192,
        disk_mb_max: 512,
        cpu_max: 2.0,
    }
}

/// Sandboxes on a host without a launcher: everything but what needs an interpreter.
pub async fn sandboxes(root: &Supervisor) -> SandboxesHandle {
    let absent = Some(("/no/such/launcher".into(), Vec::new()));
    let cell = ExecutionOptions { launcher: absent, ..ExecutionOptions::default() };
    let execution = ExecutionHandle::start(root, cell).await.unwrap();
    SandboxesHandle::start(root, SandboxesOptions::default(), node(), execution).await.unwrap()
}

/// Calls a tool with these arguments, as `ada` with [`caps`].
pub async fn call(tool: &dyn Tool, arguments: Value) -> Result<ToolOutput, ApiError> {
    call_watched(tool, arguments, None).await
}

/// The same with somebody who reads what happens meanwhile.
pub async fn call_watched(
    tool: &dyn Tool,
    arguments: Value,
    events: Option<&EventSink>,
) -> Result<ToolOutput, ApiError> {
    let permit = Permit::for_tests("ada", tool.descriptor().name, caps());
    let arguments = RawValue::from_string(arguments.to_string()).unwrap();
    let deadline = Deadline::after(Duration::from_secs(60));
    let request = actix_web::test::TestRequest::default().to_http_request();
    let origin = Origin::of(&request, Transport::Rest);
    let (permit, origin, arguments) = (&permit, &origin, &*arguments);
    tool.call(ToolCall { permit, origin, arguments, deadline, events }).await
}

/// The structured result of a call that must succeed.
pub async fn result(tool: &dyn Tool, arguments: Value) -> Value {
    let output = call(tool, arguments).await.unwrap();
    serde_json::from_str(output.structured.get()).unwrap()
}

/// What a call that must be refused says, one line per problem.
pub async fn refusal(tool: &dyn Tool, arguments: Value) -> String {
    let error = call(tool, arguments.clone()).await.expect_err(&arguments.to_string());
    assert_eq!(error.code.slug(), "invalid_arguments", "{arguments}: {error}");
    assert!(!error.problems.is_empty(), "{arguments}: no path in {error}");
    error.public
}
