//! The actor that works jobs.
//!
//! Owns: the working loop and the housekeeping of this node; jobs in hand belong to [`super::held`].
//! Mailbox: `jobs.mailbox` (64); jobs do not pass through it.
//! Dies when: a loop panics; a run that panics ends as an outcome of its job.
//! Restarted: by its supervisor; the loops start anew, runs in hand go on.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};

use super::held::Shared;
use super::{house, worker};

pub(super) struct JobsActor {
    shared: Arc<Shared>,
}

impl JobsActor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Actor for JobsActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let shared = || Arc::clone(&self.shared);
        context.spawn(house::figures(shared()).into_actor(self));
        if self.shared.options.workers == 0 {
            return;
        }
        context.spawn(worker::work(shared()).into_actor(self));
        context.spawn(house::heartbeats(shared()).into_actor(self));
        context.spawn(house::reaping(shared()).into_actor(self));
        context.spawn(house::purging(shared()).into_actor(self));
        context.spawn(house::scheduling(shared()).into_actor(self));
        context.spawn(house::listening(shared()).into_actor(self));
    }
}

impl Supervised for JobsActor {
    fn restarting(&mut self, _: &mut Context<Self>) {}
}

/// Makes the actor panic, to test its restart.
#[cfg(test)]
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

#[cfg(test)]
impl actix::Handler<Crash> for JobsActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}
