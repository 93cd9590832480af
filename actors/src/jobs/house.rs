//! What a node does beside working: heartbeats, lost leases, expiry, schedules, figures.
//!
//! Started by the actor. Every step is bounded, and one that fails is tried again at its next turn.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::clock::{Step, Watch};
use super::error::JobsError;
use super::held::{Shared, Stop};
use super::job::{JobSpec, Millis, State, now_ms};
use super::schedule::{Schedule, next_tick};
use super::seal::Purpose;
use super::store::{Hold, NewJob, Recall, Signal};
use crate::ids::JobId;

/// Jobs reaped or purged in one step.
const STEP_MAX: usize = 256;
/// Schedules fired in one step.
const DUE_MAX: usize = 64;
const SCHEDULE_PERIOD: Duration = Duration::from_millis(500);
const PURGE_PERIOD: Duration = Duration::from_secs(10);
const FIGURES_PERIOD: Duration = Duration::from_secs(2);

/// Tells the store that this node lives, and hears which of its jobs are not its own any more.
pub(super) async fn heartbeats(shared: Arc<Shared>) {
    let period = shared.lease() / 3;
    loop {
        tokio::time::sleep(period).await;
        let grips = shared.held.grips();
        if grips.is_empty() {
            continue;
        }
        let held = shared.store.extend(&shared.worker, grips.clone(), shared.lease_until()).await;
        match held {
            Ok(holds) => {
                for (grip, hold) in grips.into_iter().zip(holds) {
                    match hold {
                        Hold::Held => {}
                        Hold::CancelRequested => shared.held.cancel(grip.id),
                        Hold::Lost => shared.held.stop(grip.id, Stop::Lost),
                    }
                }
            }
            Err(error) => complain("a heartbeat of jobs failed", &error),
        }
    }
}

/// Takes jobs from workers that died. After a step of the wall clock leases say nothing until whoever lives has
/// renewed them: judged before, every job in hand would be lost.
pub(super) async fn reaping(shared: Arc<Shared>) {
    let period = (shared.lease() / 2).min(Duration::from_secs(5));
    let mut clock = Watch::new(now_ms(), Instant::now());
    let mut trusted_from = Instant::now();
    loop {
        let now = now_ms();
        if let Some(step) = clock.look(now, Instant::now()) {
            trusted_from = Instant::now() + shared.lease();
            set_right(&shared, step).await;
        }
        if Instant::now() >= trusted_from && reap(&shared, now).await == STEP_MAX {
            continue;
        }
        tokio::time::sleep(period).await;
    }
}

async fn set_right(shared: &Shared, Step { before, now }: Step) {
    let ms = now - before;
    tracing::warn!(clock.step_ms = ms, "the wall clock stepped by {ms} ms");
    if ms > 0 {
        return;
    }
    let pause_max_ms = i64::try_from(shared.options.retry_max_ms).unwrap_or(Millis::MAX);
    let recall = Recall { before, now, pause_max_ms, lease_until: shared.lease_until() };
    match shared.store.recall(recall).await {
        Ok(0) => {}
        Ok(changed) => {
            tracing::info!(jobs.changed = changed, "jobs timed by the clock before wait no longer");
            shared.wake.notify_one();
            shared.changed();
        }
        Err(error) => complain("jobs timed by the clock before were left waiting", &error),
    }
}

async fn reap(shared: &Shared, now: Millis) -> usize {
    match shared.store.reap(now, STEP_MAX).await {
        Ok(lost) => {
            for job in &lost {
                tracing::warn!(job = %job.id(), state = %job.status.state, "a worker died with a job in hand");
            }
            shared.reaped.fetch_add(lost.len() as u64, Ordering::Relaxed);
            if lost.iter().any(|job| job.status.state == State::Queued) {
                shared.wake.notify_one();
            }
            if !lost.is_empty() {
                shared.changed();
            }
            lost.len()
        }
        Err(error) => {
            complain("lost jobs could not be looked for", &error);
            0
        }
    }
}

/// Forgets what has expired.
pub(super) async fn purging(shared: Arc<Shared>) {
    loop {
        match shared.store.purge(now_ms(), STEP_MAX).await {
            Ok(STEP_MAX) => continue,
            Ok(_) => {}
            Err(error) => complain("expired jobs could not be dropped", &error),
        }
        tokio::time::sleep(PURGE_PERIOD).await;
    }
}

/// Looks how full the lanes are.
pub(super) async fn figures(shared: Arc<Shared>) {
    loop {
        let depths = shared.store.depths(now_ms()).await;
        shared.store_up.store(depths.is_ok(), Ordering::Relaxed);
        if let Ok(depths) = depths {
            *shared.depths.lock().unwrap_or_else(PoisonError::into_inner) = depths;
        }
        tokio::time::sleep(FIGURES_PERIOD).await;
    }
}

/// Hears what other nodes tell.
pub(super) async fn listening(shared: Arc<Shared>) {
    let Some(mut signals) = shared.store.signals() else { return };
    while let Some(signal) = signals.next().await {
        match signal {
            Signal::Work => shared.wake.notify_one(),
            Signal::Cancel(id) => shared.held.cancel(id),
        }
        shared.changed();
    }
}

/// Makes the jobs of schedules, and switches off schedules whose caller no longer stands.
pub(super) async fn scheduling(shared: Arc<Shared>) {
    let mut rounds = 0_u64;
    loop {
        tokio::time::sleep(SCHEDULE_PERIOD).await;
        if shared.runner.get().is_none() || shared.is_retiring() {
            continue;
        }
        // A revocation of one token is forgotten when the token expires: look often enough.
        if rounds.is_multiple_of(20)
            && let Err(error) = switch_off(&shared).await
        {
            complain("schedules could not be looked at", &error);
        }
        rounds += 1;
        match shared.store.due(now_ms(), DUE_MAX).await {
            Ok(due) => {
                for (schedule, payload) in due {
                    let id = schedule.id;
                    if let Err(error) = fire(&shared, schedule, &payload).await {
                        tracing::warn!(error = &error as &dyn std::error::Error, schedule = %id, "a schedule made no job");
                    }
                }
            }
            Err(error) => complain("schedules could not be looked at", &error),
        }
    }
}

async fn switch_off(shared: &Shared) -> Result<(), JobsError> {
    let Some(runner) = shared.runner.get() else { return Ok(()) };
    for schedule in shared.store.schedules(None).await? {
        if !schedule.enabled || runner.stands(&schedule.identity) {
            continue;
        }
        let Some((mut schedule, payload)) = shared.store.schedule(schedule.id).await? else {
            continue;
        };
        tracing::warn!(schedule = %schedule.id, caller = %schedule.identity.caller, "a schedule is switched off: its caller's token was revoked");
        schedule.enabled = false;
        shared.store.put_schedule(schedule, payload).await?;
    }
    Ok(())
}

async fn fire(shared: &Shared, schedule: Schedule, payload: &[u8]) -> Result<(), JobsError> {
    let now = now_ms();
    let (id, tick) = (schedule.id, schedule.next_at);
    let next = next_tick(&schedule.cron, now)?;
    let arguments = shared.sealer.open(Purpose::Schedule, id.as_uuid(), payload)?;
    let job = JobId::new();
    let payload = shared.sealer.seal(Purpose::Arguments, job.as_uuid(), arguments.as_bytes())?;
    let spec = JobSpec {
        id: job,
        identity: schedule.identity,
        tool: schedule.tool,
        lane: schedule.lane,
        idempotent: schedule.idempotent,
        max_attempts: schedule.max_attempts,
        result_ttl_ms: schedule.result_ttl_ms,
        created_at: now,
        trace: None,
        request_id: None,
        schedule: Some(id),
        dedupe: None,
    };
    let new = NewJob { spec, run_at: now, payload };
    match shared.store.fire(id, tick, next, Some(new)).await {
        Ok(_) => {
            shared.wake.notify_one();
            shared.changed();
            Ok(())
        }
        // The tick is skipped, or it would be tried twice a second for ever.
        Err(full @ (JobsError::CallerFull(_) | JobsError::Full(_))) => {
            shared.store.fire(id, tick, next, None).await?;
            Err(full)
        }
        Err(error) => Err(error),
    }
}

fn complain(what: &'static str, error: &JobsError) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}
