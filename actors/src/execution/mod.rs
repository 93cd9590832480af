//! Execution: who runs what in the cell, when, and on which launcher.
//!
//! Called by the face's tools ([`ExecutionHandle::run`]). Refuses, at once and typed: a full queue, a wait
//! that would outlast the deadline, a host that cannot isolate. A launcher that dies takes only its runs
//! with it; the next one is started while others wait.

mod actor;
mod error;
mod options;
mod slots;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Serialize;
use tokio::sync::oneshot;
use ultimate_mcp_sandbox::probe::CellCapabilities;
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec};

use self::actor::{ExecutionActor, Probe, Run};
use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub use self::error::ExecutionError;
pub use self::options::ExecutionOptions;

/// Longest wait at start for the first launcher to say what this host can isolate.
const FIRST_PROBE_MAX: Duration = Duration::from_secs(15);

/// The way to the cell. Cheap to clone.
#[derive(Clone)]
pub struct ExecutionHandle {
    child: ChildRef<ExecutionActor>,
    shared: Arc<Shared>,
}

/// What the actor publishes and counts; outlives its restarts.
#[derive(Default)]
struct Shared {
    capabilities: ArcSwapOption<CellCapabilities>,
    launchers: AtomicU64,
    launchers_lost: AtomicU64,
    runs: AtomicU64,
}

/// What execution has done since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExecutionStats {
    /// Launchers started.
    pub launchers: u64,
    /// Launchers that died under us.
    pub launchers_lost: u64,
    /// Runs that came to a report.
    pub runs: u64,
}

impl ExecutionHandle {
    /// Starts the actor as `execution` and waits until the first launcher has tried what this host can
    /// do. A host that cannot isolate is no error here: every run is refused, and readiness says why.
    ///
    /// # Errors
    /// The actor or the launcher cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        options: ExecutionOptions,
    ) -> Result<Self, ExecutionError> {
        let shared = Arc::new(Shared::default());
        // Places for every run that may wait or run, and a few for the actor's own questions.
        let mailbox = options.queue_max + options.concurrency() + 8;
        let published = Arc::clone(&shared);
        let spec = ChildSpec::new("execution", mailbox, move || {
            ExecutionActor::new(options.clone(), Arc::clone(&published))
        });
        let child = supervisor.spawn(spec).await?;
        let handle = Self { child, shared };
        handle.child.ask(Probe, Deadline::after(FIRST_PROBE_MAX)).await??;
        Ok(handle)
    }

    /// Carries out one run for `owner`. Dropping the future kills the run's whole tree and frees its
    /// place at once. A payload that ran and failed is a report.
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
        let report = self.child.ask(run, deadline).await??;
        self.shared.runs.fetch_add(1, Ordering::Relaxed);
        Ok(report)
    }

    /// What this host can isolate, as the last launcher found out; `None` before the first did.
    pub fn capabilities(&self) -> Option<Arc<CellCapabilities>> {
        self.shared.capabilities.load_full()
    }

    /// What has happened since the process started.
    pub fn stats(&self) -> ExecutionStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExecutionStats {
            launchers: read(&self.shared.launchers),
            launchers_lost: read(&self.shared.launchers_lost),
            runs: read(&self.shared.runs),
        }
    }
}

/// The options of a launcher that is this very program. `doctor` asks one started the same way.
pub fn launcher_options(options: &ExecutionOptions) -> ultimate_mcp_sandbox::LauncherOptions {
    ultimate_mcp_sandbox::LauncherOptions {
        allow_degraded: options.allow_degraded,
        tools_dir: (!options.tools_dir.is_empty()).then(|| PathBuf::from(&options.tools_dir)),
        uid_base: options.uid_base,
        runs_max: u16::try_from(options.concurrency()).unwrap_or(u16::MAX),
        ..ultimate_mcp_sandbox::LauncherOptions::default()
    }
}
