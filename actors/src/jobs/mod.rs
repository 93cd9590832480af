//! Jobs: everything that is not answered in the same breath.
//!
//! ```text
//! enqueue ──▶ JobStore (SQLite | Redis Streams) ◀──claim, begin, finish── workers ──Runner──▶ tools_call
//! ```
//! A job is durable before its enqueue is acknowledged. A worker holds it by a lease; the run begins
//! only after that is recorded. At most once for what is not idempotent: a worker that dies in a run
//! leaves `outcome_unknown`, unless the caller said `idempotent`; a job that had not begun goes back.
//!
//! No crate gives leases, retries, fencing and both stores at once (apalis' SQL backend needs sqlx and
//! with it a second libsqlite; its Redis backend uses lists, not Streams), so this is a thin layer of
//! ours on what the engines offer: a transaction here, Streams with consumer groups and scripts there.
//!
//! Called by the face (REST, tools) and, through [`Runner`], calling it. Refuses more jobs than a caller,
//! or all together, may have.

mod actor;
mod clock;
mod error;
mod handle;
mod held;
mod house;
mod job;
mod journal;
mod options;
mod redis;
mod runner;
mod schedule;
mod seal;
mod sqlite;
mod store;
#[cfg(test)]
mod tests;
mod transition;
mod worker;

pub use self::error::JobsError;
pub use self::handle::{JobRequest, JobView, JobsHandle, JobsStats, ScheduleRequest};
pub use self::job::{
    DeadReason, Dedupe, Identity, Job, JobEvent, JobFault, JobSpec, JobStatus, Lane, Millis, State,
    now_ms,
};
pub use self::options::{JobsEngine, JobsOptions};
pub use self::redis::RedisJobs;
pub use self::runner::{Order, RunEnd, Runner};
pub use self::schedule::{Schedule, next_tick};
pub use self::seal::Sealer;
pub use self::sqlite::SqliteJobs;
pub use self::store::{
    Begun, CancelOutcome, Claimed, Claims, Depths, End, Enqueued, Finish, Grip, Hold,
    JOURNAL_ENTRIES_MAX, JobFilter, JobPage, JobStore, LaneDepth, NewJob, Rules, Signal,
};
