//! The Model Context Protocol over HTTP: 2026-07-28 (stateless) and the 2025 revisions (sessions) on
//! one URL.
//!
//! This layer turns bytes into calls of a [`Host`] and its answers into bytes. It holds no state and
//! decides nothing about who may do what; the production host is the server's state, the conformance
//! suite puts a host with the suite's own tools behind the same layer. Read `endpoint.rs` first: its
//! functions are the rungs of the validation ladder in their order (docs/protocol.md).
//!
//! It refuses everything malformed with the code and status its revision prescribes, and never
//! forwards a request that has not passed every rung.

mod batch;
mod catalog;
mod cursor;
mod endpoint;
mod era;
mod failure;
mod header_params;
mod headers;
pub mod hub;
mod input;
mod live;
mod media;
mod meta;
mod methods;
mod notify;
mod options;
mod params;
mod respond;
mod revision;
mod session;
mod session_stream;
mod session_watch;
mod sse;
mod stream;
mod task;
mod tool_list;
mod watch;
mod watched;
mod wire;
mod ws;
mod ws_request;

#[cfg(test)]
mod test_host;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use futures_util::stream::LocalBoxStream;
use serde_json::Value;
use serde_json::value::RawValue;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::SessionId;

pub use catalog::{
    Asked, Block, Body, Called, Completed, Content, PromptArgument, PromptEntry, PromptText,
    Reference, ResourceEntry, TemplateEntry,
};
pub use endpoint::{Endpoint, Identity};
pub use hub::{Hub, ListChanged};
pub use input::seal::{Sealer, SharedUses};
pub use input::{Ask, ClientCan, Input, Wanted};
pub use live::LiveSessions;
pub(crate) use media::is_json;
pub use options::McpOptions;
pub use revision::Revision;
pub use task::{EXTENSION as TASKS, Task, TaskState, not_declared as tasks_not_declared};
pub use tool_list::{InvalidTool, ToolList};
pub use watched::{Watched, Wish};
pub(crate) use wire::failure as failure_message;

use crate::error::ApiError;
use crate::origin::Origin;
use crate::tools::ToolRequest;

/// What stands behind the protocol: callers, tools, prompts, resources, sessions.
///
/// Futures run on the connection's thread and need not be `Send`.
pub trait Host: Send + Sync + 'static {
    /// A verified caller; this layer only carries it.
    type Caller: Clone + 'static;

    /// Rung 2: who sends this request? Called for every request before anything else is looked at.
    ///
    /// # Errors
    /// `Unauthenticated` (401), or what keeps the host from knowing (503).
    fn authenticate(
        &self,
        headers: &HeaderMap,
        origin: &Origin,
    ) -> impl Future<Output = Result<Self::Caller, ApiError>>;

    /// The caller's name, which no other caller has; for limits per caller.
    fn caller_id<'a>(&self, caller: &'a Self::Caller) -> &'a str;

    /// The tools this caller may call.
    fn tools(&self, caller: &Self::Caller) -> Arc<ToolList>;

    /// Runs a tool and ends by the request's deadline. Permission is checked before arguments are looked at.
    ///
    /// A client of 2026-07-28 that hangs up cancels its call: the future is then *dropped*, at any await
    /// point, and the host must still record an outcome. Calls of legacy sessions run on.
    ///
    /// # Errors
    /// `UnknownTool` and `Forbidden` (with all scopes) when the caller may not; `InvalidArguments` when
    /// the arguments do not decode, which the client sees as a result with `isError`; anything else
    /// becomes a JSON-RPC error.
    fn call_tool(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        request: ToolRequest<'_>,
    ) -> impl Future<Output = Result<Called, ApiError>>;

    /// The prompts this caller may get, by name.
    ///
    /// Like each of the five methods below, it checks permission and rate, is recorded, and ends by the
    /// deadline.
    ///
    /// # Errors
    /// `Forbidden`, a rate, a part of the host that is down.
    fn prompts(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Vec<PromptEntry>, ApiError>>;

    /// A prompt with its arguments filled in.
    ///
    /// # Errors
    /// As [`Host::prompts`]; `InvalidArguments` for an unknown name and for missing, unknown or too large
    /// arguments.
    fn prompt(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        name: &str,
        arguments: &BTreeMap<String, String>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<PromptText, ApiError>>;

    /// Values for an argument of a prompt or a variable of a template: only what this caller could learn
    /// otherwise.
    ///
    /// # Errors
    /// As [`Host::prompts`]; `InvalidArguments` for a prompt or template that is not there.
    fn complete(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        asked: &Asked,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Completed, ApiError>>;

    /// The resources this caller may read, by URI.
    ///
    /// # Errors
    /// As [`Host::prompts`].
    fn resources(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Vec<ResourceEntry>, ApiError>>;

    /// The templates this caller may read by, sorted.
    ///
    /// # Errors
    /// As [`Host::prompts`].
    fn templates(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Vec<TemplateEntry>, ApiError>>;

    /// The content of one resource.
    ///
    /// # Errors
    /// As [`Host::prompts`]; `NotFound`, the same for what is not there and what is somebody else's.
    fn resource(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        uri: &str,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Content, ApiError>>;

    /// Whether this URI can name something that this caller may read, so that it may hear of its changes
    /// ([`Hub::resource_updated_for`]). Looks at the URI and the caller's permissions only.
    fn may_watch(&self, caller: &Self::Caller, uri: &str) -> bool;

    /// How a task of this caller stands, with what it came to.
    ///
    /// # Errors
    /// As [`Host::prompts`]; `NotFound`, the same for what is not there and what is somebody else's.
    fn task(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        id: &str,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Task, ApiError>>;

    /// Answers to what a task asks, by key; what it does not ask is ignored.
    ///
    /// # Errors
    /// As [`Host::task`].
    fn answer_task(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        id: &str,
        responses: BTreeMap<String, Value>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<(), ApiError>>;

    /// Ends a task; nothing happens to one that has ended.
    ///
    /// # Errors
    /// As [`Host::task`].
    fn cancel_task(
        &self,
        caller: &Self::Caller,
        origin: &Origin,
        id: &str,
        deadline: Deadline,
    ) -> impl Future<Output = Result<(), ApiError>>;

    /// How a task of this caller stands, without its result, each time that changes, until it has ended; nothing of
    /// what is not the caller's. Whether the caller may look was asked before ([`Host::task`]).
    fn task_changes(&self, caller: &Self::Caller, id: &str) -> LocalBoxStream<'static, Task>;

    /// Opens a legacy session of this caller.
    ///
    /// # Errors
    /// A cap is reached (429, 503).
    fn create_session(
        &self,
        caller: &Self::Caller,
        new: NewSession<'_>,
    ) -> impl Future<Output = Result<SessionId, ApiError>>;

    /// The revision of this session, and a sign of life for it; `None` when it is unknown, expired or
    /// another caller's: the three must look the same.
    ///
    /// # Errors
    /// The host cannot tell now.
    fn touch_session(
        &self,
        caller: &Self::Caller,
        id: &SessionId,
    ) -> impl Future<Output = Result<Option<Revision>, ApiError>>;

    /// Ends a session; `false` when [`Host::touch_session`] would find none.
    ///
    /// # Errors
    /// The host cannot tell now.
    fn remove_session(
        &self,
        caller: &Self::Caller,
        id: &SessionId,
    ) -> impl Future<Output = Result<bool, ApiError>>;
}

/// What `initialize` negotiated.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// The revision of the session.
    pub revision: Revision,
    /// The client's capabilities, a JSON object of at most 16 KiB.
    pub client_capabilities: &'a RawValue,
    /// The client's name and version, a JSON object of at most 16 KiB; proves nothing.
    pub client_info: &'a RawValue,
}
