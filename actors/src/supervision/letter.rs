//! A letter: one message on its way, with its place in the mailbox, its deadline and its reply.
//!
//! Owns: who may still answer. Exactly one side wins: the handler takes the message, or the caller
//! takes it back; so a caller whose deadline passed knows whether work had begun.
//! Called by: `ChildRef` (writing, taking back), the pump (opening), the hand and the inbox (losing).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};

use actix::dev::MessageResponse;
use actix::prelude::*;
use tokio::sync::oneshot;

use super::gate::Place;
use super::hand::{Lose, Loss};
use super::node::lock;
use super::stay::Stay;
use crate::deadline::Deadline;

type Reply<R> = oneshot::Sender<Result<R, Loss>>;

pub(super) struct Letter<M: Message> {
    deadline: Option<Deadline>,
    /// The caller's span: no thread-local survives a mailbox, so it travels inside.
    span: tracing::Span,
    content: Mutex<Content<M>>,
}

enum Content<M: Message> {
    Queued {
        message: M,
        reply: Option<Reply<M::Result>>,
        place: Place,
    },
    /// The caller left first. The place stays taken until the pump passes by: what is in the queue
    /// counts against its bound.
    TakenBack {
        _place: Option<Place>,
    },
    InHand {
        reply: Option<Reply<M::Result>>,
        place: Place,
        /// Where the handler's answer comes from, when it did not give it at once.
        answer: Option<oneshot::Receiver<M::Result>>,
    },
    Over,
}

/// What a caller finds when it takes its message back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeBack {
    /// No handler has seen it and none will.
    NotBegun,
    /// A handler has it.
    Begun,
    /// It has just been answered or lost: the reply says which.
    Over,
}

impl<M> Letter<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// A letter that wants an answer.
    pub(super) fn ask(
        message: M,
        place: Place,
        deadline: Deadline,
    ) -> (Arc<Self>, oneshot::Receiver<Result<M::Result, Loss>>) {
        let (reply, answer) = oneshot::channel();
        let content = Content::Queued { message, reply: Some(reply), place };
        (Arc::new(Self::new(Some(deadline), content)), answer)
    }

    /// A letter whose answer nobody waits for.
    pub(super) fn tell(message: M, place: Place) -> Arc<Self> {
        let content = Content::Queued { message, reply: None, place };
        Arc::new(Self::new(None, content))
    }

    fn new(deadline: Option<Deadline>, content: Content<M>) -> Self {
        Self { deadline, span: tracing::Span::current(), content: Mutex::new(content) }
    }

    pub(super) fn take_back(&self) -> TakeBack {
        let mut content = lock(&self.content);
        match std::mem::replace(&mut *content, Content::Over) {
            Content::Queued { place, .. } => {
                *content = Content::TakenBack { _place: Some(place) };
                TakeBack::NotBegun
            }
            held @ Content::InHand { .. } => {
                *content = held;
                TakeBack::Begun
            }
            taken @ Content::TakenBack { .. } => {
                *content = taken;
                TakeBack::NotBegun
            }
            Content::Over => TakeBack::Over,
        }
    }

    /// Hands the message out, unless its caller left or its deadline passed.
    fn open_message(&self) -> Option<M> {
        let mut content = lock(&self.content);
        match std::mem::replace(&mut *content, Content::Over) {
            Content::Queued { message, reply, place } => {
                if self.deadline.is_some_and(|deadline| deadline.is_past()) {
                    *content = Content::TakenBack { _place: None };
                    if let Some(reply) = reply {
                        // Its own clock may be about to tell it the same.
                        let _ = reply.send(Err(Loss::Expired));
                    }
                    return None;
                }
                *content = Content::InHand { reply, place, answer: None };
                Some(message)
            }
            Content::TakenBack { .. } => {
                *content = Content::TakenBack { _place: None };
                None
            }
            Content::Over => None,
            held @ Content::InHand { .. } => {
                *content = held;
                None
            }
        }
    }

    /// Keeps the place where the handler's answer will come from, for [`Self::poll_answer`] and for
    /// whoever loses the letter: an answer that was given before a crash is still the answer.
    fn await_answer(&self, from: oneshot::Receiver<M::Result>) {
        if let Content::InHand { answer, .. } = &mut *lock(&self.content) {
            *answer = Some(from);
        }
    }

    /// The handler's answer; `None` when it will not give one, or the letter is over.
    fn poll_answer(&self, task: &mut TaskContext<'_>) -> Poll<Option<M::Result>> {
        match &mut *lock(&self.content) {
            Content::InHand { answer: Some(answer), .. } => {
                Pin::new(answer).poll(task).map(Result::ok)
            }
            _ => Poll::Ready(None),
        }
    }

    fn answer(&self, value: M::Result) {
        let content = std::mem::replace(&mut *lock(&self.content), Content::Over);
        if let Content::InHand { reply, place, .. } = content {
            // First the place, so that a caller who asks again on the answer finds it free.
            drop(place);
            if let Some(reply) = reply {
                // The caller may have left; then nobody needs the answer.
                let _ = reply.send(Ok(value));
            }
        }
    }
}

impl<M> Lose for Letter<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn lose(&self, loss: Loss) {
        let content = std::mem::replace(&mut *lock(&self.content), Content::Over);
        let (reply, place) = match content {
            Content::Queued { reply, place, .. } => (reply, place),
            Content::InHand { reply, place, answer } => {
                if let Some(Ok(value)) = answer.map(|mut answer| answer.try_recv()) {
                    drop(place);
                    if let Some(reply) = reply {
                        let _ = reply.send(Ok(value));
                    }
                    return;
                }
                (reply, place)
            }
            Content::TakenBack { .. } | Content::Over => return,
        };
        place.count_lost();
        drop(place);
        if let Some(reply) = reply {
            let _ = reply.send(Err(loss));
        }
    }
}

/// A letter as the inbox of `A` holds it: addressed to `A`, message type forgotten.
pub(super) trait Post<A: Actor>: Lose {
    /// Lets the actor handle the message and sees to its answer.
    fn open(self: Arc<Self>, actor: &mut A, context: &mut A::Context, stay: &Arc<Stay>);
}

impl<A, M> Post<A> for Letter<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn open(self: Arc<Self>, actor: &mut A, context: &mut A::Context, stay: &Arc<Stay>) {
        let Some(message) = self.open_message() else { return };
        let grip = stay.hand.take_up(Arc::clone(&self) as Arc<dyn Lose>);
        let (sender, mut answer) = oneshot::channel();
        self.span.in_scope(|| {
            <A as Handler<M>>::handle(actor, message, context).handle(context, Some(sender));
        });
        match answer.try_recv() {
            Ok(value) => {
                stay.hand.put_down(grip);
                self.answer(value);
            }
            Err(oneshot::error::TryRecvError::Closed) => {
                stay.hand.put_down(grip);
                self.lose(Loss::Crashed);
            }
            Err(oneshot::error::TryRecvError::Empty) => {
                let stay = Arc::clone(stay);
                self.await_answer(answer);
                let follow = async move {
                    let outcome = poll_fn(|task| self.poll_answer(task)).await;
                    stay.hand.put_down(grip);
                    match outcome {
                        Some(value) => self.answer(value),
                        // A detached handler future (`ResponseFuture`) panicked: it took only
                        // itself down, and this message.
                        None => self.lose(Loss::Crashed),
                    }
                };
                context.spawn(follow.into_actor(actor));
            }
        }
    }
}
