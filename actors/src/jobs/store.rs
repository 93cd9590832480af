//! What a store of jobs promises: every function is one atomic step, durable when it returns.
//!
//! Implemented by [`super::sqlite`] (one process) and [`super::redis`] (many nodes); one contract suite
//! runs against both. Times are given by the caller.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::error::JobsError;
use super::job::{DeadReason, Job, JobFault, JobSpec, Lane, Millis, State};
use super::schedule::Schedule;
use crate::ids::{CallerId, JobId, ScheduleId};

/// What holds for every job of a store.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Delay before a job whose worker died is tried again.
    pub retry_lost_ms: i64,
    /// How long a dead letter is kept.
    pub dead_ttl_ms: i64,
    /// Events kept per job.
    pub events_max: usize,
    /// Jobs of one caller that are not over.
    pub per_caller_max: usize,
    /// Jobs of all callers that are not over.
    pub total_max: usize,
    /// Schedules of one caller.
    pub schedules_per_caller_max: usize,
    /// Schedules of all callers.
    pub schedules_max: usize,
}

/// A job to enqueue.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What is asked for.
    pub spec: JobSpec,
    /// Not before.
    pub run_at: Millis,
    /// Its arguments, sealed.
    pub payload: Vec<u8>,
}

/// What an enqueue did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// A new job.
    New(JobId),
    /// The job that the same request made before.
    Known(JobId),
}

impl Enqueued {
    /// The job.
    pub fn id(self) -> JobId {
        match self {
            Self::New(id) | Self::Known(id) => id,
        }
    }
}

/// A job in the hands of a worker.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The job; `status.grip` proves the claim.
    pub job: Job,
    /// Its arguments, sealed.
    pub payload: Vec<u8>,
}

/// Proof of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grip {
    /// The job.
    pub id: JobId,
    /// The number given by the claim.
    pub grip: u64,
    /// The lane it came from.
    pub lane: Lane,
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claims {
    /// Jobs now held.
    pub jobs: Vec<Claimed>,
    /// When the next delayed job is due, if one waits.
    pub next_due: Option<Millis>,
}

/// Whether a job may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is recorded as running: run it.
    Yes {
        /// Which attempt this is.
        attempt: u32,
    },
    /// It was cancelled or given to somebody else: leave it.
    Lost,
}

/// Whether a job is still held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Yes, until the new time.
    Held,
    /// Yes, but it is to be cancelled.
    CancelRequested,
    /// No: whatever it does must not count.
    Lost,
}

/// How a worker is done with a job.
#[derive(Clone, Debug)]
pub enum End {
    /// It has a result.
    Completed {
        /// The tool reported a failure.
        is_error: bool,
    },
    /// It failed for good.
    Failed {
        /// Why.
        fault: JobFault,
        /// Set when an operator should look at it.
        dead: Option<DeadReason>,
    },
    /// It failed and is tried again.
    Retry {
        /// Why.
        fault: JobFault,
        /// When.
        at: Millis,
    },
    /// It was turned away before anything happened; the attempt does not count.
    Postponed {
        /// Why.
        fault: JobFault,
        /// When it is tried again.
        at: Millis,
    },
    /// Its caller may not do this.
    Forbidden {
        /// Why.
        fault: JobFault,
    },
    /// The run was cut off and may have had effects.
    Unknown {
        /// Why.
        fault: JobFault,
    },
    /// The run was killed on demand.
    Cancelled,
    /// It was not begun and goes back.
    Released,
}

/// One job a worker is done with.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Proof of the claim.
    pub grip: Grip,
    /// How it ended.
    pub end: End,
    /// Its result, sealed.
    pub result: Option<Vec<u8>>,
}

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It will not run.
    Cancelled,
    /// It runs; its worker is told to kill it.
    Requested,
    /// It was over.
    Over(State),
}

/// Which jobs to list; newest first.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Of this caller only.
    pub caller: Option<CallerId>,
    /// In this state only.
    pub state: Option<State>,
    /// Dead letters only.
    pub dead: bool,
    /// Older than this one (keyset).
    pub before: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// One page of jobs.
#[derive(Debug, Default)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<JobId>,
}

/// One lane at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneDepth {
    /// Jobs that wait, delayed ones included.
    pub queued: u64,
    /// Jobs held by workers.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// Age of the oldest that could run, in milliseconds.
    pub oldest_ms: u64,
}

/// All lanes, in the order of [`Lane::ALL`].
pub type Depths = [LaneDepth; 3];

/// What another node tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// There is a job to do.
    Work,
    /// A running job is to be killed by whoever runs it.
    Cancel(JobId),
}

/// Most entries of one job's journal.
pub const JOURNAL_ENTRIES_MAX: u32 = 4_096;

impl Job {
    /// What proves the claim that this job was handed out with.
    pub fn grip(&self) -> Grip {
        Grip { id: self.id(), grip: self.status.grip, lane: self.spec.lane }
    }
}

/// The wall clock was set back.
#[derive(Clone, Copy, Debug)]
pub struct Recall {
    /// What it would show, had it not been.
    pub before: Millis,
    /// What it shows.
    pub now: Millis,
    /// Longest pause before another attempt.
    pub pause_max_ms: Millis,
    /// What a lease taken now ends at.
    pub lease_until: Millis,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, JobsError>>;

/// A job and its result, sealed.
pub type Found = (Job, Option<Vec<u8>>);

/// A durable queue.
pub trait JobStore: Send + Sync + 'static {
    /// What other nodes tell; `None` when there are none.
    fn signals(&self) -> Option<BoxStream<'static, Signal>> {
        None
    }

    /// Adds a job; durable when this returns. The same caller and key again give the same job.
    fn enqueue(&self, job: NewJob) -> Answer<'_, Enqueued>;

    /// Gives a worker up to `shares` jobs of each lane, and what is left of their sum to whichever lane
    /// has jobs, most urgent first.
    fn claim(
        &self,
        worker: &str,
        shares: [usize; 3],
        now: Millis,
        lease_until: Millis,
    ) -> Answer<'_, Claims>;

    /// Records that these jobs begin; only then may they be run.
    fn begin(&self, grips: Vec<Grip>, now: Millis) -> Answer<'_, Vec<Begun>>;

    /// Records that their worker lives.
    fn extend(&self, worker: &str, grips: Vec<Grip>, lease_until: Millis) -> Answer<'_, Vec<Hold>>;

    /// Records how they ended. False for a job that was lost before.
    fn finish(&self, ends: Vec<Finish>, now: Millis) -> Answer<'_, Vec<bool>>;

    /// Cancels; `None` when there is no such job (or it is not `owner`'s).
    fn cancel(
        &self,
        id: JobId,
        owner: Option<CallerId>,
        now: Millis,
    ) -> Answer<'_, Option<CancelOutcome>>;

    /// Takes jobs from workers whose lease has run out; answers which, as they stand then.
    fn reap(&self, now: Millis, limit: usize) -> Answer<'_, Vec<Job>>;

    /// Holds no job longer because the wall clock was set back; answers how many were changed. Every node
    /// notices and asks: asked again it may hold them less, never longer.
    fn recall(&self, recall: Recall) -> Answer<'_, usize>;

    /// Forgets jobs whose time is over; answers how many.
    fn purge(&self, now: Millis, limit: usize) -> Answer<'_, usize>;

    /// A job with its sealed result.
    fn get(&self, id: JobId) -> Answer<'_, Option<Found>>;

    /// A page of jobs.
    fn list(&self, filter: JobFilter) -> Answer<'_, JobPage>;

    /// Queues a dead letter again; false when it is none.
    fn replay(&self, id: JobId, now: Millis) -> Answer<'_, bool>;

    /// Drops a dead letter and its arguments; false when it is none.
    fn discard(&self, id: JobId, now: Millis) -> Answer<'_, bool>;

    /// How full the lanes are.
    fn depths(&self, now: Millis) -> Answer<'_, Depths>;

    /// Writes entry number `entry` of the journal of a running job, over what stood there. False when
    /// this grip does not (or no longer) hold it: then nothing was written.
    fn note(&self, grip: Grip, entry: u32, sealed: Vec<u8>) -> Answer<'_, bool>;

    /// The journal of a job, in order. It is kept as long as the job.
    fn journal(&self, id: JobId) -> Answer<'_, Vec<Vec<u8>>>;

    /// Adds or replaces a schedule.
    fn put_schedule(&self, schedule: Schedule, payload: Vec<u8>) -> Answer<'_, ()>;

    /// A schedule with its sealed arguments.
    fn schedule(&self, id: ScheduleId) -> Answer<'_, Option<(Schedule, Vec<u8>)>>;

    /// Schedules, of one caller or all, by id.
    fn schedules(&self, caller: Option<CallerId>) -> Answer<'_, Vec<Schedule>>;

    /// Removes a schedule; false when there is none.
    fn remove_schedule(&self, id: ScheduleId) -> Answer<'_, bool>;

    /// Schedules whose tick has come.
    fn due(&self, now: Millis, limit: usize) -> Answer<'_, Vec<(Schedule, Vec<u8>)>>;

    /// Enqueues the job of a tick and moves the schedule on, together; `None` when another node did, or
    /// the schedule changed. `job` = `None` only moves it on.
    fn fire(
        &self,
        id: ScheduleId,
        tick: Millis,
        next: Millis,
        job: Option<NewJob>,
    ) -> Answer<'_, bool>;
}
