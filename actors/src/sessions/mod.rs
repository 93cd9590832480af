//! Legacy sessions: what the 2025 revisions of MCP keep between `initialize` and `DELETE`.
//!
//! In memory, or in Redis when the nodes share one. Called by the face's MCP stage. Refuses more
//! sessions than the caps; to all but its owner a session does not exist.

mod actor;
mod census;
mod embedded;
mod error;
mod options;
mod shared;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

use self::embedded::EmbeddedSessions;
use self::shared::RedisSessions;
use crate::deadline::Deadline;
use crate::ids::{CallerId, SessionId};
use crate::redis::RedisClient;
use crate::supervision::Supervisor;

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

/// Where sessions are kept.
trait SessionStore {
    /// Adds one, within the caps.
    async fn insert(&self, session: Arc<Session>, deadline: Deadline) -> Result<(), SessionsError>;

    /// The owner's session, kept alive by being asked for.
    async fn get(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, SessionsError>;

    /// Ends the owner's session; returns whether there was one.
    async fn remove(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<bool, SessionsError>;
}

/// The way to the sessions. Cheap to clone.
#[derive(Clone)]
pub struct SessionsHandle {
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    Here(EmbeddedSessions),
    InRedis(Arc<RedisSessions>),
}

impl SessionsHandle {
    /// Keeps sessions in Redis when there is one; else starts shards as `sessions-0`, `sessions-1`, …
    /// below `supervisor`.
    ///
    /// # Errors
    /// When a shard cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        options: SessionsOptions,
        redis: Option<RedisClient>,
    ) -> Result<Self, SessionsError> {
        let kept = match redis {
            Some(redis) => Kept::InRedis(Arc::new(RedisSessions::new(redis, options))),
            None => Kept::Here(EmbeddedSessions::start(supervisor, options).await?),
        };
        Ok(Self { kept })
    }

    /// Begins a session under a fresh random id (UUIDv4: 122 random bits, RFC 9562 §5.4).
    ///
    /// # Errors
    /// Caps reached, client's fields too long, shard or Redis not available.
    pub async fn create(
        &self,
        new: NewSession,
        deadline: Deadline,
    ) -> Result<Arc<Session>, SessionsError> {
        bounded("protocolVersion", new.protocol_version.len(), PROTOCOL_VERSION_BYTES_MAX)?;
        bounded("capabilities", new.client_capabilities.to_string().len(), CLIENT_BYTES_MAX)?;
        bounded("clientInfo", new.client_info.to_string().len(), CLIENT_BYTES_MAX)?;
        let id = SessionId::parse(&uuid::Uuid::new_v4().to_string());
        let session = Arc::new(Session {
            id: id.expect("a UUID is 36 printable bytes"),
            owner: new.owner,
            protocol_version: new.protocol_version,
            client_capabilities: new.client_capabilities,
            client_info: new.client_info,
            created_at: chrono::Utc::now().timestamp(),
        });
        match &self.kept {
            Kept::Here(store) => store.insert(session.clone(), deadline).await?,
            Kept::InRedis(store) => store.insert(session.clone(), deadline).await?,
        }
        Ok(session)
    }

    /// The caller's session, if there is one of this id; using it keeps it alive.
    ///
    /// # Errors
    /// Shard not available; Redis not available and the session not known here.
    pub async fn get(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, SessionsError> {
        match &self.kept {
            Kept::Here(store) => store.get(id, owner, deadline).await,
            Kept::InRedis(store) => store.get(id, owner, deadline).await,
        }
    }

    /// Ends the caller's session; returns whether there was one.
    ///
    /// # Errors
    /// Shard or Redis not available.
    pub async fn remove(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<bool, SessionsError> {
        match &self.kept {
            Kept::Here(store) => store.remove(id, owner, deadline).await,
            Kept::InRedis(store) => store.remove(id, owner, deadline).await,
        }
    }
}

fn bounded(field: &'static str, bytes: usize, bytes_max: usize) -> Result<(), SessionsError> {
    match bytes <= bytes_max {
        true => Ok(()),
        false => Err(SessionsError::TooLong { field, bytes_max }),
    }
}
