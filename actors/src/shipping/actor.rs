//! The one who ships.
//!
//! Owns: the place in the trail and the size of the batches; the trail itself belongs to the audit.
//! Mailbox: 4; nobody needs to tell it anything.
//! Dies when: the shipping task panics; Neo4j being away is no death but a state that `/ready` tells.
//! Restarted: by its supervisor; it asks Neo4j how far it is and goes on from there.

use actix::fut::WrapFuture;
use actix::{Actor, AsyncContext, Context, Supervised};

use super::shipper::{Setup, Shipper};
use crate::resilience::Requester;

pub(super) struct ShippingActor {
    setup: Setup,
}

impl ShippingActor {
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup }
    }
}

impl Actor for ShippingActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        // Calls that somebody waits for go before the copy.
        let shipping = Requester::background().scope(Shipper::new(self.setup.clone()).run());
        context.spawn(shipping.into_actor(self));
    }
}

impl Supervised for ShippingActor {}

/// Makes it panic, to test its restart.
#[cfg(test)]
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

#[cfg(test)]
impl actix::Handler<Crash> for ShippingActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}
