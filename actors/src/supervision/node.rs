//! A node of the tree: what is known about one child or supervisor, readable from every thread.
//!
//! Owns: state, counters, last failure, children (for the tree). Written by: the child's cell and its
//! supervisor. Read by: `ask`, the watchdog, the snapshot; none of them ever waits for a child.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::gate::Gate;
use super::options::PolicyOptions;
use super::stay::Stay;

/// Longest failure text kept, in bytes; panics may carry whole documents.
const FAILURE_BYTES_MAX: usize = 512;

/// Where a child or supervisor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ChildState {
    /// Its thread has not run it yet.
    Starting = 0,
    /// It handles messages.
    Running = 1,
    /// It went down and its supervisor has not decided yet. Messages queue.
    Crashed = 2,
    /// It waits out its backoff. Messages queue.
    Restarting = 3,
    /// Its supervisor gave up and waits for a parent's decision. Messages queue.
    Suspended = 4,
    /// It answers what it accepted and then stops.
    Draining = 5,
    /// It stopped in order and does not come back.
    Stopped = 6,
    /// It failed for good.
    Failed = 7,
}

impl ChildState {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Starting,
            1 => Self::Running,
            2 => Self::Crashed,
            3 => Self::Restarting,
            4 => Self::Suspended,
            5 => Self::Draining,
            6 => Self::Stopped,
            _ => Self::Failed,
        }
    }

    /// Whether nothing follows any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Crashed => "crashed",
            Self::Restarting => "restarting",
            Self::Suspended => "suspended",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

/// The last thing that went wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// What happened: a panic's text with its place, or the supervisor's words.
    pub text: Arc<str>,
    /// When (RFC 3339).
    pub at: DateTime<Utc>,
}

/// What a node has besides its life: a mailbox, or children.
pub(super) enum Body {
    Actor { gate: Arc<Gate>, stay: ArcSwap<Stay> },
    Supervisor { policy: Mutex<PolicyOptions>, children: Mutex<Vec<Arc<Node>>> },
}

pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) critical: bool,
    pub(super) body: Body,
    state: AtomicU8,
    draining: AtomicBool,
    generation: AtomicU32,
    restarts: AtomicU64,
    panics: AtomicU64,
    stalls: AtomicU64,
    stuck_threads: AtomicU32,
    last_failure: Mutex<Option<Failure>>,
    back_at: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Node {
    pub(super) fn actor(name: Arc<str>, critical: bool, gate: Arc<Gate>) -> Arc<Self> {
        let stay = ArcSwap::new(Stay::new(0));
        Self::new(name, critical, Body::Actor { gate, stay })
    }

    pub(super) fn supervisor(name: Arc<str>, critical: bool, policy: PolicyOptions) -> Arc<Self> {
        let (policy, children) = (Mutex::new(policy), Mutex::default());
        Self::new(name, critical, Body::Supervisor { policy, children })
    }

    fn new(name: Arc<str>, critical: bool, body: Body) -> Arc<Self> {
        Arc::new(Self {
            name,
            critical,
            body,
            state: AtomicU8::new(ChildState::Starting as u8),
            draining: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            restarts: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            stuck_threads: AtomicU32::new(0),
            last_failure: Mutex::default(),
            back_at: Mutex::default(),
            changed: Notify::new(),
        })
    }

    pub(super) fn state(&self) -> ChildState {
        ChildState::from_u8(self.state.load(Ordering::Acquire))
    }

    /// Moves to `state`; a final state is never left.
    pub(super) fn set_state(&self, state: ChildState) {
        let moved = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (!ChildState::from_u8(now).is_final()).then_some(state as u8)
        });
        if moved.is_ok() {
            self.changed.notify_waiters();
        }
    }

    /// Resolves once the state is final.
    pub(super) async fn ended(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().is_final() {
                return;
            }
            changed.await;
        }
    }

    /// Closes admission here and below. Callable from any thread, waits for nobody.
    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        match &self.body {
            Body::Actor { gate, .. } => gate.begin_drain(),
            Body::Supervisor { children, .. } => {
                lock(children).iter().for_each(|child| child.begin_drain());
            }
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Counts a restart; returns the new generation.
    pub(super) fn count_restart(&self) -> u32 {
        self.restarts.fetch_add(1, Ordering::AcqRel);
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Acquire)
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Acquire)
    }

    /// Counts a stall: one more thread is stuck.
    pub(super) fn count_stall(&self) {
        self.stalls.fetch_add(1, Ordering::AcqRel);
        self.stuck_threads.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Acquire)
    }

    /// A thread left behind came back and ended.
    pub(super) fn count_unstuck(&self) {
        self.stuck_threads.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn stuck_threads(&self) -> u32 {
        self.stuck_threads.load(Ordering::Acquire)
    }

    /// Remembers what went wrong, cut to a bounded length.
    pub(super) fn note_failure(&self, text: &str) -> Failure {
        let failure = Failure { text: cut(text).into(), at: Utc::now() };
        *lock(&self.last_failure) = Some(failure.clone());
        failure
    }

    pub(super) fn last_failure(&self) -> Option<Failure> {
        lock(&self.last_failure).clone()
    }

    /// When the backoff in progress ends.
    pub(super) fn back_at(&self) -> Option<Instant> {
        *lock(&self.back_at)
    }

    pub(super) fn set_back_at(&self, at: Option<Instant>) {
        *lock(&self.back_at) = at;
    }
}

/// At most `FAILURE_BYTES_MAX` bytes of the text, cut between characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(FAILURE_BYTES_MAX)]
}

/// Locks; a panic elsewhere with the lock held leaves plain data behind, which stays usable.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
