//! What the supervisor's actor does with each message.

use std::sync::Arc;

use actix::prelude::*;

use super::{Parent, SupervisorActor};
use crate::supervision::cell::Core;
use crate::supervision::child::ChildRef;
use crate::supervision::control::ActorChild;
use crate::supervision::drain::{DrainReport, drain};
use crate::supervision::error::{ReconfigureError, RestartError, SpawnError};
use crate::supervision::gate::Gate;
use crate::supervision::inbox;
use crate::supervision::messages::{
    AddChild, AddSupervisor, ChildDown, DrainAll, Reconfigure, RestartChild, Subtree,
};
use crate::supervision::nested::NestedSupervisor;
use crate::supervision::node::{Body, ChildState, Node, lock};
use crate::supervision::observer::EventKind;
use crate::supervision::supervisor::{Exit, Supervisor, check_policy};

/// Most places in one mailbox.
const MAILBOX_MAX: usize = 1_000_000;

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
            *lock(policy) = message.0;
        }
        tracing::info!(supervisor = %self.node.name, "supervision.reconfigured");
        self.tell(&Arc::clone(&self.node.name), EventKind::Reconfigured, "");
        Ok(())
    }
}

impl Handler<RestartChild> for SupervisorActor {
    type Result = ResponseFuture<Result<(), RestartError>>;

    fn handle(&mut self, message: RestartChild, _: &mut Context<Self>) -> Self::Result {
        let mut path = message.0.into_iter();
        let first = path.next().unwrap_or_default();
        let below: Vec<String> = path.collect();
        let found = self.children.iter().find(|child| *child.control.node().name == *first);
        let Some(found) = found else {
            return Box::pin(std::future::ready(Err(self.unknown(&first))));
        };
        if below.is_empty() {
            let id = found.id;
            return Box::pin(std::future::ready(self.restart_by_hand(id)));
        }
        let Some(supervisor) = found.control.supervisor() else {
            let supervisor = Arc::clone(&found.control.node().name);
            let (name, known) = (below[0].clone(), Vec::new());
            let none = RestartError::Unknown { supervisor, name, known };
            return Box::pin(std::future::ready(Err(none)));
        };
        Box::pin(async move { supervisor.restart(below).await })
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
