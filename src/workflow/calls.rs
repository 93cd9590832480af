//! The way from a step to the one path of a call.
//!
//! The runner asks for a call by name; [`EngineSteps`] resumes the caller with the rights of this moment and
//! hands the call to [`tools_call`], which admits and records it like any other. Refuses callers whose token
//! was revoked or who are banned, and tools that would start jobs or workflows.

use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::jobs::Identity;

use crate::error::{ApiError, Code};
use crate::jobs::{queueable, resumed};
use crate::origin::Origin;
use crate::state::AppState;
use crate::tools::{Effects, ToolDescriptor, ToolOutput, ToolRequest};
use crate::tools_call::tools_call;

/// What a workflow needs to know of a tool.
#[derive(Clone, Debug)]
pub struct KnownTool {
    /// It leaves nothing behind: it may simply be run again.
    pub harmless: bool,
    /// Twice is the same as once.
    pub idempotent: bool,
    /// JSON Schema of its result.
    pub output_schema: Value,
}

impl KnownTool {
    /// What the descriptor says.
    ///
    /// # Errors
    /// It cannot be a step: it works on workflows or jobs.
    pub fn of(descriptor: &ToolDescriptor) -> Result<Self, String> {
        if descriptor.name.starts_with("workflow_") {
            return Err("works on workflows and cannot be a step of one".to_owned());
        }
        Ok(Self {
            harmless: descriptor.effects == Effects::None,
            idempotent: descriptor.annotations.idempotent_hint,
            output_schema: descriptor.output_schema.clone(),
        })
    }
}

/// One call of a step.
pub struct StepOrder<'a> {
    /// Whose workflow it is.
    pub identity: &'a Identity,
    /// Where the call comes from.
    pub origin: Origin,
    /// The tool.
    pub tool: &'a str,
    /// Its arguments, references filled in.
    pub arguments: &'a RawValue,
    /// When it is over at the latest.
    pub deadline: Deadline,
}

/// Calls tools for a workflow.
pub trait Steps: Send + Sync + 'static {
    /// What is known of a tool as it would be called.
    ///
    /// # Errors
    /// Why it cannot be a step.
    fn known(&self, tool: &str, arguments: &Map<String, Value>) -> Result<KnownTool, String>;

    /// Makes one call. Dropped, it is abandoned.
    fn call<'a>(&'a self, order: StepOrder<'a>) -> BoxFuture<'a, Result<ToolOutput, ApiError>>;
}

/// The tools of this server. Usable once the state is attached, at the end of the start.
#[derive(Default)]
pub struct EngineSteps {
    /// Weak: the state holds the tools, one of which holds this.
    state: OnceLock<Weak<AppState>>,
}

impl EngineSteps {
    /// From now on calls go to this state.
    pub fn attach(&self, state: &Arc<AppState>) {
        let _ = self.state.set(Arc::downgrade(state));
    }

    fn state(&self) -> Option<Arc<AppState>> {
        self.state.get()?.upgrade()
    }
}

impl Steps for EngineSteps {
    fn known(&self, tool: &str, arguments: &Map<String, Value>) -> Result<KnownTool, String> {
        let Some(state) = self.state() else { return Err("the server is starting".to_owned()) };
        let Some(found) = state.registry.get(tool) else {
            return Err("there is no such tool".to_owned());
        };
        let descriptor = found.descriptor();
        let known = KnownTool::of(descriptor)?;
        let arguments = Value::Object(arguments.clone());
        let engine = state.engine.jobs.options().engine;
        // A step runs where its workflow's job does: what cannot be a job cannot be a step.
        match queueable(descriptor, &arguments, engine, state.graph_is_shared()) {
            Ok(()) => Ok(known),
            Err(refusal) => Err(format!("cannot be a step: {}", refusal.public)),
        }
    }

    fn call<'a>(&'a self, order: StepOrder<'a>) -> BoxFuture<'a, Result<ToolOutput, ApiError>> {
        Box::pin(async move {
            let Some(state) = self.state() else {
                return Err(ApiError::new(Code::Unavailable, "the node is ending"));
            };
            let StepOrder { identity, origin, tool, arguments, deadline } = order;
            let caller = resumed(&state, &origin, identity, tool)?;
            let request = ToolRequest { name: tool, arguments, deadline, events: None };
            tools_call(&state, &caller, &origin, request).await
        })
    }
}
