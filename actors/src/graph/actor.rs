//! The actor in front of the graph.
//!
//! Owns: its place in the tree; the store itself outlives it, since a restart must not fight its
//! predecessor for the lock of the file.
//! Mailbox: `GraphOptions::mailbox` (128) requests not yet answered; when full, callers hear
//! `Overloaded` at once.
//! Dies when: its own code panics; a panic of the engine is caught on the engine's threads and is the
//! error of that one request.
//! Restarted: by its supervisor, with the same store; requests in hand are lost and their queries stopped.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, ResponseFuture, Supervised};
use futures_util::future::{BoxFuture, Either, select};
use tokio::sync::oneshot;

use super::error::GraphError;
use super::store::GraphStore;

/// What is to be done with the store.
pub(super) type Work<T> =
    Box<dyn FnOnce(Arc<dyn GraphStore>) -> BoxFuture<'static, Result<T, GraphError>> + Send>;

/// One request of a caller.
pub(super) struct Request<T> {
    pub(super) work: Work<T>,
    /// Ends when the caller goes away: then the query is stopped, or the write taken back.
    pub(super) caller: oneshot::Receiver<()>,
}

impl<T: Send + 'static> Message for Request<T> {
    type Result = Result<T, GraphError>;
}

/// Passes requests to the store and keeps none of its own state.
pub(super) struct GraphActor {
    store: Arc<dyn GraphStore>,
}

impl GraphActor {
    pub(super) fn new(store: Arc<dyn GraphStore>) -> Self {
        Self { store }
    }
}

impl Actor for GraphActor {
    type Context = Context<Self>;
}

impl Supervised for GraphActor {
    fn restarting(&mut self, _: &mut Context<Self>) {}
}

impl<T: Send + 'static> Handler<Request<T>> for GraphActor {
    type Result = ResponseFuture<Result<T, GraphError>>;

    fn handle(&mut self, request: Request<T>, _: &mut Context<Self>) -> Self::Result {
        let answer = (request.work)(Arc::clone(&self.store));
        Box::pin(async move {
            match select(answer, request.caller).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => Err(GraphError::Cancelled),
            }
        })
    }
}

/// Makes the actor panic, to test its restart.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

#[cfg(test)]
impl Handler<Crash> for GraphActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}
