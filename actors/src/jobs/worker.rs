//! The working loop of a node: claim, begin, run, report.
//!
//! Started by the actor. Claims as many jobs as it has free places, in one step each for claim, begin and
//! the ends that gathered. Refuses to run a job whose beginning could not be recorded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use super::error::JobsError;
use super::held::{Shared, Stop};
use super::job::{DeadReason, JobFault, Lane, now_ms};
use super::runner::{Order, RunEnd, Runner};
use super::seal::Purpose;
use super::store::{Begun, Claimed, End, Finish, Grip};
use crate::deadline::Deadline;
use crate::fault::Retry;
use crate::resilience::schedule::{Schedule, ScheduleOptions};

/// Whose turn it is, place by place: four of eight for interactive, three for normal, one for low.
const TURNS: [Lane; 8] = [
    Lane::Interactive,
    Lane::Normal,
    Lane::Interactive,
    Lane::Normal,
    Lane::Interactive,
    Lane::Low,
    Lane::Interactive,
    Lane::Normal,
];
/// Jobs claimed in one step.
const CLAIM_MAX: usize = 256;
/// How long the end of a run is offered to a store that does not answer.
const REPORT_MAX: Duration = Duration::from_secs(300);
/// Shortest wait of a job that was turned away.
const TURNED_AWAY_MS_MIN: i64 = 100;

/// How many places each lane gets out of `count`, beginning with turn number `ticket`.
pub(super) fn shares(count: usize, ticket: usize) -> [usize; 3] {
    let mut shares = [0; 3];
    for turn in ticket..ticket + count {
        shares[TURNS[turn % TURNS.len()] as usize] += 1;
    }
    shares
}

/// Works until the node retires.
pub(super) async fn work(shared: Arc<Shared>) {
    let mut patience = backoff();
    let poll = Duration::from_millis(shared.options.poll_ms);
    while !shared.is_retiring() {
        // Before the look: what happens in between is not slept through.
        let woken = shared.wake.notified();
        let Some(runner) = shared.runner.get().cloned() else {
            let _ = tokio::time::timeout(poll, woken).await;
            continue;
        };
        let free = shared.options.workers.saturating_sub(shared.held.len()).min(CLAIM_MAX);
        if free == 0 {
            let _ = tokio::time::timeout(poll, woken).await;
            continue;
        }
        let ticket = shared.ticket.load(Ordering::Relaxed);
        let (now, until) = (now_ms(), shared.lease_until());
        let claimed = shared.store.claim(&shared.worker, shares(free, ticket), now, until).await;
        shared.store_up.store(claimed.is_ok(), Ordering::Relaxed);
        match claimed {
            Ok(claims) if claims.jobs.is_empty() => {
                patience.reset();
                let due = claims.next_due.map_or(poll, |due| {
                    Duration::from_millis((due - now_ms()).max(1) as u64).min(poll)
                });
                let _ = tokio::time::timeout(due, woken).await;
            }
            Ok(claims) => {
                patience.reset();
                shared.ticket.store(ticket.wrapping_add(claims.jobs.len()), Ordering::Relaxed);
                take_up(&shared, &runner, claims.jobs).await;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "no jobs can be claimed; trying again");
                tokio::time::sleep(patience.next_delay()).await;
            }
        }
    }
}

fn backoff() -> Schedule {
    Schedule::new(ScheduleOptions {
        initial: Duration::from_millis(50),
        max: Duration::from_secs(5),
        multiplier: 2.0,
        jitter: 0.5,
    })
}

fn grip_of(claimed: &Claimed) -> Grip {
    claimed.job.grip()
}

/// Records that these jobs begin and starts those that do.
async fn take_up(shared: &Arc<Shared>, runner: &Arc<dyn Runner>, jobs: Vec<Claimed>) {
    let wait_ms_max = shared.options.wait_seconds_max as i64 * 1_000;
    let now = now_ms();
    let late = |claimed: &Claimed| {
        let status = &claimed.job.status;
        status.attempt == 0 && now - status.waits_from > wait_ms_max
    };
    let (late, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(late);
    for claimed in late {
        let fault =
            JobFault::new("deadline_exceeded", "the job waited longer than jobs.wait_seconds_max");
        let end = End::Failed { fault, dead: Some(DeadReason::WaitedTooLong) };
        report(shared, Finish { grip: grip_of(&claimed), end, result: None }).await;
    }
    let grips: Vec<Grip> = jobs.iter().map(grip_of).collect();
    let stops: Vec<_> = grips.iter().map(|grip| shared.held.add(*grip)).collect();
    let Some(begun) = begin(shared, &grips).await else {
        // Their leases run out; another worker, or this one, finds them then.
        grips.iter().for_each(|grip| shared.held.remove(grip.id));
        return;
    };
    shared.changed();
    for (((claimed, grip), stop), begun) in jobs.into_iter().zip(grips).zip(stops).zip(begun) {
        match begun {
            Begun::Lost => shared.held.remove(grip.id),
            Begun::Yes { attempt } => {
                shared.begun.fetch_add(1, Ordering::Relaxed);
                let (shared, runner) = (Arc::clone(shared), Arc::clone(runner));
                actix_rt::spawn(async move {
                    let finish = carry_out(&shared, &runner, claimed, attempt, stop).await;
                    match finish {
                        Some(finish) => report(&shared, finish).await,
                        None => shared.held.remove(grip.id),
                    }
                    shared.wake.notify_one();
                    shared.changed();
                });
            }
        }
    }
}

/// Asked again while the leases hold: an answer that was lost must not leave a job begun and not run.
async fn begin(shared: &Shared, grips: &[Grip]) -> Option<Vec<Begun>> {
    let deadline = Deadline::after(shared.lease() / 2);
    let mut patience = backoff();
    loop {
        match shared.store.begin(grips.to_vec(), now_ms()).await {
            Ok(begun) => return Some(begun),
            Err(error) if deadline.is_past() => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, jobs = grips.len(), "claimed jobs could not begin");
                return None;
            }
            Err(_) => tokio::time::sleep(patience.next_delay().min(deadline.remaining())).await,
        }
    }
}

/// Runs one attempt; `None` when the job was lost meanwhile.
async fn carry_out(
    shared: &Shared,
    runner: &Arc<dyn Runner>,
    claimed: Claimed,
    attempt: u32,
    mut stop: watch::Receiver<Option<Stop>>,
) -> Option<Finish> {
    let grip = grip_of(&claimed);
    let Claimed { job, payload } = claimed;
    let (id, idempotent) = (job.id(), job.spec.idempotent);
    let max_attempts = job.spec.max_attempts;
    let done = |end| Some(Finish { grip, end, result: None });
    let arguments = match shared.sealer.open(Purpose::Arguments, id.as_uuid(), &payload) {
        Ok(arguments) => arguments,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, job = %id, "a job cannot be read");
            let fault = JobFault::new("internal", error.to_string());
            return done(End::Failed { fault, dead: Some(DeadReason::Permanent) });
        }
    };
    let deadline = Deadline::after(Duration::from_secs(shared.options.run_seconds_max));
    let order = Order { job, arguments, attempt, deadline };
    let run = AssertUnwindSafe(runner.run(order)).catch_unwind();
    let ended = tokio::select! {
        ended = tokio::time::timeout_at(deadline.instant(), run) => ended,
        why = told_to_stop(&mut stop) => return match why {
            Stop::Lost => None,
            Stop::Cancel => done(End::Cancelled),
            Stop::Retire if idempotent => {
                let fault = JobFault::new("unavailable", "the node was stopped while the job ran");
                done(End::Retry { fault, at: now_ms() })
            }
            Stop::Retire => {
                let text = "the node was stopped while the job ran; the run was killed, effects unknown";
                done(End::Unknown { fault: JobFault::new("outcome_unknown", text) })
            }
        },
    };
    let end = match ended {
        Ok(Ok(end)) => end,
        Ok(Err(_panic)) => failed("crashed", "the run crashed; whether it had effects is unknown"),
        Err(_elapsed) => {
            failed("deadline_exceeded", "the run took longer than jobs.run_seconds_max")
        }
    };
    let (end, result) = conclude(shared, id, end, attempt, max_attempts, idempotent);
    Some(Finish { grip, end, result })
}

fn failed(code: &str, message: &str) -> RunEnd {
    let fault = JobFault::new(code, message);
    RunEnd::Failed { fault, retry: Retry::Unsafe, callers_fault: false }
}

async fn told_to_stop(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await.map(|why| *why) {
        Ok(Some(why)) => why,
        // Taken out of hand without a word: the run's own end decides.
        _ => std::future::pending().await,
    }
}

/// From how the attempt ended to how the job goes on.
fn conclude(
    shared: &Shared,
    id: crate::ids::JobId,
    end: RunEnd,
    attempt: u32,
    max_attempts: u32,
    idempotent: bool,
) -> (End, Option<Vec<u8>>) {
    let again = |fault: JobFault, wait: Duration| {
        if attempt >= max_attempts {
            return End::Failed { fault, dead: Some(DeadReason::AttemptsExhausted) };
        }
        shared.retries.fetch_add(1, Ordering::Relaxed);
        let delay = wait.max(retry_delay(shared, attempt));
        End::Retry { fault, at: now_ms() + delay.as_millis() as i64 }
    };
    let end = match end {
        RunEnd::Done { result, is_error } => return completed(shared, id, result, is_error),
        RunEnd::Forbidden { fault } => End::Forbidden { fault },
        RunEnd::TurnedAway { fault, after } => {
            let wait_ms = (after.as_millis() as i64).max(TURNED_AWAY_MS_MIN);
            End::Postponed { fault, at: now_ms() + wait_ms }
        }
        RunEnd::Failed { fault, retry, callers_fault } => match retry {
            Retry::Safe => again(fault, Duration::ZERO),
            Retry::After(wait) => again(fault, wait),
            Retry::Unsafe if idempotent => again(fault, Duration::ZERO),
            Retry::Unsafe => End::Unknown { fault },
            Retry::Never => {
                End::Failed { fault, dead: (!callers_fault).then_some(DeadReason::Permanent) }
            }
        },
    };
    (end, None)
}

fn completed(
    shared: &Shared,
    id: crate::ids::JobId,
    result: String,
    is_error: bool,
) -> (End, Option<Vec<u8>>) {
    let max = shared.options.result_bytes_max;
    let fault = match result.len() <= max {
        true => match shared.sealer.seal(Purpose::Result, id.as_uuid(), result.as_bytes()) {
            Ok(sealed) => return (End::Completed { is_error }, Some(sealed)),
            Err(error) => JobFault::new("internal", error.to_string()),
        },
        false => {
            let text = format!(
                "it ran, but its result of {} bytes is larger than jobs.result_bytes_max = {max}",
                result.len()
            );
            JobFault::new("payload_too_large", text)
        }
    };
    (End::Failed { fault, dead: None }, None)
}

fn retry_delay(shared: &Shared, attempt: u32) -> Duration {
    let mut delays = Schedule::new(ScheduleOptions {
        initial: Duration::from_millis(shared.options.retry_initial_ms),
        max: Duration::from_millis(shared.options.retry_max_ms),
        multiplier: 2.0,
        jitter: 0.2,
    });
    let passed = attempt.saturating_sub(1);
    for _ in 0..passed {
        delays.next_delay();
    }
    delays.next_delay()
}

/// Stores the end of a run together with those that gather meanwhile. The job stays in hand, its lease
/// kept alive, until the end is stored.
async fn report(shared: &Shared, finish: Finish) {
    {
        let mut ends = shared.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ends.waiting.push(finish);
        if std::mem::replace(&mut ends.busy, true) {
            return;
        }
    }
    // Runs that end in the same moment share a step.
    tokio::task::yield_now().await;
    loop {
        let batch = {
            let mut ends = shared.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if ends.waiting.is_empty() {
                ends.busy = false;
                return;
            }
            let count = ends.waiting.len().min(CLAIM_MAX);
            ends.waiting.drain(..count).collect::<Vec<_>>()
        };
        store_ends(shared, &batch).await;
        batch.iter().for_each(|finish| shared.held.remove(finish.grip.id));
        shared.wake.notify_one();
        shared.changed();
    }
}

async fn store_ends(shared: &Shared, batch: &[Finish]) {
    let deadline = Deadline::after(REPORT_MAX);
    let mut patience = backoff();
    loop {
        match shared.store.finish(batch.to_vec(), now_ms()).await {
            Ok(stored) => {
                for (finish, _) in batch.iter().zip(stored).filter(|(_, stored)| !stored) {
                    tracing::warn!(job = %finish.grip.id, "the end of a job came after its lease was lost");
                }
                return;
            }
            Err(error) if deadline.is_past() || matches!(error, JobsError::Corrupt(_)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, jobs = batch.len(), "ends of jobs could not be stored");
                return;
            }
            Err(_) => tokio::time::sleep(patience.next_delay()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lane_starves_and_urgent_lanes_get_more() {
        assert_eq!(shares(8, 0), [4, 3, 1]);
        assert_eq!(shares(256, 3), [128, 96, 32]);
        let one_by_one: Vec<_> = (0..8).map(|ticket| shares(1, ticket)).collect();
        assert!(one_by_one.contains(&[0, 0, 1]), "the low lane gets its turn");
    }
}
