//! The owner of the cache.
//!
//! Owns: the caches of all namespaces; publishes them, keeps house.
//! Mailbox: `CacheOptions::mailbox` (64); it gets no messages on the request path.
//! Dies when: housekeeping panics.
//! Restarted: by its supervisor, with empty caches, in case what they held was the reason.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Supervised, WrapFuture};
use arc_swap::ArcSwap;

use super::options::CacheOptions;
use super::store::Caches;

/// How often expired entries are dropped.
const TIDY_PERIOD: Duration = Duration::from_secs(5);

pub(super) struct CacheActor {
    options: CacheOptions,
    published: Arc<ArcSwap<Caches>>,
}

impl CacheActor {
    pub(super) fn new(options: CacheOptions, published: Arc<ArcSwap<Caches>>) -> Self {
        Self { options, published }
    }
}

impl Actor for CacheActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(TIDY_PERIOD, |actor, context| {
            let caches = actor.published.load_full();
            let tidy = async move { caches.tidy().await };
            context.spawn(tidy.into_actor(actor).map(|(), _, _| ()));
        });
    }
}

impl Supervised for CacheActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.published.store(Arc::new(Caches::new(&self.options)));
    }
}

/// Makes the actor panic, to test its restart.
#[cfg(test)]
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

#[cfg(test)]
impl actix::Handler<Crash> for CacheActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}
