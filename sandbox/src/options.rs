//! What the owner of a [`crate::Link`] decides about its launcher. Sent in the first message, never
//! on a command line: the arguments and environment of the launcher stay empty of secrets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// First host uid used for payloads. Above the ranges that distributions hand out to people (60000)
/// and to `systemd` (61184–65519), below the usual start of container ranges (524288).
pub const UID_BASE_DEFAULT: u32 = 400_000;

/// Runs at once in one launcher, at most.
pub const RUNS_MAX_DEFAULT: u16 = 64;

/// Sandboxes kept prepared. Four hide the preparation from a few callers who run one thing after the
/// other; each costs about half a megabyte.
pub const SPARES_DEFAULT: u16 = 4;

/// Sandboxes with a waiting interpreter kept prepared.
pub const ZYGOTE_SPARES_DEFAULT: u16 = 4;

/// Sandboxes born of one zygote before it is replaced.
pub const RENEW_AFTER_FORKS_DEFAULT: u32 = 5000;

/// Life of a zygote that was used.
pub const RENEW_AFTER_DEFAULT: Duration = Duration::from_secs(900);

/// Modules that programs often import and that are cheap to keep: imported once by the zygote.
pub const PRELOAD_DEFAULT: &[&str] = &[
    "base64",
    "bisect",
    "collections",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "os",
    "pathlib",
    "random",
    "re",
    "statistics",
    "string",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "traceback",
    "typing",
    "uuid",
];

/// How Python interpreters are forked instead of started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteOptions {
    /// This crate as a shared library; see [`zygote_library`].
    pub library: PathBuf,
    /// Modules of the standard library to import once. One that cannot be imported ends the zygote.
    pub preload: Vec<String>,
    /// Sandboxes with a waiting interpreter kept prepared. Each serves one run.
    pub spares: u16,
    /// Sandboxes born of one zygote before it is replaced.
    pub renew_after_forks: u32,
    /// Age at which a zygote that was used is replaced.
    pub renew_after: Duration,
}

impl Default for ZygoteOptions {
    fn default() -> Self {
        Self {
            library: zygote_library().unwrap_or_default(),
            preload: PRELOAD_DEFAULT.iter().map(|name| (*name).to_owned()).collect(),
            spares: ZYGOTE_SPARES_DEFAULT,
            renew_after_forks: RENEW_AFTER_FORKS_DEFAULT,
            renew_after: RENEW_AFTER_DEFAULT,
        }
    }
}

/// The shared library that belongs to the running program: where cargo leaves it (for programs and
/// examples), beside the program, or in `lib` next to its directory.
pub fn zygote_library() -> Option<PathBuf> {
    const NAME: &str = "libultimate_mcp_sandbox.so";
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let around = ["deps", "../deps", ".", "../lib"].map(|near| folder.join(near));
    around.iter().map(|folder: &PathBuf| Path::join(folder, NAME)).find(|path| path.is_file())
}

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
    /// Fork Python interpreters from one that has started; `None` starts one for each run.
    pub zygote: Option<ZygoteOptions>,
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
            zygote: None,
            without_cgroups: false,
        }
    }
}
