//! The queue of many nodes, on Redis.
//!
//! A stream per lane with one consumer group hands jobs out; the job itself is a hash; delayed jobs wait
//! in a sorted set. Lost leases come back by `XAUTOCLAIM`; every transition is one script, so one round
//! trip and atomic, and all keys share a hash tag, so it is the same on a single server, behind sentinels
//! and in a cluster. Other nodes hear of new jobs and cancels by pub/sub.
//!
//! Called by the handle and the workers. What Redis acknowledges is as durable as Redis is configured to
//! be: see docs/jobs.md.

mod encode;
mod journal;
mod record;
mod scripts;

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, unfold};

use self::encode::{Args, bytes, end_args, job_args, schedule};
use self::record::{FIELDS, Field};
use super::error::JobsError;
use super::job::{Job, JobFault, Millis, State};
use super::schedule::Schedule;
use super::store::{
    Begun, CancelOutcome, Claimed, Claims, Depths, End, Enqueued, Finish, Found, Grip, Hold,
    JobFilter, JobPage, JobStore, LaneDepth, NewJob, Recall, Rules, Signal,
};
use super::transition::LOST;
use crate::deadline::Deadline;
use crate::ids::{CallerId, JobId, ScheduleId};
use crate::redis::redis::{FromRedisValue, Pipeline};
use crate::redis::{Notice, RedisClient, Script};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(5);
/// Pages of ids looked through for one page of a filtered list.
const SCAN_PAGES_MAX: usize = 20;

type Answer<'a, T> = BoxFuture<'a, Result<T, JobsError>>;

/// The store; a clone shares its client.
#[derive(Clone, Debug)]
pub struct RedisJobs {
    client: RedisClient,
    base: String,
    rules: Rules,
    /// How long an entry must have lain untouched before its lease is looked at.
    idle_ms: u64,
}

impl RedisJobs {
    /// A store on this client. `lease` is how long workers may be silent.
    pub fn new(client: RedisClient, rules: Rules, lease: Duration) -> Self {
        let base = client.key(&["{jobs}"]);
        let idle_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        Self { client, base, rules, idle_ms }
    }

    fn run<T: FromRedisValue + Send + 'static>(
        &self,
        script: &'static LazyLock<Script>,
        repeatable: bool,
        args: Args,
    ) -> Answer<'_, T> {
        async move {
            let deadline = Deadline::after(STEP_MAX);
            let keys = [self.base.as_str()];
            let answer = self.client.script(deadline, repeatable, script, &keys, args).await;
            answer.map_err(JobsError::from)
        }
        .boxed()
    }

    fn name(&self, part: &str) -> String {
        format!("{}:{part}", self.base)
    }

    fn refused(&self, what: &str) -> JobsError {
        match what {
            "conflict" => JobsError::KeyConflict,
            "caller_full" => JobsError::CallerFull(self.rules.per_caller_max),
            _ => JobsError::Full(self.rules.total_max),
        }
    }

    async fn fields(&self, ids: &[JobId], names: &[String]) -> Result<Vec<Vec<Field>>, JobsError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::new();
        for id in ids {
            pipeline.cmd("HMGET").arg(self.name(&format!("job:{id}"))).arg(names);
        }
        let deadline = Deadline::after(STEP_MAX);
        Ok(self.client.pipeline(deadline, true, &pipeline).await?)
    }

    async fn read(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>, JobsError> {
        let names: Vec<String> = FIELDS.iter().map(|&name| name.to_owned()).collect();
        let rows = self.fields(ids, &names).await?;
        rows.into_iter().map(|row| record::read(&FIELDS, row)).collect()
    }

    async fn schedules_in(
        &self,
        set: String,
        score: String,
        limit: usize,
    ) -> Result<Vec<(Schedule, Vec<u8>)>, JobsError> {
        let args = vec![set.into_bytes(), score.into_bytes(), bytes(limit)];
        let rows: Vec<Vec<Field>> = self.run(&scripts::LIST_SCHEDULES, true, args).await?;
        rows.into_iter().map(schedule).collect()
    }
}

impl JobStore for RedisJobs {
    fn signals(&self) -> Option<BoxStream<'static, Signal>> {
        let (wake, cancel) = (self.name("wake"), self.name("cancel"));
        let subscription = self.client.subscribe(vec![wake, cancel.clone()]);
        let signals = unfold((subscription, cancel), |(mut subscription, cancel)| async move {
            loop {
                let signal = match subscription.next().await? {
                    Notice::Lost => continue,
                    Notice::Gained => Signal::Work,
                    Notice::Message { channel, payload } if channel == cancel => {
                        let id = std::str::from_utf8(&payload).ok();
                        match id.and_then(|id| uuid::Uuid::parse_str(id).ok()) {
                            Some(id) => Signal::Cancel(id.into()),
                            None => continue,
                        }
                    }
                    Notice::Message { .. } => Signal::Work,
                };
                return Some((signal, (subscription, cancel)));
            }
        });
        Some(signals.boxed())
    }

    fn enqueue(&self, job: NewJob) -> Answer<'_, Enqueued> {
        async move {
            let args = job_args(&job, &self.rules)?;
            let (what, id): (String, String) = self.run(&scripts::ENQUEUE, true, args).await?;
            match what.as_str() {
                "new" => Ok(Enqueued::New(job.spec.id)),
                "known" => {
                    let id = uuid::Uuid::parse_str(&id).map_err(JobsError::corrupt)?;
                    Ok(Enqueued::Known(id.into()))
                }
                what => Err(self.refused(what)),
            }
        }
        .boxed()
    }

    fn claim(
        &self,
        worker: &str,
        shares: [usize; 3],
        now: Millis,
        lease_until: Millis,
    ) -> Answer<'_, Claims> {
        let mut args = vec![bytes(worker), bytes(now), bytes(lease_until)];
        args.extend(shares.map(bytes));
        async move {
            // Not repeated: what was claimed by a lost answer comes back with its lease.
            let (due, rows): (String, Vec<Vec<Field>>) =
                self.run(&scripts::CLAIM, false, args).await?;
            let names = ["spec", "grip", "att", "run_at", "err", "wf"];
            let mut claims = Claims { jobs: Vec::new(), next_due: due.parse().ok() };
            for mut row in rows {
                let payload = row.remove(1).unwrap_or_default();
                // A row that cannot be read stays claimed and becomes a lost lease; the rest go on.
                match record::read(&names, row) {
                    Ok(Some(mut job)) => {
                        job.status.lease_until = Some(lease_until);
                        claims.jobs.push(Claimed { job, payload });
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "a claimed job cannot be read"
                        );
                    }
                }
            }
            Ok(claims)
        }
        .boxed()
    }

    fn begin(&self, grips: Vec<Grip>, now: Millis) -> Answer<'_, Vec<Begun>> {
        let mut args = vec![bytes(now), bytes(self.rules.events_max)];
        args.extend(grips.iter().flat_map(|grip| [bytes(grip.id), bytes(grip.grip)]));
        async move {
            let attempts: Vec<u32> = self.run(&scripts::BEGIN, true, args).await?;
            let begun = |attempt| match attempt {
                0 => Begun::Lost,
                attempt => Begun::Yes { attempt },
            };
            Ok(attempts.into_iter().map(begun).collect())
        }
        .boxed()
    }

    fn extend(&self, worker: &str, grips: Vec<Grip>, lease_until: Millis) -> Answer<'_, Vec<Hold>> {
        let mut args = vec![bytes(lease_until), bytes(worker)];
        args.extend(grips.iter().flat_map(|grip| [bytes(grip.id), bytes(grip.grip)]));
        async move {
            let held: Vec<u8> = self.run(&scripts::EXTEND, true, args).await?;
            let hold = |held| match held {
                0 => Hold::Lost,
                2 => Hold::CancelRequested,
                _ => Hold::Held,
            };
            Ok(held.into_iter().map(hold).collect())
        }
        .boxed()
    }

    fn finish(&self, ends: Vec<Finish>, now: Millis) -> Answer<'_, Vec<bool>> {
        async move {
            let rules = &self.rules;
            let mut args = vec![bytes(now), bytes(rules.events_max), bytes(rules.dead_ttl_ms)];
            for Finish { grip, end, result } in ends {
                let [state, kind, run_at, fault, flags, dead] = end_args(&end, now)?;
                let result = match end {
                    End::Completed { .. } => result.unwrap_or_default(),
                    _ => Vec::new(),
                };
                args.extend([bytes(grip.id), bytes(grip.grip), state, kind, run_at, fault]);
                args.extend([flags, dead, result]);
            }
            let stored: Vec<u8> = self.run(&scripts::FINISH, true, args).await?;
            Ok(stored.into_iter().map(|stored| stored == 1).collect())
        }
        .boxed()
    }

    fn cancel(
        &self,
        id: JobId,
        owner: Option<CallerId>,
        now: Millis,
    ) -> Answer<'_, Option<CancelOutcome>> {
        let owner = owner.map(|owner| bytes(&owner)).unwrap_or_default();
        let rules = &self.rules;
        let numbers = [bytes(now), bytes(rules.events_max), bytes(rules.dead_ttl_ms)];
        let mut args = vec![bytes(id), owner];
        args.extend(numbers);
        async move {
            let what: String = self.run(&scripts::CANCEL, true, args).await?;
            Ok(match what.as_str() {
                "none" => None,
                "cancelled now" => Some(CancelOutcome::Cancelled),
                "requested" => Some(CancelOutcome::Requested),
                state => State::parse(state).map(CancelOutcome::Over),
            })
        }
        .boxed()
    }

    fn reap(&self, now: Millis, limit: usize) -> Answer<'_, Vec<Job>> {
        async move {
            let rules = &self.rules;
            let fault = |code: &str| serde_json::to_vec(&JobFault::new(code, LOST));
            let args = vec![
                bytes(now),
                bytes(limit),
                bytes(self.idle_ms),
                bytes(rules.events_max),
                bytes(rules.dead_ttl_ms),
                bytes(rules.retry_lost_ms),
                fault("outcome_unknown").map_err(JobsError::corrupt)?,
                fault("crashed").map_err(JobsError::corrupt)?,
            ];
            let ids: Vec<String> = self.run(&scripts::REAP, true, args).await?;
            let ids = ids.iter().filter_map(|id| uuid::Uuid::parse_str(id).ok()).map(JobId::from);
            let jobs = self.read(&ids.collect::<Vec<_>>()).await?;
            Ok(jobs.into_iter().flatten().collect())
        }
        .boxed()
    }

    fn recall(&self, recall: Recall) -> Answer<'_, usize> {
        let Recall { before, now, pause_max_ms, lease_until } = recall;
        let args = [before, now, now + pause_max_ms, lease_until].map(bytes);
        self.run(&scripts::RECALL, true, args.to_vec())
    }

    fn purge(&self, now: Millis, limit: usize) -> Answer<'_, usize> {
        self.run(&scripts::PURGE, true, vec![bytes(now), bytes(limit)])
    }

    fn get(&self, id: JobId) -> Answer<'_, Option<Found>> {
        async move {
            let mut names: Vec<String> = FIELDS.iter().map(|&name| name.to_owned()).collect();
            names.extend((0..self.rules.events_max.max(1)).map(|slot| format!("ev:{slot}")));
            let asked: Vec<String> = names.iter().cloned().chain(["res".to_owned()]).collect();
            let mut rows = self.fields(&[id], &asked).await?;
            let Some(mut row) = rows.pop() else { return Ok(None) };
            let result = row.pop().flatten();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Ok(record::read(&names, row)?.map(|job| (job, result)))
        }
        .boxed()
    }

    fn list(&self, filter: JobFilter) -> Answer<'_, JobPage> {
        async move {
            let set = match (&filter.caller, filter.dead) {
                (_, true) => self.name("dead"),
                (Some(caller), false) => self.name(&format!("own:{caller}")),
                (None, false) => self.name("all"),
            };
            let fits = |job: &Job| {
                filter.state.is_none_or(|state| job.status.state == state)
                    && filter.caller.as_ref().is_none_or(|caller| job.belongs_to(caller))
            };
            let (mut page, mut before) = (JobPage::default(), filter.before);
            for _ in 0..SCAN_PAGES_MAX {
                let from = before.map_or("+".to_owned(), |id| format!("({id}"));
                let mut command = crate::redis::redis::cmd("ZREVRANGEBYLEX");
                command.arg(&set).arg(from).arg("-");
                command.arg("LIMIT").arg(0).arg(filter.limit + 1);
                let deadline = Deadline::after(STEP_MAX);
                let ids: Vec<String> = self.client.run(deadline, true, &command).await?;
                let more = ids.len() > filter.limit;
                let ids: Vec<JobId> = ids
                    .iter()
                    .filter_map(|id| uuid::Uuid::parse_str(id).ok().map(JobId::from))
                    .collect();
                for job in self.read(&ids).await?.into_iter().flatten().filter(fits) {
                    if page.jobs.len() == filter.limit {
                        page.next = page.jobs.last().map(Job::id);
                        return Ok(page);
                    }
                    page.jobs.push(job);
                }
                before = ids.last().copied();
                if !more {
                    return Ok(page);
                }
            }
            // Enough looked through for one answer: the next page goes on from here.
            page.next = before;
            Ok(page)
        }
        .boxed()
    }

    fn replay(&self, id: JobId, now: Millis) -> Answer<'_, bool> {
        self.run(&scripts::REPLAY, false, vec![bytes(id), bytes(now), bytes(self.rules.events_max)])
    }

    fn discard(&self, id: JobId, now: Millis) -> Answer<'_, bool> {
        self.run(&scripts::DISCARD, false, vec![bytes(id), bytes(now)])
    }

    fn depths(&self, now: Millis) -> Answer<'_, Depths> {
        async move {
            let figures: Vec<u64> = self.run(&scripts::DEPTHS, true, vec![bytes(now)]).await?;
            let mut depths = Depths::default();
            for (depth, figures) in depths.iter_mut().zip(figures.chunks_exact(4)) {
                let [queued, running, dead, oldest_ms] =
                    [figures[0], figures[1], figures[2], figures[3]];
                *depth = LaneDepth { queued, running, dead, oldest_ms };
            }
            Ok(depths)
        }
        .boxed()
    }

    fn note(&self, grip: Grip, entry: u32, sealed: Vec<u8>) -> Answer<'_, bool> {
        self.write_note(grip, entry, sealed).boxed()
    }

    fn journal(&self, id: JobId) -> Answer<'_, Vec<Vec<u8>>> {
        self.read_journal(id).boxed()
    }

    fn put_schedule(&self, schedule: Schedule, payload: Vec<u8>) -> Answer<'_, ()> {
        async move {
            let rules = &self.rules;
            let body = serde_json::to_vec(&schedule).map_err(JobsError::corrupt)?;
            let args = vec![
                bytes(schedule.id),
                bytes(&schedule.identity.caller),
                bytes(u8::from(schedule.enabled)),
                bytes(schedule.next_at),
                schedule.last_at.map(bytes).unwrap_or_default(),
                body,
                payload,
                bytes(rules.schedules_per_caller_max),
                bytes(rules.schedules_max),
            ];
            let what: String = self.run(&scripts::PUT_SCHEDULE, true, args).await?;
            match what.as_str() {
                "ok" => Ok(()),
                "caller_full" => {
                    Err(JobsError::CallerSchedulesFull(rules.schedules_per_caller_max))
                }
                _ => Err(JobsError::SchedulesFull(rules.schedules_max)),
            }
        }
        .boxed()
    }

    fn schedule(&self, id: ScheduleId) -> Answer<'_, Option<(Schedule, Vec<u8>)>> {
        async move {
            let mut command = crate::redis::redis::cmd("HMGET");
            command.arg(self.name(&format!("schedule:{id}")));
            command.arg(&["next", "last", "body", "pay"]);
            let row: Vec<Field> =
                self.client.run(Deadline::after(STEP_MAX), true, &command).await?;
            match row.get(2) {
                Some(Some(_)) => schedule(row).map(Some),
                _ => Ok(None),
            }
        }
        .boxed()
    }

    fn schedules(&self, caller: Option<CallerId>) -> Answer<'_, Vec<Schedule>> {
        async move {
            let set = match caller {
                Some(caller) => self.name(&format!("schedules:{caller}")),
                None => self.name("schedules"),
            };
            let found = self.schedules_in(set, String::new(), 0).await?;
            Ok(found.into_iter().map(|(schedule, _)| schedule).collect())
        }
        .boxed()
    }

    fn remove_schedule(&self, id: ScheduleId) -> Answer<'_, bool> {
        self.run(&scripts::REMOVE_SCHEDULE, false, vec![bytes(id)])
    }

    fn due(&self, now: Millis, limit: usize) -> Answer<'_, Vec<(Schedule, Vec<u8>)>> {
        let set = self.name("ticks");
        async move { self.schedules_in(set, now.to_string(), limit).await }.boxed()
    }

    fn fire(
        &self,
        id: ScheduleId,
        tick: Millis,
        next: Millis,
        job: Option<NewJob>,
    ) -> Answer<'_, bool> {
        async move {
            let mut args =
                vec![bytes(id), bytes(tick), bytes(next), bytes(u8::from(job.is_some()))];
            if let Some(job) = &job {
                args.extend(job_args(job, &self.rules)?);
            }
            let what: String = self.run(&scripts::FIRE, true, args).await?;
            match what.as_str() {
                "fired" => Ok(true),
                "not" => Ok(false),
                what => Err(self.refused(what)),
            }
        }
        .boxed()
    }
}
