//! The queue of one process: `jobs.db` (WAL, `synchronous = FULL`).
//!
//! One thread owns the connection and commits what has gathered while it worked in one transaction, so
//! many callers share a sync of the disk; every answer waits for that commit. Called by the handle and
//! the workers. Refuses when more requests wait than may.

mod jobs;
mod journal;
mod schedules;
mod schema;
mod thread;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::Connection;

use self::thread::Thread;
use super::error::JobsError;
use super::job::{Job, Millis};
use super::schedule::Schedule;
use super::store::{
    Begun, CancelOutcome, Claims, Depths, Enqueued, Finish, Found, Grip, Hold, JobFilter, JobPage,
    JobStore, NewJob, Recall, Rules,
};
use crate::ids::{CallerId, JobId, ScheduleId};

type Answer<'a, T> = BoxFuture<'a, Result<T, JobsError>>;

/// The store; a clone shares its thread.
#[derive(Clone)]
pub struct SqliteJobs {
    thread: Thread,
    rules: Arc<Rules>,
}

impl SqliteJobs {
    /// Opens (or creates) the file with mode 0600. Whatever an earlier process held is free: the data
    /// directory belongs to one process at a time, so its workers are gone.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, rules: Rules) -> Result<Self, JobsError> {
        let connection = schema::open(path)?;
        schema::free_all(&connection)?;
        Ok(Self { thread: Thread::start(connection)?, rules: Arc::new(rules) })
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Rules) -> Result<T, JobsError> + Send + 'static,
    ) -> Answer<'_, T> {
        let rules = Arc::clone(&self.rules);
        Box::pin(self.thread.run(move |connection| work(connection, &rules)))
    }
}

impl JobStore for SqliteJobs {
    fn enqueue(&self, job: NewJob) -> Answer<'_, Enqueued> {
        self.run(move |connection, rules| jobs::enqueue(connection, &job, rules))
    }

    fn claim(
        &self,
        _worker: &str,
        shares: [usize; 3],
        now: Millis,
        lease_until: Millis,
    ) -> Answer<'_, Claims> {
        self.run(move |connection, _| jobs::claim(connection, shares, now, lease_until))
    }

    fn begin(&self, grips: Vec<Grip>, now: Millis) -> Answer<'_, Vec<Begun>> {
        self.run(move |connection, rules| {
            jobs::each(
                connection,
                &grips,
                |grip| grip.id,
                Begun::Lost,
                |job, grip| job.begin(grip.grip, now, rules),
            )
        })
    }

    fn extend(
        &self,
        _worker: &str,
        grips: Vec<Grip>,
        lease_until: Millis,
    ) -> Answer<'_, Vec<Hold>> {
        self.run(move |connection, _| {
            jobs::each(
                connection,
                &grips,
                |grip| grip.id,
                Hold::Lost,
                |job, grip| job.extend(grip.grip, lease_until),
            )
        })
    }

    fn finish(&self, ends: Vec<Finish>, now: Millis) -> Answer<'_, Vec<bool>> {
        self.run(move |connection, rules| {
            ends.iter().map(|finish| jobs::finish(connection, finish, now, rules)).collect()
        })
    }

    fn cancel(
        &self,
        id: JobId,
        owner: Option<CallerId>,
        now: Millis,
    ) -> Answer<'_, Option<CancelOutcome>> {
        self.run(move |connection, rules| {
            jobs::change(connection, id, |job| {
                let theirs = owner.as_ref().is_none_or(|owner| job.belongs_to(owner));
                theirs.then(|| job.cancel(now, rules))
            })
            .map(Option::flatten)
        })
    }

    fn reap(&self, now: Millis, limit: usize) -> Answer<'_, Vec<Job>> {
        self.run(move |connection, rules| jobs::reap(connection, now, limit, rules))
    }

    fn recall(&self, recall: Recall) -> Answer<'_, usize> {
        self.run(move |connection, _| jobs::recall(connection, &recall))
    }

    fn purge(&self, now: Millis, limit: usize) -> Answer<'_, usize> {
        self.run(move |connection, _| jobs::purge(connection, now, limit))
    }

    fn get(&self, id: JobId) -> Answer<'_, Option<Found>> {
        self.run(move |connection, _| jobs::get(connection, id))
    }

    fn list(&self, filter: JobFilter) -> Answer<'_, JobPage> {
        self.run(move |connection, _| jobs::list(connection, &filter))
    }

    fn replay(&self, id: JobId, now: Millis) -> Answer<'_, bool> {
        self.run(move |connection, rules| {
            let changed = jobs::change(connection, id, |job| job.replay(now, rules))?;
            Ok(changed.unwrap_or(false))
        })
    }

    fn discard(&self, id: JobId, now: Millis) -> Answer<'_, bool> {
        self.run(move |connection, _| {
            let changed = jobs::change(connection, id, |job| job.discard(now))?;
            Ok(changed.unwrap_or(false))
        })
    }

    fn depths(&self, now: Millis) -> Answer<'_, Depths> {
        self.run(move |connection, _| jobs::depths(connection, now))
    }

    fn note(&self, grip: Grip, entry: u32, sealed: Vec<u8>) -> Answer<'_, bool> {
        self.run(move |connection, _| journal::note(connection, grip, entry, &sealed))
    }

    fn journal(&self, id: JobId) -> Answer<'_, Vec<Vec<u8>>> {
        self.run(move |connection, _| journal::read(connection, id))
    }

    fn put_schedule(&self, schedule: Schedule, payload: Vec<u8>) -> Answer<'_, ()> {
        self.run(move |connection, rules| schedules::put(connection, &schedule, &payload, rules))
    }

    fn schedule(&self, id: ScheduleId) -> Answer<'_, Option<(Schedule, Vec<u8>)>> {
        self.run(move |connection, _| schedules::get(connection, id))
    }

    fn schedules(&self, caller: Option<CallerId>) -> Answer<'_, Vec<Schedule>> {
        self.run(move |connection, _| schedules::list(connection, caller.as_ref()))
    }

    fn remove_schedule(&self, id: ScheduleId) -> Answer<'_, bool> {
        self.run(move |connection, _| schedules::remove(connection, id))
    }

    fn due(&self, now: Millis, limit: usize) -> Answer<'_, Vec<(Schedule, Vec<u8>)>> {
        self.run(move |connection, _| schedules::due(connection, now, limit))
    }

    fn fire(
        &self,
        id: ScheduleId,
        tick: Millis,
        next: Millis,
        job: Option<NewJob>,
    ) -> Answer<'_, bool> {
        self.run(move |connection, rules| {
            if !schedules::advance(connection, id, tick, next, job.is_some())? {
                return Ok(false);
            }
            if let Some(job) = &job {
                jobs::enqueue(connection, job, rules)?;
            }
            Ok(true)
        })
    }
}
