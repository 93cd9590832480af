//! Roles, revocations and bans, seen by every node: what one node changes is told to all through Redis.
//!
//! Redis away: each node goes on with what it knows and keeps its own changes; when Redis is back, all
//! is exchanged in both directions. A Redis that lost everything is filled again by the nodes. Called
//! by [`super::AuthorizationHandle`].

mod actor;
mod ledger;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use self::actor::{Setup, SharingActor};
use self::ledger::RedisLedger;
use super::actor::AuthorizationActor;
use super::entry::Entry;
use super::error::AuthorizationError;
use crate::redis::RedisClient;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

/// Longest time a change waits to be told to the others; it is in force here before that.
const TELL_MAX: Duration = Duration::from_millis(500);
/// Changes on their way to Redis; further ones are told when all is exchanged again.
const WAITING_MAX: usize = 1024;

/// Whether this node and Redis know the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharingStanding {
    /// Whether what other nodes change is heard here at once, and what changes here is told.
    pub in_step: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// A change to be told; the answer says, for each fact, whether it is the one that holds.
pub(super) struct Telling {
    pub entries: Vec<Entry>,
    pub told: oneshot::Sender<Vec<bool>>,
}

/// The way to the others. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sharing {
    tellings: mpsc::Sender<Telling>,
    standing: watch::Receiver<SharingStanding>,
}

impl Sharing {
    /// Starts the actor as `authorization-sharing`.
    pub(super) async fn start(
        supervisor: &Supervisor,
        redis: RedisClient,
        authorization: ChildRef<AuthorizationActor>,
    ) -> Result<Self, AuthorizationError> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let standing = SharingStanding { in_step: false, reason: Some("not connected yet".into()) };
        let (stands, standing) = watch::channel(standing);
        let setup = Setup {
            ledger: Arc::new(RedisLedger::new(redis)),
            tellings: Arc::new(Mutex::new(receiver)),
            authorization,
            standing: Arc::new(stands),
        };
        let spec =
            ChildSpec::new("authorization-sharing", 1, move || SharingActor::new(setup.clone()));
        let child = supervisor.spawn(spec.optional()).await;
        child.map_err(|error| AuthorizationError::Spawn(Arc::new(error)))?;
        Ok(Self { tellings: sender, standing })
    }

    /// Tells the others; `None` when they will hear of it later. For each fact, whether it
    /// is the one that holds.
    pub(super) async fn tell(&self, entries: Vec<Entry>) -> Option<Vec<bool>> {
        let (told, answer) = oneshot::channel();
        self.tellings.try_send(Telling { entries, told }).ok()?;
        tokio::time::timeout(TELL_MAX, answer).await.ok()?.ok()
    }

    pub(super) fn standing(&self) -> SharingStanding {
        self.standing.borrow().clone()
    }

    pub(super) async fn settled(&self, within: Duration) -> bool {
        let mut standing = self.standing.clone();
        let in_step = standing.wait_for(|standing| standing.in_step);
        matches!(tokio::time::timeout(within, in_step).await, Ok(Ok(_)))
    }
}
