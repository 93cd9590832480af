//! Workflows: several calls of tools as one, with order, conditions, repetition and compensation.
//!
//! ```text
//! workflow_run ─▶ check ─▶ a job ─▶ runner ⇄ planner (pure) ─▶ tools_call, once per step and attempt
//!                                     └─▶ the job's journal: before a step begins, after it ends
//! ```
//! A step is an ordinary call of its caller, with the caller's rights of that moment, recorded as a call of
//! its own. What a killed server leaves is read back from the journal, and the workflow goes on from there.
//!
//! Called by the tools `workflow_run` and `workflow_status`. Refuses definitions beyond its limits, and
//! steps that would themselves start jobs or workflows.

mod calls;
mod check;
mod condition;
mod definition;
mod journal;
mod judge;
mod library;
mod planner;
mod reference;
mod report;
mod runner;
#[cfg(test)]
mod tests;

pub use calls::{EngineSteps, KnownTool, StepOrder, Steps};
pub use check::{check, inputs};
pub use definition::{Action, Cleanup, Definition, InputSpec, Phase, Step, StepRetry, TaskId};
pub use journal::{Entry, Fault, Outcome, Progress};
pub use library::Workflows;
pub use report::{StepError, StepReport, WorkflowReport};
pub use runner::{Journal, Run};

/// The tool that runs workflows; its jobs are workflows.
pub const RUN: &str = "workflow_run";
/// Most steps of a workflow; compensations and steps of `on_failure` have the same bound of their own.
pub const STEPS_MAX: usize = 64;
/// Most steps that run at the same time.
pub const PARALLEL_MAX: usize = 8;
/// Steps that run at the same time when the definition does not say.
pub const PARALLEL_DEFAULT: usize = 4;
/// Longest time from the first step to the last, in seconds.
pub const TIMEOUT_SECONDS_MAX: f64 = 540.0;
/// The same when the definition does not say.
pub const TIMEOUT_SECONDS_DEFAULT: f64 = 300.0;
/// Longest attempt of a step, in seconds.
pub const STEP_SECONDS_MAX: f64 = 300.0;
/// The same when the step does not say.
pub const STEP_SECONDS_DEFAULT: f64 = 60.0;
/// Most attempts a step may ask for.
pub const ATTEMPTS_MAX: u32 = 10;
/// Longest delay before another attempt, in milliseconds.
pub const DELAY_MS_MAX: u64 = 60_000;
/// Largest definition and largest inputs, each in bytes of JSON.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;
/// Largest arguments of one step once references are filled in, in bytes of JSON.
pub const ARGUMENTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest result of one step that is kept, in bytes of JSON.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of results kept of one workflow.
pub const RESULTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Deepest nesting of arguments, inputs and conditions.
pub const DEPTH_MAX: usize = 32;
