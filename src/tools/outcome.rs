//! What a run in the cell looks like to a client: shared by `execute_code`, `run_tests`, `lint_code`.

use schemars::JsonSchema;
use serde::Serialize;
use ultimate_mcp_sandbox::spec::{Isolation, Status};

/// How a run ended, as the supervisor saw it; never taken from what the program printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Exit code 0.
    Ok,
    /// Exit code other than 0.
    Error,
    /// Wall clock or processor time was used up.
    Timeout,
    /// The memory limit was hit.
    Oom,
    /// It wrote more than its output limit.
    OutputLimit,
    /// A signal ended it.
    Killed,
    /// The cell itself failed; `message` says why.
    SandboxError,
    /// The source does not compile.
    CompileError,
    /// The language or feature is not available on this host; `message` says why.
    Unsupported,
}

impl RunStatus {
    /// The name on the wire, for the audit.
    pub fn slug(self) -> &'static str {
        match self {
            RunStatus::Ok => "ok",
            RunStatus::Error => "error",
            RunStatus::Timeout => "timeout",
            RunStatus::Oom => "oom",
            RunStatus::OutputLimit => "output_limit",
            RunStatus::Killed => "killed",
            RunStatus::SandboxError => "sandbox_error",
            RunStatus::CompileError => "compile_error",
            RunStatus::Unsupported => "unsupported",
        }
    }

    /// Whether the engine, not the program, is why there is no result.
    pub fn is_our_failure(self) -> bool {
        matches!(self, RunStatus::SandboxError | RunStatus::Unsupported)
    }
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => RunStatus::Ok,
            Status::Error => RunStatus::Error,
            Status::Timeout => RunStatus::Timeout,
            Status::Oom => RunStatus::Oom,
            Status::OutputLimit => RunStatus::OutputLimit,
            Status::Killed => RunStatus::Killed,
            Status::SandboxError => RunStatus::SandboxError,
            Status::CompileError => RunStatus::CompileError,
            Status::Unsupported => RunStatus::Unsupported,
        }
    }
}

/// Which streams were cut at `limits.output_kb`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Truncated {
    /// stdout was cut.
    pub stdout: bool,
    /// stderr was cut.
    pub stderr: bool,
}

/// How strongly the run was confined.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct IsolationReport {
    /// Kind of isolation, e.g. `native`.
    pub class: String,
    /// True when the kernel enforces every limit for the whole process tree.
    pub hard_limits: bool,
    /// What this host could not provide, one line each; empty when isolation is complete.
    pub degraded: Vec<String>,
}

impl From<Isolation> for IsolationReport {
    fn from(isolation: Isolation) -> Self {
        let Isolation { class, hard_limits, degraded } = isolation;
        Self { class, hard_limits, degraded }
    }
}

/// Output as text: bytes that are not UTF-8 become U+FFFD. A character that truncation cut in two
/// is dropped rather than replaced.
pub fn text(bytes: &[u8], truncated: bool) -> String {
    let tail = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    // `error_len` is `None` only when the input ends inside a character.
    let cut = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    let end = if truncated && cut { bytes.len() - tail.len() } else { bytes.len() };
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_is_not_utf8_is_shown_and_a_cut_character_is_dropped() {
        assert_eq!(text(b"a\xffb", false), "a\u{fffd}b");
        assert_eq!(text("aé".as_bytes(), true), "aé");
        assert_eq!(text(&"aaaé".as_bytes()[..4], true), "aaa");
        assert_eq!(text(&"aaa😀".as_bytes()[..6], true), "aaa");
        assert_eq!(text(b"", true), "");
    }

    #[test]
    fn every_status_has_the_same_name_in_schema_and_audit() {
        for status in [Status::Ok, Status::OutputLimit, Status::SandboxError, Status::CompileError]
        {
            let ours = RunStatus::from(status);
            assert_eq!(serde_json::to_value(ours).unwrap(), ours.slug());
            assert_eq!(serde_json::to_value(status).unwrap(), ours.slug());
        }
    }
}
