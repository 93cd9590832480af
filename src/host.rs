//! The engine behind the protocol layer: [`Host`] for [`AppState`]. Adds nothing of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use futures_util::stream::LocalBoxStream;
use serde_json::Value;
use serde_json::value::RawValue;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::SessionId;
use ultimate_mcp_actors::sessions;

use crate::auth::Caller;
use crate::error::{ApiError, Code};
use crate::mcp::{
    Asked, Called, Completed, Content, Host, NewSession, PromptEntry, PromptText, ResourceEntry,
    Revision, Task, TemplateEntry, ToolList,
};
use crate::offers::{self, Ask};
use crate::origin::Origin;
use crate::state::AppState;
use crate::tasks;
use crate::tools::ToolRequest;
use crate::tools_call::tools_call;

/// Longest wait for the session store, which works in memory.
const SESSIONS_MAX: Duration = Duration::from_secs(5);

impl Host for AppState {
    type Caller = Caller;

    async fn authenticate(&self, headers: &HeaderMap, origin: &Origin) -> Result<Caller, ApiError> {
        AppState::authenticate(self, headers, origin)
    }

    fn caller_id<'a>(&self, caller: &'a Caller) -> &'a str {
        caller.id().as_str()
    }

    fn tools(&self, caller: &Caller) -> Arc<ToolList> {
        self.tools_of(caller)
    }

    async fn call_tool(
        &self,
        caller: &Caller,
        origin: &Origin,
        request: ToolRequest<'_>,
    ) -> Result<Called, ApiError> {
        let name = request.name;
        let mut called: Called = tools_call(self, caller, origin, request).await?.into();
        if origin.input.as_ref().is_some_and(|input| input.can.tasks)
            && let Some(job) = tasks::ticket(name, &called.output)
        {
            called.task = Some(Box::new(Box::pin(tasks::made(self, caller, job)).await?));
        }
        Ok(called)
    }

    async fn prompts(
        &self,
        caller: &Caller,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Vec<PromptEntry>, ApiError> {
        Box::pin(offers::prompts(Ask { state: self, caller, origin, deadline })).await
    }

    async fn prompt(
        &self,
        caller: &Caller,
        origin: &Origin,
        name: &str,
        arguments: &BTreeMap<String, String>,
        deadline: Deadline,
    ) -> Result<PromptText, ApiError> {
        Box::pin(offers::prompt(Ask { state: self, caller, origin, deadline }, name, arguments))
            .await
    }

    async fn complete(
        &self,
        caller: &Caller,
        origin: &Origin,
        asked: &Asked,
        deadline: Deadline,
    ) -> Result<Completed, ApiError> {
        Box::pin(offers::complete(Ask { state: self, caller, origin, deadline }, asked)).await
    }

    async fn resources(
        &self,
        caller: &Caller,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Vec<ResourceEntry>, ApiError> {
        Box::pin(offers::resources(Ask { state: self, caller, origin, deadline })).await
    }

    async fn templates(
        &self,
        caller: &Caller,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Vec<TemplateEntry>, ApiError> {
        Box::pin(offers::templates(Ask { state: self, caller, origin, deadline })).await
    }

    async fn resource(
        &self,
        caller: &Caller,
        origin: &Origin,
        uri: &str,
        deadline: Deadline,
    ) -> Result<Content, ApiError> {
        Box::pin(offers::read(Ask { state: self, caller, origin, deadline }, uri)).await
    }

    fn may_watch(&self, caller: &Caller, uri: &str) -> bool {
        offers::may_watch(self, caller, uri)
    }

    async fn task(
        &self,
        caller: &Caller,
        origin: &Origin,
        id: &str,
        deadline: Deadline,
    ) -> Result<Task, ApiError> {
        Box::pin(tasks::get(self, caller, origin, id, deadline)).await
    }

    async fn answer_task(
        &self,
        caller: &Caller,
        origin: &Origin,
        id: &str,
        _: BTreeMap<String, Value>,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        Box::pin(tasks::answer(self, caller, origin, id, deadline)).await
    }

    async fn cancel_task(
        &self,
        caller: &Caller,
        origin: &Origin,
        id: &str,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        Box::pin(tasks::cancel(self, caller, origin, id, deadline)).await
    }

    fn task_changes(&self, caller: &Caller, id: &str) -> LocalBoxStream<'static, Task> {
        tasks::changes(self.engine.jobs.clone(), caller.id().clone(), id)
    }

    async fn create_session(
        &self,
        caller: &Caller,
        new: NewSession<'_>,
    ) -> Result<SessionId, ApiError> {
        let session = sessions::NewSession {
            owner: caller.id().clone(),
            protocol_version: new.revision.as_str().to_owned(),
            client_capabilities: value(new.client_capabilities)?,
            client_info: value(new.client_info)?,
        };
        let session = self.engine.sessions.create(session, Deadline::after(SESSIONS_MAX)).await?;
        Ok(session.id.clone())
    }

    async fn touch_session(
        &self,
        caller: &Caller,
        id: &SessionId,
    ) -> Result<Option<Revision>, ApiError> {
        let deadline = Deadline::after(SESSIONS_MAX);
        let session = self.engine.sessions.get(id, caller.id(), deadline).await?;
        Ok(session.and_then(|session| Revision::parse(&session.protocol_version)))
    }

    async fn remove_session(&self, caller: &Caller, id: &SessionId) -> Result<bool, ApiError> {
        let deadline = Deadline::after(SESSIONS_MAX);
        Ok(self.engine.sessions.remove(id, caller.id(), deadline).await?)
    }
}

fn value(raw: &RawValue) -> Result<Value, ApiError> {
    serde_json::from_str(raw.get()).map_err(|error| {
        ApiError::new(Code::InvalidRequest, "the client's description is too deep").caused_by(error)
    })
}
