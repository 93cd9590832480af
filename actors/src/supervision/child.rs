//! `ChildRef`: the only way to a supervised actor.
//!
//! Owns: admission of messages (place before queue) and the caller's side of a letter.
//! Called by: the handles of every actor. Refuses: what the child cannot take, at once and typed.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cell::{Core, Factory};
use super::error::AskError;
use super::gate::{Place, Refused};
use super::hand::Loss;
use super::inbox::Sender;
use super::letter::{Letter, Post, TakeBack};
use super::node::ChildState;
use super::policy::Restart;
use crate::deadline::Deadline;

/// Where a child runs.
#[derive(Clone, Debug)]
pub enum Placement {
    /// On a thread of its own: a blocked handler stops nobody else. A message from another thread
    /// costs two thread wake-ups.
    Dedicated,
    /// On this thread, with others: a message from the same thread costs under a microsecond.
    Shared(ArbiterHandle),
}

/// How a child is started and kept.
pub struct ChildSpec<A> {
    /// Name in the tree, in logs and metrics: 1 to 64 of `a-z 0-9 - _`, unique among its siblings.
    pub name: String,
    /// Whether it comes back.
    pub restart: Restart,
    /// True: when it uses up its restarts the supervisor gives up too. False: the engine goes on
    /// without it.
    pub critical: bool,
    /// Places in the mailbox: messages accepted and not yet answered, those in hand included.
    pub mailbox: usize,
    /// Its thread.
    pub placement: Placement,
    /// Builds the actor, on its own thread; runs again after a stall. A panic in it counts as a
    /// crash of the child.
    pub factory: Arc<dyn Fn() -> A + Send + Sync>,
}

impl<A> ChildSpec<A> {
    /// A permanent, critical child on a thread of its own with a mailbox of that many places.
    pub fn new(
        name: impl Into<String>,
        mailbox: usize,
        factory: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            restart: Restart::Permanent,
            critical: true,
            mailbox,
            placement: Placement::Dedicated,
            factory: Arc::new(factory) as Factory<A>,
        }
    }

    /// With another restart type.
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// As one the engine can serve without.
    pub fn optional(self) -> Self {
        Self { critical: false, ..self }
    }

    /// In another place.
    pub fn placement(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }
}

/// A reference to a supervised child. Stays good across restarts and replacements.
pub struct ChildRef<A: Actor> {
    pub(super) core: Arc<Core<A>>,
    pub(super) sender: Sender<A>,
    pub(super) through_drain: bool,
}

impl<A: Actor> Clone for ChildRef<A> {
    fn clone(&self) -> Self {
        let (core, sender) = (Arc::clone(&self.core), self.sender.clone());
        Self { core, sender, through_drain: self.through_drain }
    }
}

impl<A: Actor<Context = Context<A>>> ChildRef<A> {
    /// Sends a message and waits for its answer.
    ///
    /// While the child is down the message queues and is answered after the restart.
    ///
    /// # Errors
    /// - [`AskError::Timeout`] with `begun: false`: the deadline was past, or passed in the queue;
    ///   the message will not be handled. With `begun: true`: a handler has it, effects unknown.
    /// - [`AskError::Overloaded`]: no place in the mailbox.
    /// - [`AskError::Restarting`]: the backoff in progress ends after the deadline.
    /// - [`AskError::Unavailable`]: the tree drains, or the child ended for good.
    /// - [`AskError::Crashed`]: the child went down with this message in hand.
    pub async fn ask<M>(&self, message: M, deadline: Deadline) -> Result<M::Result, AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if deadline.is_past() {
            return Err(self.timeout(false));
        }
        self.check_backoff(deadline)?;
        let (letter, mut answer) = Letter::ask(message, self.enter()?, deadline);
        self.enqueue(Arc::clone(&letter) as Arc<dyn Post<A>>)?;
        // Also when this future is dropped: nobody waits, so the message need not be handled.
        let letter = TakeBackOnDrop(letter);
        if let Ok(outcome) = tokio::time::timeout_at(deadline.instant(), &mut answer).await {
            return self.outcome(outcome);
        }
        match letter.0.take_back() {
            TakeBack::NotBegun => Err(self.timeout(false)),
            TakeBack::Begun => Err(self.timeout(true)),
            // Answered in the very moment the deadline passed.
            TakeBack::Over => self.outcome(answer.await),
        }
    }

    /// Sends a message whose answer nobody needs. It waits in the queue as long as it takes, counts
    /// against the bound until it is handled, and is lost if the child crashes with it in hand.
    ///
    /// # Errors
    /// [`AskError::Overloaded`] and [`AskError::Unavailable`], as for [`ChildRef::ask`].
    pub fn tell<M>(&self, message: M) -> Result<(), AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.enqueue(Letter::tell(message, self.enter()?))
    }

    /// The same child for work that was already accepted elsewhere (an outcome to record, a result to
    /// store): not refused while the tree drains, until the turn of this child comes.
    pub fn through_drain(&self) -> Self {
        Self { through_drain: true, ..self.clone() }
    }

    /// The name in the tree.
    pub fn name(&self) -> &Arc<str> {
        &self.core.node.name
    }

    /// Where the child is in its life.
    pub fn state(&self) -> ChildState {
        self.core.node.state()
    }

    /// Messages accepted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.core.gate.in_flight()
    }

    fn check_backoff(&self, deadline: Deadline) -> Result<(), AskError> {
        let node = &self.core.node;
        if node.state() != ChildState::Restarting {
            return Ok(());
        }
        match node.back_at() {
            Some(back_at) if back_at > deadline.instant() => Err(AskError::Restarting {
                child: self.child(),
                retry_after: back_at.saturating_duration_since(Instant::now()),
            }),
            _ => Ok(()),
        }
    }

    fn enter(&self) -> Result<Place, AskError> {
        self.core.gate.enter(self.through_drain).map_err(|refused| match refused {
            Refused::Full => {
                let capacity = self.core.gate.capacity();
                AskError::Overloaded { child: self.child(), capacity }
            }
            Refused::Closed => self.unavailable(),
        })
    }

    fn enqueue(&self, letter: Arc<dyn Post<A>>) -> Result<(), AskError> {
        // Closed between entering and here: the letter comes back and gives its place up.
        self.sender.send(letter).map_err(|_| self.unavailable())
    }

    fn outcome<R>(
        &self,
        outcome: Result<Result<R, Loss>, oneshot::error::RecvError>,
    ) -> Result<R, AskError> {
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Loss::Ended(state))) => {
                Err(AskError::Unavailable { child: self.child(), state })
            }
            Ok(Err(Loss::Expired)) => Err(self.timeout(false)),
            // A letter that is dropped without a word was lost with its thread.
            Ok(Err(Loss::Crashed)) | Err(_) => Err(AskError::Crashed { child: self.child() }),
        }
    }

    fn timeout(&self, begun: bool) -> AskError {
        AskError::Timeout { child: self.child(), begun }
    }

    fn unavailable(&self) -> AskError {
        let node = &self.core.node;
        let state = match node.state() {
            state if state.is_final() => state,
            // The gate closes a moment before the state says so.
            _ => ChildState::Draining,
        };
        AskError::Unavailable { child: self.child(), state }
    }

    fn child(&self) -> Arc<str> {
        Arc::clone(&self.core.node.name)
    }
}

struct TakeBackOnDrop<M>(Arc<Letter<M>>)
where
    M: Message + Send + 'static,
    M::Result: Send;

impl<M> Drop for TakeBackOnDrop<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn drop(&mut self) {
        self.0.take_back();
    }
}
