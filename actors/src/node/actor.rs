//! Says in Redis that this node is there, and learns which others are.
//!
//! Owns: the published list of nodes.
//! Mailbox: none is asked; readers look at the list.
//! Dies when: its loop panics.
//! Restarted: by its supervisor; the list it published last stays until then. The node serves without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};
use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::id::NodeId;
use super::list::NodeList;
use super::registry::{NodeWords, Registry};

/// Everything a fresh actor is made from.
#[derive(Clone)]
pub(super) struct Setup {
    pub own: NodeId,
    pub words: NodeWords,
    pub leaving: Arc<AtomicBool>,
    /// Of the configuration that runs now.
    pub config_version: Arc<ArcSwap<String>>,
    /// Rings when something is to be said at once.
    pub news: Arc<Notify>,
    pub heartbeat: Duration,
    pub registry: Arc<Registry>,
    pub published: Arc<ArcSwap<NodeList>>,
}

pub(super) struct NodesActor {
    setup: Setup,
}

impl NodesActor {
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup }
    }
}

impl Actor for NodesActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.spawn(announce(self.setup.clone()).into_actor(self));
    }
}

impl Supervised for NodesActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.setup.clone());
    }
}

async fn announce(setup: Setup) {
    let mut said_before = false;
    loop {
        said_before = say(&setup, said_before).await;
        tokio::select! {
            () = tokio::time::sleep(setup.heartbeat) => {}
            () = setup.news.notified() => {}
        }
    }
}

/// One sign of life; returns whether Redis has it.
async fn say(setup: &Setup, said_before: bool) -> bool {
    let words = NodeWords {
        leaving: setup.leaving.load(Ordering::Relaxed),
        config_version: setup.config_version.load().to_string(),
        ..setup.words.clone()
    };
    let before = setup.published.load_full();
    match setup.registry.say(&setup.own, &words).await {
        Ok((last, listed)) => {
            // Between two of our signs somebody else said to be us.
            let taken = said_before && last.is_some_and(|boot| boot != words.boot);
            if taken && !before.id_taken {
                tracing::error!(node = %setup.own, "another process uses this node's id: set node.id");
            }
            // A clash is seen by both in turns: it is over when a while passes without.
            setup.published.store(Arc::new(NodeList::new(listed, taken)));
            true
        }
        Err(error) => {
            if before.error.is_none() {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the registry of nodes cannot be reached");
            }
            let list = NodeList { error: Some(error.to_string()), ..NodeList::clone(&before) };
            setup.published.store(Arc::new(list));
            said_before
        }
    }
}
