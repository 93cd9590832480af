//! `Supervisor`: starts children, keeps them by its policy, drains them. The handle.
//!
//! Called by: the engine when it builds the tree, the face for changes and the drain.
//! Refuses: names twice, policies out of range, children once it drains or failed.

use std::sync::Arc;

use actix::prelude::*;
use serde::Serialize;
use tokio::sync::watch;

use super::child::{ChildRef, ChildSpec};
use super::drain::DrainReport;
use super::error::{ReconfigureError, RestartError, SpawnError};
use super::messages::{AddChild, AddSupervisor, DrainAll, Reconfigure, RestartChild};
use super::node::{ChildState, Node};
use super::observer::Observer;
use super::options::PolicyOptions;
use super::policy::Restart;
use super::snapshot::TreeHandle;
use super::supervisor_actor::{Parent, SupervisorActor};
use crate::deadline::Deadline;

/// How a supervisor below another is started.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    /// Name in the tree: 1 to 64 of `a-z 0-9 - _`.
    pub name: String,
    /// Whether its parent restarts it after it gave up.
    pub restart: Restart,
    /// Whether the engine cannot serve without its subtree.
    pub critical: bool,
    /// How it treats its own children.
    pub policy: PolicyOptions,
}

impl SupervisorSpec {
    /// A permanent, critical supervisor.
    pub fn new(name: impl Into<String>, policy: PolicyOptions) -> Self {
        Self { name: name.into(), restart: Restart::Permanent, critical: true, policy }
    }
}

/// How a tree ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It was drained, as asked: exit zero.
    Drained(DrainReport),
    /// The root used up its restarts, failed closed and drained what was left: exit non-zero.
    Failed {
        /// The child that could not be kept up.
        child: Arc<str>,
        /// Its last failure.
        text: Arc<str>,
        /// What the drain of the others came to.
        report: DrainReport,
    },
}

/// Resolves when the tree has ended. Awaited by the server, which exits then.
#[derive(Clone)]
pub struct ExitSignal {
    pub(super) exit: watch::Receiver<Option<Exit>>,
}

impl ExitSignal {
    /// Waits for the end.
    pub async fn wait(mut self) -> Exit {
        let ended = self.exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        // Gone without a word: the supervisors' thread itself ended.
        ended.unwrap_or_else(|| Exit::Failed {
            child: "supervisor".into(),
            text: "the supervisors' thread ended".into(),
            report: DrainReport::default(),
        })
    }
}

/// A supervisor. Cheap to clone; every clone speaks to the same one.
#[derive(Clone)]
pub struct Supervisor {
    pub(super) address: Addr<SupervisorActor>,
    pub(super) node: Arc<Node>,
}

impl Supervisor {
    /// Starts the root of a tree on a thread of its own, where no child ever runs.
    /// Must be called inside an actix system.
    ///
    /// # Errors
    /// A name or policy that cannot be, or no thread.
    pub fn root(
        name: &str,
        policy: PolicyOptions,
        observer: Observer,
    ) -> Result<(Self, ExitSignal), SpawnError> {
        let thread = Arbiter::try_new().map_err(SpawnError::Thread)?.handle();
        Self::root_on(&thread, name, policy, observer)
    }

    /// The same on a thread that is already there. A child placed on it too can block it, and then
    /// nobody notices: meant for tests.
    ///
    /// # Errors
    /// A name or policy that cannot be.
    pub fn root_on(
        thread: &ArbiterHandle,
        name: &str,
        policy: PolicyOptions,
        observer: Observer,
    ) -> Result<(Self, ExitSignal), SpawnError> {
        let name = check_name(name)?;
        check_policy(&policy)?;
        let node = Node::supervisor(name, true, policy);
        let (exit, signal) = watch::channel(None);
        let actor_node = Arc::clone(&node);
        let address = SupervisorActor::start_in_arbiter(thread, move |_| {
            SupervisorActor::new(actor_node, policy, Parent::Exit(exit), observer)
        });
        Ok((Self { address, node }, ExitSignal { exit: signal }))
    }

    /// Starts a child after those already there. Returns when its thread has been told; messages sent
    /// from then on queue until it is up.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn spawn<A>(&self, spec: ChildSpec<A>) -> Result<ChildRef<A>, SpawnError>
    where
        A: Actor<Context = Context<A>> + Supervised,
    {
        self.address.send(AddChild(spec)).await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Starts a supervisor below this one.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn supervisor(&self, spec: SupervisorSpec) -> Result<Supervisor, SpawnError> {
        self.address.send(AddSupervisor(spec)).await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Replaces the policy at once, for the next child that goes down.
    ///
    /// # Errors
    /// A policy out of range changes nothing.
    pub async fn reconfigure(&self, policy: PolicyOptions) -> Result<(), ReconfigureError> {
        let gone = |_| Err(ReconfigureError::Unavailable(self.node.state()));
        self.address.send(Reconfigure(policy)).await.unwrap_or_else(gone)
    }

    /// Restarts one child now, by an operator's hand: its queue stays, what it has in hand is lost to
    /// its callers as in a crash, and no restart of its policy is used up. A child that waits out a
    /// backoff comes up at once. `path` names the child from here on, one name per level; a supervisor
    /// restarts with everything below it. Returns when the order was given.
    ///
    /// # Errors
    /// See [`RestartError`].
    pub async fn restart(&self, path: Vec<String>) -> Result<(), RestartError> {
        let gone = |_| Err(RestartError::Unavailable(ChildState::Failed));
        self.address.send(RestartChild(path)).await.unwrap_or_else(gone)
    }

    /// Closes admission in the whole tree at once, lets every child answer what it accepted, last
    /// started first, and ends it. Says what was lost.
    pub async fn drain(&self, deadline: Deadline) -> DrainReport {
        self.node.begin_drain();
        self.address.send(DrainAll(deadline.instant())).await.unwrap_or_default()
    }

    /// Reads this supervisor's part of the tree.
    pub fn tree(&self) -> TreeHandle {
        TreeHandle { node: Arc::clone(&self.node) }
    }

    fn gone(&self) -> SpawnError {
        SpawnError::Unavailable(ChildState::Failed)
    }
}

/// Parses a name for the tree.
pub(super) fn check_name(name: &str) -> Result<Arc<str>, SpawnError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(name.into());
    }
    Err(SpawnError::InvalidName(name.chars().take(64).collect()))
}

pub(super) fn check_policy(policy: &PolicyOptions) -> Result<(), SpawnError> {
    match policy.mistakes() {
        mistakes if mistakes.is_empty() => Ok(()),
        mistakes => Err(SpawnError::InvalidPolicy(mistakes)),
    }
}
