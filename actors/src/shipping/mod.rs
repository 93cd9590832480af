//! Shipping: the trail of this node, copied into Neo4j, where all nodes' trails can be asked together.
//!
//! An event is durable in the node's own file before its call is answered; from there it is shipped at
//! least once, found again by its id, in the order of the trail. Neo4j being away means a growing
//! distance, not a failed call. Called by the engine when `neo4j.uri` names a server; the face reads
//! [`ShippingHandle::status`]. Refuses nothing: what cannot be shipped now is shipped later.
//!
//! What is made of events: `model`; with which statements: `statements`; in which order: `shipper`.

mod actor;
mod batch_size;
mod error;
mod model;
mod options;
mod roles;
mod schema;
mod shipper;
mod statements;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::actor::ShippingActor;
use self::shipper::Setup;
use self::status::Shared;
use crate::audit::AuditHandle;
use crate::authorization::AuthorizationHandle;
use crate::neo4j::Neo4jClient;
use crate::supervision::{ChildRef, ChildSpec, SpawnError, Supervisor};

pub use self::options::ShippingOptions;
pub use self::status::ShippingStatus;

/// Messages that may wait; see the actor.
const MAILBOX: usize = 4;

/// The way to shipping. Cheap to clone.
#[derive(Clone)]
pub struct ShippingHandle {
    audit: AuditHandle,
    shared: Arc<Shared>,
    lag_degraded_seconds: u64,
    /// Keeps the actor's place in the tree.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is told nothing"))]
    child: ChildRef<ShippingActor>,
}

impl ShippingHandle {
    /// Starts shipping as `shipping`; needs no server yet. `node_id` stands in everything it ships; when
    /// empty, the id of the trail does. The engine can serve without it. `audit` must
    /// have been started with `copied_elsewhere`.
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        audit: AuditHandle,
        authorization: AuthorizationHandle,
        client: Neo4jClient,
        options: ShippingOptions,
        retention_days: u32,
        node_id: String,
    ) -> Result<Self, SpawnError> {
        let shared = Arc::new(Shared::default());
        let lag_degraded_seconds = options.lag_degraded_seconds;
        let setup = Setup {
            audit: audit.clone(),
            authorization,
            client,
            options,
            retention_days,
            node_id,
            shared: shared.clone(),
        };
        let spec = ChildSpec::new("shipping", MAILBOX, move || ShippingActor::new(setup.clone()));
        let child = supervisor.spawn(spec.optional()).await?;
        Ok(Self { audit, shared, lag_degraded_seconds, child })
    }

    /// How it gets on; asks nobody.
    pub fn status(&self) -> ShippingStatus {
        self.shared.read(self.audit.stats().last_seq, self.lag_degraded_seconds)
    }
}
