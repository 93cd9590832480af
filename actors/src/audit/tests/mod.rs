//! The audit's promises, one file per behaviour.

mod acting;
mod erasing;
mod exporting;
mod killing;
mod lines;
mod queries;
mod retaining;
mod storing;
mod tampering;

use std::path::PathBuf;

use tempfile::TempDir;

use super::chain::AuditKey;
use super::event::{EventType, NewEvent, Phase};
use super::prepared::Prepared;
use super::store::Store;
use crate::ids::{CallId, CallerId};

pub(super) fn key() -> AuditKey {
    AuditKey::from_bytes(&[42; 32])
}

pub(super) struct Trail {
    pub _dir: TempDir,
    pub path: PathBuf,
}

impl Trail {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("audit.db");
        Self { _dir: dir, path }
    }

    pub(super) fn open(&self) -> Store {
        Store::open(&self.path, key(), 1000).unwrap()
    }

    /// A file of `count` single events of alternating users.
    pub(super) fn with_events(count: usize) -> Self {
        let trail = Self::new();
        let events: Vec<_> = (0..count).map(|n| single(&format!("user-{}", n % 3))).collect();
        trail.open().append(&events).unwrap();
        trail
    }
}

pub(super) fn single(user: &str) -> Prepared {
    let mut event = NewEvent::new(EventType::DataRead, Phase::Single, "read");
    event.user_id = Some(CallerId::parse(user).unwrap());
    event.success = Some(true);
    Prepared::new(&event)
}

pub(super) fn call(call_id: CallId, phase: Phase) -> Prepared {
    let mut event = NewEvent::new(EventType::CodeExecution, phase, "tools/call");
    event.call_id = Some(call_id);
    event.user_id = Some(CallerId::parse("ada").unwrap());
    event.tool = Some("execute_code".into());
    event.success = (phase == Phase::Outcome).then_some(true);
    Prepared::new(&event)
}
