//! What a step of a sandbox that stays reports, and how such a sandbox ends: plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::{Artifact, Status};

/// The exception that ended a step, in the program's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// Its type, e.g. `ValueError`.
    pub name: String,
    /// Its message.
    pub message: String,
}

/// The value of a step's last expression, as the program shows it. Each form is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepValue {
    /// `repr(value)`.
    pub text: String,
    /// The text was cut.
    pub text_truncated: bool,
    /// `_repr_html_()`, where the value has it and it fits.
    pub html: Option<String>,
    /// `_repr_png_()`, where the value has it, it fits and it begins as a PNG file does.
    #[serde(skip)]
    pub png: Option<Vec<u8>>,
}

/// What happened in a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// How it ended. Whether code that ran to an end succeeded is the program's own word, as an exit
    /// code is; everything else was seen from outside.
    pub status: Status,
    /// The exception that ended it.
    pub error: Option<StepError>,
    /// What it passed to `sys.exit`, or how the whole interpreter exited.
    pub return_code: Option<i32>,
    /// The last expression's value.
    pub value: Option<StepValue>,
    /// Captured output, at most the step's bound. What the background wrote since the last step is in it.
    pub stdout: Vec<u8>,
    /// Captured errors, at most the step's bound.
    pub stderr: Vec<u8>,
    /// Whether stdout was cut.
    pub stdout_truncated: bool,
    /// Whether stderr was cut.
    pub stderr_truncated: bool,
    /// Wall clock time from the request to the answer.
    pub duration: Duration,
    /// Processor time of the whole sandbox since the last step.
    pub cpu: Duration,
    /// Highest memory use of the sandbox in its whole life, when the host can tell.
    pub memory_peak_bytes: Option<u64>,
    /// Files in `out/` that are new or changed since the last step.
    pub artifacts: Vec<Artifact>,
    /// Why some files of `out/` were not collected, one line each.
    pub artifact_notes: Vec<String>,
    /// What the supervisor did or saw, for the caller.
    pub message: Option<String>,
    /// The sandbox ended with this step.
    pub ended: Option<End>,
}

/// Why a sandbox that stays is no more. Always from what the supervisor saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It was closed.
    #[error("it was closed")]
    Closed,
    /// Nobody used it for too long.
    #[error("nobody used it for longer than it may idle")]
    Idle,
    /// Its whole life was used up.
    #[error("its lifetime was used up")]
    Lifetime,
    /// Its processor time was used up.
    #[error("its processor time was used up")]
    CpuTime,
    /// A step went on after its deadline although it was interrupted.
    #[error("a step went on after its deadline, the interrupt included")]
    StepOverran,
    /// The kernel killed the interpreter for memory.
    #[error("it used more memory than its limit")]
    Memory,
    /// The interpreter exited by itself.
    #[error("its interpreter exited with code {0}")]
    Exited(i32),
    /// A signal ended the interpreter.
    #[error("signal {0} ended its interpreter")]
    Signalled(i32),
    /// What it answered was no answer.
    #[error("its interpreter could no longer be talked to ({0})")]
    Broken(String),
    /// It could not be set up.
    #[error("it could not be set up ({0})")]
    Setup(String),
    /// The launcher died, and the sandbox with it.
    #[error("the sandbox launcher was lost, and the sandbox with it")]
    LauncherLost,
}

impl End {
    /// The status of a step during which the sandbox ended so.
    pub fn status(&self) -> Status {
        match self {
            Self::Lifetime | Self::CpuTime | Self::StepOverran => Status::Timeout,
            Self::Memory => Status::Oom,
            Self::Exited(0) => Status::Ok,
            Self::Exited(_) => Status::Error,
            Self::Closed | Self::Idle | Self::Signalled(_) => Status::Killed,
            Self::Broken(_) | Self::Setup(_) | Self::LauncherLost => Status::SandboxError,
        }
    }

    /// Its name, for metrics and the audit.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::CpuTime => "cpu_time",
            Self::StepOverran => "step_overran",
            Self::Memory => "memory",
            Self::Exited(_) => "exited",
            Self::Signalled(_) => "signalled",
            Self::Broken(_) => "broken",
            Self::Setup(_) => "setup",
            Self::LauncherLost => "launcher_lost",
        }
    }
}
