//! Running untrusted code: a queue with places, and the launcher of the cell kept alive behind it.
//!
//! ```text
//! run ──ask──▶ actor ──▶ Gate (places, fairness, deadline) ──▶ Link ──▶ launcher ──▶ sandbox
//! ```
//! Called by the face's tools. Refuses what the queue cannot hold, what could not begin in time, and
//! everything where the host cannot isolate. A launcher killed loses only the runs in hand.

mod actor;
mod error;
mod gate;
mod links;
mod options;
mod stats;
#[cfg(test)]
mod tests;
mod zygote;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use ultimate_mcp_sandbox::Link;
use ultimate_mcp_sandbox::client::OutputSink;
use ultimate_mcp_sandbox::probe::CellCapabilities;
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec};

use self::actor::{ExecutionActor, Run, Shared};
use self::gate::{Bounds, Gate};
use self::links::Links;

use self::stats::Counters;
use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::resilience::Requester;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub use self::error::ExecutionError;
pub(crate) use self::gate::Ticket;
pub use self::options::ExecutionOptions;
pub use self::stats::ExecutionStats;

/// How long a start waits for the first launcher. A server without one serves everything else.
const FIRST_LAUNCHER_TIMEOUT: Duration = Duration::from_secs(5);
/// The actor's own errors are more telling than "no answer in time": it gets this much longer.
const ASK_GRACE: Duration = Duration::from_secs(1);

/// The way to the cell. Cheap to clone.
#[derive(Clone)]
pub struct ExecutionHandle {
    child: ChildRef<ExecutionActor>,
    shared: Arc<Shared>,
}

impl ExecutionHandle {
    /// Starts the actor as `execution` and waits until its launcher has tried what this host can do.
    /// A launcher that cannot be started is no error here: runs are refused, saying why.
    ///
    /// # Errors
    /// [`ExecutionError::Spawn`] when the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        options: ExecutionOptions,
    ) -> Result<Self, ExecutionError> {
        let bounds = Bounds {
            places: options.places(),
            places_per_caller: options.places_per_caller(),
            queue: options.queue_max,
            queue_per_caller: options.queued_per_caller_max,
            background_percent: options.background_percent as usize,
        };
        let (gate, links) = (Gate::new(bounds), Links::new());
        let shared = Arc::new(Shared { gate, links, counters: Counters::default() });
        let (of_actor, launcher) = (Arc::clone(&shared), options.launcher_options());
        let spec = ChildSpec::new("execution", options.mailbox(), move || {
            ExecutionActor::new(Arc::clone(&of_actor), launcher.clone())
        });
        let child = supervisor.spawn(spec.optional()).await;
        let child = child.map_err(|error| ExecutionError::Spawn(Arc::new(error)))?;
        let first = shared.links.first_attempt();
        if tokio::time::timeout(FIRST_LAUNCHER_TIMEOUT, first).await.is_err() {
            tracing::warn!("cell.launcher_slow: it is still starting");
        }
        Ok(Self { child, shared })
    }

    /// Carries out one run for `owner`. Dropping the future cancels it: its place is free at once and
    /// its processes are killed. A run that would outlast the deadline is killed just before it.
    ///
    /// # Errors
    /// See [`ExecutionError`]; a program that failed is a report.
    pub async fn run(
        &self,
        spec: RunSpec,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<RunReport, ExecutionError> {
        self.run_watched(spec, owner, deadline, None).await
    }

    /// The same with `output` seeing what the program writes as it writes it, up to the run's output
    /// limit. It is called on the actor's thread, between the reads of all runs: it must be quick, must
    /// not wait, and keeps what it keeps within bounds of its own.
    ///
    /// # Errors
    /// As [`ExecutionHandle::run`].
    pub async fn run_watched(
        &self,
        spec: RunSpec,
        owner: &CallerId,
        deadline: Deadline,
        output: Option<OutputSink>,
    ) -> Result<RunReport, ExecutionError> {
        // Dropped together with this future, however it ends: that is how the actor hears of it.
        let (_here, caller_left) = oneshot::channel();
        let requester = Requester::current();
        let run = Run { spec, owner: owner.clone(), deadline, output, requester, caller_left };
        let patience = Deadline::after(deadline.remaining() + ASK_GRACE);
        self.child.ask(run, patience).await?
    }

    /// Whether a run of `owner` would be let in or queued, as it looks now: asked before anything is recorded
    /// about a run that would be turned away.
    ///
    /// # Errors
    /// What [`ExecutionHandle::run`] would say at once: the queue is full, or its wait too long.
    pub fn room(&self, owner: &CallerId, deadline: Deadline) -> Result<(), ExecutionError> {
        self.shared.gate.room(owner, deadline)
    }

    /// A place as of this task's [`Requester`], for work in a sandbox that stays: it counts as a run while it is held.
    pub(crate) async fn place(
        &self,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Ticket, ExecutionError> {
        self.shared.gate.enter(owner, deadline).await
    }

    /// A living launcher, to open a sandbox in.
    pub(crate) async fn link(&self, deadline: Deadline) -> Result<Link, ExecutionError> {
        self.shared.links.alive(deadline).await
    }

    /// What the launcher found out about this host, the last time one was started.
    pub fn capabilities(&self) -> Arc<CellCapabilities> {
        self.shared.links.capabilities()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> ExecutionStats {
        let (running, queued) = self.shared.gate.counts();
        let (launcher_starts, launcher_losses) = self.shared.links.counts();
        ExecutionStats {
            running,
            queued,
            launcher_starts,
            launcher_losses,
            launcher_pid: self.shared.links.launcher_pid(),
            ..self.shared.counters.snapshot()
        }
    }
}
