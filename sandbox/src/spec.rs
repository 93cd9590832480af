//! What is asked of the cell and what it reports: plain data, shared by server and launcher.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Languages `execute_code` accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// CPython, `python3 -I -S`-like isolation from user site packages.
    Python,
    /// Node.js.
    JavaScript,
    /// GNU Bash.
    Bash,
}

/// Which seccomp allow-list a run gets: what its interpreter legitimately needs, nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// CPython.
    Python,
    /// V8: needs executable anonymous memory and more threads.
    Node,
    /// Bash and the core utilities.
    Shell,
    /// A compiled tool such as ruff, shellcheck or oxlint.
    Native,
}

/// A file placed beneath the working directory (`/box`) before the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Relative path; no `..`, no absolute path, no NUL (checked again by the launcher).
    pub path: String,
    /// Raw content.
    pub content: Vec<u8>,
}

/// Bounds of one run. All are enforced from outside the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall clock time from the start of the payload to its kill.
    pub wall: Duration,
    /// Processor time of the whole tree.
    pub cpu: Duration,
    /// Memory of the whole tree, tmpfs pages included, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads at once.
    pub pids: u32,
    /// Bytes kept of stdout and of stderr, each.
    pub output_bytes: u64,
    /// Bytes the run may hold on its private file systems.
    pub disk_bytes: u64,
    /// Processors the tree may use at once, in thousandths (1000 = one core).
    pub cpu_milli: u32,
}

/// One run, complete: everything the launcher needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// For logs and for naming cgroups; never shown to the payload.
    pub execution_id: String,
    /// Absolute program inside the cell, then its arguments.
    pub argv: Vec<String>,
    /// Added to the cell's own clean environment.
    pub env: Vec<(String, String)>,
    /// The seccomp allow-list.
    pub profile: Profile,
    /// Placed beneath `/box` before the run.
    pub files: Vec<InputFile>,
    /// Fed to the payload's standard input, then closed.
    pub stdin: Vec<u8>,
    /// The program compiles its source first and then writes one byte to descriptor 3 and closes it,
    /// before any of the source runs. An exit without that byte is a [`Status::CompileError`]: the
    /// supervisor knows it from the pipe, so nothing the source prints or returns can pretend it.
    pub compile_signal: bool,
    /// Bounds.
    pub limits: Limits,
}

/// How a run ended, as seen from outside: never taken from what the program printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Exit code 0.
    Ok,
    /// Exit code other than 0.
    Error,
    /// Wall or processor time was used up.
    Timeout,
    /// The kernel killed it for memory.
    Oom,
    /// It wrote more than its output limit.
    OutputLimit,
    /// A signal ended it (its own, or the caller cancelled).
    Killed,
    /// The cell itself failed; the payload's effects end with it.
    SandboxError,
    /// The source does not compile.
    CompileError,
    /// The language or feature is not available here.
    Unsupported,
}

/// How strongly the run was confined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// `native` today; other back ends will say so here.
    pub class: String,
    /// True when every limit is enforced by the kernel for the whole tree (cgroups).
    pub hard_limits: bool,
    /// What is missing on this host, one line each; empty when nothing is.
    pub degraded: Vec<String>,
}

/// A file the run left in `out/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Path relative to `out/`, control characters escaped.
    pub name: String,
    /// Lower-case hexadecimal SHA-256 of the content.
    pub sha256: String,
    /// The content.
    #[serde(skip)]
    pub content: Vec<u8>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// How it ended.
    pub status: Status,
    /// Exit code, when it exited by itself.
    pub return_code: Option<i32>,
    /// Signal number, when a signal ended it.
    pub signal: Option<i32>,
    /// Captured output, at most `output_bytes`.
    pub stdout: Vec<u8>,
    /// Captured errors, at most `output_bytes`.
    pub stderr: Vec<u8>,
    /// Whether stdout was cut.
    pub stdout_truncated: bool,
    /// Whether stderr was cut.
    pub stderr_truncated: bool,
    /// Wall clock time of the payload.
    pub duration: Duration,
    /// Processor time of the tree.
    pub cpu: Duration,
    /// Highest memory use of the tree in bytes, when the host can tell.
    pub memory_peak_bytes: Option<u64>,
    /// Files left in `out/`.
    pub artifacts: Vec<Artifact>,
    /// Why some files of `out/` were not collected, one line each.
    pub artifact_notes: Vec<String>,
    /// Why the status is `sandbox_error` or `unsupported`, for the caller.
    pub message: Option<String>,
    /// How strongly it was confined.
    pub isolation: Isolation,
}

impl RunReport {
    /// The report of a run that was not begun because the host lacks what it needs.
    pub fn unsupported(message: String) -> Self {
        Self {
            status: Status::Unsupported,
            return_code: None,
            signal: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            stdout_truncated: false,
            stderr_truncated: false,
            duration: Duration::ZERO,
            cpu: Duration::ZERO,
            memory_peak_bytes: None,
            artifacts: Vec::new(),
            artifact_notes: Vec::new(),
            message: Some(message),
            isolation: Isolation { class: "none".into(), hard_limits: false, degraded: Vec::new() },
        }
    }
}
