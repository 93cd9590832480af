//! Proof that admission said yes.

use ultimate_mcp_actors::ids::CallId;

use crate::auth::Caller;

/// Upper bounds of what one run of this caller may ask of the cell; from `policy.toml`, per role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunCaps {
    /// Longest wall time, in seconds.
    pub timeout_seconds_max: f64,
    /// Most memory, in MiB.
    pub memory_mb_max: u32,
    /// Most processes and threads.
    pub pids_max: u32,
    /// Most output kept per stream, in KiB.
    pub output_kb_max: u32,
    /// Most disk, in MiB.
    pub disk_mb_max: u32,
    /// Most processors.
    pub cpu_max: f64,
}

/// Proof that this caller may run this tool now. Only [`crate::admission`] can make one.
#[derive(Debug)]
pub struct Permit {
    pub(in crate::admission) caller: Caller,
    pub(in crate::admission) tool: &'static str,
    pub(in crate::admission) call_id: CallId,
    pub(in crate::admission) caps: RunCaps,
}

impl Permit {
    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The tool's name.
    pub fn tool(&self) -> &'static str {
        self.tool
    }

    /// The call, as in the audit.
    pub fn call_id(&self) -> CallId {
        self.call_id
    }

    /// What the caller's roles allow a run to use.
    pub fn caps(&self) -> &RunCaps {
        &self.caps
    }
}

#[cfg(test)]
impl Permit {
    /// A permit nobody asked for, for unit tests of tools.
    pub(crate) fn for_tests(caller: &str, tool: &'static str, caps: RunCaps) -> Self {
        Self { caller: Caller::for_tests(caller), tool, call_id: CallId::new(), caps }
    }
}
