//! The sandboxes there are, and for a while those that were.
//!
//! Owned by the actor's shared state. To all but its owner a sandbox does not exist; its owner hears for
//! [`REMEMBERED`] why it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use ultimate_mcp_sandbox::client::Session;
use ultimate_mcp_sandbox::spec::{Language, Limits};
use ultimate_mcp_sandbox::step::End;
use uuid::Uuid;

use super::census::Share;
use super::error::SandboxesError;
use crate::ids::CallerId;
use crate::node::Handle;

/// How long an owner hears why a sandbox ended.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Ends remembered at once; beyond it the oldest are forgotten.
const REMEMBERED_MAX: usize = 1000;

/// One open sandbox.
pub(super) struct Sandbox {
    pub(super) handle: Handle,
    pub(super) owner: CallerId,
    pub(super) language: Language,
    pub(super) limits: Limits,
    pub(super) session: Session,
    pub(super) steps: AtomicU64,
    born: Instant,
    /// Milliseconds since it was born.
    used_ms: AtomicU64,
    in_use: AtomicU32,
    turn: Arc<Mutex<()>>,
    _share: Share,
}

/// A call is at work in it: it is not idle.
pub(super) struct InUse(Arc<Sandbox>);

impl Sandbox {
    pub(super) fn new(
        handle: Handle,
        owner: CallerId,
        language: Language,
        limits: Limits,
        session: Session,
        share: Share,
    ) -> Arc<Self> {
        Arc::new(Self {
            handle,
            owner,
            language,
            limits,
            session,
            steps: AtomicU64::new(0),
            born: Instant::now(),
            used_ms: AtomicU64::new(0),
            in_use: AtomicU32::new(0),
            turn: Arc::default(),
            _share: share,
        })
    }

    /// Waits until no other call is at work in it, at most `patience`.
    pub(super) async fn turn(
        &self,
        patience: Duration,
    ) -> Result<OwnedMutexGuard<()>, SandboxesError> {
        let turn = tokio::time::timeout(patience, Arc::clone(&self.turn).lock_owned()).await;
        turn.map_err(|_| SandboxesError::Busy)
    }

    pub(super) fn busy(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    pub(super) fn use_it(self: &Arc<Self>) -> InUse {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        InUse(Arc::clone(self))
    }

    /// For how long nobody has used it.
    pub(super) fn idle(&self) -> Duration {
        match self.in_use.load(Ordering::Relaxed) {
            0 => {
                let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
                self.born.elapsed().saturating_sub(used)
            }
            _ => Duration::ZERO,
        }
    }

    /// What is left of its life.
    pub(super) fn left(&self) -> Duration {
        self.limits.wall.saturating_sub(self.born.elapsed())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let ms = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.used_ms.store(ms, Ordering::Relaxed);
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Ended {
    owner: CallerId,
    end: End,
    at: Instant,
}

#[derive(Default)]
pub(super) struct Table {
    open: HashMap<Uuid, Arc<Sandbox>>,
    ended: HashMap<Uuid, Ended>,
}

impl Table {
    pub(super) fn insert(&mut self, sandbox: Arc<Sandbox>) {
        self.open.insert(sandbox.handle.id, sandbox);
    }

    pub(super) fn find(
        &self,
        handle: &Handle,
        caller: &CallerId,
    ) -> Result<Arc<Sandbox>, SandboxesError> {
        if let Some(sandbox) = self.open.get(&handle.id).filter(|s| s.owner == *caller) {
            return match sandbox.session.end() {
                Some(end) => Err(SandboxesError::Ended(end)),
                None => Ok(Arc::clone(sandbox)),
            };
        }
        let ended = self.ended.get(&handle.id).filter(|ended| ended.owner == *caller);
        Err(ended.map_or(SandboxesError::NotFound, |e| SandboxesError::Ended(e.end.clone())))
    }

    /// The caller's open ones, oldest first (their ids are ordered by time).
    pub(super) fn of(&self, caller: &CallerId) -> Vec<Arc<Sandbox>> {
        let open = self.open.values();
        let mut own: Vec<_> = open
            .filter(|s| s.owner == *caller && s.session.end().is_none())
            .map(Arc::clone)
            .collect();
        own.sort_by_key(|sandbox| sandbox.handle.id);
        own
    }

    /// Kills the idle, forgets the dead; answers the ends of those that were cleared away.
    pub(super) fn sweep(&mut self, idle: Duration) -> Vec<End> {
        let now = Instant::now();
        for sandbox in self.open.values().filter(|s| s.idle() >= idle) {
            sandbox.session.kill(End::Idle);
        }
        let dead: Vec<(Uuid, End)> =
            self.open.iter().filter_map(|(id, s)| Some((*id, s.session.end()?))).collect();
        for (id, end) in &dead {
            if let Some(sandbox) = self.open.remove(id) {
                let owner = sandbox.owner.clone();
                self.ended.insert(*id, Ended { owner, end: end.clone(), at: now });
            }
        }
        self.ended.retain(|_, ended| now.duration_since(ended.at) < REMEMBERED);
        while self.ended.len() > REMEMBERED_MAX {
            let oldest = self.ended.iter().min_by_key(|(_, ended)| ended.at).map(|(id, _)| *id);
            oldest.and_then(|id| self.ended.remove(&id));
        }
        dead.into_iter().map(|(_, end)| end).collect()
    }

    /// Drops, and so kills, all.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}
