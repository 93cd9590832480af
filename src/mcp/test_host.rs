//! A host for tests: callers by token name, three small tools, sessions in a map.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::Notify;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::SessionId;

use super::{
    Asked, Block, Body, Called, Completed, Content, Host, NewSession, PromptArgument, PromptEntry,
    PromptText, Reference, ResourceEntry, Revision, Task, TaskState, TemplateEntry, ToolList,
};
use crate::error::{ApiError, Code, Problem};
use crate::origin::Origin;
use crate::tools::events::{EventSink, LogLevel};
use crate::tools::{Annotations, Edition, Effects, ToolDescriptor, ToolOutput, ToolRequest};

/// A tool that takes an object and answers one.
pub fn descriptor(name: &'static str) -> ToolDescriptor {
    ToolDescriptor {
        name,
        title: "A tool",
        description: "Does something.".to_owned(),
        input_schema: json!({"type": "object"}),
        output_schema: json!({"type": "object"}),
        annotations: Annotations::READS,
        permission: "tools:read",
        event_type: EventType::DataRead,
        effects: Effects::None,
        edition: Edition::ONLY,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddArgs {
    a: i64,
    b: i64,
}

/// Decodes here, so that the wording of the real decoder is no part of the protocol's golden answers.
fn add(arguments: &RawValue) -> Result<ToolOutput, ApiError> {
    let wrong = |path: &str, problem: String| Problem { path: path.to_owned(), problem };
    let args: AddArgs = serde_json::from_str(arguments.get()).map_err(|error| {
        ApiError::invalid_arguments(vec![wrong("arguments", error.to_string())])
    })?;
    let in_range = |value: i64| (-1000..=1000).contains(&value);
    let problems: Vec<_> = [("a", args.a), ("b", args.b)]
        .into_iter()
        .filter(|(_, value)| !in_range(*value))
        .map(|(name, _)| wrong(name, "must be -1000 to 1000".to_owned()))
        .collect();
    match problems.is_empty() {
        true => Ok(output(json!({"sum": args.a + args.b}), false)),
        false => Err(ApiError::invalid_arguments(problems)),
    }
}

/// What the tests look at and steer.
pub struct TestHost {
    tools: Arc<ToolList>,
    viewer_tools: Arc<ToolList>,
    sessions: Mutex<HashMap<SessionId, (String, Revision)>>,
    /// Where the last call came from.
    pub last_origin: Mutex<Option<Origin>>,
    /// Everybody is a viewer now; nobody is let in any more.
    pub demoted: AtomicBool,
    pub locked: AtomicBool,
    /// `wait` calls that have begun, that ended, and that were dropped before they ended.
    pub begun: Notify,
    pub release: Notify,
    pub ended: AtomicUsize,
    pub dropped: Arc<AtomicUsize>,
}

impl TestHost {
    pub fn new() -> Self {
        let mut add = descriptor("add");
        add.input_schema = json!({
            "type": "object",
            "properties": {
                "a": {"type": "integer", "minimum": -1000, "maximum": 1000},
                "b": {"type": "integer", "minimum": -1000, "maximum": 1000},
            },
            "required": ["a", "b"],
            "additionalProperties": false,
        });
        add.output_schema = json!({"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]});
        let mut routed = descriptor("routed");
        routed.input_schema = json!({
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        });
        let mut secret = descriptor("secret");
        secret.permission = "system:admin";
        let fail = descriptor("fail");
        let (talk, wait) = (descriptor("talk"), descriptor("wait"));
        let tools = ToolList::new([&add, &routed, &secret, &fail, &talk, &wait]).unwrap();
        Self {
            viewer_tools: Arc::new(tools.filter(|name| name != "secret")),
            tools: Arc::new(tools),
            sessions: Mutex::default(),
            last_origin: Mutex::default(),
            demoted: AtomicBool::new(false),
            locked: AtomicBool::new(false),
            begun: Notify::new(),
            release: Notify::new(),
            ended: AtomicUsize::new(0),
            dropped: Arc::default(),
        }
    }
}

/// The one template.
const TEMPLATE: TemplateEntry = TemplateEntry {
    uri_template: "test://things/{id}",
    name: "thing",
    title: "A thing",
    description: "By its id.",
    mime_type: None,
};

fn prompt(name: &str) -> PromptEntry {
    PromptEntry {
        name: name.to_owned(),
        title: "A prompt".to_owned(),
        description: "Says something.".to_owned(),
        version: 2,
        arguments: vec![PromptArgument {
            name: "who".to_owned(),
            description: "whom".to_owned(),
            required: true,
        }],
    }
}

fn resource(uri: &str) -> ResourceEntry {
    ResourceEntry {
        uri: uri.to_owned(),
        name: "thing".to_owned(),
        title: "A thing".to_owned(),
        description: "Something to read.".to_owned(),
        mime_type: "text/plain".into(),
        size: Some(5),
    }
}

fn forbidden(scope: &str) -> ApiError {
    let error = ApiError::new(Code::Forbidden, format!("needs {scope}"));
    ApiError { scopes: Box::new([scope.to_owned()]), ..error }
}

/// Counts a call that goes away before it ends.
struct Watch(Arc<AtomicUsize>, bool);

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn output(structured: Value, is_error: bool) -> ToolOutput {
    ToolOutput {
        structured: to_raw_value(&structured).unwrap(),
        text: None,
        is_error,
        audit: serde_json::Map::new(),
    }
}

/// Says something as often as asked: a progress, a message for people and one for developers.
fn talk(times: u64, events: Option<&EventSink>) {
    let Some(events) = events else { return };
    for step in 1..=times {
        events.progress(step as f64, Some(times as f64), Some(format!("step {step}")));
        events.log(LogLevel::Info, "talk", format!("line {step}\n"));
        events.log(LogLevel::Debug, "talk", format!("detail {step}\n"));
    }
}

/// What the tool `fail` fails with, by its argument `how`.
fn failure(how: &str) -> ApiError {
    match how {
        "overloaded" => ApiError::new(Code::Overloaded, "full").retry_after(Duration::from_secs(3)),
        "rate" => ApiError::new(Code::RateLimited, "slow").retry_after(Duration::from_secs(7)),
        "crashed" => ApiError::new(Code::Crashed, "crashed"),
        "deadline" => ApiError::new(Code::DeadlineExceeded, "late"),
        "conflict" => ApiError::new(Code::Conflict, "changed meanwhile"),
        _ => ApiError::new(Code::Internal, "bland"),
    }
}

/// The task of ada's that always goes on.
fn working() -> Task {
    let at = "2026-01-01T00:00:00.000Z".to_owned();
    let (id, message, ttl_ms) = ("t1".to_owned(), None, None);
    let (created_at, updated_at) = (at.clone(), at);
    Task { id, state: TaskState::Working, message, created_at, updated_at, ttl_ms }
}

impl Host for TestHost {
    type Caller = String;

    async fn authenticate(&self, headers: &HeaderMap, _: &Origin) -> Result<String, ApiError> {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match token.and_then(|token| token.strip_prefix("Bearer ")) {
            _ if self.locked.load(Ordering::SeqCst) => {
                Err(ApiError::new(Code::Unauthenticated, "revoked"))
            }
            Some(name @ ("ada" | "bob" | "viewer")) => Ok(name.to_owned()),
            _ => Err(ApiError::new(Code::Unauthenticated, "send a valid bearer token")),
        }
    }

    fn caller_id<'a>(&self, caller: &'a String) -> &'a str {
        caller
    }

    fn tools(&self, caller: &String) -> Arc<ToolList> {
        match caller.as_str() {
            _ if self.demoted.load(Ordering::SeqCst) => Arc::clone(&self.viewer_tools),
            "viewer" => Arc::clone(&self.viewer_tools),
            _ => Arc::clone(&self.tools),
        }
    }

    async fn call_tool(
        &self,
        caller: &String,
        origin: &Origin,
        request: ToolRequest<'_>,
    ) -> Result<Called, ApiError> {
        let ToolRequest { name, arguments, events, .. } = request;
        *self.last_origin.lock().unwrap() = Some(origin.clone());
        match name {
            "add" => add(arguments).map(Called::from),
            "routed" => Ok(output(json!({}), false).into()),
            "secret" if caller == "viewer" => {
                let mut error = ApiError::new(Code::Forbidden, "needs system:admin");
                error.scopes = Box::new(["system:admin".to_owned()]);
                Err(error)
            }
            "secret" => Ok(output(json!({"error": {"code": "broken"}}), true).into()),
            "fail" => {
                let arguments: Value = serde_json::from_str(arguments.get()).unwrap();
                match arguments["how"].as_str().unwrap_or("") {
                    "panic" => panic!("as asked"),
                    how => Err(failure(how)),
                }
            }
            "talk" => {
                let arguments: Value = serde_json::from_str(arguments.get()).unwrap();
                talk(arguments["times"].as_u64().unwrap_or(1), events);
                if arguments["wait"] == true {
                    let mut watch = Watch(Arc::clone(&self.dropped), false);
                    self.begun.notify_one();
                    self.release.notified().await;
                    watch.1 = true;
                    self.ended.fetch_add(1, Ordering::SeqCst);
                }
                match arguments["fail"].as_str() {
                    Some(how) => Err(failure(how)),
                    None => Ok(output(json!({"said": true}), false).into()),
                }
            }
            "wait" => {
                let mut watch = Watch(Arc::clone(&self.dropped), false);
                self.begun.notify_one();
                self.release.notified().await;
                watch.1 = true;
                self.ended.fetch_add(1, Ordering::SeqCst);
                Ok(output(json!({}), false).into())
            }
            _ => Err(ApiError::new(Code::UnknownTool, format!("no tool {name:?}"))),
        }
    }

    async fn prompts(
        &self,
        _: &String,
        _: &Origin,
        _: Deadline,
    ) -> Result<Vec<PromptEntry>, ApiError> {
        Ok(["draft", "greet", "plan", "sum"].map(prompt).into())
    }

    async fn prompt(
        &self,
        caller: &String,
        _: &Origin,
        name: &str,
        arguments: &BTreeMap<String, String>,
        _: Deadline,
    ) -> Result<PromptText, ApiError> {
        match (name, arguments.get("who")) {
            ("greet", _) if caller == "viewer" => Err(forbidden("tools:read")),
            ("greet", Some(who)) => Ok(PromptText {
                description: "Greets.".into(),
                messages: vec![Block::Text(format!("Hello {who}"))],
            }),
            _ => Err(ApiError::new(Code::InvalidArguments, "greet needs who")),
        }
    }

    async fn complete(
        &self,
        _: &String,
        _: &Origin,
        asked: &Asked,
        _: Deadline,
    ) -> Result<Completed, ApiError> {
        match &asked.reference {
            Reference::Prompt(name) if name == "greet" && asked.name == "who" => {
                let values = (0..150).map(|n| format!("{}{n}", asked.value)).collect();
                Ok(Completed { values })
            }
            Reference::Template(uri) if uri == TEMPLATE.uri_template => {
                Ok(Completed { values: asked.context.keys().cloned().collect() })
            }
            _ => Err(ApiError::new(Code::InvalidArguments, "nothing to complete")),
        }
    }

    async fn resources(
        &self,
        _: &String,
        _: &Origin,
        _: Deadline,
    ) -> Result<Vec<ResourceEntry>, ApiError> {
        Ok(["test://a", "test://b", "test://c", "test://d"].map(resource).into())
    }

    async fn templates(
        &self,
        _: &String,
        _: &Origin,
        _: Deadline,
    ) -> Result<Vec<TemplateEntry>, ApiError> {
        Ok(vec![TEMPLATE])
    }

    async fn resource(
        &self,
        caller: &String,
        _: &Origin,
        uri: &str,
        _: Deadline,
    ) -> Result<Content, ApiError> {
        let (mime_type, body, is_fixed) = match uri {
            "test://a" => ("text/plain", Body::Text("words".into()), true),
            "test://b" => ("application/octet-stream", Body::Blob(vec![0, 255]), false),
            "test://c" if caller == "viewer" => return Err(forbidden("graph:query")),
            "test://panic" => panic!("as asked"),
            _ => return Err(ApiError::new(Code::NotFound, "no such resource")),
        };
        Ok(Content { mime_type: mime_type.into(), body, is_fixed, meta: None })
    }

    fn may_watch(&self, caller: &String, uri: &str) -> bool {
        uri.starts_with("test://") && !(caller == "viewer" && uri == "test://c")
    }

    async fn task(
        &self,
        caller: &String,
        _: &Origin,
        id: &str,
        _: Deadline,
    ) -> Result<Task, ApiError> {
        let known = caller == "ada" && id == "t1";
        known.then(working).ok_or_else(|| ApiError::new(Code::NotFound, "none"))
    }

    async fn answer_task(
        &self,
        caller: &String,
        origin: &Origin,
        id: &str,
        _: BTreeMap<String, Value>,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        self.task(caller, origin, id, deadline).await.map(drop)
    }

    async fn cancel_task(
        &self,
        caller: &String,
        origin: &Origin,
        id: &str,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        self.task(caller, origin, id, deadline).await.map(drop)
    }

    fn task_changes(&self, _: &String, _: &str) -> LocalBoxStream<'static, Task> {
        futures_util::stream::iter([working()]).boxed_local()
    }

    async fn create_session(
        &self,
        caller: &String,
        new: NewSession<'_>,
    ) -> Result<SessionId, ApiError> {
        let id = SessionId::parse(&uuid::Uuid::new_v4().to_string()).unwrap();
        self.sessions.lock().unwrap().insert(id.clone(), (caller.clone(), new.revision));
        Ok(id)
    }

    async fn touch_session(
        &self,
        caller: &String,
        id: &SessionId,
    ) -> Result<Option<Revision>, ApiError> {
        let sessions = self.sessions.lock().unwrap();
        Ok(sessions.get(id).filter(|(owner, _)| owner == caller).map(|(_, revision)| *revision))
    }

    async fn remove_session(&self, caller: &String, id: &SessionId) -> Result<bool, ApiError> {
        let mut sessions = self.sessions.lock().unwrap();
        let owned = sessions.get(id).is_some_and(|(owner, _)| owner == caller);
        Ok(owned && sessions.remove(id).is_some())
    }
}
