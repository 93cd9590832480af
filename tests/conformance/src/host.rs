//! [`Host`] with what the suites call. Everybody is let in; sessions live in a map.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::header::HeaderMap;
use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use serde_json::Value;
use ultimate_mcp::error::{ApiError, Code};
use ultimate_mcp::mcp::{
    Asked, Called, Completed, Content, Host, Hub, Input, InvalidTool, ListChanged, NewSession,
    PromptEntry, PromptText, ResourceEntry, Revision, Task, TemplateEntry, ToolList,
};
use ultimate_mcp::origin::Origin;
use ultimate_mcp::tools::ToolRequest;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::SessionId;

use crate::tasks::{self, Tasks};
use crate::{asking, fixture_tools, prompts, resources};

/// The one caller there is.
const CALLER: &str = "suite";

/// Fixtures, and what a suite changes of them.
pub struct FixtureHost {
    hub: Arc<Hub>,
    tools: Arc<ToolList>,
    /// Without the one that comes and goes.
    fewer_tools: Arc<ToolList>,
    more_tools: AtomicBool,
    more_prompts: AtomicBool,
    sessions: Mutex<HashMap<SessionId, Revision>>,
    tasks: Tasks,
}

impl FixtureHost {
    /// A host that tells this hub what changes.
    ///
    /// # Errors
    /// A tool could not be called.
    pub fn new(hub: Arc<Hub>) -> Result<Self, InvalidTool> {
        let tools = fixture_tools::all()?;
        Ok(Self {
            hub,
            fewer_tools: Arc::new(tools.filter(|name| name != fixture_tools::CHANGING)),
            tools: Arc::new(tools),
            more_tools: AtomicBool::new(false),
            more_prompts: AtomicBool::new(false),
            sessions: Mutex::default(),
            tasks: Tasks::default(),
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Revision>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came with a call.
fn input_of(origin: &Origin) -> Arc<Input> {
    origin.input.clone().unwrap_or_default()
}

impl Host for FixtureHost {
    type Caller = ();

    async fn authenticate(&self, _: &HeaderMap, _: &Origin) -> Result<(), ApiError> {
        Ok(())
    }

    fn caller_id<'a>(&self, _: &'a ()) -> &'a str {
        CALLER
    }

    fn tools(&self, _: &()) -> Arc<ToolList> {
        match self.more_tools.load(Ordering::SeqCst) {
            true => Arc::clone(&self.tools),
            false => Arc::clone(&self.fewer_tools),
        }
    }

    async fn call_tool(
        &self,
        (): &(),
        origin: &Origin,
        request: ToolRequest<'_>,
    ) -> Result<Called, ApiError> {
        let (changed, flag) = match request.name {
            "test_trigger_tool_change" => (ListChanged::Tools, &self.more_tools),
            "test_trigger_prompt_change" => (ListChanged::Prompts, &self.more_prompts),
            name if tasks::is_one(name) => {
                return self.tasks.call(name, request.arguments, &input_of(origin)).await;
            }
            name => {
                let text = fixture_tools::text_of(request.arguments);
                return match asking::call(name, &text, &input_of(origin)).await {
                    Some(answer) => answer,
                    None => fixture_tools::call(name, request.arguments, request.events).await,
                };
            }
        };
        flag.fetch_xor(true, Ordering::SeqCst);
        self.hub.list_changed(changed);
        fixture_tools::said("The list changed.")
    }

    async fn prompts(
        &self,
        (): &(),
        _: &Origin,
        _: Deadline,
    ) -> Result<Vec<PromptEntry>, ApiError> {
        Ok(prompts::all(self.more_prompts.load(Ordering::SeqCst)))
    }

    async fn prompt(
        &self,
        (): &(),
        origin: &Origin,
        name: &str,
        arguments: &BTreeMap<String, String>,
        _: Deadline,
    ) -> Result<PromptText, ApiError> {
        prompts::get(name, arguments, &input_of(origin))
    }

    async fn complete(
        &self,
        (): &(),
        _: &Origin,
        asked: &Asked,
        _: Deadline,
    ) -> Result<Completed, ApiError> {
        prompts::complete(asked)
    }

    async fn resources(
        &self,
        (): &(),
        _: &Origin,
        _: Deadline,
    ) -> Result<Vec<ResourceEntry>, ApiError> {
        Ok(resources::all())
    }

    async fn templates(
        &self,
        (): &(),
        _: &Origin,
        _: Deadline,
    ) -> Result<Vec<TemplateEntry>, ApiError> {
        Ok(vec![resources::TEMPLATE])
    }

    async fn resource(
        &self,
        (): &(),
        _: &Origin,
        uri: &str,
        _: Deadline,
    ) -> Result<Content, ApiError> {
        resources::read(uri)
    }

    fn may_watch(&self, (): &(), uri: &str) -> bool {
        resources::read(uri).is_ok()
    }

    async fn task(&self, (): &(), _: &Origin, id: &str, _: Deadline) -> Result<Task, ApiError> {
        self.tasks.get(id)
    }

    async fn answer_task(
        &self,
        (): &(),
        _: &Origin,
        id: &str,
        responses: BTreeMap<String, Value>,
        _: Deadline,
    ) -> Result<(), ApiError> {
        self.tasks.answer(id, responses)
    }

    async fn cancel_task(
        &self,
        (): &(),
        _: &Origin,
        id: &str,
        _: Deadline,
    ) -> Result<(), ApiError> {
        self.tasks.cancel(id)
    }

    fn task_changes(&self, (): &(), id: &str) -> LocalBoxStream<'static, Task> {
        // As it stands: the suites follow tasks by looking.
        futures_util::stream::iter(self.tasks.get(id)).boxed_local()
    }

    async fn create_session(&self, (): &(), new: NewSession<'_>) -> Result<SessionId, ApiError> {
        let id = SessionId::parse(&uuid::Uuid::new_v4().to_string())
            .map_err(|_| ApiError::new(Code::Internal, "an id of ours is none"))?;
        self.sessions().insert(id.clone(), new.revision);
        Ok(id)
    }

    async fn touch_session(&self, (): &(), id: &SessionId) -> Result<Option<Revision>, ApiError> {
        Ok(self.sessions().get(id).copied())
    }

    async fn remove_session(&self, (): &(), id: &SessionId) -> Result<bool, ApiError> {
        Ok(self.sessions().remove(id).is_some())
    }
}
