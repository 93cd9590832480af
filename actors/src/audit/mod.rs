//! The audit: who did what, when, and how it ended; complete, durable, tamper-evident.
//!
//! Called by the face for every call ([`AuditHandle::append`]) and by the administration
//! ([`AuditHandle::query`]); `ultimate-mcp audit verify` calls [`verify()`] on the file, offline or
//! beside a running server. Refuses: bad filters; appends while the trail cannot be written.
//!
//! An event's way: bounded and serialised on its author's thread (`prepared`) → joins the writer's batch
//! (`actor`) → hashed, chained and inserted, one fsync per batch (`store`) → answered → written as a log
//! line on another thread (`lines`).
//!
//! What the chain proves is said in `chain`, what it cannot prove in `verify`.

mod actor;
mod chain;
mod cut;
mod end;
mod erasure;
mod error;
mod event;
mod export;
mod exported;
mod lines;
mod naming;
mod options;
mod orphans;
mod prepared;
mod query;
mod readers;
mod row;
mod schema;
mod spool;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod verify;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::Semaphore;

use self::actor::{Append, AuditActor, Counters, Setup};
use self::lines::LineWriter;
use self::prepared::Prepared;
use self::readers::Readers;
use self::spool::Spool;
use self::upkeep::{Erase, ErasureCopied};
use crate::deadline::Deadline;
use crate::ids::{CallerId, EventId};
use crate::sqlite::create_private;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub(crate) use self::erasure::Erasure;
pub(crate) use self::spool::{SpoolReader, Spooled};
#[cfg(test)]
pub(crate) use self::store::Store;

pub use self::chain::{AuditKey, HASH_BYTES};
pub use self::end::{adopt, end_of};
pub use self::erasure::erase_offline;
pub use self::error::AuditError;
pub use self::event::{Body, Event, EventType, NewEvent, Phase};
pub use self::export::{EXPORTS_MAX, Export, ExportFormat, export_file};
pub use self::exported::{ExportReport, verify_export};
pub use self::options::{AuditOptions, Lines};
pub use self::orphans::{OVERDUE, STOPPED};
pub use self::prepared::{DETAILS_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX, TEXT_BYTES_MAX};
pub use self::query::{Filter, LIMIT_DEFAULT, LIMIT_MAX, Page};
pub use self::upkeep::ErasureReport;
pub use self::verify::{Broken, Fault, VerifyReport, Witness, verify, verify_against};

/// The way to the audit. Cheap to clone: every call holds one.
#[derive(Clone)]
pub struct AuditHandle(Arc<Way>);

struct Way {
    child: ChildRef<AuditActor>,
    /// For outcomes: their calls were accepted before the drain began.
    through_drain: ChildRef<AuditActor>,
    readers: Readers,
    counters: Arc<Counters>,
    spool: Spool,
    exports: Arc<Semaphore>,
    /// Held for the life of the process: one server per file.
    _lock: File,
}

/// What the writer has done since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AuditStats {
    /// Events made durable.
    pub events: u64,
    /// Transactions, each with one fsync.
    pub commits: u64,
    /// Transactions that failed.
    pub commits_failed: u64,
    /// Events refused because their transaction failed.
    pub events_failed: u64,
    /// Most events that shared a transaction.
    pub batch_events_max: u64,
    /// Calls without an outcome.
    pub open_calls: usize,
    /// Calls that an earlier process left open and this one closed.
    pub orphans_swept: u64,
    /// Calls closed because they never reported back.
    pub overdue_closed: u64,
    /// Seq of the last event.
    pub last_seq: i64,
    /// Log lines not written because their queue was full.
    pub lines_dropped: u64,
    /// Events that retention removed.
    pub events_removed: u64,
}

impl AuditHandle {
    /// Opens (or creates, mode 0600) the file at `path`, gives calls that an earlier process left open
    /// their outcome, and starts the writer as `audit`.
    ///
    /// # Errors
    /// When another server uses the file, it belongs to another key, its end was tampered with, or it
    /// cannot be opened or written; when the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        path: &Path,
        key: AuditKey,
        options: AuditOptions,
    ) -> Result<Self, AuditError> {
        let lock = lock(path)?;
        open_private(path)?;
        let counters = Arc::new(Counters::default());
        let shipped = if options.copied_elsewhere { 0 } else { i64::MAX };
        counters.shipped_seq.store(shipped, Ordering::Release);
        let (swept, last_seq) = orphans::sweep(path, &key, options.wal_pages)?;
        counters.last_seq.store(last_seq, Ordering::Relaxed);
        counters.orphans_swept.store(swept as u64, Ordering::Relaxed);
        let lines = LineWriter::start(options.stdout, counters.lines_dropped.clone())
            .map_err(|error| AuditError::Open(Arc::new(error)))?;
        let readers = Readers::new(path, options.readers, options.readers_waiting_max);
        let mailbox = options.mailbox;
        let spool = Spool::new(path, key.clone());
        let setup =
            Setup { path: path.to_owned(), key, options, lines, counters: counters.clone() };
        let spec = ChildSpec::new("audit", mailbox, move || AuditActor::new(setup.clone()));
        let child = supervisor.spawn(spec).await;
        let child = child.map_err(|error| AuditError::Spawn(Arc::new(error)))?;
        let through_drain = child.through_drain();
        let exports = Arc::new(Semaphore::new(EXPORTS_MAX));
        Ok(Self(Arc::new(Way {
            child,
            through_drain,
            readers,
            counters,
            spool,
            exports,
            _lock: lock,
        })))
    }

    /// Adds an event; returns its id when it is durable.
    ///
    /// Dropping the future before the writer took the event withdraws it: an outcome is to be awaited
    /// in a task of its own, not in one a client can cancel.
    ///
    /// # Errors
    /// [`AuditError::Write`] when it cannot be made durable (nothing of it is kept);
    /// [`AuditError::Ask`] when the writer is overloaded, down, or did not answer in time.
    pub fn append(
        &self,
        event: NewEvent,
        deadline: Deadline,
    ) -> impl Future<Output = Result<EventId, AuditError>> + Send + use<> {
        self.send(&event, true, deadline)
    }

    /// Like [`AuditHandle::append`], but the event may wait for company, at most
    /// `AuditOptions::defer_ms`: for the intent of a call without lasting effects, which is awaited
    /// together with its outcome and then shares its commit.
    ///
    /// # Errors
    /// As [`AuditHandle::append`].
    pub fn append_deferred(
        &self,
        event: NewEvent,
        deadline: Deadline,
    ) -> impl Future<Output = Result<EventId, AuditError>> + Send + use<> {
        self.send(&event, false, deadline)
    }

    /// Adds the intent and the outcome of a call that is already over, one right after the other, with
    /// one message: for calls without lasting effects that never had to wait for anything.
    ///
    /// # Errors
    /// As [`AuditHandle::append`]; neither is kept then.
    pub fn append_pair(
        &self,
        intent: &NewEvent,
        outcome: &NewEvent,
        deadline: Deadline,
    ) -> impl Future<Output = Result<EventId, AuditError>> + Send + use<> {
        let (before, event) = (Some(Prepared::new(intent)), Prepared::new(outcome));
        self.hand_over(Append { before, event, urgent: true }, true, deadline)
    }

    /// Hands an event over without waiting for it to become durable: for what the engine notices about
    /// itself (supervision, breakers) in code that cannot wait. It is lost if the writer crashes with it
    /// in hand.
    ///
    /// # Errors
    /// [`AuditError::Ask`] when the writer is overloaded or down for good.
    pub fn record(&self, event: &NewEvent) -> Result<EventId, AuditError> {
        let prepared = Prepared::new(event);
        let event_id = prepared.event_id;
        self.0.through_drain.tell(Append { before: None, event: prepared, urgent: false })?;
        Ok(event_id)
    }

    /// Reads a page of events, beside the writer.
    ///
    /// # Errors
    /// A bad filter; too many queries; longer than the deadline.
    pub async fn query(&self, filter: Filter, deadline: Deadline) -> Result<Page, AuditError> {
        filter.check()?;
        self.0.readers.page(filter, deadline).await
    }

    /// The events that `filter` wants (its `limit` and `cursor` aside) up to now, oldest first, as a file.
    ///
    /// # Errors
    /// A bad filter; too many exports at once.
    pub fn export(&self, filter: Filter, format: ExportFormat) -> Result<Export, AuditError> {
        let end = self.stats().last_seq;
        Export::new(self.0.readers.clone(), &self.0.exports, filter, format, end)
    }

    /// Erases a person from the trail: the name, addresses and sessions go, the events stay and still
    /// verify. Answered when every stored event was looked at; noted durably at once and carried on
    /// after a crash or when the deadline passes. Calls of the person that run meanwhile are looked for
    /// again a quarter of an hour later.
    ///
    /// # Errors
    /// The writer is overloaded, down, or the trail cannot be written.
    pub async fn erase(
        &self,
        user: &CallerId,
        deadline: Deadline,
    ) -> Result<ErasureReport, AuditError> {
        self.0.child.ask(Erase { user: user.as_str().to_owned() }, deadline).await?
    }

    /// The trail for who copies it elsewhere.
    pub(crate) fn spool(&self) -> &Spool {
        &self.0.spool
    }

    /// Events up to this seq are durable elsewhere: retention may remove them.
    pub(crate) fn shipped(&self, seq: i64) {
        self.0.counters.shipped_seq.store(seq, Ordering::Release);
    }

    /// Up to where retention may remove events.
    #[cfg(test)]
    pub(crate) fn shipped_seq(&self) -> i64 {
        self.0.counters.shipped_seq.load(Ordering::Acquire)
    }

    /// The copy elsewhere has followed an erasure up to this stage.
    pub(crate) async fn erasure_copied(
        &self,
        erasure: &Erasure,
        deadline: Deadline,
    ) -> Result<(), AuditError> {
        let copied = ErasureCopied { id: erasure.id, stage: erasure.stage };
        self.0.child.ask(copied, deadline).await?
    }

    /// What the writer has done since the process started.
    pub fn stats(&self) -> AuditStats {
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AuditStats {
            events: read(&counters.events),
            commits: read(&counters.commits),
            commits_failed: read(&counters.commits_failed),
            events_failed: read(&counters.events_failed),
            batch_events_max: read(&counters.batch_events_max),
            open_calls: counters.open_calls.load(Ordering::Relaxed),
            orphans_swept: read(&counters.orphans_swept),
            overdue_closed: read(&counters.overdue_closed),
            last_seq: counters.last_seq.load(Ordering::Relaxed),
            lines_dropped: read(&counters.lines_dropped),
            events_removed: read(&counters.events_removed),
        }
    }

    fn send(
        &self,
        event: &NewEvent,
        urgent: bool,
        deadline: Deadline,
    ) -> impl Future<Output = Result<EventId, AuditError>> + Send + use<> {
        let through_drain = event.phase == Phase::Outcome;
        let append = Append { before: None, event: Prepared::new(event), urgent };
        self.hand_over(append, through_drain, deadline)
    }

    /// Events are prepared before the future exists, which is moved about and so had better be small.
    fn hand_over(
        &self,
        append: Append,
        through_drain: bool,
        deadline: Deadline,
    ) -> impl Future<Output = Result<EventId, AuditError>> + Send + use<> {
        let way = Arc::clone(&self.0);
        async move {
            let event_id = append.event.event_id;
            let child = if through_drain { &way.through_drain } else { &way.child };
            child.ask(append, deadline).await??;
            Ok(event_id)
        }
    }
}

/// Takes the lock that a server holds on its file for life (`<path>.lock`, flock).
fn lock(path: &Path) -> Result<File, AuditError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = open_private(&PathBuf::from(beside))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::Locked),
        Err(TryLockError::Error(error)) => Err(AuditError::Open(Arc::new(error))),
    }
}

fn open_private(path: &Path) -> Result<File, AuditError> {
    create_private(path).map_err(|error| AuditError::Open(Arc::new(error)))
}
