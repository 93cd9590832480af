//! The execution actor.
//!
//! Owns: the link to one launcher, the places in the cell.
//! Mailbox: every run that may wait or run (`cell.queue_max` + runs at once); full = `Overloaded`.
//! Dies when: a panic in its own code; runs in hand then end, and their callers are told so.
//! Restarted how: the old link closes with its runs, a new launcher is started; the queue survives.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::{Either, select};
use tokio::sync::{oneshot, watch};
use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec};
use ultimate_mcp_sandbox::{CellError, Link};

use super::error::ExecutionError;
use super::options::ExecutionOptions;
use super::{Shared, launcher_options};
use crate::deadline::Deadline;
use crate::ids::CallerId;

/// First delay before the next launcher; doubled at each failure in a row.
const RESPAWN_FIRST: Duration = Duration::from_millis(20);
/// Longest delay between launchers.
const RESPAWN_MAX: Duration = Duration::from_secs(5);
/// Kept of a caller's time to bring the report home: a run is killed this long before the deadline, so
/// that its caller reads what it printed instead of nothing.
const HOMEWARD: Duration = Duration::from_millis(100);
/// A run that could not last longer than this is not begun.
const WALL_MIN: Duration = Duration::from_millis(10);
/// A launcher that lived this long ends a row of failures.
const STABLE: Duration = Duration::from_secs(10);

/// Carry out one run.
#[derive(Message)]
#[rtype(result = "Result<RunReport, ExecutionError>")]
pub(super) struct Run {
    pub(super) spec: RunSpec,
    pub(super) owner: CallerId,
    pub(super) deadline: Deadline,
    /// Resolves when the caller stops waiting.
    pub(super) abandoned: oneshot::Receiver<()>,
}

/// Wait for the first launcher.
#[derive(Message)]
#[rtype(result = "Result<(), ExecutionError>")]
pub(super) struct Probe;

/// The launcher as everybody waits for it.
#[derive(Clone)]
enum Launcher {
    Starting,
    Up(Link),
    /// It could not be started; the next try is on its way.
    Failed(Arc<CellError>),
}

pub(super) struct ExecutionActor {
    options: ExecutionOptions,
    shared: Arc<Shared>,
    launcher: watch::Sender<Launcher>,
}

impl ExecutionActor {
    pub(super) fn new(options: ExecutionOptions, shared: Arc<Shared>) -> Self {
        Self { options, shared, launcher: watch::channel(Launcher::Starting).0 }
    }

    /// Keeps a launcher up for as long as the actor lives.
    fn keep_launcher(&self) -> impl Future<Output = ()> + 'static {
        let (options, shared) = (self.options.clone(), Arc::clone(&self.shared));
        let launcher = self.launcher.clone();
        async move {
            let mut delay = RESPAWN_FIRST;
            loop {
                let started = tokio::time::Instant::now();
                match Link::spawn(launcher_options(&options)).await {
                    Ok(link) => {
                        shared.counters.launcher_up(link.launcher_pid());
                        shared.capabilities.store(Some(link.capabilities()));
                        launcher.send_replace(Launcher::Up(link.clone()));
                        link.closed().await;
                        shared.counters.launcher_lost();
                        tracing::error!(pid = link.launcher_pid(), "the launcher was lost");
                        launcher.send_replace(Launcher::Starting);
                    }
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "no launcher");
                        launcher.send_replace(Launcher::Failed(Arc::new(error)));
                    }
                }
                delay = if started.elapsed() > STABLE { RESPAWN_FIRST } else { delay };
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(RESPAWN_MAX);
            }
        }
    }
}

/// The link, once there is one.
async fn link(
    mut launcher: watch::Receiver<Launcher>,
    deadline: Deadline,
) -> Result<Link, ExecutionError> {
    // One that has just died is not published as such yet: the next is on its way.
    let up = launcher.wait_for(|launcher| match launcher {
        Launcher::Starting => false,
        Launcher::Up(link) => !link.is_closed(),
        Launcher::Failed(_) => true,
    });
    match tokio::time::timeout_at(deadline.instant(), up).await {
        Ok(Ok(launcher)) => match &*launcher {
            Launcher::Up(link) => Ok(link.clone()),
            Launcher::Failed(error) => Err(ExecutionError::Cell(Arc::clone(error))),
            Launcher::Starting => Err(ExecutionError::LauncherStarting),
        },
        _ => Err(ExecutionError::LauncherStarting),
    }
}

impl Actor for ExecutionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(self.keep_launcher().into_actor(self));
    }
}

impl Supervised for ExecutionActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.options.clone(), Arc::clone(&self.shared));
    }
}

impl Handler<Probe> for ExecutionActor {
    type Result = ResponseFuture<Result<(), ExecutionError>>;

    fn handle(&mut self, _: Probe, _: &mut Context<Self>) -> Self::Result {
        let launcher = self.launcher.subscribe();
        Box::pin(
            async move { link(launcher, Deadline::after(super::FIRST_PROBE_MAX)).await.map(drop) },
        )
    }
}

impl Handler<Run> for ExecutionActor {
    type Result = ResponseFuture<Result<RunReport, ExecutionError>>;

    fn handle(&mut self, run: Run, _: &mut Context<Self>) -> Self::Result {
        let (shared, launcher) = (Arc::clone(&self.shared), self.launcher.subscribe());
        Box::pin(async move {
            let Run { spec, owner, deadline, abandoned } = run;
            let work = Box::pin(carry_out(&shared, launcher, spec, &owner, deadline));
            let result = match select(work, abandoned).await {
                Either::Left((report, _)) => report,
                // Nobody waits: dropping the work kills the tree and frees the place.
                Either::Right(_) => Err(ExecutionError::Expired),
            };
            match &result {
                Ok(report) => shared.counters.finished(report.status),
                Err(_) => shared.counters.failed(),
            }
            result
        })
    }
}

/// A place, a launcher, a run.
async fn carry_out(
    shared: &Shared,
    launcher: watch::Receiver<Launcher>,
    mut spec: RunSpec,
    owner: &CallerId,
    deadline: Deadline,
) -> Result<RunReport, ExecutionError> {
    let _slot = shared.slots.take(owner, deadline).await?;
    let link = link(launcher, deadline).await?;
    let left = deadline.remaining().saturating_sub(HOMEWARD);
    if left < WALL_MIN {
        return Err(ExecutionError::Expired);
    }
    spec.limits.wall = spec.limits.wall.min(left);
    let run = link.run(spec, RunOptions::default());
    match tokio::time::timeout_at(deadline.instant(), run).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ExecutionError::Outlasted),
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
