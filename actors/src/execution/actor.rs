//! The actor that runs code.
//!
//! Owns: the launcher's life, and the runs in hand.
//! Mailbox: places + `cell.queue_max` + 16; the queue itself refuses before it is full.
//! Dies when: keeping the launcher panics.
//! Restarted: by its supervisor, with a new launcher; runs in hand are lost to their callers.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, AsyncContext, Context, Handler, Message, ResponseFuture, Supervised, WrapFuture,
};
use tokio::sync::oneshot;
use ultimate_mcp_sandbox::LauncherOptions;
use ultimate_mcp_sandbox::client::{OutputSink, RunOptions};
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec};

use super::error::ExecutionError;
use super::gate::Gate;
use super::links::Links;
use super::stats::Counters;
use crate::deadline::Deadline;
use crate::faults;
use crate::ids::CallerId;
use crate::resilience::Requester;

/// Kept of a caller's time to bring the report home: a run is killed this long before the deadline,
/// so that the caller hears what it printed instead of nothing.
const HOMEWARD: Duration = Duration::from_millis(100);
/// A run that may not take longer than this is not begun.
const WALL_MIN: Duration = Duration::from_millis(10);

/// What the handle and every incarnation of the actor share.
pub(super) struct Shared {
    pub(super) gate: Arc<Gate>,
    pub(super) links: Arc<Links>,
    pub(super) counters: Counters,
}

pub(super) struct ExecutionActor {
    shared: Arc<Shared>,
    launcher: LauncherOptions,
}

/// Asks for one run. When `caller_left` resolves nobody waits any more: the run is killed.
#[derive(Message)]
#[rtype(result = "Result<RunReport, ExecutionError>")]
pub(super) struct Run {
    pub(super) spec: RunSpec,
    pub(super) owner: CallerId,
    pub(super) deadline: Deadline,
    /// Sees output as it arrives, on this actor's thread.
    pub(super) output: Option<OutputSink>,
    /// On whose behalf: interactive runs go before jobs.
    pub(super) requester: Requester,
    pub(super) caller_left: oneshot::Receiver<()>,
}

impl ExecutionActor {
    pub(super) fn new(shared: Arc<Shared>, launcher: LauncherOptions) -> Self {
        Self { shared, launcher }
    }
}

impl Actor for ExecutionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let keep = Arc::clone(&self.shared.links).keep(self.launcher.clone());
        context.spawn(keep.into_actor(self));
    }
}

impl Supervised for ExecutionActor {
    fn restarting(&mut self, _: &mut Context<Self>) {}
}

impl Handler<Run> for ExecutionActor {
    type Result = ResponseFuture<Result<RunReport, ExecutionError>>;

    fn handle(&mut self, run: Run, _: &mut Context<Self>) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Run { spec, owner, deadline, output, requester, caller_left } = run;
            let result = tokio::select! {
                result = requester.scope(shared.carry_out(spec, &owner, deadline, output)) => result,
                _ = caller_left => Err(ExecutionError::NotBegun),
            };
            match &result {
                Ok(report) => shared.counters.finished(report.status),
                Err(_) => shared.counters.failed(),
            }
            result
        })
    }
}

impl Shared {
    /// A place, a link, a run. Dropping the future gives the place back and kills the run.
    async fn carry_out(
        &self,
        mut spec: RunSpec,
        owner: &CallerId,
        deadline: Deadline,
        output: Option<OutputSink>,
    ) -> Result<RunReport, ExecutionError> {
        let _place = self.gate.enter(owner, deadline).await?;
        let link = self.links.alive(deadline).await?;
        let left = deadline.remaining().saturating_sub(HOMEWARD);
        if left < WALL_MIN {
            return Err(ExecutionError::NotBegun);
        }
        spec.limits.wall = spec.limits.wall.min(left);
        if faults::passes_with_error_later("cell.before_run").await {
            return Err(ExecutionError::NotBegun);
        }
        let run = link.run(spec, RunOptions { sink: output, ..RunOptions::default() });
        let ended = tokio::time::timeout_at(deadline.instant(), run).await;
        let lost = faults::passes_with_error_later("cell.after_run").await;
        match ended {
            Ok(result) if !lost => Ok(result?),
            _ => Err(ExecutionError::DeadlinePassed),
        }
    }
}

/// Makes the actor panic, to test its restart.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

#[cfg(test)]
impl Handler<Crash> for ExecutionActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}
