//! What the execution actor has done, counted for metrics and for operators.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use ultimate_mcp_sandbox::spec::Status;

const STATUSES: [(Status, &str); 9] = [
    (Status::Ok, "ok"),
    (Status::Error, "error"),
    (Status::Timeout, "timeout"),
    (Status::Oom, "oom"),
    (Status::OutputLimit, "output_limit"),
    (Status::Killed, "killed"),
    (Status::SandboxError, "sandbox_error"),
    (Status::CompileError, "compile_error"),
    (Status::Unsupported, "unsupported"),
];

/// A snapshot of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionStats {
    /// Runs that hold a place now.
    pub running: usize,
    /// Runs that wait for a place now.
    pub queued: usize,
    /// Finished runs by status, since the server started.
    pub finished: BTreeMap<&'static str, u64>,
    /// Runs that ended without a report: refused, lost, cancelled, too late.
    pub failed: u64,
    /// Launchers started.
    pub launcher_starts: u64,
    /// Launchers that died.
    pub launcher_losses: u64,
    /// The launcher that runs now.
    pub launcher_pid: Option<u32>,
}

#[derive(Default)]
pub(super) struct Counters {
    finished: [AtomicU64; STATUSES.len()],
    failed: AtomicU64,
}

impl Counters {
    pub(super) fn finished(&self, status: Status) {
        if let Some(at) = STATUSES.iter().position(|(known, _)| *known == status) {
            self.finished[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters; the rest is filled in by their owners.
    pub(super) fn snapshot(&self) -> ExecutionStats {
        let counts = self.finished.iter().map(|count| count.load(Ordering::Relaxed));
        ExecutionStats {
            finished: STATUSES.iter().map(|(_, name)| *name).zip(counts).collect(),
            failed: self.failed.load(Ordering::Relaxed),
            ..ExecutionStats::default()
        }
    }
}
