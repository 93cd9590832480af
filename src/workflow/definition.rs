//! A workflow as its author writes it: plain data, checked in [`super::check`].

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{PARALLEL_DEFAULT, STEP_SECONDS_DEFAULT, TIMEOUT_SECONDS_DEFAULT};

/// A workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with steps")]
pub struct Definition {
    /// What it is called in reports; letters, digits, `_` and `-`, at most 40.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The inputs it takes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, InputSpec>,
    /// The steps, 1 to 64. Those that do not need each other run at the same time.
    pub steps: Vec<Step>,
    /// Run one after the other when the workflow failed and what can be compensated was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Cleanup>,
    /// What the workflow answers in `output`: any JSON with references. What is missing becomes null.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Steps that run at the same time, 1 to 8; default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<usize>,
    /// Time for all steps together in seconds, at most 540; default 300. Compensation comes on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

/// An input of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct InputSpec {
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value when none is given; without one the input is required.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// One call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with id and tool")]
pub struct Step {
    /// Names the step: letters, digits, `_` and `-`, at most 40.
    pub id: String,
    /// The tool to call.
    pub tool: String,
    /// Its arguments, with references to inputs and to results of steps in `needs`.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// Steps that must have ended first, well or skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// A condition; when it does not hold the step is skipped.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
    /// A condition on the step's own result; when it does not hold the attempt has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Value>,
    /// How often it is tried; default once.
    #[serde(default)]
    pub retry: StepRetry,
    /// Time for one attempt in seconds, at most 300; default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Whether it may be repeated when nobody knows whether it ran; default: what the tool says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// Its failure does not fail the workflow; steps that need it run as if it had been skipped.
    #[serde(default)]
    pub continue_on_failure: bool,
    /// What undoes it: called when the workflow fails after this step completed, in reverse order of
    /// completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Action>,
}

/// A call that undoes a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with tool")]
pub struct Action {
    /// The tool to call.
    pub tool: String,
    /// Its arguments, with references to inputs and to results of any step.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// How often it is tried; default once.
    #[serde(default)]
    pub retry: StepRetry,
    /// Time for one attempt in seconds, at most 300; default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Whether it may be repeated when nobody knows whether it ran; default: what the tool says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
}

/// A call made because the workflow failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with id and tool")]
pub struct Cleanup {
    /// Names it, as a step.
    pub id: String,
    /// The tool to call.
    pub tool: String,
    /// Its arguments; beside what steps can refer to there is `/failure/step`, `/failure/code` and
    /// `/failure/message`.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// How often it is tried; default once.
    #[serde(default)]
    pub retry: StepRetry,
    /// Time for one attempt in seconds, at most 300; default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Whether it may be repeated when nobody knows whether it ran; default: what the tool says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
}

/// How often a step is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with attempts")]
pub struct StepRetry {
    /// Attempts, 1 to 10.
    pub attempts: u32,
    /// Wait before the second attempt in milliseconds, at most 60000; it doubles from attempt to attempt.
    pub delay_ms: u64,
}

impl Default for StepRetry {
    fn default() -> Self {
        Self { attempts: 1, delay_ms: 500 }
    }
}

/// Why a call is made.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is a step.
    Step,
    /// It undoes a step.
    Compensate,
    /// It is one of `on_failure`.
    OnFailure,
}

impl Phase {
    /// The name in reports and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Step => "step",
            Phase::Compensate => "compensate",
            Phase::OnFailure => "on_failure",
        }
    }
}

/// One of the calls of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Why it is made.
    pub phase: Phase,
    /// The step's id.
    pub step: String,
}

impl TaskId {
    /// The call of this phase and id.
    pub fn new(phase: Phase, step: &str) -> Self {
        Self { phase, step: step.to_owned() }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.phase.as_str(), self.step)
    }
}

/// What any of the calls consists of.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The tool.
    pub tool: &'a str,
    /// Its arguments, references included.
    pub arguments: &'a Map<String, Value>,
    /// How often it is tried.
    pub retry: StepRetry,
    /// Time for one attempt, in seconds.
    pub timeout_seconds: f64,
    /// Whether it may be repeated, when the author says.
    pub idempotent: Option<bool>,
    /// What its result must be like.
    pub expect: Option<&'a Value>,
}

impl Definition {
    /// The step of this id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// What this call consists of.
    pub fn call(&self, task: &TaskId) -> Option<Call<'_>> {
        match task.phase {
            Phase::Step => self.step(&task.step).map(Step::call),
            Phase::Compensate => self.step(&task.step)?.compensate.as_ref().map(Action::call),
            Phase::OnFailure => {
                self.on_failure.iter().find(|c| c.id == task.step).map(Cleanup::call)
            }
        }
    }

    /// Steps that run at the same time.
    pub fn parallel(&self) -> usize {
        self.parallel.unwrap_or(PARALLEL_DEFAULT)
    }

    /// Time for all steps, in milliseconds.
    pub fn timeout_ms(&self) -> i64 {
        (self.timeout_seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT) * 1_000.0) as i64
    }
}

macro_rules! as_call {
    ($of:ty, $expect:expr) => {
        impl $of {
            /// What the call consists of.
            pub fn call(&self) -> Call<'_> {
                let expect: fn(&Self) -> Option<&Value> = $expect;
                Call {
                    tool: &self.tool,
                    arguments: &self.arguments,
                    retry: self.retry,
                    timeout_seconds: self.timeout_seconds.unwrap_or(STEP_SECONDS_DEFAULT),
                    idempotent: self.idempotent,
                    expect: expect(self),
                }
            }
        }
    };
}
as_call!(Step, |step| step.expect.as_ref());
as_call!(Action, |_| None);
as_call!(Cleanup, |_| None);

/// A null that was written is a value.
fn given<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(source).map(Some)
}
