//! The actor that keeps sandboxes between calls.
//!
//! Owns: every open sandbox, each with its pipes, and the memory of those that ended.
//! Mailbox: `sandboxes.mailbox` messages (256); when full, callers hear `Overloaded` at once.
//! Dies when: a handler panics.
//! Restarted: by its supervisor, empty: its sandboxes are killed and read as never having been.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, Supervised};
use tokio::sync::oneshot;
use ultimate_mcp_sandbox::client::files::Listing;
use ultimate_mcp_sandbox::client::{STEP_GRACE, Step};
use ultimate_mcp_sandbox::spec::{InputFile, Language, Limits};
use ultimate_mcp_sandbox::step::{End, StepReport};

use super::census::Census;
use super::error::SandboxesError;
use super::options::SandboxesOptions;
use super::stats::Counters;
use super::table::{Sandbox, Table};
use super::{Closed, SandboxInfo};
use crate::deadline::Deadline;
use crate::execution::{ExecutionError, ExecutionHandle};
use crate::ids::{CallerId, ExecutionId};
use crate::node::{Handle, NodeId};

/// Kept of a caller's time to bring a report home, beside the grace of a step that is interrupted.
const HOMEWARD: Duration = Duration::from_millis(200);
/// A step that may not take longer than this is not begun.
const WALL_MIN: Duration = Duration::from_millis(10);
/// Placing files takes milliseconds; an interpreter that takes longer is interrupted.
const WRITE_WALL: Duration = Duration::from_secs(10);

/// What the handle and every incarnation of the actor share.
pub(super) struct Shared {
    pub(super) options: SandboxesOptions,
    pub(super) node: NodeId,
    pub(super) execution: ExecutionHandle,
    pub(super) census: Arc<Census>,
    pub(super) counters: Counters,
    table: Mutex<Table>,
}

pub(super) struct SandboxesActor {
    shared: Arc<Shared>,
}

/// What is asked of one sandbox of the caller.
pub(super) enum Work {
    Step { code: String, wall: Duration },
    Write { files: Vec<InputFile> },
    Read { path: String, bytes_max: u64 },
    ListFiles { path: String },
    Close,
}

/// What came of it.
pub(super) enum Done {
    Stepped(Box<StepReport>),
    Written,
    Read(Vec<u8>),
    Listed(Listing),
    Closed(Closed),
}

#[derive(Message)]
#[rtype(result = "Result<SandboxInfo, SandboxesError>")]
pub(super) struct Create {
    pub(super) owner: CallerId,
    pub(super) language: Language,
    pub(super) limits: Limits,
    pub(super) deadline: Deadline,
    pub(super) caller_left: oneshot::Receiver<()>,
}

/// When `caller_left` resolves nobody waits any more: a step in hand is interrupted.
#[derive(Message)]
#[rtype(result = "Result<Done, SandboxesError>")]
pub(super) struct Use {
    pub(super) owner: CallerId,
    pub(super) handle: Handle,
    pub(super) work: Work,
    pub(super) deadline: Deadline,
    pub(super) caller_left: oneshot::Receiver<()>,
}

#[derive(Message)]
#[rtype(result = "Vec<SandboxInfo>")]
pub(super) struct List {
    pub(super) owner: CallerId,
}

impl SandboxesActor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Actor for SandboxesActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let period = Duration::from_secs(self.shared.options.sweep_period_seconds.max(1));
        context.run_interval(period, |actor, _| actor.shared.sweep());
    }
}

impl Supervised for SandboxesActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.shared.table().clear();
    }
}

impl Handler<Create> for SandboxesActor {
    type Result = ResponseFuture<Result<SandboxInfo, SandboxesError>>;

    fn handle(&mut self, create: Create, _: &mut Context<Self>) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Create { owner, language, limits, deadline, caller_left } = create;
            tokio::select! {
                made = shared.create(&owner, language, limits, deadline) => made,
                _ = caller_left => Err(ExecutionError::NotBegun.into()),
            }
        })
    }
}

impl Handler<Use> for SandboxesActor {
    type Result = ResponseFuture<Result<Done, SandboxesError>>;

    fn handle(&mut self, asked: Use, _: &mut Context<Self>) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Use { owner, handle, work, deadline, mut caller_left } = asked;
            let sandbox = shared.table().find(&handle, &owner)?;
            let _in_use = sandbox.use_it();
            match work {
                Work::Read { path, bytes_max } => {
                    Ok(Done::Read(sandbox.session.read_file(path, bytes_max).await?))
                }
                Work::ListFiles { path } => {
                    Ok(Done::Listed(sandbox.session.list_files(path).await?))
                }
                Work::Close => Ok(Done::Closed(shared.close(&sandbox).await)),
                Work::Step { .. } | Work::Write { .. } => {
                    shared.take_turn(sandbox, work, deadline, &mut caller_left).await
                }
            }
        })
    }
}

impl Handler<List> for SandboxesActor {
    type Result = Vec<SandboxInfo>;

    fn handle(&mut self, list: List, _: &mut Context<Self>) -> Self::Result {
        self.shared.table().of(&list.owner).iter().map(|sandbox| SandboxInfo::of(sandbox)).collect()
    }
}

impl Shared {
    pub(super) fn new(
        options: SandboxesOptions,
        node: NodeId,
        execution: ExecutionHandle,
    ) -> Arc<Self> {
        let census = Census::new(options.clone());
        let (counters, table) = (Counters::default(), Mutex::default());
        Arc::new(Self { options, node, execution, census, counters, table })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let ends = self.table().sweep(self.options.idle());
        self.counters.ended(&ends);
    }

    /// Room, a place, an interpreter. Dropping the future gives back what was taken.
    async fn create(
        &self,
        owner: &CallerId,
        language: Language,
        limits: Limits,
        deadline: Deadline,
    ) -> Result<SandboxInfo, SandboxesError> {
        let spec = language.sandbox_spec(ExecutionId::new().to_string(), limits);
        let spec = spec.map_err(|error| SandboxesError::Unsupported(error.to_string().into()))?;
        let spec = spec.ok_or_else(|| {
            let why = format!("sandboxes speak python; for {} use execute_code", language.name());
            SandboxesError::Unsupported(why.into())
        })?;
        // What ended a moment ago must not keep anybody out.
        self.sweep();
        let share = self.census.take(owner, limits.memory_bytes)?;
        let _place = self.execution.place(owner, deadline).await?;
        let link = self.execution.link(deadline).await?;
        let opened = link.open(spec, self.options.rest_milli());
        let session = match tokio::time::timeout_at(deadline.instant(), opened).await {
            Ok(opened) => opened?,
            Err(_) => return Err(ExecutionError::NotBegun.into()),
        };
        let id = uuid::Uuid::now_v7();
        let handle = Handle { kind: super::KIND, node: self.node.clone(), id };
        let sandbox = Sandbox::new(handle, owner.clone(), language, limits, session, share);
        let info = SandboxInfo::of(&sandbox);
        self.table().insert(sandbox);
        self.counters.created();
        Ok(info)
    }

    /// Waits for the turn and for a place, then works. From then on the work goes on without its caller:
    /// an answer that nobody reads would be the next one's. A step is interrupted instead.
    async fn take_turn(
        &self,
        sandbox: Arc<Sandbox>,
        work: Work,
        deadline: Deadline,
        caller_left: &mut oneshot::Receiver<()>,
    ) -> Result<Done, SandboxesError> {
        let patience = self.options.turn_wait().min(deadline.remaining());
        let entered = async {
            let turn = sandbox.turn(patience).await?;
            let place = self.execution.place(&sandbox.owner, deadline).await?;
            Ok::<_, SandboxesError>((turn, place))
        };
        let held = tokio::select! {
            held = entered => held?,
            _ = &mut *caller_left => return Err(ExecutionError::NotBegun.into()),
        };
        let left = deadline.remaining().saturating_sub(STEP_GRACE + HOMEWARD);
        if left < WALL_MIN {
            return Err(ExecutionError::NotBegun.into());
        }
        let (worker, in_use) = (Arc::clone(&sandbox), sandbox.use_it());
        let mut at_work = actix::spawn(async move {
            let done = work_in(&worker, work, left).await;
            drop((held, in_use));
            done
        });
        let done = tokio::select! {
            done = &mut at_work => done,
            _ = caller_left => {
                sandbox.session.interrupt();
                at_work.await
            }
        };
        let done = done.map_err(|error| ExecutionError::Internal(error.to_string().into()))?;
        if matches!(done, Ok(Done::Stepped(_))) {
            self.counters.stepped();
        }
        if sandbox.session.end().is_some() {
            self.sweep();
        }
        done
    }

    async fn close(&self, sandbox: &Sandbox) -> Closed {
        let (end, (artifacts, artifact_notes)) = sandbox.session.close(End::Closed).await;
        self.sweep();
        Closed { end, artifacts, artifact_notes, steps: sandbox.steps.load(Ordering::Relaxed) }
    }
}

async fn work_in(sandbox: &Sandbox, work: Work, left: Duration) -> Result<Done, SandboxesError> {
    match work {
        Work::Step { code, wall } => {
            let (wall, output_bytes) = (wall.min(left), sandbox.limits.output_bytes);
            sandbox.steps.fetch_add(1, Ordering::Relaxed);
            let report = sandbox.session.step(&Step { code, wall, output_bytes }).await;
            report.map(|report| Done::Stepped(Box::new(report))).map_err(SandboxesError::Ended)
        }
        Work::Write { files } => {
            sandbox.session.write_files(&files, WRITE_WALL.min(left)).await?;
            Ok(Done::Written)
        }
        // These need no turn and never come here.
        Work::Read { .. } | Work::ListFiles { .. } | Work::Close => Err(SandboxesError::Busy),
    }
}

/// Makes the actor panic, to test its restart.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

#[cfg(test)]
impl Handler<Crash> for SandboxesActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}
