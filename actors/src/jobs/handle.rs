//! The way to the queue for the face: enqueue, look, cancel, schedules, dead letters.
//!
//! Seals what is stored and opens what is read. Works on the store directly; the actor only works jobs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::actor::JobsActor;
use super::error::JobsError;
use super::held::Shared;
use super::job::{Dedupe, Identity, Job, JobSpec, Lane, Millis, now_ms};
use super::options::JobsOptions;
use super::runner::Runner;
use super::schedule::{Schedule, next_tick};
use super::seal::{Purpose, Sealer};
use super::store::{CancelOutcome, Depths, Enqueued, JobFilter, JobPage, JobStore, NewJob};
use crate::deadline::Deadline;
use crate::ids::{CallerId, JobId, ScheduleId};
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

/// A job somebody asks for.
#[derive(Debug)]
pub struct JobRequest<'a> {
    /// The new job's id; of a schedule it does not count.
    pub id: JobId,
    /// Who asks.
    pub identity: Identity,
    /// The tool to call.
    pub tool: String,
    /// Its arguments, a JSON object.
    pub arguments: &'a RawValue,
    /// How urgent it is.
    pub lane: Lane,
    /// Not before; `None` = now.
    pub run_at: Option<Millis>,
    /// Whether it may be repeated when nobody knows whether it ran.
    pub idempotent: bool,
    /// Attempts; `None` = `jobs.attempts_default`.
    pub max_attempts: Option<u32>,
    /// How long the result is kept; `None` = `jobs.result_ttl_seconds`.
    pub ttl_seconds: Option<u64>,
    /// The caller's `traceparent`.
    pub trace: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The caller's idempotency key, and the digest of the request.
    pub dedupe: Option<Dedupe>,
}

/// A schedule somebody asks for.
#[derive(Debug)]
pub struct ScheduleRequest<'a> {
    /// Which; a new one, or one of the caller's to replace.
    pub id: ScheduleId,
    /// For people.
    pub name: String,
    /// When, in UTC.
    pub cron: String,
    /// False: it makes no jobs.
    pub enabled: bool,
    /// What its jobs are; `run_at` and `dedupe` do not count.
    pub job: JobRequest<'a>,
}

/// A job as its owner sees it.
#[derive(Debug)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// Its result, JSON, once it is completed.
    pub result: Option<Box<RawValue>>,
}

/// Figures of this node and its view of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobsStats {
    /// The lanes, as of the last look.
    pub depths: Depths,
    /// Jobs in hand on this node.
    pub in_hand: u64,
    /// Attempts begun by this node.
    pub begun: u64,
    /// Jobs this node sent round again.
    pub retries: u64,
    /// Jobs taken from workers that died, by this node.
    pub reaped: u64,
    /// Whether the store answered last time.
    pub store_up: bool,
}

/// The way to the queue. Cheap to clone.
#[derive(Clone)]
pub struct JobsHandle {
    pub(super) shared: Arc<Shared>,
    /// Keeps the actor's place in the tree.
    #[allow(dead_code, reason = "the actor works by itself; messages are for tests")]
    pub(super) child: ChildRef<JobsActor>,
}

impl JobsHandle {
    /// Starts the actor as `jobs`. It works nothing before [`JobsHandle::attach`].
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        store: Arc<dyn JobStore>,
        sealer: Sealer,
        options: JobsOptions,
    ) -> Result<Self, JobsError> {
        let mailbox = options.mailbox;
        let shared = Arc::new(Shared::new(store, sealer, options));
        let of_actor = Arc::clone(&shared);
        let spec = ChildSpec::new("jobs", mailbox, move || JobsActor::new(Arc::clone(&of_actor)));
        let child = supervisor.spawn(spec.optional()).await?;
        Ok(Self { shared, child })
    }

    /// From now on jobs are run by this runner.
    pub fn attach(&self, runner: Arc<dyn Runner>) {
        let _ = self.shared.runner.set(runner);
        self.shared.wake.notify_waiters();
    }

    /// What can be set.
    pub fn options(&self) -> &JobsOptions {
        &self.shared.options
    }

    /// Adds a job; durable when this returns.
    ///
    /// # Errors
    /// Too many jobs, arguments too large, a key used for something else, the store.
    pub async fn enqueue(&self, request: JobRequest<'_>) -> Result<Enqueued, JobsError> {
        let options = &self.shared.options;
        let now = now_ms();
        let run_at = request.run_at.unwrap_or(now).max(now);
        let arguments = self.bounded(request.arguments)?;
        let id = request.id;
        let payload = self.shared.sealer.seal(Purpose::Arguments, id.as_uuid(), arguments)?;
        let spec = JobSpec {
            id,
            identity: request.identity,
            tool: request.tool,
            lane: request.lane,
            idempotent: request.idempotent,
            max_attempts: attempts(options, request.max_attempts),
            result_ttl_ms: ttl_ms(options, request.ttl_seconds),
            created_at: now,
            trace: request.trace,
            request_id: request.request_id,
            schedule: None,
            dedupe: request.dedupe,
        };
        let enqueued = self.shared.store.enqueue(NewJob { spec, run_at, payload }).await?;
        self.shared.wake.notify_one();
        self.shared.changed();
        Ok(enqueued)
    }

    /// A job with its result; `None` when there is none, or it is not `owner`'s.
    ///
    /// # Errors
    /// The store; a result that cannot be opened.
    pub async fn get(
        &self,
        id: JobId,
        owner: Option<&CallerId>,
    ) -> Result<Option<JobView>, JobsError> {
        let Some((job, sealed)) = self.shared.store.get(id).await? else { return Ok(None) };
        if !owner.is_none_or(|owner| job.belongs_to(owner)) {
            return Ok(None);
        }
        let open = |sealed: Vec<u8>| {
            let text = self.shared.sealer.open(Purpose::Result, id.as_uuid(), &sealed)?;
            RawValue::from_string(text).map_err(JobsError::corrupt)
        };
        let result = sealed.map(open).transpose()?;
        Ok(Some(JobView { job, result }))
    }

    /// Cancels: a waiting job at once; a running one is killed by whoever runs it, within a lease at
    /// the latest.
    ///
    /// # Errors
    /// The store.
    pub async fn cancel(
        &self,
        id: JobId,
        owner: Option<&CallerId>,
    ) -> Result<Option<CancelOutcome>, JobsError> {
        let outcome = self.shared.store.cancel(id, owner.cloned(), now_ms()).await?;
        if outcome == Some(CancelOutcome::Requested) {
            self.shared.held.cancel(id);
        }
        self.shared.changed();
        Ok(outcome)
    }

    /// A page of jobs, newest first.
    ///
    /// # Errors
    /// The store.
    pub async fn list(&self, filter: JobFilter) -> Result<JobPage, JobsError> {
        self.shared.store.list(filter).await
    }

    /// Queues a dead letter again, with the rights its caller has then; false when it is none.
    ///
    /// # Errors
    /// The store.
    pub async fn replay(&self, id: JobId) -> Result<bool, JobsError> {
        let replayed = self.shared.store.replay(id, now_ms()).await?;
        self.shared.wake.notify_one();
        self.shared.changed();
        Ok(replayed)
    }

    /// Drops a dead letter and its arguments; false when it is none.
    ///
    /// # Errors
    /// The store.
    pub async fn discard(&self, id: JobId) -> Result<bool, JobsError> {
        self.shared.store.discard(id, now_ms()).await
    }

    /// Adds a schedule, or replaces one of the same caller; `None` when the id is somebody else's.
    ///
    /// # Errors
    /// Not a cron expression, too many schedules, arguments too large, the store.
    pub async fn put_schedule(
        &self,
        request: ScheduleRequest<'_>,
    ) -> Result<Option<Schedule>, JobsError> {
        let options = &self.shared.options;
        let now = now_ms();
        let next_at = next_tick(&request.cron, now)?;
        let before = self.shared.store.schedule(request.id).await?.map(|(schedule, _)| schedule);
        let job = request.job;
        if before.as_ref().is_some_and(|s| s.identity.caller != job.identity.caller) {
            return Ok(None);
        }
        let arguments = self.bounded(job.arguments)?;
        let sealer = &self.shared.sealer;
        let payload = sealer.seal(Purpose::Schedule, request.id.as_uuid(), arguments)?;
        let schedule = Schedule {
            id: request.id,
            identity: job.identity,
            name: request.name,
            cron: request.cron,
            tool: job.tool,
            lane: job.lane,
            idempotent: job.idempotent,
            max_attempts: attempts(options, job.max_attempts),
            result_ttl_ms: ttl_ms(options, job.ttl_seconds),
            enabled: request.enabled,
            next_at,
            last_at: before.as_ref().and_then(|schedule| schedule.last_at),
            created_at: before.map_or(now, |schedule| schedule.created_at),
        };
        self.shared.store.put_schedule(schedule.clone(), payload).await?;
        Ok(Some(schedule))
    }

    /// Schedules of one caller, or all.
    ///
    /// # Errors
    /// The store.
    pub async fn schedules(&self, owner: Option<&CallerId>) -> Result<Vec<Schedule>, JobsError> {
        self.shared.store.schedules(owner.cloned()).await
    }

    /// A schedule; `None` when there is none, or it is not `owner`'s.
    ///
    /// # Errors
    /// The store.
    pub async fn schedule(
        &self,
        id: ScheduleId,
        owner: Option<&CallerId>,
    ) -> Result<Option<Schedule>, JobsError> {
        let found = self.shared.store.schedule(id).await?.map(|(schedule, _)| schedule);
        Ok(found.filter(|s| owner.is_none_or(|owner| s.identity.caller == *owner)))
    }

    /// Removes a schedule; false when there is none, or it is not `owner`'s.
    ///
    /// # Errors
    /// The store.
    pub async fn remove_schedule(
        &self,
        id: ScheduleId,
        owner: Option<&CallerId>,
    ) -> Result<bool, JobsError> {
        match self.schedule(id, owner).await? {
            Some(_) => self.shared.store.remove_schedule(id).await,
            None => Ok(false),
        }
    }

    /// Resolves when some job moved on this node, or after `patience`: look again then.
    pub async fn moved(&self, patience: Duration) {
        let mut changes = self.shared.changes.subscribe();
        let _ = tokio::time::timeout(patience, changes.changed()).await;
    }

    /// Figures for metrics; no hop, no wait.
    pub fn stats(&self) -> JobsStats {
        self.shared.stats()
    }

    /// Takes no more jobs; those in hand go on. The first step of a drain.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether this node takes no more jobs.
    pub fn is_closing(&self) -> bool {
        self.shared.is_retiring()
    }

    /// Takes no more jobs, waits for those in hand, kills what is left shortly before the deadline and
    /// records what became of it.
    pub async fn retire(&self, deadline: Deadline) {
        self.shared.retire(deadline).await;
    }

    fn bounded<'a>(&self, arguments: &'a RawValue) -> Result<&'a [u8], JobsError> {
        let (bytes, max) = (arguments.get().as_bytes(), self.shared.options.payload_bytes_max);
        match bytes.len() <= max {
            true => Ok(bytes),
            false => Err(JobsError::TooLarge { bytes: bytes.len(), max }),
        }
    }
}

fn attempts(options: &JobsOptions, asked: Option<u32>) -> u32 {
    asked.unwrap_or(options.attempts_default).clamp(1, options.attempts_max)
}

fn ttl_ms(options: &JobsOptions, asked: Option<u64>) -> i64 {
    let seconds = asked.unwrap_or(options.result_ttl_seconds);
    seconds.clamp(1, options.result_ttl_seconds_max) as i64 * 1_000
}
