//! What the owner of a [`crate::Link`] decides about its launcher. Sent in the first message, never
//! on a command line: the arguments and environment of the launcher stay empty of secrets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// First host uid used for payloads. Above the ranges that distributions hand out to people (60000)
/// and to `systemd` (61184–65519), below the usual start of container ranges (524288).
pub const UID_BASE_DEFAULT: u32 = 400_000;

/// Runs at once in one launcher, at most.
pub const RUNS_MAX_DEFAULT: u16 = 64;

/// Sandboxes kept prepared. Four hide the preparation from a few callers who run one thing after the
/// other; each costs about half a megabyte.
pub const SPARES_DEFAULT: u16 = 4;

/// How a launcher is started and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherOptions {
    /// The program to execute. Default: `/proc/self/exe`, the caller's own binary.
    pub program: PathBuf,
    /// Its arguments. Default: `cell-launcher`.
    pub args: Vec<String>,
    /// Run even where some limits are only best effort; every report then says so.
    pub allow_degraded: bool,
    /// Read-only directory of operator tools, seen as `/opt/tools` inside.
    pub tools_dir: Option<PathBuf>,
    /// First host uid for payloads; each slot has two of its own. Must be greater than 0.
    pub uid_base: u32,
    /// Runs at once, at most; further ones are refused as busy.
    pub runs_max: u16,
    /// Sandboxes kept prepared beyond those in use: namespaces, root and control groups, without any
    /// program. Each serves one run. 0 prepares on demand.
    pub spares: u16,
    /// Pretend that control groups do not exist (to test the degraded mode on any host).
    pub without_cgroups: bool,
}

impl Default for LauncherOptions {
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            args: vec!["cell-launcher".to_owned()],
            allow_degraded: false,
            tools_dir: None,
            uid_base: UID_BASE_DEFAULT,
            runs_max: RUNS_MAX_DEFAULT,
            spares: SPARES_DEFAULT,
            without_cgroups: false,
        }
    }
}
