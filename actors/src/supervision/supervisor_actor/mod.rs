//! The supervisor's actor: carries out what the policy decides.
//!
//! - owns: its policy, its children's controls in start order
//! - mailbox: reports and few requests; unbounded, at most one open report per child
//! - dies when: never by itself; with its thread, and then every cell fails closed
//! - restarted how: a nested one by its parent, which restarts or ends the whole subtree

mod handlers;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use chrono::Utc;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::supervision::cell::{Report, Reporter};
use crate::supervision::control::Control;
use crate::supervision::drain::drain;
use crate::supervision::error::{RestartError, SpawnError};
use crate::supervision::messages::ChildDown;
use crate::supervision::node::{Body, ChildState, Failure, Node, lock};
use crate::supervision::observer::{Event, EventKind, Observer, tell};
use crate::supervision::options::PolicyOptions;
use crate::supervision::policy::{Action, ChildId, Down, Policy, Restart};
use crate::supervision::supervisor::{Exit, check_name};

/// Most children of one supervisor; a tree is looked at by people.
const CHILDREN_MAX: usize = 1024;
/// Time the other children get when the root fails.
const FAILURE_DRAIN: Duration = Duration::from_secs(5);

/// Whom a supervisor tells that it gave up.
pub(in crate::supervision) enum Parent {
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

pub(in crate::supervision) struct SupervisorActor {
    node: Arc<Node>,
    policy: Policy,
    children: Vec<Child>,
    next_id: u64,
    parent: Parent,
    observer: Observer,
    last_look: std::time::Instant,
}

impl SupervisorActor {
    pub(in crate::supervision) fn new(
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
        Ok((name, ChildId::from(self.next_id)))
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
        // Whole milliseconds, so that what is told is what is waited for.
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        control.restart(Duration::from_millis(delay_ms));
        tracing::warn!(child = %name, delay_ms, "supervision.restarting");
        self.tell(&name, EventKind::Restarting { delay_ms }, "");
    }

    /// An operator's restart: at once, and no restart of the policy is used up.
    fn restart_by_hand(&mut self, id: ChildId) -> Result<(), RestartError> {
        let own = self.node.state();
        if self.node.is_draining() {
            return Err(RestartError::Unavailable(ChildState::Draining));
        }
        if own.is_final() || own == ChildState::Suspended {
            return Err(RestartError::Unavailable(own));
        }
        let child = self.child(id).map(|child| Arc::clone(child.control.node()));
        if let Some(child) = child.filter(|child| child.state().is_final()) {
            let (state, child) = (child.state(), Arc::clone(&child.name));
            return Err(RestartError::Ended { child, state });
        }
        self.restart(id, Duration::ZERO);
        Ok(())
    }

    fn unknown(&self, name: &str) -> RestartError {
        RestartError::Unknown {
            supervisor: Arc::clone(&self.node.name),
            name: name.chars().take(64).collect(),
            known: self.children.iter().map(|c| c.control.node().name.to_string()).collect(),
        }
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
}
