//! The one writer of the trail.
//!
//! Owns: the write connection, the end of the chain, the batch being gathered.
//! Mailbox: `AuditOptions::mailbox` appends (4096); when full, callers hear `Overloaded` at once.
//! Dies when: a handler panics; a failed commit is no death but an error to the batch's callers.
//! Restarted: by its supervisor, on an arbiter of its own; it reopens the file and continues the chain.
//!
//! Group commit: an append joins the batch and is answered when the batch's transaction is durable. The
//! batch closes when the mailbox is drained and as many are waiting as shared the transaction before, or
//! a millisecond later: a lone event is committed at once, and busy callers share their commits.

use std::cell::RefCell;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext, Context, Handler, Message, Supervised};
use tokio::time::Sleep;

use super::chain::AuditKey;
use super::error::AuditError;
use super::lines::{LineBatch, LineWriter};
use super::options::AuditOptions;
use super::orphans::{self, OVERDUE};
use super::prepared::Prepared;
use super::store::Store;
use super::upkeep::Upkeep;

/// How long an event somebody waits for may wait for the company of the transaction before.
const COMPANY_MAX: Duration = Duration::from_millis(1);
/// How long after the start retention and erasure begin.
const UPKEEP_DELAY: Duration = Duration::from_millis(500);
/// How often overdue calls are looked for.
const OVERDUE_PERIOD: Duration = Duration::from_secs(30);
/// Most overdue calls closed at once: a pause of a few milliseconds.
const OVERDUE_CHUNK: usize = 512;

/// What the writer has done since the process started; readable without asking it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub events: AtomicU64,
    pub commits: AtomicU64,
    pub commits_failed: AtomicU64,
    pub events_failed: AtomicU64,
    pub batch_events_max: AtomicU64,
    pub overdue_closed: AtomicU64,
    pub orphans_swept: AtomicU64,
    pub open_calls: AtomicUsize,
    pub last_seq: AtomicI64,
    pub lines_dropped: Arc<AtomicU64>,
    pub events_removed: AtomicU64,
    /// Events up to this seq are copied elsewhere: retention may remove them.
    pub shipped_seq: AtomicI64,
}

/// Everything a fresh writer is made from.
#[derive(Clone)]
pub(crate) struct Setup {
    pub path: PathBuf,
    pub key: AuditKey,
    pub options: AuditOptions,
    pub lines: Option<LineWriter>,
    pub counters: Arc<Counters>,
}

/// Adds an event to the trail; answered when it is durable.
#[derive(Message)]
#[rtype(result = "Result<(), AuditError>")]
pub(crate) struct Append {
    /// Placed in the trail right before the event: the intent of a call that is already over.
    pub before: Option<Prepared>,
    pub event: Prepared,
    /// Somebody waits: commit as soon as the mailbox is drained.
    pub urgent: bool,
}

/// The writer.
pub(crate) struct AuditActor {
    setup: Setup,
    /// `None` until the first append and after a failed one: the next reopens the file.
    store: Option<Store>,
    batch: Rc<RefCell<Batch>>,
    pub(super) upkeep: Upkeep,
}

type Reply = OneshotSender<Result<(), AuditError>>;

/// Events that wait for their transaction, and whom to tell.
#[derive(Default)]
struct Batch {
    events: Vec<Prepared>,
    replies: Vec<Option<Reply>>,
    /// Events somebody waits for.
    urgent: usize,
    /// How many of those are worth waiting for: as many as shared the transaction before.
    company: usize,
    committer: Option<Waker>,
}

impl AuditActor {
    pub(crate) fn new(setup: Setup) -> Self {
        Self { setup, store: None, batch: Rc::default(), upkeep: Upkeep::default() }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Has the file opened anew before it is used again.
    pub(super) fn forget_store(&mut self) {
        self.store = None;
    }

    pub(super) fn store(&mut self) -> Result<&mut Store, AuditError> {
        if self.store.is_none() {
            let Setup { path, key, options, .. } = &self.setup;
            self.store = Some(Store::open(path, key.clone(), options.wal_pages)?);
        }
        self.store.as_mut().ok_or(AuditError::Locked)
    }

    /// Commits everything gathered, in transactions within the bounds of size.
    pub(super) fn commit(&mut self) {
        let (mut events, mut replies) = {
            let mut batch = self.batch.borrow_mut();
            batch.company = std::mem::take(&mut batch.urgent);
            (std::mem::take(&mut batch.events), std::mem::take(&mut batch.replies))
        };
        while !events.is_empty() {
            let count = self.chunk(&events);
            let rest = (events.split_off(count), replies.split_off(count));
            let result = self.append(events);
            for reply in replies.into_iter().flatten() {
                // Whoever left does not need the answer.
                let _ = reply.send(result.clone());
            }
            (events, replies) = rest;
        }
    }

    /// How many of the events fit into one transaction: at least one.
    fn chunk(&self, events: &[Prepared]) -> usize {
        let options = &self.setup.options;
        let mut bytes = 0;
        let within = events.iter().take(options.batch_events_max).take_while(|event| {
            bytes += event.weight();
            bytes <= options.batch_bytes_max
        });
        within.count().max(1)
    }

    fn append(&mut self, events: Vec<Prepared>) -> Result<(), AuditError> {
        let counters = self.setup.counters.clone();
        let placed = self.store().and_then(|store| store.append(&events));
        let count = events.len() as u64;
        match placed {
            Ok(placed) => {
                counters.commits.fetch_add(1, Ordering::Relaxed);
                counters.events.fetch_add(count, Ordering::Relaxed);
                counters.batch_events_max.fetch_max(count, Ordering::Relaxed);
                if let Some(store) = &self.store {
                    counters.open_calls.store(store.open_calls(), Ordering::Relaxed);
                    counters.last_seq.store(store.head().seq, Ordering::Relaxed);
                }
                if let Some(lines) = &self.setup.lines {
                    let (first_seq, hashes) = (placed.first_seq, placed.hashes);
                    lines.send(LineBatch { first_seq, events, hashes });
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    events = count,
                    "audit events could not be written"
                );
                counters.commits_failed.fetch_add(1, Ordering::Relaxed);
                counters.events_failed.fetch_add(count, Ordering::Relaxed);
                self.store = None;
                Err(error)
            }
        }
    }

    /// Gives calls that never reported back their outcome.
    fn close_overdue(&mut self) {
        let options = &self.setup.options;
        let overdue_us = options.outcome_overdue_seconds as i64 * 1_000_000;
        let before = chrono::Utc::now().timestamp_micros() - overdue_us;
        let keep_max = options.open_calls_max;
        let Some(store) = &self.store else { return };
        let calls = store.overdue(before, keep_max, OVERDUE_CHUNK);
        if calls.is_empty() {
            return;
        }
        let closed = orphans::outcomes_for(store, &calls, OVERDUE)
            .and_then(|outcomes| self.append(outcomes));
        if closed.is_ok() {
            let count = calls.len() as u64;
            self.setup.counters.overdue_closed.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Actor for AuditActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let defer = Duration::from_millis(self.setup.options.defer_ms);
        context.spawn(Committer { defer, patience: None });
        context.run_interval(OVERDUE_PERIOD, |actor, _| actor.close_overdue());
        self.upkeep_after(UPKEEP_DELAY, context);
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.commit();
    }
}

impl Supervised for AuditActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        let fresh = Self::new(self.setup.clone());
        if let Some(store) = std::mem::replace(self, fresh).store {
            // Closing the file may wait for the disk; callers wait for this actor.
            tokio::task::spawn_blocking(move || drop(store));
        }
    }
}

impl Handler<Append> for AuditActor {
    type Result = Joining;

    fn handle(&mut self, message: Append, _: &mut Context<Self>) -> Joining {
        Joining { batch: self.batch.clone(), message }
    }
}

/// An event on its way into the batch, where its reply joins it: no future per event.
pub(crate) struct Joining {
    batch: Rc<RefCell<Batch>>,
    message: Append,
}

impl MessageResponse<AuditActor, Append> for Joining {
    fn handle(self, _: &mut Context<AuditActor>, reply: Option<Reply>) {
        let mut batch = self.batch.borrow_mut();
        let first = batch.events.is_empty();
        if let Some(before) = self.message.before {
            batch.events.push(before);
            batch.replies.push(None);
        }
        batch.events.push(self.message.event);
        batch.replies.push(reply);
        batch.urgent += usize::from(self.message.urgent);
        let wake =
            first || (self.message.urgent && (batch.urgent == 1 || batch.urgent >= batch.company));
        if wake && let Some(committer) = &batch.committer {
            committer.wake_by_ref();
        }
    }
}

/// Polled whenever the mailbox has been drained: commits what was gathered.
struct Committer {
    defer: Duration,
    /// Runs while the batch waits for company.
    patience: Option<Patience>,
}

/// Why a batch waits, and how long.
struct Patience {
    urgent: bool,
    over: Pin<Box<Sleep>>,
}

impl Committer {
    /// How long this batch may wait for company; `None` when it is to be committed now.
    fn patience(&self, batch: &Batch) -> Option<(bool, Duration)> {
        match batch.urgent {
            0 => Some((false, self.defer)),
            // A transaction costs about as much as ten events: callers who shared the last one are
            // likely to come again, and a lone caller (company of one) never waits.
            urgent if urgent < batch.company => Some((true, COMPANY_MAX)),
            _ => None,
        }
    }
}

impl ActorFuture<AuditActor> for Committer {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut AuditActor,
        _: &mut Context<AuditActor>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let wait = {
            let mut batch = actor.batch.borrow_mut();
            if !batch.committer.as_ref().is_some_and(|waker| waker.will_wake(task.waker())) {
                batch.committer = Some(task.waker().clone());
            }
            if batch.events.is_empty() {
                self.patience = None;
                return Poll::Pending;
            }
            self.patience(&batch)
        };
        if let Some((urgent, span)) = wait {
            // Somebody began to wait: the longer patience is over.
            self.patience = self.patience.take().filter(|patience| patience.urgent == urgent);
            let patience = self.patience.get_or_insert_with(|| Patience {
                urgent,
                over: Box::pin(tokio::time::sleep(span)),
            });
            if patience.over.as_mut().poll(task).is_pending() {
                return Poll::Pending;
            }
        }
        self.patience = None;
        actor.commit();
        Poll::Pending
    }
}

/// Makes the writer panic, to test its restart.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

#[cfg(test)]
impl Handler<Crash> for AuditActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}

/// Lets the file grow no further, as a full disk would, until it is opened anew.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FillDisk;

#[cfg(test)]
impl Handler<FillDisk> for AuditActor {
    type Result = ();

    fn handle(&mut self, _: FillDisk, _: &mut Context<Self>) {
        let connection = self.store().unwrap().connection();
        connection.pragma_update(None, "max_page_count", 1).unwrap();
    }
}
