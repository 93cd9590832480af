//! Sessions in this process, spread over supervised shards by a hash of the id.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::SessionStore;
use super::actor::{Get, Insert, Remove, SessionShard};
use super::census::Census;
use super::error::SessionsError;
use super::options::SessionsOptions;
use super::table::Session;
use crate::deadline::Deadline;
use crate::ids::{CallerId, SessionId};
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

#[derive(Clone)]
pub(super) struct EmbeddedSessions {
    pub(super) shards: Arc<[ChildRef<SessionShard>]>,
    hasher: RandomState,
    census: Arc<Census>,
}

impl EmbeddedSessions {
    /// Starts the shards as `sessions-0`, `sessions-1`, … below `supervisor`.
    pub(super) async fn start(
        supervisor: &Supervisor,
        options: SessionsOptions,
    ) -> Result<Self, SessionsError> {
        let census = Arc::new(Census::new(options.per_owner_max, options.total_max));
        let mut shards = Vec::with_capacity(options.shards);
        for index in 0..options.shards.clamp(1, 64) {
            let own = options.clone();
            let spec = ChildSpec::new(format!("sessions-{index}"), options.mailbox, move || {
                SessionShard::new(own.clone())
            });
            let shard = supervisor.spawn(spec).await;
            shards.push(shard.map_err(|error| SessionsError::Spawn(Arc::new(error)))?);
        }
        Ok(Self { shards: shards.into(), hasher: RandomState::new(), census })
    }

    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        self.census.total()
    }

    pub(super) fn shard(&self, id: &SessionId) -> &ChildRef<SessionShard> {
        let index = self.hasher.hash_one(id) as usize % self.shards.len();
        &self.shards[index]
    }
}

impl SessionStore for EmbeddedSessions {
    async fn insert(&self, session: Arc<Session>, deadline: Deadline) -> Result<(), SessionsError> {
        let place = self.census.take(&session.owner)?;
        let shard = self.shard(&session.id);
        Ok(shard.ask(Insert { session: session.clone(), place }, deadline).await?)
    }

    async fn get(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, SessionsError> {
        let get = Get { id: id.clone(), owner: owner.clone() };
        Ok(self.shard(id).ask(get, deadline).await?)
    }

    async fn remove(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<bool, SessionsError> {
        let remove = Remove { id: id.clone(), owner: owner.clone() };
        Ok(self.shard(id).ask(remove, deadline).await?)
    }
}
