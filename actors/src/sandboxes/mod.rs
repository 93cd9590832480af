//! Sandboxes that stay between calls: an interpreter of the caller's own, asked step by step.
//!
//! ```text
//! execute ──ask──▶ actor ──▶ turn (one step at a time) ──▶ place (as a run) ──▶ Session ──▶ launcher
//! ```
//! Called by the face's tools. The rule by which one caller cannot hold the machine: a step takes a place
//! of the cell like any run, under the same bound per caller and in the same queue; an open sandbox holds
//! no place, but the number of open ones and the sum of their memory limits are bounded by caller and in
//! all; and between steps a sandbox gets a small share of one processor only.
//! Refuses what exceeds these, and to all but its owner that a sandbox exists.

mod actor;
mod census;
mod error;
mod options;
mod stats;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use ultimate_mcp_sandbox::client::files::Listing;
use ultimate_mcp_sandbox::spec::{Artifact, InputFile, Isolation, Language, Limits};
use ultimate_mcp_sandbox::step::{End, StepReport};

use self::actor::{Create, Done, List, SandboxesActor, Shared, Use, Work};
use self::table::Sandbox;
use crate::deadline::Deadline;
use crate::execution::{ExecutionError, ExecutionHandle};
use crate::ids::CallerId;
use crate::node::{Handle, NodeId};
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub use self::error::SandboxesError;
pub use self::options::SandboxesOptions;
pub use self::stats::SandboxesStats;

/// The kind in a sandbox's [`Handle`]: `sbx_<node>_<uuid>`.
pub const KIND: &str = "sbx";
/// The actor's own errors are more telling than "no answer in time": it gets this much longer.
const ASK_GRACE: Duration = Duration::from_secs(1);

/// What is known of an open sandbox.
#[derive(Clone, Debug)]
pub struct SandboxInfo {
    /// Names it.
    pub handle: Handle,
    /// What its interpreter speaks.
    pub language: Language,
    /// Its bounds; `wall` is its whole life.
    pub limits: Limits,
    /// What is left of its life.
    pub left: Duration,
    /// For how long nobody has used it.
    pub idle: Duration,
    /// A call is at work in it.
    pub busy: bool,
    /// Steps taken.
    pub steps: u64,
}

impl SandboxInfo {
    fn of(sandbox: &Sandbox) -> Self {
        Self {
            handle: sandbox.handle.clone(),
            language: sandbox.language,
            limits: sandbox.limits,
            left: sandbox.left(),
            idle: sandbox.idle(),
            busy: sandbox.busy(),
            steps: sandbox.steps.load(Ordering::Relaxed),
        }
    }
}

/// What a sandbox left when it was closed.
#[derive(Clone, Debug)]
pub struct Closed {
    /// How it ended; something else than the close may have come first.
    pub end: End,
    /// Files in `out/` that no step brought back.
    pub artifacts: Vec<Artifact>,
    /// Why some files were not collected.
    pub artifact_notes: Vec<String>,
    /// Steps taken.
    pub steps: u64,
}

/// The way to the sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct SandboxesHandle {
    child: ChildRef<SandboxesActor>,
    shared: Arc<Shared>,
}

impl SandboxesHandle {
    /// Starts the actor as `sandboxes`, on a cell that is running.
    ///
    /// # Errors
    /// [`SandboxesError::Spawn`] when the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        options: SandboxesOptions,
        node: NodeId,
        execution: ExecutionHandle,
    ) -> Result<Self, SandboxesError> {
        let mailbox = options.mailbox;
        let shared = Shared::new(options, node, execution);
        let of_actor = Arc::clone(&shared);
        let spec = ChildSpec::new("sandboxes", mailbox, move || {
            SandboxesActor::new(Arc::clone(&of_actor))
        });
        let child = supervisor.spawn(spec.optional()).await;
        let child = child.map_err(|error| SandboxesError::Spawn(Arc::new(error)))?;
        Ok(Self { child, shared })
    }

    /// The operator's bounds.
    pub fn options(&self) -> &SandboxesOptions {
        &self.shared.options
    }

    /// How strongly sandboxes are confined on this host.
    pub fn isolation(&self) -> Isolation {
        self.shared.execution.capabilities().isolation.clone()
    }

    /// Opens a sandbox whose life is `limits.wall`. The interpreter runs when this answers.
    ///
    /// # Errors
    /// See [`SandboxesError`].
    pub async fn create(
        &self,
        owner: &CallerId,
        language: Language,
        limits: Limits,
        deadline: Deadline,
    ) -> Result<SandboxInfo, SandboxesError> {
        let (_here, caller_left) = oneshot::channel();
        let create = Create { owner: owner.clone(), language, limits, deadline, caller_left };
        self.child.ask(create, patience(deadline)).await?
    }

    /// Takes one step of at most `wall`. Dropping the future interrupts it.
    ///
    /// # Errors
    /// See [`SandboxesError`]; code that failed is a report.
    pub async fn execute(
        &self,
        handle: &Handle,
        owner: &CallerId,
        code: String,
        wall: Duration,
        deadline: Deadline,
    ) -> Result<StepReport, SandboxesError> {
        match self.use_it(handle, owner, Work::Step { code, wall }, deadline).await? {
            Done::Stepped(report) => Ok(*report),
            _ => Err(mistaken()),
        }
    }

    /// Places files beneath the working directory, each as it was sent or not at all.
    ///
    /// # Errors
    /// See [`SandboxesError`].
    pub async fn write_files(
        &self,
        handle: &Handle,
        owner: &CallerId,
        files: Vec<InputFile>,
        deadline: Deadline,
    ) -> Result<(), SandboxesError> {
        self.use_it(handle, owner, Work::Write { files }, deadline).await.map(drop)
    }

    /// The content of a plain file of at most `bytes_max`. Does not wait for a step in hand.
    ///
    /// # Errors
    /// See [`SandboxesError`].
    pub async fn read_file(
        &self,
        handle: &Handle,
        owner: &CallerId,
        path: String,
        bytes_max: u64,
        deadline: Deadline,
    ) -> Result<Vec<u8>, SandboxesError> {
        match self.use_it(handle, owner, Work::Read { path, bytes_max }, deadline).await? {
            Done::Read(content) => Ok(content),
            _ => Err(mistaken()),
        }
    }

    /// Everything beneath a directory, "" for all. Does not wait for a step in hand.
    ///
    /// # Errors
    /// See [`SandboxesError`].
    pub async fn list_files(
        &self,
        handle: &Handle,
        owner: &CallerId,
        path: String,
        deadline: Deadline,
    ) -> Result<Listing, SandboxesError> {
        match self.use_it(handle, owner, Work::ListFiles { path }, deadline).await? {
            Done::Listed(listing) => Ok(listing),
            _ => Err(mistaken()),
        }
    }

    /// Ends a sandbox, whatever it is doing, and answers what it left.
    ///
    /// # Errors
    /// See [`SandboxesError`].
    pub async fn close(
        &self,
        handle: &Handle,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Closed, SandboxesError> {
        match self.use_it(handle, owner, Work::Close, deadline).await? {
            Done::Closed(closed) => Ok(closed),
            _ => Err(mistaken()),
        }
    }

    /// The caller's open sandboxes, oldest first.
    ///
    /// # Errors
    /// The actor is not available.
    pub async fn list(
        &self,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Vec<SandboxInfo>, SandboxesError> {
        Ok(self.child.ask(List { owner: owner.clone() }, deadline).await?)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> SandboxesStats {
        self.shared.counters.snapshot(self.shared.census.open())
    }

    async fn use_it(
        &self,
        handle: &Handle,
        owner: &CallerId,
        work: Work,
        deadline: Deadline,
    ) -> Result<Done, SandboxesError> {
        // Lives on another node, whose sandboxes are not ours to see.
        if handle.node != self.shared.node {
            return Err(SandboxesError::NotFound);
        }
        // Dropped together with this future, however it ends: that is how the actor hears of it.
        let (_here, caller_left) = oneshot::channel();
        let (owner, handle) = (owner.clone(), handle.clone());
        let asked = Use { owner, handle, work, deadline, caller_left };
        self.child.ask(asked, patience(deadline)).await?
    }
}

fn patience(deadline: Deadline) -> Deadline {
    Deadline::after(deadline.remaining() + ASK_GRACE)
}

/// The actor answers each kind of work with its own kind of result.
fn mistaken() -> SandboxesError {
    ExecutionError::Internal("a sandbox answered another question".into()).into()
}
