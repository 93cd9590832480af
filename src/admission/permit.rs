//! Proof that admission said yes.

use ultimate_mcp_actors::authorization::CellCaps;
use ultimate_mcp_actors::ids::CallId;

use super::running::Slot;
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
    /// The call's place among the caller's running calls, free again when the permit is dropped.
    #[allow(dead_code, reason = "held for its drop")]
    pub(in crate::admission) slot: Option<Slot>,
}

/// Proof that this caller may administer the engine (`system:admin`). Only [`crate::admission`] can
/// make one.
#[derive(Debug)]
pub struct AdminPermit {
    pub(in crate::admission) caller: Caller,
}

impl AdminPermit {
    /// Who administers.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl From<CellCaps> for RunCaps {
    fn from(caps: CellCaps) -> Self {
        Self {
            timeout_seconds_max: caps.timeout_seconds_max,
            memory_mb_max: caps.memory_mb_max,
            pids_max: caps.pids_max,
            output_kb_max: caps.output_kb_max,
            disk_mb_max: caps.disk_mb_max,
            cpu_max: caps.cpu_max,
        }
    }
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
        let caller = Caller::for_tests(caller);
        Self { caller, tool, call_id: CallId::new(), caps, slot: None }
    }
}
