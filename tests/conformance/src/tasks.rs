//! The suites' tools whose answers are fetched later, and the tasks they make, in a map. Names, texts and times are
//! the suites'.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use ultimate_mcp::error::{ApiError, Code};
use ultimate_mcp::mcp::{Ask, Called, Input, Task, TaskState, tasks_not_declared};

use crate::asking::{ask, filled, form};
use crate::fixture_tools::{argument, output, said};

/// The tools by name, with what they are for.
pub const TASKS: [(&str, &str); 6] = [
    ("slow_compute", "Takes as many seconds as it is told."),
    ("failing_job", "Fails after a second; as a task only."),
    ("protocol_error_job", "Ends without a result; as a task only."),
    ("confirm_delete", "Asks while it runs, as a task."),
    ("multi_input", "Asks two things while it runs; as a task only."),
    ("test_tool_with_task", "Asks for a name, then becomes a task."),
];

/// How long a task is kept, at least.
const TTL_MS: u64 = 600_000;
/// What `failing_job` takes.
const FAILING: Duration = Duration::from_secs(1);

/// Whether this tool is one of these.
pub fn is_one(tool: &str) -> bool {
    TASKS.iter().any(|(name, _)| *name == tool)
}

/// What comes of a task.
enum End {
    Says(String),
    Fails(String),
    Breaks,
}

struct Kept {
    created: String,
    changed: String,
    over_at: Instant,
    asks: Vec<(String, Ask)>,
    end: End,
    cancelled: bool,
}

/// The tasks so far.
#[derive(Default)]
pub struct Tasks(Mutex<HashMap<String, Kept>>);

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

fn seconds(arguments: &RawValue) -> f64 {
    let arguments: Map<String, Value> = serde_json::from_str(arguments.get()).unwrap_or_default();
    arguments.get("seconds").and_then(Value::as_f64).unwrap_or(0.0).clamp(0.0, 60.0)
}

fn none() -> ApiError {
    ApiError::new(Code::NotFound, "no such task")
}

impl Tasks {
    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of a tool of [`TASKS`].
    ///
    /// # Errors
    /// The client declared no tasks and the tool can be nothing else; it asks first.
    pub async fn call(
        &self,
        name: &str,
        arguments: &RawValue,
        input: &Input,
    ) -> Result<Called, ApiError> {
        let (after, asks, end) = match name {
            "slow_compute" => {
                let (seconds, text) = (seconds(arguments), "Computed.".to_owned());
                let after = Duration::from_secs_f64(seconds);
                if !input.can.tasks || after.is_zero() {
                    tokio::time::sleep(after).await;
                    return said(&text);
                }
                (after, Vec::new(), End::Says(text))
            }
            "failing_job" => (FAILING, Vec::new(), End::Fails("It failed.".to_owned())),
            "protocol_error_job" => (Duration::ZERO, Vec::new(), End::Breaks),
            "confirm_delete" if !input.can.tasks => return said("Deleted, unasked."),
            "confirm_delete" => {
                let file = argument(arguments, "filename").unwrap_or_default();
                let question = form(&format!("Delete {file}?"), "confirm", "boolean");
                let asks = vec![("confirm".to_owned(), question)];
                (Duration::ZERO, asks, End::Says(format!("Deleted {file}.")))
            }
            "multi_input" => {
                let question =
                    |key: &str| (key.to_owned(), form("What is your name?", "name", "string"));
                let asks = vec![question("first"), question("second")];
                (Duration::ZERO, asks, End::Says("Both came.".to_owned()))
            }
            _ => match filled(input, "user_name", "name") {
                Some(name) => (Duration::ZERO, Vec::new(), End::Says(format!("Hello, {name}!"))),
                None => {
                    let question = form("What is your name?", "name", "string");
                    return ask(vec![("user_name", question)], Some("asked"));
                }
            },
        };
        if !input.can.tasks {
            return Err(tasks_not_declared());
        }
        let (id, created) = (uuid::Uuid::new_v4().to_string(), now());
        let (changed, over_at) = (created.clone(), Instant::now() + after);
        let kept = Kept { created, changed, over_at, asks, end, cancelled: false };
        self.kept().insert(id.clone(), kept);
        let task = Some(Box::new(self.get(&id)?));
        Ok(Called { task, ..said("It goes on as a task.")? })
    }

    /// How one stands.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn get(&self, id: &str) -> Result<Task, ApiError> {
        let tasks = self.kept();
        let kept = tasks.get(id).ok_or_else(none)?;
        let state = if kept.cancelled {
            TaskState::Cancelled
        } else if !kept.asks.is_empty() {
            TaskState::Asking(kept.asks.clone())
        } else if Instant::now() < kept.over_at {
            TaskState::Working
        } else {
            match &kept.end {
                End::Says(text) => TaskState::Completed(Box::new(said(text)?)),
                End::Fails(text) => {
                    TaskState::Completed(Box::new(output(Some(text), Vec::new(), true)?))
                }
                End::Breaks => {
                    let error = ApiError::new(Code::Crashed, "it broke, on purpose");
                    TaskState::Failed(Box::new(error))
                }
            }
        };
        Ok(Task {
            id: id.to_owned(),
            state,
            message: None,
            created_at: kept.created.clone(),
            updated_at: kept.changed.clone(),
            ttl_ms: Some(TTL_MS),
        })
    }

    /// Answers to what one asks.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn answer(&self, id: &str, responses: BTreeMap<String, Value>) -> Result<(), ApiError> {
        let mut tasks = self.kept();
        let kept = tasks.get_mut(id).ok_or_else(none)?;
        kept.asks.retain(|(key, _)| !responses.contains_key(key));
        kept.changed = now();
        Ok(())
    }

    /// Ends one.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn cancel(&self, id: &str) -> Result<(), ApiError> {
        let over = self.get(id)?.state.is_final();
        if let Some(kept) = self.kept().get_mut(id).filter(|_| !over) {
            kept.cancelled = true;
            kept.changed = now();
        }
        Ok(())
    }
}
