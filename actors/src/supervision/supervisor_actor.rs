//! The supervisor's actor: carries out what the policy decides.
//!
//! - owns: its policy, its children's controls in start order
//! - mailbox: reports and few requests; unbounded, at most one open report per child
//! - dies when: never by itself; with its thread, and then every cell fails closed
//! - restarted how: a nested one by its parent, which restarts or ends the whole subtree

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use chrono::Utc;
use tokio::sync::watch;
use tokio::time::Instant;

use super::cell::{Core, Report, Reporter};
use super::child::ChildRef;
use super::control::{ActorChild, Control, Stall};
use super::drain::{DrainReport, drain};
use super::error::{ReconfigureError, SpawnError};
use super::gate::Gate;
use super::inbox;
use super::messages::{AddChild, AddSupervisor, ChildDown, DrainAll, Reconfigure, Subtree};
use super::nested::NestedSupervisor;
use super::node::{Body, ChildState, Failure, Node, lock};
use super::observer::{Event, EventKind, Observer, tell};
use super::options::PolicyOptions;
use super::policy::{Action, ChildId, Down, Policy, Restart};
use super::supervisor::{Exit, Supervisor, check_name, check_policy};

/// Most children of one supervisor; a tree is looked at by people.
const CHILDREN_MAX: usize = 1024;
/// Most places in one mailbox.
const MAILBOX_MAX: usize = 1_000_000;
/// Time the other children get when the root fails.
const FAILURE_DRAIN: Duration = Duration::from_secs(5);
/// The watchdog looks this many times per `stall_after`, but not more often than `LOOK_EVERY_MIN`.
const LOOKS_PER_STALL: u32 = 4;
const LOOK_EVERY_MIN: Duration = Duration::from_millis(25);

/// Whom a supervisor tells that it gave up.
pub(super) enum Parent {
    /// Nobody: it is the root, and the process ends.
    Exit(watch::Sender<Option<Exit>>),
    Supervisor(Reporter),
}

struct Child {
    id: ChildId,
    control: Arc<dyn Control>,
    restart: Restart,
    /// The generation in which a restart was last ordered: a report of that generation is already
    /// answered.
    ordered: Option<u32>,
}

pub(super) struct SupervisorActor {
    node: Arc<Node>,
    policy: Policy,
    children: Vec<Child>,
    next_id: u64,
    parent: Parent,
    observer: Observer,
    last_look: std::time::Instant,
}

impl SupervisorActor {
    pub(super) fn new(
        node: Arc<Node>,
        policy: PolicyOptions,
        parent: Parent,
        observer: Observer,
    ) -> Self {
        Self {
            node,
            policy: Policy::new(policy),
            children: Vec::new(),
            next_id: 0,
            parent,
            observer,
            last_look: std::time::Instant::now(),
        }
    }

    fn child(&mut self, id: ChildId) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// Whether a child of that name may start now.
    fn admit(&mut self, name: &str) -> Result<(Arc<str>, ChildId), SpawnError> {
        let name = check_name(name)?;
        let state = self.node.state();
        if self.node.is_draining() {
            return Err(SpawnError::Unavailable(ChildState::Draining));
        }
        if state.is_final() || state == ChildState::Suspended {
            return Err(SpawnError::Unavailable(state));
        }
        if let Some(namesake) = self.children.iter().find(|child| child.control.node().name == name)
        {
            if !namesake.control.node().state().is_final() {
                return Err(SpawnError::NameTaken(name));
            }
            self.forget(namesake.id);
        }
        if self.children.len() >= CHILDREN_MAX {
            return Err(SpawnError::TooMany(CHILDREN_MAX));
        }
        self.next_id += 1;
        Ok((name, ChildId(self.next_id)))
    }

    fn add(&mut self, id: ChildId, restart: Restart, control: Arc<dyn Control>) {
        self.policy.add(id, restart, control.node().critical);
        if let Body::Supervisor { children, .. } = &self.node.body {
            lock(children).push(Arc::clone(control.node()));
        }
        self.children.push(Child { id, control, restart, ordered: None });
    }

    /// Takes a child out of the tree.
    fn forget(&mut self, id: ChildId) {
        self.policy.remove(id);
        let Some(position) = self.children.iter().position(|child| child.id == id) else { return };
        let gone = self.children.remove(position);
        if let Body::Supervisor { children, .. } = &self.node.body {
            lock(children).retain(|node| !Arc::ptr_eq(node, gone.control.node()));
        }
    }

    fn reporter(address: Addr<Self>, id: ChildId) -> Reporter {
        Arc::new(move |report| address.do_send(ChildDown { id, report }))
    }

    fn tell(&self, name: &Arc<str>, kind: EventKind, text: &str) {
        let (name, text) = (Arc::clone(name), text.into());
        tell(&self.observer, &Event { name, kind, text, at: Utc::now() });
    }

    fn on_report(&mut self, id: ChildId, report: &Report, context: &mut Context<Self>) {
        let Some(child) = self.child(id) else { return };
        if report.stay != child.control.stay() {
            // From a cell that has been replaced since.
            return;
        }
        let answered = child.ordered == Some(report.generation);
        let name = Arc::clone(&child.control.node().name);
        let kind = match report.down {
            Down::Stopped => EventKind::Stopped,
            Down::Panicked => EventKind::Crashed,
            Down::Stalled => EventKind::Stalled,
            Down::Vanished => EventKind::Vanished,
            Down::Escalated => EventKind::Escalated,
        };
        let text = report.failure.as_ref().map_or("it stopped by itself", |failure| &failure.text);
        self.tell(&name, kind, text);
        if report.settled || answered || self.node.state() == ChildState::Suspended {
            return;
        }
        self.decide(id, report.down, context);
    }

    fn decide(&mut self, id: ChildId, down: Down, context: &mut Context<Self>) {
        if down == Down::Vanished
            && let Some(child) = self.child(id)
        {
            child.control.disown();
        }
        // tokio's clock, so that paused tests decide in their own time.
        for action in self.policy.on_down(id, down, Instant::now().into_std()) {
            match action {
                Action::Restart { id, delay } => self.restart(id, delay),
                Action::Stop { id } => self.stop(id, down),
                Action::GiveUp { id } => self.give_up(id),
                Action::Escalate if self.node.is_draining() => self.give_up(id),
                Action::Escalate => self.escalate(id, context),
            }
        }
    }

    fn restart(&mut self, id: ChildId, delay: Duration) {
        let Some(child) = self.child(id) else { return };
        if child.control.node().state().is_final() {
            return;
        }
        child.ordered = Some(child.control.node().generation());
        let control = Arc::clone(&child.control);
        let name = Arc::clone(&control.node().name);
        control.restart(delay);
        tracing::warn!(child = %name, delay_ms = delay.as_millis(), "supervision.restarting");
        self.tell(&name, EventKind::Restarting { delay }, "");
    }

    fn stop(&mut self, id: ChildId, down: Down) {
        let Some(child) = self.child(id) else { return };
        let state = match down {
            Down::Stopped => ChildState::Stopped,
            _ => ChildState::Failed,
        };
        child.control.end(state);
        self.policy.remove(id);
        if self.child(id).is_some_and(|child| child.restart == Restart::Temporary) {
            self.forget(id);
        }
    }

    fn give_up(&mut self, id: ChildId) {
        let Some(child) = self.child(id) else { return };
        child.control.end(ChildState::Failed);
        let name = Arc::clone(&child.control.node().name);
        tracing::error!(child = %name, "supervision.given_up");
        self.tell(&name, EventKind::GivenUp, "it used up its restarts");
        self.policy.remove(id);
    }

    fn escalate(&mut self, id: ChildId, context: &mut Context<Self>) {
        let Some(child) = self.child(id) else { return };
        let culprit = Arc::clone(child.control.node());
        let failure = culprit.last_failure();
        let last = failure.as_ref().map_or("it stopped by itself", |failure| &failure.text);
        let text = format!("{} used up the restarts; last: {last}", culprit.name);
        tracing::error!(supervisor = %self.node.name, child = %culprit.name, "supervision.escalated");
        let failure = self.node.note_failure(&text);
        match &self.parent {
            Parent::Supervisor(report) => {
                self.node.set_state(ChildState::Suspended);
                // Last started first, as in a drain.
                self.children.iter().rev().for_each(|child| child.control.suspend());
                report(Report {
                    stay: 0,
                    generation: self.node.generation(),
                    down: Down::Escalated,
                    failure: Some(failure),
                    settled: false,
                });
            }
            Parent::Exit(_) => {
                self.tell(&Arc::clone(&self.node.name), EventKind::Escalated, &text);
                self.fail(id, culprit.name.clone(), failure, context);
            }
        }
    }

    /// The root fails closed: nothing enters, what was accepted is answered if it can be, then the
    /// exit is signalled.
    fn fail(
        &mut self,
        id: ChildId,
        child: Arc<str>,
        failure: Failure,
        context: &mut Context<Self>,
    ) {
        self.node.begin_drain();
        if let Some(culprit) = self.child(id) {
            culprit.control.end(ChildState::Failed);
        }
        let until = Instant::now() + FAILURE_DRAIN;
        let failing = drain(self.controls(), until).into_actor(self).map(|report, actor, _| {
            actor.end(ChildState::Failed, Exit::Failed { child, text: failure.text, report });
        });
        context.spawn(failing);
    }

    fn end(&mut self, state: ChildState, exit: Exit) {
        self.node.set_state(state);
        if let Parent::Exit(signal) = &self.parent {
            // The first end counts.
            signal.send_if_modified(|known| {
                let first = known.is_none();
                known.get_or_insert(exit);
                first
            });
        }
    }

    fn controls(&self) -> Vec<Arc<dyn Control>> {
        self.children.iter().map(|child| Arc::clone(&child.control)).collect()
    }

    fn watch(&mut self, context: &mut Context<Self>) {
        let stall_after = self.policy.options().stall_after();
        let every = (stall_after / LOOKS_PER_STALL).max(LOOK_EVERY_MIN);
        context.run_later(every, Self::watch);
        // Late ourselves: the whole process was stopped. Give the children a round to move again.
        let late = self.last_look.elapsed() > every * 2;
        self.last_look = std::time::Instant::now();
        if late {
            return;
        }
        for child in self.controls_with_ids() {
            if let Some(stall) = child.1.look(stall_after) {
                self.on_stall(child.0, &child.1, stall, context);
            }
        }
    }

    fn controls_with_ids(&self) -> Vec<(ChildId, Arc<dyn Control>)> {
        self.children.iter().map(|child| (child.id, Arc::clone(&child.control))).collect()
    }

    fn on_stall(
        &mut self,
        id: ChildId,
        control: &Arc<dyn Control>,
        stall: Stall,
        context: &mut Context<Self>,
    ) {
        let node = control.node();
        let text = match stall {
            Stall::Blocking => "a handler blocks its thread",
            Stall::Starved => "its thread is blocked by another child",
        };
        tracing::error!(child = %node.name, "supervision.stalled: {text}");
        node.note_failure(text);
        self.tell(&node.name, EventKind::Stalled, text);
        control.disown();
        if node.state() == ChildState::Draining {
            control.end(ChildState::Failed);
        } else if stall == Stall::Starved {
            // Not its fault: it moves at once and no restart is counted against it.
            self.restart(id, Duration::ZERO);
        } else {
            self.decide(id, Down::Stalled, context);
        }
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.node.set_state(ChildState::Running);
        self.watch(context);
    }
}

impl Handler<ChildDown> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, message: ChildDown, context: &mut Context<Self>) {
        self.on_report(message.id, &message.report, context);
    }
}

impl<A: Actor<Context = Context<A>> + Supervised> Handler<AddChild<A>> for SupervisorActor {
    type Result = MessageResult<AddChild<A>>;

    fn handle(&mut self, message: AddChild<A>, context: &mut Context<Self>) -> Self::Result {
        let spec = message.0;
        MessageResult((|| {
            if !(1..=MAILBOX_MAX).contains(&spec.mailbox) {
                return Err(SpawnError::InvalidMailbox(spec.mailbox));
            }
            let (name, id) = self.admit(&spec.name)?;
            let gate = Gate::new(spec.mailbox);
            let (sender, inbox) = inbox::channel();
            let core = Arc::new(Core {
                node: Node::actor(name, spec.critical, Arc::clone(&gate)),
                gate,
                inbox: Arc::new(inbox),
                factory: spec.factory,
                report: Self::reporter(context.address(), id),
            });
            let control =
                ActorChild::start(Arc::clone(&core), spec.placement).map_err(SpawnError::Thread)?;
            self.add(id, spec.restart, control);
            Ok(ChildRef { core, sender, through_drain: false })
        })())
    }
}

impl Handler<AddSupervisor> for SupervisorActor {
    type Result = Result<Supervisor, SpawnError>;

    fn handle(&mut self, message: AddSupervisor, context: &mut Context<Self>) -> Self::Result {
        let spec = message.0;
        check_policy(&spec.policy)?;
        let (name, id) = self.admit(&spec.name)?;
        let node = Node::supervisor(name, spec.critical, spec.policy);
        let parent = Parent::Supervisor(Self::reporter(context.address(), id));
        let observer = Arc::clone(&self.observer);
        let actor = SupervisorActor::new(Arc::clone(&node), spec.policy, parent, observer);
        let supervisor = Supervisor { address: actor.start(), node };
        self.add(id, spec.restart, Arc::new(NestedSupervisor(supervisor.clone())));
        Ok(supervisor)
    }
}

impl Handler<Reconfigure> for SupervisorActor {
    type Result = Result<(), ReconfigureError>;

    fn handle(&mut self, message: Reconfigure, _: &mut Context<Self>) -> Self::Result {
        let mistakes = message.0.mistakes();
        if !mistakes.is_empty() {
            return Err(ReconfigureError::Invalid(mistakes));
        }
        self.policy.reconfigure(message.0);
        if let Body::Supervisor { policy, .. } = &self.node.body {
            *lock::<PolicyOptions>(policy as &Mutex<PolicyOptions>) = message.0;
        }
        tracing::info!(supervisor = %self.node.name, "supervision.reconfigured");
        self.tell(&Arc::clone(&self.node.name), EventKind::Reconfigured, "");
        Ok(())
    }
}

impl Handler<DrainAll> for SupervisorActor {
    type Result = ResponseActFuture<Self, DrainReport>;

    fn handle(&mut self, message: DrainAll, _: &mut Context<Self>) -> Self::Result {
        self.node.begin_drain();
        self.node.set_state(ChildState::Draining);
        let draining = drain(self.controls(), message.0).into_actor(self);
        Box::pin(draining.map(|report, actor, _| {
            actor.end(ChildState::Stopped, Exit::Drained(report.clone()));
            report
        }))
    }
}

impl Handler<Subtree> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, decision: Subtree, _: &mut Context<Self>) {
        match decision {
            Subtree::Restart(delay) => {
                self.node.count_restart();
                self.policy.forget();
                // Set first: a child that goes down again is this supervisor's own affair.
                self.node.set_state(ChildState::Running);
                let ids: Vec<_> = self.children.iter().map(|child| child.id).collect();
                ids.into_iter().for_each(|id| self.restart(id, delay));
            }
            Subtree::Suspend => {
                self.node.set_state(ChildState::Suspended);
                self.children.iter().rev().for_each(|child| child.control.suspend());
            }
            Subtree::End(state) => {
                self.node.begin_drain();
                self.children.iter().rev().for_each(|child| child.control.end(state));
                self.node.set_state(state);
            }
        }
    }
}
