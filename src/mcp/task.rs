//! Tasks (extension `io.modelcontextprotocol/tasks`, SEP-2663): a call whose answer is fetched later.
//!
//! The host decides which calls become tasks, and only for clients that declared the extension with the call. What
//! a task is kept in, and for how long, is the host's; here is how it looks on the wire.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::catalog::Called;
use super::input::Ask;
use crate::error::{ApiError, Code};

/// Name of the extension.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// A call that goes on.
#[derive(Debug)]
pub struct Task {
    /// Unguessable; known to its caller only.
    pub id: String,
    /// Where it stands.
    pub state: TaskState,
    /// For people.
    pub message: Option<String>,
    /// When it was made; RFC 3339.
    pub created_at: String,
    /// When its state changed last; RFC 3339.
    pub updated_at: String,
    /// How long it is kept, in milliseconds from its making; `None` while that is open.
    pub ttl_ms: Option<u64>,
}

/// Where a task stands. The last three never change.
#[derive(Debug)]
pub enum TaskState {
    /// It is on its way.
    Working,
    /// It waits for answers to these, each by its key.
    Asking(Vec<(String, Ask)>),
    /// It has a result, also when the tool failed.
    Completed(Box<Called>),
    /// It has none.
    Failed(Box<ApiError>),
    /// Its caller ended it.
    Cancelled,
}

impl TaskState {
    /// The name on the wire.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Asking(_) => "input_required",
            Self::Completed(_) => "completed",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it never changes again.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed(_) | Self::Cancelled)
    }
}

/// How often a client may look, in milliseconds.
const POLL_INTERVAL_MS: u64 = 1_000;

/// What every answer about a task says of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskView<'a> {
    task_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
    created_at: &'a str,
    last_updated_at: &'a str,
    ttl_ms: Option<u64>,
    poll_interval_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_requests: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl<'a> TaskView<'a> {
    /// Without what it came to or asks: as a call answers that made it.
    pub(super) fn brief(task: &'a Task) -> Self {
        Self {
            task_id: &task.id,
            status: task.state.as_str(),
            status_message: task.message.as_deref(),
            created_at: &task.created_at,
            last_updated_at: &task.updated_at,
            ttl_ms: task.ttl_ms,
            poll_interval_ms: POLL_INTERVAL_MS,
            input_requests: None,
            error: None,
        }
    }

    /// With what it asks, or why it has no result. The result itself is the writer's.
    pub(super) fn full(task: &'a Task) -> Self {
        let mut view = Self::brief(task);
        match &task.state {
            TaskState::Asking(asks) => {
                let asks = asks.iter().map(|(key, ask)| (key.clone(), ask.on_wire()));
                view.input_requests = Some(asks.collect());
            }
            TaskState::Failed(error) => view.error = Some(error.to_json_rpc()),
            TaskState::Working | TaskState::Completed(_) | TaskState::Cancelled => {}
        }
        view
    }
}

/// What a client is told that asks for tasks without having declared them, or whose call can only be one.
pub fn not_declared() -> ApiError {
    let message = format!("the client did not declare the extension {EXTENSION} with this request");
    let extensions = json!({ EXTENSION: {} });
    ApiError::new(Code::MissingClientCapability, message)
        .with_data(json!({ "requiredCapabilities": { "extensions": extensions } }))
}
