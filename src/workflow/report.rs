//! What a workflow tells of itself.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use ultimate_mcp_actors::ids::JobId;
use ultimate_mcp_actors::jobs::JobStatus;

use super::RESULT_BYTES_MAX;
use super::definition::{Definition, Phase, TaskId};
use super::journal::{Fault, Outcome, Progress, Status, Task};
use super::reference::{Context, resolve_lenient, size_of};
use crate::jobs::time;

/// A workflow as its owner sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkflowReport {
    /// Names this run, for workflow_status; it is a job as well, for job_cancel.
    pub workflow_id: String,
    /// What the definition is called.
    pub name: Option<String>,
    /// `queued`, `running`, `compensating`; then `completed`, `failed` or `timed_out`, or how its job ended:
    /// `cancelled`, `forbidden`, `failed`, `outcome_unknown`.
    pub status: String,
    /// Its calls: the steps in the order of the definition, then what was called because it failed.
    pub steps: Vec<StepReport>,
    /// What the definition's `output` came to; null before the end.
    pub output: Value,
    /// Why it failed.
    pub error: Option<StepError>,
}

/// One call of a workflow.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepReport {
    /// The step.
    pub id: String,
    /// `step`, `compensate` or `on_failure`.
    pub phase: Phase,
    /// The tool.
    pub tool: String,
    /// `pending`, `running`, `waiting` for its next attempt, `completed`, `failed`, `skipped`; after the end
    /// also `not_run`, and `interrupted` when it was cut off and had no end.
    pub status: String,
    /// Attempts begun.
    pub attempts: u32,
    /// When the first attempt began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// What the tool answered last; null when it did not, or when results were not asked for.
    pub result: Value,
    /// The size of a result that was too large to be kept.
    pub result_omitted_bytes: Option<u64>,
    /// Why its last attempt failed.
    pub error: Option<StepError>,
}

/// Why something failed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StepError {
    /// The step; null when it was not a step.
    pub step: Option<String>,
    /// An error code of this interface, or `tool_failed`, `unexpected_result`, `bad_reference`, `timed_out`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl StepError {
    fn of(step: Option<&str>, fault: &Fault) -> Self {
        let Fault { code, message } = fault.clone();
        Self { step: step.map(str::to_owned), code, message }
    }
}

impl WorkflowReport {
    /// The report of a run. `job` is how its job stands; `None` while it is the job that asks.
    pub fn of(id: JobId, job: Option<&JobStatus>, progress: &Progress, results: bool) -> Self {
        let over = progress.outcome.is_some() || job.is_some_and(|job| job.state.is_final());
        let definition = progress.definition.as_deref();
        let tasks = definition.map(|definition| tasks(definition, progress)).unwrap_or_default();
        let steps = tasks.iter().map(|(id, tool)| step(id, tool, progress.task(id), over, results));
        Self {
            workflow_id: id.to_string(),
            name: definition.and_then(|definition| definition.name.clone()),
            status: status(job, progress),
            steps: steps.collect(),
            output: definition.map_or(Value::Null, |definition| output(definition, progress)),
            error: failure(progress).or_else(|| {
                let fault = job.filter(|job| job.state.is_final())?.fault.as_ref()?;
                Some(StepError::of(None, &Fault::new(&*fault.code, &*fault.message)))
            }),
        }
    }

    /// The report of one that was just queued.
    pub fn queued(id: JobId, definition: &Definition) -> Self {
        let definition = Some(Box::new(definition.clone()));
        let progress = Progress { definition, ..Progress::default() };
        Self { status: "queued".to_owned(), ..Self::of(id, None, &progress, false) }
    }

    /// Whether it ended otherwise than well.
    pub fn is_failure(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "running" | "compensating" | "completed")
    }
}

/// Why a workflow failed, once it did.
pub fn failure(progress: &Progress) -> Option<StepError> {
    if let Some(id) = &progress.failed {
        let fault = progress.task(id).and_then(|task| task.fault.as_ref())?;
        return Some(StepError::of(Some(&id.step), fault));
    }
    progress.timed_out.then(|| StepError {
        step: None,
        code: "timed_out".to_owned(),
        message: "the steps were not done within timeout_seconds".to_owned(),
    })
}

/// The calls there are to tell of.
fn tasks<'d>(definition: &'d Definition, progress: &Progress) -> Vec<(TaskId, &'d str)> {
    let steps = definition.steps.iter();
    let mut all: Vec<_> =
        steps.map(|step| (TaskId::new(Phase::Step, &step.id), &*step.tool)).collect();
    for id in progress.completed.iter().rev() {
        let action = definition.step(id).and_then(|step| step.compensate.as_ref());
        if let Some(action) = action.filter(|_| progress.is_failing()) {
            all.push((TaskId::new(Phase::Compensate, id), &action.tool));
        }
    }
    if progress.is_failing() {
        let last = definition.on_failure.iter();
        all.extend(last.map(|c| (TaskId::new(Phase::OnFailure, &c.id), &*c.tool)));
    }
    all
}

fn step(id: &TaskId, tool: &str, task: Option<&Task>, over: bool, results: bool) -> StepReport {
    let none = Task::default();
    let task = task.unwrap_or(&none);
    let status = match (task.status, over) {
        (Status::Pending, true) => "not_run",
        (Status::Waiting, true) => "failed",
        (Status::Running, true) => "interrupted",
        (status, _) => status.as_str(),
    };
    StepReport {
        id: id.step.clone(),
        phase: id.phase,
        tool: tool.to_owned(),
        status: status.to_owned(),
        attempts: task.attempts,
        started_at: task.started_at.map(time),
        ended_at: task.ended_at.map(time),
        result: task.result.clone().filter(|_| results).unwrap_or_default(),
        result_omitted_bytes: task.omitted_bytes,
        error: task.fault.as_ref().map(|fault| StepError::of(Some(&id.step), fault)),
    }
}

fn status(job: Option<&JobStatus>, progress: &Progress) -> String {
    if let Some(outcome) = progress.outcome {
        return outcome.as_str().to_owned();
    }
    if let Some(job) = job.filter(|job| job.state.is_final()) {
        return job.state.as_str().to_owned();
    }
    let status = match (&progress.definition, progress.is_failing()) {
        (None, _) => "queued",
        (Some(_), true) => "compensating",
        (Some(_), false) => "running",
    };
    status.to_owned()
}

fn output(definition: &Definition, progress: &Progress) -> Value {
    if progress.outcome != Some(Outcome::Completed) {
        return Value::Null;
    }
    let inputs: &Map<String, Value> = &progress.inputs;
    let context = Context { inputs, progress, own: None, failure: None };
    match resolve_lenient(&definition.output, &context) {
        Ok(output) if size_of(&output) <= RESULT_BYTES_MAX => output,
        // Everything in it stands in the results of the steps.
        _ => Value::Null,
    }
}
