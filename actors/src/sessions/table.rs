//! The sessions of one shard: pure, with the time passed in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::census::Place;
use crate::ids::{CallerId, SessionId};

/// A session of the 2025 revisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// What the client sends in `Mcp-Session-Id`.
    pub id: SessionId,
    /// Who began it; to everybody else it does not exist.
    pub owner: CallerId,
    /// The negotiated revision.
    pub protocol_version: String,
    /// `capabilities` of the client's `initialize`.
    pub client_capabilities: Value,
    /// `clientInfo` of the client's `initialize`.
    pub client_info: Value,
    /// When it began, in seconds since the epoch.
    pub created_at: i64,
}

pub(super) struct Table {
    idle: Duration,
    lifetime: Duration,
    entries: HashMap<SessionId, Entry>,
}

struct Entry {
    session: Arc<Session>,
    created: Instant,
    used: Instant,
    _place: Place,
}

impl Table {
    pub(super) fn new(idle: Duration, lifetime: Duration) -> Self {
        Self { idle, lifetime, entries: HashMap::new() }
    }

    pub(super) fn insert(&mut self, session: Arc<Session>, place: Place, now: Instant) {
        let entry = Entry { session: session.clone(), created: now, used: now, _place: place };
        self.entries.insert(session.id.clone(), entry);
    }

    /// The session, if it is this caller's and has not ended; using it keeps it alive.
    pub(super) fn get(
        &mut self,
        id: &SessionId,
        owner: &CallerId,
        now: Instant,
    ) -> Option<Arc<Session>> {
        let (idle, lifetime) = (self.idle, self.lifetime);
        let entry = self.entries.get_mut(id).filter(|entry| entry.session.owner == *owner)?;
        if entry.has_ended(idle, lifetime, now) {
            self.entries.remove(id);
            return None;
        }
        entry.used = now;
        Some(entry.session.clone())
    }

    /// Ends the session; returns whether this caller had it.
    pub(super) fn remove(&mut self, id: &SessionId, owner: &CallerId, now: Instant) -> bool {
        let found = self.get(id, owner, now).is_some();
        if found {
            self.entries.remove(id);
        }
        found
    }

    /// Drops sessions that have ended; returns how many.
    pub(super) fn sweep(&mut self, now: Instant) -> usize {
        let (idle, lifetime, before) = (self.idle, self.lifetime, self.entries.len());
        self.entries.retain(|_, entry| !entry.has_ended(idle, lifetime, now));
        before - self.entries.len()
    }
}

impl Entry {
    fn has_ended(&self, idle: Duration, lifetime: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= idle
            || now.saturating_duration_since(self.created) >= lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::super::census::Census;
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);
    const LIFETIME: Duration = Duration::from_secs(600);

    fn caller(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    fn session(name: &str) -> Arc<Session> {
        Arc::new(Session {
            id: SessionId::parse("s-1").unwrap(),
            owner: caller(name),
            protocol_version: "2025-06-18".into(),
            client_capabilities: Value::Null,
            client_info: Value::Null,
            created_at: 0,
        })
    }

    fn begun() -> (Table, Arc<Census>, SessionId, Instant) {
        let census = Arc::new(Census::new(1, 10));
        let mut table = Table::new(IDLE, LIFETIME);
        let now = Instant::now();
        let session = session("ada");
        table.insert(session.clone(), census.take(&caller("ada")).unwrap(), now);
        (table, census, session.id.clone(), now)
    }

    #[test]
    fn another_caller_s_session_reads_as_absent_and_cannot_be_ended() {
        let (mut table, _, id, now) = begun();
        assert!(table.get(&id, &caller("eve"), now).is_none());
        assert!(!table.remove(&id, &caller("eve"), now));
        assert!(table.get(&id, &caller("ada"), now).is_some());
        assert!(table.remove(&id, &caller("ada"), now));
        assert!(!table.remove(&id, &caller("ada"), now));
    }

    #[test]
    fn use_keeps_a_session_alive_until_its_lifetime_ends() {
        let (mut table, census, id, begin) = begun();
        let mut now = begin;
        while now + IDLE / 2 < begin + LIFETIME {
            now += IDLE / 2;
            assert!(table.get(&id, &caller("ada"), now).is_some());
        }
        assert!(table.get(&id, &caller("ada"), begin + LIFETIME).is_none());
        assert_eq!(census.total(), 0);
    }

    #[test]
    fn an_idle_session_ends_even_before_it_is_swept() {
        let (mut table, _, id, begin) = begun();
        assert!(table.get(&id, &caller("eve"), begin + IDLE / 2).is_none(), "no touch by others");
        assert!(table.get(&id, &caller("ada"), begin + IDLE).is_none());

        let (mut table, census, _, begin) = begun();
        assert_eq!(table.sweep(begin + IDLE / 2), 0);
        assert_eq!(table.sweep(begin + IDLE), 1);
        assert_eq!(census.total(), 0);
    }

    #[test]
    fn caps_per_caller_and_in_total_are_typed_and_places_come_back() {
        use super::super::error::SessionsError::{TooMany, TooManyOfOwner};
        let census = Arc::new(Census::new(2, 3));
        let first = census.take(&caller("ada")).unwrap();
        let _second = census.take(&caller("ada")).unwrap();
        assert!(matches!(census.take(&caller("ada")), Err(TooManyOfOwner(2))));
        let _third = census.take(&caller("bob")).unwrap();
        assert!(matches!(census.take(&caller("bob")), Err(TooMany(3))));
        drop(first);
        assert!(census.take(&caller("ada")).is_ok());
    }
}
