//! Carries a workflow out: asks the planner, writes the journal, makes the calls.
//!
//! One loop in one task; the calls of steps run side by side in it. Dropped, all of them are abandoned, and
//! the next run goes on from the journal. Refuses to begin anything whose beginning could not be written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::idempotency::IdempotencyKey;
use ultimate_mcp_actors::ids::{CallId, JobId};
use ultimate_mcp_actors::jobs::{Identity, Millis};

use super::calls::{StepOrder, Steps};
use super::condition::holds;
use super::definition::{Definition, TaskId};
use super::journal::{End, Entry, Progress};
use super::judge::{Attempt, turned_away};
use super::planner::{Look, Move, moves};
use super::reference::{Context, resolve};
use super::report::failure;
use crate::error::{ApiError, Code};
use crate::origin::{Origin, StepOf, Transport};
use crate::tools::ToolOutput;

/// Of the time a run has, the share that its steps get; the rest is for compensation.
const FORWARD_SHARE: f64 = 0.9;

/// Where entries are kept.
pub trait Journal: Send + Sync {
    /// Writes an entry; durable when this returns.
    fn note<'a>(&'a self, entry: u32, text: &'a str) -> BoxFuture<'a, Result<(), ApiError>>;
}

/// One run of a workflow, the first or a later one.
pub struct Run<'a> {
    /// Makes the calls.
    pub steps: &'a dyn Steps,
    /// Keeps what happened.
    pub journal: &'a dyn Journal,
    /// The workflow.
    pub id: JobId,
    /// Whose it is.
    pub identity: Identity,
    /// Where the run comes from.
    pub origin: &'a Origin,
    /// The call that this run is.
    pub parent: CallId,
    /// When this run is over at the latest.
    pub deadline: Deadline,
    /// The time.
    pub now: &'a (dyn Fn() -> Millis + Send + Sync),
}

type Answered = (TaskId, u32, Result<Result<ToolOutput, ApiError>, String>);

impl Run<'_> {
    /// Opens the workflow.
    ///
    /// # Errors
    /// The journal.
    pub async fn open(
        &self,
        definition: Definition,
        inputs: Map<String, Value>,
    ) -> Result<Progress, ApiError> {
        let mut progress = Progress::default();
        let definition = Box::new(definition);
        let opened = Entry::Opened { at: (self.now)(), definition, inputs };
        self.note(&mut progress, opened).await?;
        Ok(progress)
    }

    /// Goes on from where it stands to its end.
    ///
    /// # Errors
    /// The journal: then the run ends and another one may go on.
    pub async fn go_on(&self, mut progress: Progress) -> Result<Progress, ApiError> {
        let Some(definition) = progress.definition.clone() else {
            return Err(ApiError::new(Code::Internal, "the workflow was never opened"));
        };
        let share = self.deadline.remaining().mul_f64(FORWARD_SHARE).as_millis() as Millis;
        let deadline = (progress.opened_at + definition.timeout_ms()).min((self.now)() + share);
        let (mut running, mut in_hand) = (FuturesUnordered::new(), BTreeSet::new());
        while progress.outcome.is_none() {
            let (mut wake, mut settled) = (None, false);
            for next in self.plan(&definition, &progress, &in_hand, deadline) {
                let at = (self.now)();
                match next {
                    Move::Wait(until) => wake = until,
                    Move::Skip(task) => {
                        self.note(&mut progress, Entry::Skipped { at, task }).await?;
                        settled = true;
                    }
                    Move::TimeOut => {
                        self.note(&mut progress, Entry::TimedOut { at }).await?;
                        settled = true;
                    }
                    Move::Close(outcome) => {
                        self.note(&mut progress, Entry::Closed { at, outcome }).await?;
                        settled = true;
                    }
                    Move::Run { task, attempt, in_doubt } => {
                        if !in_doubt {
                            let began = Entry::Began { at, task: task.clone(), attempt };
                            self.note(&mut progress, began).await?;
                        }
                        in_hand.insert(task.clone());
                        let until = (!progress.is_failing()).then_some(deadline);
                        running.push(self.attempt(&definition, &progress, task, attempt, until));
                    }
                }
            }
            if settled {
                continue;
            }
            tokio::select! {
                Some((task, attempt, answer)) = running.next(), if !running.is_empty() => {
                    in_hand.remove(&task);
                    let end = self.judged(&definition, &progress, &task, attempt, answer);
                    self.note(&mut progress, Entry::Ended { at: (self.now)(), task, end }).await?;
                }
                () = self.until(wake) => {}
            }
        }
        Ok(progress)
    }

    fn plan(
        &self,
        definition: &Definition,
        progress: &Progress,
        in_hand: &BTreeSet<TaskId>,
        deadline: Millis,
    ) -> Vec<Move> {
        let context = Context { inputs: &progress.inputs, progress, own: None, failure: None };
        let look = Look { definition, progress, in_hand, now: (self.now)(), deadline };
        moves(&look, |step| match &step.condition {
            // What cannot be judged does not hold; a definition that was checked has no such condition.
            Some(condition) => holds(condition, &context).unwrap_or(false),
            None => true,
        })
    }

    /// One attempt, from arguments to answer. Borrows nothing of the progress: others go on meanwhile.
    fn attempt<'s>(
        &'s self,
        definition: &Definition,
        progress: &Progress,
        task: TaskId,
        attempt: u32,
        until: Option<Millis>,
    ) -> BoxFuture<'s, Answered> {
        let prepared = prepare(definition, progress, &task);
        let call = definition.call(&task);
        let seconds = call.map_or(0.0, |call| call.timeout_seconds);
        let tool = call.map(|call| call.tool.to_owned()).unwrap_or_default();
        let mut time = Duration::from_secs_f64(seconds);
        if let Some(until) = until {
            let left = Duration::from_millis((until - (self.now)()).max(0) as u64);
            time = time.min(left);
        }
        Box::pin(async move {
            let answer = match prepared {
                Ok(arguments) => {
                    let deadline = Deadline::after(time.min(self.deadline.remaining()));
                    Ok(self.made(&task, attempt, &tool, &arguments, deadline).await)
                }
                Err(problem) => Err(problem),
            };
            (task, attempt, answer)
        })
    }

    /// The call, again while it is turned away before anything happens.
    async fn made(
        &self,
        task: &TaskId,
        attempt: u32,
        tool: &str,
        arguments: &RawValue,
        deadline: Deadline,
    ) -> Result<ToolOutput, ApiError> {
        loop {
            let origin = self.origin_of(task, attempt, tool);
            let identity = &self.identity;
            let order = StepOrder { identity, origin, tool, arguments, deadline };
            let error = match self.steps.call(order).await {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            match turned_away(&error) {
                Some(wait) if wait < deadline.remaining() => tokio::time::sleep(wait).await,
                _ => return Err(error),
            }
        }
    }

    /// A key of its own for every attempt that may leave something behind: whether it ran is known under it
    /// even when this process is not there to write it down.
    fn origin_of(&self, task: &TaskId, attempt: u32, tool: &str) -> Origin {
        let known = self.steps.known(tool, &Map::new());
        let harmless = known.is_ok_and(|known| known.harmless);
        let key = || IdempotencyKey::parse(&format!("workflow:{}:{task}:{attempt}", self.id)).ok();
        Origin {
            transport: Transport::Workflow,
            job: None,
            idempotency_key: if harmless { None } else { key() },
            step: Some(Arc::new(StepOf {
                workflow: self.id,
                step: task.to_string(),
                attempt,
                parent: self.parent,
            })),
            ..self.origin.clone()
        }
    }

    fn judged(
        &self,
        definition: &Definition,
        progress: &Progress,
        task: &TaskId,
        number: u32,
        answer: Result<Result<ToolOutput, ApiError>, String>,
    ) -> End {
        let Some(call) = definition.call(task) else {
            let fault = super::Fault::new("internal", "there is no such step");
            return End::Failed { fault, result: Value::Null, again_at: None };
        };
        let known = self.steps.known(call.tool, &Map::new());
        let of_tool = || known.is_ok_and(|known| known.idempotent || known.harmless);
        let repeatable = call.idempotent.unwrap_or_else(of_tool);
        let attempt = Attempt { task, call, number, repeatable, now: (self.now)() };
        let context = Context { inputs: &progress.inputs, progress, own: None, failure: None };
        match answer {
            Ok(answer) => attempt.end(answer, &context),
            Err(problem) => attempt.unresolved(problem),
        }
    }

    async fn until(&self, wake: Option<Millis>) {
        match wake {
            Some(at) => {
                let wait = (at - (self.now)()).max(0) as u64;
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            None => std::future::pending().await,
        }
    }

    async fn note(&self, progress: &mut Progress, entry: Entry) -> Result<(), ApiError> {
        let text = serde_json::to_string(&entry).map_err(|error| {
            ApiError::new(Code::Internal, "an entry of the journal could not be written")
                .caused_by(error)
        })?;
        self.journal.note(progress.entries, &text).await?;
        progress.apply(&entry);
        Ok(())
    }
}

/// The arguments of a call, references filled in.
fn prepare(
    definition: &Definition,
    progress: &Progress,
    task: &TaskId,
) -> Result<Box<RawValue>, String> {
    let call = definition.call(task).ok_or_else(|| "there is no such step".to_owned())?;
    let failure = failure(progress).map(|error| serde_json::json!(error));
    let failure = failure.as_ref();
    let context = Context { inputs: &progress.inputs, progress, own: None, failure };
    let mut arguments = Map::new();
    for (name, value) in call.arguments {
        let value = resolve(value, &context).map_err(|problem| format!("{name}: {problem}"))?;
        arguments.insert(name.clone(), value);
    }
    serde_json::value::to_raw_value(&arguments).map_err(|error| error.to_string())
}
