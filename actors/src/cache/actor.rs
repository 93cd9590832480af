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

use super::Sharing;
use super::options::CacheOptions;
use super::shared::channel;
use super::store::Caches;
use crate::redis::Notice;

/// How often expired entries are dropped.
const TIDY_PERIOD: Duration = Duration::from_secs(5);

/// How often a node that hears nothing asks what other nodes have written.
const SYNC_PERIOD: Duration = Duration::from_secs(1);

pub(super) struct CacheActor {
    options: CacheOptions,
    sharing: Option<Sharing>,
    published: Arc<ArcSwap<Caches>>,
}

impl CacheActor {
    pub(super) fn new(
        options: CacheOptions,
        sharing: Option<Sharing>,
        published: Arc<ArcSwap<Caches>>,
    ) -> Self {
        Self { options, sharing, published }
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
        if let Some(sharing) = &self.sharing {
            let listening = listen(sharing.clone(), self.published.clone());
            context.spawn(listening.into_actor(self));
        }
    }
}

impl Supervised for CacheActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.published.store(Arc::new(super::caches(&self.options, self.sharing.as_ref())));
    }
}

/// Learns of writes on other nodes: at once when told, every second otherwise.
async fn listen(sharing: Sharing, published: Arc<ArcSwap<Caches>>) {
    let mut heard = sharing.redis.subscribe(vec![channel(&sharing.redis)]);
    let mut ticks = tokio::time::interval(SYNC_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            notice = heard.next() => match notice {
                Some(Notice::Lost) => continue,
                Some(Notice::Gained | Notice::Message { .. }) => {}
                None => return,
            },
        }
        let caches = published.load_full();
        caches.sync().await;
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
