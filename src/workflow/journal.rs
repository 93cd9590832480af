//! What happened to a workflow, entry by entry, and what follows from it.
//!
//! Entries are durable before what they announce (a beginning) or after what they tell (an end). Progress is
//! nothing but the entries folded: a server that was killed knows what the one before it wrote.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ultimate_mcp_actors::jobs::Millis;

use super::definition::{Definition, Phase, TaskId};
use super::reference::size_of;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// The workflow began; this is what it is, from now on.
    Opened {
        /// When.
        at: Millis,
        /// What it is.
        definition: Box<Definition>,
        /// Its inputs, defaults filled in.
        inputs: Map<String, Value>,
    },
    /// An attempt is about to begin.
    Began {
        /// When.
        at: Millis,
        /// Of what.
        task: TaskId,
        /// Which, from 1.
        attempt: u32,
    },
    /// An attempt ended.
    Ended {
        /// When.
        at: Millis,
        /// Of what.
        task: TaskId,
        /// How.
        end: End,
    },
    /// A step's condition did not hold.
    Skipped {
        /// When.
        at: Millis,
        /// Which.
        task: TaskId,
    },
    /// The time for all steps was over.
    TimedOut {
        /// When.
        at: Millis,
    },
    /// Nothing more will happen.
    Closed {
        /// When.
        at: Millis,
        /// How it ended.
        outcome: Outcome,
    },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum End {
    /// As it should.
    Completed {
        /// What the tool answered, when it was kept.
        result: Value,
        /// Its size, when it was not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        omitted_bytes: Option<u64>,
    },
    /// It failed.
    Failed {
        /// Why.
        fault: Fault,
        /// What the tool answered, if it did and it was kept.
        result: Value,
        /// When it is tried again, if it is.
        again_at: Option<Millis>,
    },
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// An error code of this interface, or `tool_failed`, `unexpected_result`, `bad_reference`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Fault {
    /// A failure.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// How a workflow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step completed, was skipped, or was allowed to fail.
    Completed,
    /// A step failed.
    Failed,
    /// Its time was over.
    TimedOut,
}

impl Outcome {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed_out",
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not begun.
    #[default]
    Pending,
    /// An attempt began and has not ended.
    Running,
    /// An attempt failed; the next one waits for its time.
    Waiting,
    /// It has its result.
    Completed,
    /// It failed for good.
    Failed,
    /// Its condition did not hold.
    Skipped,
}

impl Status {
    /// The name in reports and references.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Waiting => "waiting",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
        }
    }

    /// Whether it will not change any more.
    pub fn is_settled(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Skipped)
    }
}

/// One call so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// Where it stands.
    pub status: Status,
    /// Attempts begun.
    pub attempts: u32,
    /// What its tool answered last.
    pub result: Option<Value>,
    /// The size of a result that was not kept.
    pub omitted_bytes: Option<u64>,
    /// Why the last attempt failed.
    pub fault: Option<Fault>,
    /// When the first attempt began.
    pub started_at: Option<Millis>,
    /// When it ended for good.
    pub ended_at: Option<Millis>,
    /// When it is tried again.
    pub again_at: Millis,
}

/// A workflow so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What it is; `None` before it was opened.
    pub definition: Option<Box<Definition>>,
    /// Its inputs.
    pub inputs: Map<String, Value>,
    /// When it was opened.
    pub opened_at: Millis,
    /// Its calls, those that began or were skipped.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Steps in the order in which they completed.
    pub completed: Vec<String>,
    /// The step whose failure failed the workflow first.
    pub failed: Option<TaskId>,
    /// Its time was over before its steps were.
    pub timed_out: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When it ended.
    pub closed_at: Option<Millis>,
    /// Bytes of results kept.
    pub kept_bytes: usize,
    /// Entries so far.
    pub entries: u32,
}

impl Progress {
    /// The fold of these entries.
    pub fn of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Self {
        let mut progress = Self::default();
        entries.into_iter().for_each(|entry| progress.apply(entry));
        progress
    }

    /// One of its calls, if anything happened to it.
    pub fn task(&self, task: &TaskId) -> Option<&Task> {
        self.tasks.get(task)
    }

    /// Where a call stands.
    pub fn status(&self, task: &TaskId) -> Status {
        self.task(task).map_or(Status::Pending, |task| task.status)
    }

    /// Whether nothing forward begins any more.
    pub fn is_failing(&self) -> bool {
        self.timed_out || self.failed.is_some()
    }

    /// Takes one entry in.
    pub fn apply(&mut self, entry: &Entry) {
        self.entries += 1;
        match entry {
            Entry::Opened { at, definition, inputs } => {
                self.definition = Some(definition.clone());
                (self.inputs, self.opened_at) = (inputs.clone(), *at);
            }
            Entry::Began { at, task, attempt } => {
                let task = self.tasks.entry(task.clone()).or_default();
                (task.status, task.attempts) = (Status::Running, *attempt);
                task.started_at.get_or_insert(*at);
            }
            Entry::Skipped { at, task } => {
                let task = self.tasks.entry(task.clone()).or_default();
                (task.status, task.ended_at) = (Status::Skipped, Some(*at));
            }
            Entry::Ended { at, task, end } => self.ended(*at, task, end),
            Entry::TimedOut { .. } => self.timed_out = true,
            Entry::Closed { at, outcome } => {
                (self.outcome, self.closed_at) = (Some(*outcome), Some(*at));
            }
        }
    }

    fn ended(&mut self, at: Millis, id: &TaskId, end: &End) {
        let task = self.tasks.entry(id.clone()).or_default();
        // A new answer replaces the one of the attempt before.
        self.kept_bytes -= task.result.take().map_or(0, |before| size_of(&before));
        let result = match end {
            End::Completed { result, .. } | End::Failed { result, .. } => result,
        };
        if !result.is_null() {
            self.kept_bytes += size_of(result);
            task.result = Some(result.clone());
        }
        match end {
            End::Completed { omitted_bytes, .. } => {
                (task.status, task.ended_at) = (Status::Completed, Some(at));
                (task.omitted_bytes, task.fault) = (*omitted_bytes, None);
                if id.phase == Phase::Step {
                    self.completed.push(id.step.clone());
                }
            }
            End::Failed { fault, again_at: Some(again_at), .. } => {
                (task.status, task.again_at) = (Status::Waiting, *again_at);
                task.fault = Some(fault.clone());
            }
            End::Failed { fault, again_at: None, .. } => {
                (task.status, task.ended_at) = (Status::Failed, Some(at));
                task.fault = Some(fault.clone());
                let step = self.definition.as_ref().and_then(|d| d.step(&id.step));
                let fails = id.phase == Phase::Step && !step.is_some_and(|s| s.continue_on_failure);
                if fails && self.failed.is_none() {
                    self.failed = Some(id.clone());
                }
            }
        }
    }
}
