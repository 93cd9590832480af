//! What the execution actor has done, counted for metrics and for operators.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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
    pub launchers: u64,
    /// Launchers that died under us.
    pub launchers_lost: u64,
    /// The launcher that runs now.
    pub launcher_pid: Option<u32>,
}

#[derive(Default)]
pub(super) struct Counters {
    finished: [AtomicU64; STATUSES.len()],
    failed: AtomicU64,
    launchers: AtomicU64,
    launchers_lost: AtomicU64,
    /// 0 while there is none.
    launcher_pid: AtomicU32,
}

impl Counters {
    pub(super) fn launcher_up(&self, pid: u32) {
        self.launchers.fetch_add(1, Ordering::Relaxed);
        self.launcher_pid.store(pid, Ordering::Relaxed);
    }

    pub(super) fn launcher_lost(&self) {
        self.launchers_lost.fetch_add(1, Ordering::Relaxed);
        self.launcher_pid.store(0, Ordering::Relaxed);
    }

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
            launchers: self.launchers.load(Ordering::Relaxed),
            launchers_lost: self.launchers_lost.load(Ordering::Relaxed),
            launcher_pid: Some(self.launcher_pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0),
            ..ExecutionStats::default()
        }
    }
}
