//! Legacy sessions: what the 2025 revisions of MCP keep between `initialize` and `DELETE`.
//!
//! In memory, spread over supervised shards by a hash of the id. Called by the face's MCP stage. Refuses
//! more sessions than the caps; to all but its owner a session does not exist.

mod actor;
mod census;
mod error;
mod options;
mod table;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde_json::Value;

use self::actor::{Get, Insert, Remove, SessionShard};
use self::census::Census;
use crate::deadline::Deadline;
use crate::ids::{CallerId, SessionId};
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub use self::error::SessionsError;
pub use self::options::SessionsOptions;
pub use self::table::Session;

/// Most bytes of JSON a client may say about itself, per field.
pub const CLIENT_BYTES_MAX: usize = 16 * 1024;
/// Longest protocol version, in bytes; real ones have ten.
const PROTOCOL_VERSION_BYTES_MAX: usize = 64;

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who begins it.
    pub owner: CallerId,
    /// The negotiated revision.
    pub protocol_version: String,
    /// `capabilities` of `initialize`.
    pub client_capabilities: Value,
    /// `clientInfo` of `initialize`.
    pub client_info: Value,
}

/// The way to the sessions. Cheap to clone.
#[derive(Clone)]
pub struct SessionsHandle {
    shards: Arc<[ChildRef<SessionShard>]>,
    hasher: RandomState,
    census: Arc<Census>,
}

impl SessionsHandle {
    /// Starts the shards as `sessions-0`, `sessions-1`, … below `supervisor`.
    ///
    /// # Errors
    /// When a shard cannot be started.
    pub async fn start(
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

    /// Begins a session under a fresh random id (UUIDv4: 122 random bits, RFC 9562 §5.4).
    ///
    /// # Errors
    /// Caps reached, client's fields too long, shard not available.
    pub async fn create(
        &self,
        new: NewSession,
        deadline: Deadline,
    ) -> Result<Arc<Session>, SessionsError> {
        bounded("protocolVersion", new.protocol_version.len(), PROTOCOL_VERSION_BYTES_MAX)?;
        bounded("capabilities", new.client_capabilities.to_string().len(), CLIENT_BYTES_MAX)?;
        bounded("clientInfo", new.client_info.to_string().len(), CLIENT_BYTES_MAX)?;
        let place = self.census.take(&new.owner)?;
        let id = SessionId::parse(&uuid::Uuid::new_v4().to_string());
        let session = Arc::new(Session {
            id: id.expect("a UUID is 36 printable bytes"),
            owner: new.owner,
            protocol_version: new.protocol_version,
            client_capabilities: new.client_capabilities,
            client_info: new.client_info,
            created_at: chrono::Utc::now().timestamp(),
        });
        let insert = Insert { session: session.clone(), place };
        self.shard(&session.id).ask(insert, deadline).await?;
        Ok(session)
    }

    /// The caller's session, if there is one of this id; using it keeps it alive.
    ///
    /// # Errors
    /// Shard not available.
    pub async fn get(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, SessionsError> {
        let get = Get { id: id.clone(), owner: owner.clone() };
        Ok(self.shard(id).ask(get, deadline).await?)
    }

    /// Ends the caller's session; returns whether there was one.
    ///
    /// # Errors
    /// Shard not available.
    pub async fn remove(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<bool, SessionsError> {
        let remove = Remove { id: id.clone(), owner: owner.clone() };
        Ok(self.shard(id).ask(remove, deadline).await?)
    }

    /// How many sessions there are; those that ended and were not swept yet count.
    pub fn total(&self) -> usize {
        self.census.total()
    }

    fn shard(&self, id: &SessionId) -> &ChildRef<SessionShard> {
        let index = self.hasher.hash_one(id) as usize % self.shards.len();
        &self.shards[index]
    }
}

fn bounded(field: &'static str, bytes: usize, bytes_max: usize) -> Result<(), SessionsError> {
    match bytes <= bytes_max {
        true => Ok(()),
        false => Err(SessionsError::TooLong { field, bytes_max }),
    }
}
