//! Execution: who runs what in the cell, when, and on which launcher.
//!
//! Called by the face's tools ([`ExecutionHandle::run`]). Refuses, at once and typed: a full queue, a wait
//! that would outlast the deadline, a host that cannot isolate. A launcher that dies takes only its runs
//! with it; the next one is started while others wait.

mod actor;
mod error;
mod options;
mod slots;
mod stats;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::oneshot;
use ultimate_mcp_sandbox::probe::CellCapabilities;
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec};

use self::actor::{ExecutionActor, Probe, Run};
use self::slots::Slots;
use self::stats::Counters;
use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub use self::error::ExecutionError;
pub use self::options::ExecutionOptions;
pub use self::stats::ExecutionStats;

/// Longest wait at start for the first launcher to say what this host can isolate.
const FIRST_PROBE_MAX: Duration = Duration::from_secs(15);
/// The run's own errors say more than "no answer in time": the actor gets this much longer to tell.
const ASK_GRACE: Duration = Duration::from_secs(1);

/// The way to the cell. Cheap to clone.
#[derive(Clone)]
pub struct ExecutionHandle {
    child: ChildRef<ExecutionActor>,
    shared: Arc<Shared>,
}

/// What the actor publishes and counts; outlives its restarts.
struct Shared {
    slots: Arc<Slots>,
    capabilities: ArcSwapOption<CellCapabilities>,
    counters: Counters,
}

impl ExecutionHandle {
    /// Starts the actor as `execution` and waits until the first launcher has tried what this host can
    /// do. A host that cannot isolate, or where the launcher does not start, is no error here: every
    /// run is refused, and readiness says why.
    ///
    /// # Errors
    /// The actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        options: ExecutionOptions,
    ) -> Result<Self, ExecutionError> {
        let slots =
            Slots::new(options.concurrency(), options.runs_per_caller_max, options.queue_max);
        let (capabilities, counters) = (ArcSwapOption::empty(), Counters::default());
        let shared = Arc::new(Shared { slots, capabilities, counters });
        // Places for every run that may wait or run, and a few for the actor's own questions.
        let mailbox = options.queue_max + options.concurrency() + 8;
        let published = Arc::clone(&shared);
        let spec = ChildSpec::new("execution", mailbox, move || {
            ExecutionActor::new(options.clone(), Arc::clone(&published))
        });
        let child = supervisor.spawn(spec).await?;
        let handle = Self { child, shared };
        if let Err(error) = handle.child.ask(Probe, Deadline::after(FIRST_PROBE_MAX)).await? {
            tracing::error!(%error, "cell.unavailable: code is refused until a launcher is up");
        }
        Ok(handle)
    }

    /// Carries out one run for `owner`. Dropping the future kills the run's whole tree and frees its
    /// place at once; a run that would outlast the deadline is killed just before it and reported. A
    /// payload that ran and failed is a report.
    ///
    /// # Errors
    /// See [`ExecutionError`]; after [`ExecutionError::LauncherLost`] the run has ended, and it has left
    /// nothing behind outside the cell.
    pub async fn run(
        &self,
        spec: RunSpec,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<RunReport, ExecutionError> {
        // Dropped with this future: that is how the actor learns that nobody waits any more.
        let (_waiting, abandoned) = oneshot::channel();
        let run = Run { spec, owner: owner.clone(), deadline, abandoned };
        let patience = Deadline::after(deadline.remaining() + ASK_GRACE);
        self.child.ask(run, patience).await?
    }

    /// What this host can isolate, as the last launcher found out; `None` before the first did.
    pub fn capabilities(&self) -> Option<Arc<CellCapabilities>> {
        self.shared.capabilities.load_full()
    }

    /// What has happened since the process started.
    pub fn stats(&self) -> ExecutionStats {
        let (running, queued) = self.shared.slots.counts();
        ExecutionStats { running, queued, ..self.shared.counters.snapshot() }
    }
}

/// The options of a launcher that is this very program. `doctor` asks one started the same way.
pub fn launcher_options(options: &ExecutionOptions) -> ultimate_mcp_sandbox::LauncherOptions {
    let default = ultimate_mcp_sandbox::LauncherOptions::default();
    let (program, args) = options.launcher.clone().unwrap_or((default.program, default.args));
    ultimate_mcp_sandbox::LauncherOptions {
        program,
        args,
        allow_degraded: options.allow_degraded,
        tools_dir: (!options.tools_dir.is_empty()).then(|| PathBuf::from(&options.tools_dir)),
        uid_base: options.uid_base,
        // Runs of an actor that crashed may still be ending while new ones begin.
        runs_max: u16::try_from(2 * options.concurrency()).unwrap_or(u16::MAX),
        spares: options.spares,
        ..ultimate_mcp_sandbox::LauncherOptions::default()
    }
}
