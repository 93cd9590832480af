//! The inbox: a child's queue of letters. It outlives the actor, its context and its thread.
//!
//! Owns: the receiving end, and which stay may take from it. Called by: the pump (taking), the
//! supervisor (handing it to a new stay), the cell (emptying it at the end).
//! Refuses: a stay that was replaced, everything once closed.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, ready};

use actix::prelude::*;
use tokio::sync::mpsc;

use super::hand::Loss;
use super::letter::Post;
use super::node::{ChildState, Node, lock};
use super::stay::Stay;

pub(super) type Sender<A> = mpsc::UnboundedSender<Arc<dyn Post<A>>>;

/// A queue without a bound of its own: the gate lets in only as many letters as there are places.
pub(super) fn channel<A: Actor>() -> (Sender<A>, Inbox<A>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Inbox { receiving: Mutex::new(Receiving { receiver, owner: 0 }) })
}

pub(super) struct Inbox<A: Actor> {
    receiving: Mutex<Receiving<A>>,
}

struct Receiving<A: Actor> {
    receiver: mpsc::UnboundedReceiver<Arc<dyn Post<A>>>,
    owner: u64,
}

impl<A: Actor> Inbox<A> {
    /// From now on only the stay of this number takes letters.
    pub(super) fn give_to(&self, stay: u64) {
        lock(&self.receiving).owner = stay;
    }

    /// Takes no more letters and loses those that wait: their callers hear that nothing was done and
    /// in which state the child ended.
    pub(super) fn close(&self, state: ChildState) {
        let mut waiting = Vec::new();
        {
            let mut receiving = lock(&self.receiving);
            receiving.receiver.close();
            while let Ok(letter) = receiving.receiver.try_recv() {
                waiting.push(letter);
            }
        }
        waiting.iter().for_each(|letter| letter.lose(Loss::Ended(state)));
    }

    fn poll_next(
        &self,
        stay: u64,
        task: &mut std::task::Context<'_>,
    ) -> Poll<Option<Arc<dyn Post<A>>>> {
        let mut receiving = lock(&self.receiving);
        if receiving.owner == stay { receiving.receiver.poll_recv(task) } else { Poll::Pending }
    }
}

/// Carries letters from the inbox to the actor, as a future of the actor's own context: it pauses
/// while the actor waits (`ctx.wait`, `AtomicResponse`) and ends with the context.
/// tokio's cooperative budget of `poll_recv` bounds how many letters pass before other tasks of the
/// thread have a turn.
pub(super) struct Pump<A: Actor> {
    pub(super) node: Arc<Node>,
    pub(super) inbox: Arc<Inbox<A>>,
    pub(super) stay: Arc<Stay>,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        context: &mut Context<A>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        // First polled after `started` and what it waits for: from here on the child handles messages.
        match self.node.state() {
            ChildState::Starting => self.node.set_state(ChildState::Running),
            ChildState::Restarting => {
                self.node.set_state(ChildState::Running);
                tracing::info!(child = %self.node.name, "supervision.running");
            }
            _ => {}
        }
        while !context.waiting() {
            let Some(letter) = ready!(self.inbox.poll_next(self.stay.number, task)) else {
                // Closed: the cell ends its life, not this future.
                return Poll::Pending;
            };
            letter.open(actor, context, &self.stay);
        }
        Poll::Pending
    }
}
