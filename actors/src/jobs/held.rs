//! What a node's workers share: the jobs in hand, and how they are told to stop.
//!
//! Owns: one entry per job that this node claimed and has not reported the end of. Outlives the actor:
//! a run does not end because the loop that started it was restarted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::handle::JobsStats;
use super::job::now_ms;
use super::options::JobsOptions;
use super::runner::Runner;
use super::seal::Sealer;
use super::store::{Depths, Finish, Grip, JobStore};
use crate::deadline::Deadline;
use crate::ids::JobId;

/// Kept of a drain's time to record what became of runs that had to be killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a run must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its owner wants it to.
    Cancel,
    /// Its lease was lost: somebody else decides about it now.
    Lost,
    /// The node stops.
    Retire,
}

/// A job in hand: proof of the claim, and the way to tell its run to stop.
type InHand = (Grip, watch::Sender<Option<Stop>>);

/// Jobs in hand.
#[derive(Default)]
pub(super) struct Held {
    jobs: Mutex<HashMap<JobId, InHand>>,
}

impl Held {
    /// Takes a job in hand; the receiver tells when to stop.
    pub(super) fn add(&self, grip: Grip) -> watch::Receiver<Option<Stop>> {
        let (sender, receiver) = watch::channel(None);
        self.lock().insert(grip.id, (grip, sender));
        receiver
    }

    pub(super) fn remove(&self, id: JobId) {
        self.lock().remove(&id);
    }

    pub(super) fn grips(&self) -> Vec<Grip> {
        self.lock().values().map(|(grip, _)| *grip).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn cancel(&self, id: JobId) {
        self.stop(id, Stop::Cancel);
    }

    pub(super) fn stop(&self, id: JobId, why: Stop) {
        if let Some((_, sender)) = self.lock().get(&id) {
            sender.send_replace(Some(why));
        }
    }

    fn stop_all(&self, why: Stop) {
        for (_, sender) in self.lock().values() {
            sender.send_replace(Some(why));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, InHand>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends on their way to the store: gathered while the last batch was being stored.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) waiting: Vec<Finish>,
    pub(super) busy: bool,
}

/// Everything the handle, the actor and the runs share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn JobStore>,
    pub(super) sealer: Sealer,
    pub(super) options: JobsOptions,
    pub(super) runner: OnceLock<Arc<dyn Runner>>,
    pub(super) held: Held,
    pub(super) ends: Mutex<Ends>,
    /// There may be work, or a free place.
    pub(super) wake: Notify,
    /// Counts changes of jobs on this node.
    pub(super) changes: watch::Sender<u64>,
    pub(super) retiring: AtomicBool,
    pub(super) ticket: AtomicUsize,
    pub(super) depths: Mutex<Depths>,
    pub(super) begun: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) reaped: AtomicU64,
    pub(super) store_up: AtomicBool,
    /// This node's name among workers.
    pub(super) worker: String,
}

impl Shared {
    pub(super) fn new(store: Arc<dyn JobStore>, sealer: Sealer, options: JobsOptions) -> Self {
        Self {
            store,
            sealer,
            options,
            runner: OnceLock::new(),
            held: Held::default(),
            ends: Mutex::default(),
            wake: Notify::new(),
            changes: watch::channel(0).0,
            retiring: AtomicBool::new(false),
            ticket: AtomicUsize::new(0),
            depths: Mutex::default(),
            begun: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            reaped: AtomicU64::new(0),
            store_up: AtomicBool::new(true),
            worker: uuid::Uuid::now_v7().simple().to_string(),
        }
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn lease(&self) -> Duration {
        self.options.lease()
    }

    pub(super) fn lease_until(&self) -> i64 {
        now_ms() + self.lease().as_millis() as i64
    }

    pub(super) fn stats(&self) -> JobsStats {
        JobsStats {
            depths: *self.depths.lock().unwrap_or_else(PoisonError::into_inner),
            in_hand: self.held.len() as u64,
            begun: self.begun.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            reaped: self.reaped.load(Ordering::Relaxed),
            store_up: self.store_up.load(Ordering::Relaxed),
        }
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.retiring.store(true, Ordering::Release);
        self.wake.notify_waiters();
        self.changed();
    }

    pub(super) async fn retire(&self, deadline: Deadline) {
        self.close();
        let patience = deadline.remaining().saturating_sub(LAST_WORDS);
        if tokio::time::timeout(patience, self.idle()).await.is_err() {
            tracing::warn!(jobs = self.held.len(), "running jobs are killed: the node stops");
            self.held.stop_all(Stop::Retire);
            let _ = tokio::time::timeout_at(deadline.instant(), self.idle()).await;
        }
    }

    async fn idle(&self) {
        let mut changes = self.changes.subscribe();
        while self.held.len() > 0 {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
