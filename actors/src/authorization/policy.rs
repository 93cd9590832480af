//! The policy: which role grants what, within which limits, and how roles combine.
//!
//! Parsed once from `policy.toml` ([`Policy::from_toml`], which reports every mistake), then only read.
//! Everything that is not granted is refused.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::permission::{Permission, Permissions};

/// The policy that comes with the server.
pub const DEFAULT_POLICY: &str = include_str!("../../../config/policy.toml");

/// How roles of the token and stored roles work together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// The token's roles; for a user the store knows, only those the store names too.
    #[default]
    Both,
    /// The token's roles.
    Token,
    /// The stored roles.
    Stored,
    /// The roles of either.
    Union,
}

/// The most one run in the cell may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CellCaps {
    /// Wall time, in seconds.
    pub timeout_seconds_max: f64,
    /// Memory, in MiB.
    pub memory_mb_max: u32,
    /// Processes and threads.
    pub pids_max: u32,
    /// Output kept per stream, in KiB.
    pub output_kb_max: u32,
    /// Disk, in MiB.
    pub disk_mb_max: u32,
    /// Processors.
    pub cpu_max: f64,
}

/// How much a caller may do. Nothing at all is the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Calls per tool in a minute.
    pub calls_per_minute: u32,
    /// The same for single tools.
    pub calls_per_minute_by_tool: BTreeMap<String, u32>,
    /// Bounds of a run.
    pub cell: CellCaps,
}

/// One role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Role {
    /// What it grants.
    pub permissions: Permissions,
    /// How much of it.
    pub limits: Limits,
    /// Which version of a tool its plain name means.
    pub versions: BTreeMap<String, u16>,
}

/// The whole policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How roles combine.
    pub combine: Combine,
    /// Every role there is.
    pub roles: BTreeMap<String, Role>,
}

/// One mistake in a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyProblem {
    /// Dotted key, e.g. `roles.viewer.cell.pids_max`; empty when the text is no TOML.
    pub key: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.is_empty() {
            true => f.write_str(&self.problem),
            false => write!(f, "{}: {}", self.key, self.problem),
        }
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Every mistake there is, each with its key.
    pub fn from_toml(text: &str) -> Result<Self, Vec<PolicyProblem>> {
        super::policy_text::read(text)
    }

    /// What these roles grant together; unknown roles grant nothing.
    pub fn permissions<'a>(&self, roles: impl IntoIterator<Item = &'a str>) -> Permissions {
        self.known(roles).fold(Permissions::default(), |all, role| all.union(role.permissions))
    }

    /// Whether one of these roles grants it.
    pub fn permits(&self, roles: &[String], permission: Permission) -> bool {
        self.known(roles.iter().map(String::as_str))
            .any(|role| role.permissions.contains(permission))
    }

    /// The largest of each limit over these roles; zero when none of them is known.
    pub fn limits(&self, roles: &[String]) -> Limits {
        let known: Vec<_> = self.known(roles.iter().map(String::as_str)).collect();
        let mut limits = Limits::default();
        for role in &known {
            limits.calls_per_minute = limits.calls_per_minute.max(role.limits.calls_per_minute);
            limits.cell = limits.cell.larger(&role.limits.cell);
        }
        let tools = known.iter().flat_map(|role| role.limits.calls_per_minute_by_tool.keys());
        for tool in tools {
            let most = known.iter().map(|role| role.limits.calls_per_minute_for(tool)).max();
            limits.calls_per_minute_by_tool.insert(tool.clone(), most.unwrap_or(0));
        }
        limits
    }

    /// The version of this tool that its plain name means to these roles: the newest that one of them pins;
    /// `None` where none does.
    pub fn version_of(&self, roles: &[String], tool: &str) -> Option<u16> {
        let known = self.known(roles.iter().map(String::as_str));
        known.filter_map(|role| role.versions.get(tool).copied()).max()
    }

    fn known<'a>(&self, roles: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &Role> {
        roles.into_iter().filter_map(|name| self.roles.get(name))
    }
}

impl Limits {
    /// Calls of this tool in a minute.
    pub fn calls_per_minute_for(&self, tool: &str) -> u32 {
        self.calls_per_minute_by_tool.get(tool).copied().unwrap_or(self.calls_per_minute)
    }
}

impl CellCaps {
    fn larger(&self, other: &Self) -> Self {
        Self {
            timeout_seconds_max: self.timeout_seconds_max.max(other.timeout_seconds_max),
            memory_mb_max: self.memory_mb_max.max(other.memory_mb_max),
            pids_max: self.pids_max.max(other.pids_max),
            output_kb_max: self.output_kb_max.max(other.output_kb_max),
            disk_mb_max: self.disk_mb_max.max(other.disk_mb_max),
            cpu_max: self.cpu_max.max(other.cpu_max),
        }
    }
}
