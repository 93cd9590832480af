//! What an operator can set about the cell. Read by the face from `cell.*`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ultimate_mcp_sandbox::options::{SPARES_DEFAULT, UID_BASE_DEFAULT};

/// Settings of execution; every default is stated with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionOptions {
    /// Runs at once; 0 = four per processor: a run waits for its interpreter's pages and for input as
    /// often as it computes.
    pub runs_max: usize,
    /// Runs of one caller at once, so that nobody takes the whole cell.
    pub runs_per_caller_max: usize,
    /// Runs that may wait for a place, over all callers.
    pub queue_max: usize,
    /// Run even where limits are only best effort (no rights over control groups).
    pub allow_degraded: bool,
    /// Directory with ruff, pytest and oxlint, seen read-only as `/opt/tools`; empty = none.
    pub tools_dir: String,
    /// First host uid used for payloads.
    pub uid_base: u32,
    /// Sandboxes kept prepared, about one megabyte each, so that a run does not wait for its
    /// namespaces and control groups; 0 = prepare on demand.
    pub spares: u16,
    /// The launcher's program and arguments, when it is not this very binary (in tests).
    #[serde(skip)]
    pub launcher: Option<(PathBuf, Vec<String>)>,
}

impl Default for ExecutionOptions {
    fn default() -> Self {
        Self {
            runs_max: 0,
            runs_per_caller_max: 8,
            queue_max: 256,
            allow_degraded: false,
            tools_dir: String::new(),
            uid_base: UID_BASE_DEFAULT,
            spares: SPARES_DEFAULT,
            launcher: None,
        }
    }
}

impl ExecutionOptions {
    /// Runs at once, with 0 resolved.
    pub fn concurrency(&self) -> usize {
        match self.runs_max {
            0 => std::thread::available_parallelism().map_or(4, |n| n.get() * 4),
            runs_max => runs_max,
        }
    }

    /// Everything that is out of range, as `(key, what is allowed)`; empty when all is well.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let checks = [
            ("runs_max", self.runs_max <= 1024, "0 to 1024"),
            ("runs_per_caller_max", (1..=1024).contains(&self.runs_per_caller_max), "1 to 1024"),
            ("queue_max", (1..=100_000).contains(&self.queue_max), "1 to 100000"),
            ("uid_base", self.uid_base >= 1000, "1000 and more"),
            ("spares", self.spares <= 64, "0 to 64"),
        ];
        checks.into_iter().filter(|(_, good, _)| !good).map(|(key, _, says)| (key, says)).collect()
    }
}
