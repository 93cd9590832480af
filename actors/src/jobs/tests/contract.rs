//! The contract of [`JobStore`], one test per promise, run against every store.

pub(super) use super::journal::a_journal_is_written_by_who_holds_the_job_and_goes_with_it;
use super::*;
use crate::ids::ScheduleId;
use crate::jobs::error::JobsError;
use crate::jobs::job::{DeadReason, Dedupe, JobFault, State};
use crate::jobs::schedule::Schedule;
use crate::jobs::store::{
    Begun, CancelOutcome, Claimed, End, Enqueued, Finish, Grip, Hold, JobFilter, Recall,
};

/// Makes a test of every promise for the store that the expression makes.
macro_rules! suite {
    ($fixture:expr) => {
        $crate::jobs::tests::contract::suite!(@ $fixture;
            what_is_enqueued_is_claimed_once_in_order,
            a_run_begins_once_and_its_result_is_found,
            lanes_get_their_shares_and_what_is_left_goes_to_the_most_urgent,
            delayed_jobs_wait_for_their_time,
            a_clock_set_back_holds_up_nothing_but_what_a_caller_timed,
            a_lost_lease_is_judged_by_what_is_known,
            an_old_grip_changes_nothing,
            retries_keep_the_attempt_and_postponements_do_not,
            cancelling_ends_what_waits_and_asks_what_runs,
            the_same_key_is_the_same_job_and_another_request_a_conflict,
            caps_hold_for_a_caller_and_in_total_and_free_up,
            dead_letters_are_listed_replayed_and_discarded,
            results_expire,
            lists_are_paged_by_key_and_filtered,
            events_are_a_bounded_ring,
            a_tick_makes_one_job_whoever_fires_it,
            schedules_are_capped_listed_and_removed,
            figures_tell_how_full_the_lanes_are,
            a_journal_is_written_by_who_holds_the_job_and_goes_with_it,
        );
    };
    (@ $fixture:expr; $($name:ident,)+) => {
        mod contract {
            $(
                #[actix::test]
                async fn $name() {
                    $crate::jobs::tests::contract::$name($fixture).await;
                }
            )+
        }
    };
}
pub(super) use suite;

const LEASE: Millis = 1_000;

fn grip(claimed: &Claimed) -> Grip {
    let job = &claimed.job;
    Grip { id: job.id(), grip: job.status.grip, lane: job.spec.lane }
}

fn fault() -> JobFault {
    JobFault::new("overloaded", "busy")
}

/// Claims one job of any lane.
async fn claim(store: &Arc<dyn JobStore>, now: Millis) -> Option<Claimed> {
    store.claim("w", [1, 0, 0], now, now + LEASE).await.unwrap().jobs.pop()
}

/// Enqueues, claims and begins one job.
pub(super) async fn running(store: &Arc<dyn JobStore>, new: NewJob, now: Millis) -> Grip {
    store.enqueue(new).await.unwrap();
    let grip = grip(&claim(store, now).await.unwrap());
    assert!(matches!(store.begin(vec![grip], now).await.unwrap()[..], [Begun::Yes { .. }]));
    grip
}

pub(super) async fn finish(store: &Arc<dyn JobStore>, grip: Grip, end: End, now: Millis) -> bool {
    let finish = Finish { grip, end, result: Some(b"result".to_vec()) };
    store.finish(vec![finish], now).await.unwrap()[0]
}

async fn state(store: &Arc<dyn JobStore>, id: JobId) -> State {
    store.get(id).await.unwrap().unwrap().0.status.state
}

pub(super) async fn what_is_enqueued_is_claimed_once_in_order(
    Fixture { store, keep: _keep }: Fixture,
) {
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(store.enqueue(job(T0 + n)).await.unwrap().id());
    }
    let first = store.claim("a", [0, 3, 0], T0 + 9, T0 + LEASE).await.unwrap().jobs;
    let second = store.claim("b", [0, 9, 0], T0 + 9, T0 + LEASE).await.unwrap().jobs;
    assert!(store.claim("c", [9, 9, 9], T0 + 9, T0 + LEASE).await.unwrap().jobs.is_empty());
    let claimed: Vec<JobId> = first.iter().chain(&second).map(|c| c.job.id()).collect();
    assert_eq!(claimed, ids);
    assert!(first.iter().all(|c| c.payload == b"sealed" && c.job.status.state == State::Claimed));
    assert_eq!(first[0].job.spec.identity, identity("ada"));
}

pub(super) async fn a_run_begins_once_and_its_result_is_found(
    Fixture { store, keep: _keep }: Fixture,
) {
    let grip = running(&store, job(T0), T0).await;
    // Asked again because an answer was lost: the same.
    assert_eq!(store.begin(vec![grip], T0).await.unwrap(), [Begun::Yes { attempt: 1 }]);
    assert_eq!(store.extend("w", vec![grip], T0 + 5_000).await.unwrap(), [Hold::Held]);
    assert!(store.reap(T0 + 4_000, 9).await.unwrap().is_empty(), "the lease was extended");
    assert!(finish(&store, grip, End::Completed { is_error: true }, T0 + 7).await);
    assert!(finish(&store, grip, End::Cancelled, T0 + 8).await, "told twice is told once");
    let (job, result) = store.get(grip.id).await.unwrap().unwrap();
    let status = &job.status;
    assert_eq!((status.state, status.is_error), (State::Completed, true));
    assert_eq!((status.started_at, status.finished_at), (Some(T0), Some(T0 + 7)));
    assert_eq!((status.expires_at, status.lease_until), (Some(T0 + 7 + 10_000), None));
    assert_eq!(result.as_deref(), Some(&b"result"[..]));
    assert!(store.get(JobId::new()).await.unwrap().is_none());
}

pub(super) async fn lanes_get_their_shares_and_what_is_left_goes_to_the_most_urgent(
    Fixture { store, keep: _keep }: Fixture,
) {
    for lane in Lane::ALL {
        for _ in 0..4 {
            let mut new = job(T0);
            new.spec.lane = lane;
            store.enqueue(new).await.unwrap();
        }
    }
    let lanes = |jobs: Vec<Claimed>| {
        Lane::ALL.map(|l| jobs.iter().filter(|c| c.job.spec.lane == l).count())
    };
    let claimed = store.claim("w", [1, 1, 1], T0, T0 + LEASE).await.unwrap().jobs;
    assert_eq!(lanes(claimed), [1, 1, 1]);
    let claimed = store.claim("w", [1, 4, 0], T0, T0 + LEASE).await.unwrap().jobs;
    assert_eq!(lanes(claimed), [2, 3, 0], "three were left in the normal lane");
    let claimed = store.claim("w", [9, 0, 0], T0, T0 + LEASE).await.unwrap().jobs;
    assert_eq!(lanes(claimed), [1, 0, 3]);
}

pub(super) async fn a_clock_set_back_holds_up_nothing_but_what_a_caller_timed(
    Fixture { store, keep: _keep }: Fixture,
) {
    const HOUR: Millis = 3_600_000;
    let ahead = T0 + HOUR;
    let held = running(&store, job(ahead), ahead).await;
    let again = running(&store, job(ahead), ahead).await;
    let retry = End::Retry { fault: fault(), at: ahead + 300 };
    assert!(finish(&store, again, retry, ahead).await);
    let at_once = store.enqueue(job(ahead)).await.unwrap().id();
    let mut timed = job(ahead);
    timed.run_at = ahead + 400;
    let timed = store.enqueue(timed).await.unwrap().id();
    let recall = Recall { before: ahead + 10, now: T0, pause_max_ms: 200, lease_until: T0 + LEASE };
    assert_eq!(store.recall(recall).await.unwrap(), 3);
    assert_eq!(claim(&store, T0).await.unwrap().job.id(), at_once);
    assert!(claim(&store, T0 + 199).await.is_none());
    assert_eq!(claim(&store, T0 + 200).await.unwrap().job.id(), again.id);
    assert!(claim(&store, ahead + 399).await.is_none());
    assert_eq!(claim(&store, ahead + 400).await.unwrap().job.id(), timed);
    let lost = store.reap(T0 + LEASE, 9).await.unwrap();
    assert!(lost.iter().any(|job| job.id() == held.id), "its lease is not an hour long");
}

pub(super) async fn delayed_jobs_wait_for_their_time(Fixture { store, keep: _keep }: Fixture) {
    let mut later = job(T0);
    later.run_at = T0 + 500;
    let id = store.enqueue(later).await.unwrap().id();
    let claims = store.claim("w", [0, 5, 0], T0 + 499, T0 + LEASE).await.unwrap();
    assert!(claims.jobs.is_empty());
    assert_eq!(claims.next_due, Some(T0 + 500));
    let claimed = claim(&store, T0 + 500).await.unwrap();
    assert_eq!(claimed.job.id(), id);
}

pub(super) async fn a_lost_lease_is_judged_by_what_is_known(
    Fixture { store, keep: _keep }: Fixture,
) {
    let lost = T0 + LEASE;
    // Not begun: nothing can have happened.
    store.enqueue(job(T0)).await.unwrap();
    let claimed = claim(&store, T0).await.unwrap();
    assert!(store.reap(lost - 1, 9).await.unwrap().is_empty());
    let reaped = store.reap(lost, 9).await.unwrap();
    assert_eq!((reaped.len(), reaped[0].status.state), (1, State::Queued));
    assert_eq!(reaped[0].status.attempt, 0, "an attempt that did not begin does not count");
    let again = claim(&store, lost).await.unwrap();
    assert_eq!(again.job.id(), claimed.job.id());
    assert_eq!(store.begin(vec![grip(&claimed)], lost).await.unwrap(), [Begun::Lost]);
    // Begun and not idempotent: nobody knows.
    store.begin(vec![grip(&again)], lost).await.unwrap();
    let reaped = store.reap(lost + LEASE, 9).await.unwrap();
    assert_eq!(reaped[0].status.state, State::OutcomeUnknown);
    assert_eq!(reaped[0].status.dead, Some(DeadReason::OutcomeUnknown));
    assert!(claim(&store, T0 * 2).await.is_none());
    // Begun and idempotent: again, while attempts last.
    let mut new = job(T0);
    (new.spec.idempotent, new.spec.max_attempts) = (true, 2);
    running(&store, new, T0).await;
    let reaped = store.reap(lost, 9).await.unwrap();
    assert_eq!((reaped[0].status.state, reaped[0].status.run_at), (State::Queued, lost + 500));
    let second = grip(&claim(&store, lost + 500).await.unwrap());
    assert_eq!(store.begin(vec![second], lost).await.unwrap(), [Begun::Yes { attempt: 2 }]);
    let reaped = store.reap(lost + 500 + LEASE, 9).await.unwrap();
    assert_eq!(reaped[0].status.state, State::Failed);
    assert_eq!(reaped[0].status.dead, Some(DeadReason::AttemptsExhausted));
}

pub(super) async fn an_old_grip_changes_nothing(Fixture { store, keep: _keep }: Fixture) {
    store.enqueue(job(T0)).await.unwrap();
    let old = grip(&claim(&store, T0).await.unwrap());
    store.reap(T0 + LEASE, 9).await.unwrap();
    assert_eq!(store.extend("w", vec![old], T0 * 2).await.unwrap(), [Hold::Lost]);
    assert!(!finish(&store, old, End::Completed { is_error: false }, T0).await);
    assert_eq!(state(&store, old.id).await, State::Queued);
    let new = grip(&claim(&store, T0 + LEASE).await.unwrap());
    assert!(!finish(&store, old, End::Cancelled, T0).await);
    assert_eq!(
        store.begin(vec![old, new], T0).await.unwrap(),
        [Begun::Lost, Begun::Yes { attempt: 1 }]
    );
    let gone = Grip { id: JobId::new(), ..new };
    assert_eq!(store.extend("w", vec![gone], T0).await.unwrap(), [Hold::Lost]);
    assert_eq!(store.begin(vec![gone], T0).await.unwrap(), [Begun::Lost]);
}

pub(super) async fn retries_keep_the_attempt_and_postponements_do_not(
    Fixture { store, keep: _keep }: Fixture,
) {
    let grip1 = running(&store, job(T0), T0).await;
    assert!(finish(&store, grip1, End::Retry { fault: fault(), at: T0 + 50 }, T0).await);
    assert!(claim(&store, T0 + 49).await.is_none());
    let claimed = claim(&store, T0 + 50).await.unwrap();
    assert_eq!(claimed.payload, b"sealed");
    assert_eq!(claimed.job.status.fault, Some(fault()));
    let grip2 = grip(&claimed);
    assert_eq!(store.begin(vec![grip2], T0).await.unwrap(), [Begun::Yes { attempt: 2 }]);
    assert!(finish(&store, grip2, End::Postponed { fault: fault(), at: T0 + 60 }, T0).await);
    let grip3 = grip(&claim(&store, T0 + 60).await.unwrap());
    assert_eq!(store.begin(vec![grip3], T0).await.unwrap(), [Begun::Yes { attempt: 2 }]);
    assert!(finish(&store, grip3, End::Failed { fault: fault(), dead: None }, T0).await);
    assert_eq!(state(&store, grip3.id).await, State::Failed);
    // Not begun and given back.
    store.enqueue(job(T0)).await.unwrap();
    let released = grip(&claim(&store, T0).await.unwrap());
    assert!(finish(&store, released, End::Released, T0).await);
    assert_eq!(claim(&store, T0).await.unwrap().job.id(), released.id);
}

pub(super) async fn cancelling_ends_what_waits_and_asks_what_runs(
    Fixture { store, keep: _keep }: Fixture,
) {
    let queued = store.enqueue(job(T0)).await.unwrap().id();
    assert_eq!(store.cancel(queued, Some(caller("eve")), T0).await.unwrap(), None);
    let mine = Some(caller("ada"));
    assert_eq!(
        store.cancel(queued, mine.clone(), T0).await.unwrap(),
        Some(CancelOutcome::Cancelled)
    );
    assert_eq!(
        store.cancel(queued, None, T0).await.unwrap(),
        Some(CancelOutcome::Over(State::Cancelled))
    );
    assert!(claim(&store, T0).await.is_none());
    let mut delayed = job(T0);
    delayed.run_at = T0 + 100;
    let delayed = store.enqueue(delayed).await.unwrap().id();
    assert_eq!(store.cancel(delayed, None, T0).await.unwrap(), Some(CancelOutcome::Cancelled));
    assert!(claim(&store, T0 + 100).await.is_none());
    store.enqueue(job(T0)).await.unwrap();
    let claimed = grip(&claim(&store, T0).await.unwrap());
    assert_eq!(store.cancel(claimed.id, None, T0).await.unwrap(), Some(CancelOutcome::Cancelled));
    assert_eq!(store.begin(vec![claimed], T0).await.unwrap(), [Begun::Lost]);
    let runs = running(&store, job(T0), T0).await;
    assert_eq!(store.cancel(runs.id, None, T0).await.unwrap(), Some(CancelOutcome::Requested));
    assert_eq!(store.extend("w", vec![runs], T0 + LEASE).await.unwrap(), [Hold::CancelRequested]);
    assert!(finish(&store, runs, End::Cancelled, T0).await);
    assert_eq!(state(&store, runs.id).await, State::Cancelled);
    assert_eq!(store.cancel(JobId::new(), None, T0).await.unwrap(), None);
}

pub(super) async fn the_same_key_is_the_same_job_and_another_request_a_conflict(
    Fixture { store, keep: _keep }: Fixture,
) {
    let with = |who: &str, fingerprint: &str| {
        let mut new = job(T0);
        new.spec.identity = identity(who);
        new.spec.dedupe = Some(Dedupe { key: "k".to_owned(), fingerprint: fingerprint.to_owned() });
        new
    };
    let first = store.enqueue(with("ada", "f")).await.unwrap();
    assert!(matches!(first, Enqueued::New(_)));
    assert_eq!(store.enqueue(with("ada", "f")).await.unwrap(), Enqueued::Known(first.id()));
    assert!(matches!(store.enqueue(with("ada", "g")).await, Err(JobsError::KeyConflict)));
    assert!(matches!(store.enqueue(with("bob", "g")).await.unwrap(), Enqueued::New(_)));
    store.cancel(first.id(), None, T0).await.unwrap();
    assert_eq!(store.enqueue(with("ada", "f")).await.unwrap(), Enqueued::Known(first.id()));
    assert_eq!(store.purge(T0 + 10_000, 9).await.unwrap(), 1);
    assert!(
        matches!(store.enqueue(with("ada", "g")).await.unwrap(), Enqueued::New(_)),
        "forgotten with its job"
    );
}

pub(super) async fn caps_hold_for_a_caller_and_in_total_and_free_up(
    Fixture { store, keep: _keep }: Fixture,
) {
    let of = |who: &str| {
        let mut new = job(T0);
        new.spec.identity = identity(who);
        new
    };
    let mut last = None;
    for _ in 0..50 {
        last = Some(store.enqueue(of("ada")).await.unwrap().id());
    }
    assert!(matches!(store.enqueue(of("ada")).await, Err(JobsError::CallerFull(50))));
    for _ in 0..50 {
        store.enqueue(of("bob")).await.unwrap();
    }
    assert!(matches!(store.enqueue(of("eve")).await, Err(JobsError::Full(100))));
    store.cancel(last.unwrap(), None, T0).await.unwrap();
    store.enqueue(of("ada")).await.unwrap();
    assert!(matches!(store.enqueue(of("eve")).await, Err(JobsError::Full(100))));
}

pub(super) async fn dead_letters_are_listed_replayed_and_discarded(
    Fixture { store, keep: _keep }: Fixture,
) {
    let end = || End::Failed { fault: fault(), dead: Some(DeadReason::Permanent) };
    let a = running(&store, job(T0), T0).await;
    finish(&store, a, end(), T0 + 1).await;
    let b = running(&store, job(T0), T0).await;
    finish(&store, b, end(), T0 + 1).await;
    let c = running(&store, job(T0), T0).await;
    finish(&store, c, End::Completed { is_error: false }, T0 + 1).await;
    let dead = || JobFilter { dead: true, limit: 9, ..JobFilter::default() };
    let page = store.list(dead()).await.unwrap();
    let ids: Vec<JobId> = page.jobs.iter().map(|job| job.id()).collect();
    assert_eq!(ids, [b.id, a.id]);
    assert_eq!(page.jobs[0].status.fault, Some(fault()));
    assert_eq!(page.jobs[0].status.expires_at, Some(T0 + 1 + 100_000), "kept longer than a result");
    assert!(store.replay(a.id, T0 + 5).await.unwrap());
    assert!(!store.replay(a.id, T0 + 5).await.unwrap());
    let again = claim(&store, T0 + 5).await.unwrap();
    assert_eq!((again.job.id(), &again.payload[..]), (a.id, &b"sealed"[..]));
    assert_eq!((again.job.status.attempt, &again.job.status.fault), (0, &None));
    assert!(!finish(&store, a, End::Cancelled, T0).await, "the old run has no say any more");
    assert!(store.discard(b.id, T0 + 5).await.unwrap());
    assert!(!store.discard(b.id, T0 + 5).await.unwrap());
    assert!(store.list(dead()).await.unwrap().jobs.is_empty());
    assert_eq!(state(&store, b.id).await, State::Failed);
    assert!(!store.replay(b.id, T0).await.unwrap());
    assert!(!store.replay(c.id, T0).await.unwrap());
    assert!(!store.replay(JobId::new(), T0).await.unwrap());
}

pub(super) async fn results_expire(Fixture { store, keep: _keep }: Fixture) {
    let runs = running(&store, job(T0), T0).await;
    assert_eq!(store.purge(T0 * 2, 9).await.unwrap(), 0, "what is not over does not expire");
    finish(&store, runs, End::Completed { is_error: false }, T0).await;
    assert_eq!(store.purge(T0 + 9_999, 9).await.unwrap(), 0);
    assert_eq!(store.purge(T0 + 10_000, 9).await.unwrap(), 1);
    assert!(store.get(runs.id).await.unwrap().is_none());
    assert!(
        store.list(JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap().jobs.is_empty()
    );
    assert!(!finish(&store, runs, End::Cancelled, T0).await);
}

pub(super) async fn lists_are_paged_by_key_and_filtered(Fixture { store, keep: _keep }: Fixture) {
    let mut mine = Vec::new();
    for n in 0..10 {
        let mut new = job(T0);
        if n % 2 == 0 {
            new.spec.identity = identity("bob");
        }
        let id = store.enqueue(new).await.unwrap().id();
        if n % 2 == 1 {
            mine.insert(0, id);
        }
    }
    let mut found = Vec::new();
    let mut filter = JobFilter { caller: Some(caller("ada")), limit: 2, ..JobFilter::default() };
    loop {
        let page = store.list(filter.clone()).await.unwrap();
        assert!(page.jobs.len() <= 2);
        found.extend(page.jobs.iter().map(|job| job.id()));
        filter.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(found, mine);
    store.cancel(mine[1], None, T0).await.unwrap();
    let filter = |state| JobFilter { state: Some(state), limit: 99, ..JobFilter::default() };
    let cancelled = store.list(filter(State::Cancelled)).await.unwrap().jobs;
    assert_eq!((cancelled.len(), cancelled[0].id()), (1, mine[1]));
    assert_eq!(store.list(filter(State::Queued)).await.unwrap().jobs.len(), 9);
}

pub(super) async fn events_are_a_bounded_ring(Fixture { store, keep: _keep }: Fixture) {
    let mut new = job(T0);
    new.spec.max_attempts = 9;
    store.enqueue(new).await.unwrap();
    let mut id = None;
    for n in 0..3 {
        let grip = grip(&claim(&store, T0 + n).await.unwrap());
        store.begin(vec![grip], T0 + n).await.unwrap();
        finish(&store, grip, End::Retry { fault: fault(), at: T0 + n + 1 }, T0 + n).await;
        id = Some(grip.id);
    }
    let (job, _) = store.get(id.unwrap()).await.unwrap().unwrap();
    let events: Vec<_> =
        job.status.events.iter().map(|e| (e.id, e.kind.as_str(), e.attempt)).collect();
    assert_eq!(events, [(4, "running", 2), (5, "retry", 2), (6, "running", 3), (7, "retry", 3)]);
    assert_eq!(job.status.event_count, 7);
    assert_eq!(job.status.events[3].at, T0 + 2);
}

fn schedule(who: &str, next_at: Millis) -> Schedule {
    Schedule {
        id: ScheduleId::new(),
        identity: identity(who),
        name: "nightly".to_owned(),
        cron: "0 0 * * *".to_owned(),
        tool: "run_tests".to_owned(),
        lane: Lane::Low,
        idempotent: true,
        max_attempts: 1,
        result_ttl_ms: 1,
        enabled: true,
        next_at,
        last_at: None,
        created_at: T0,
    }
}

pub(super) async fn a_tick_makes_one_job_whoever_fires_it(Fixture { store, keep: _keep }: Fixture) {
    let schedule = schedule("ada", T0);
    store.put_schedule(schedule.clone(), b"args".to_vec()).await.unwrap();
    assert!(store.due(T0 - 1, 9).await.unwrap().is_empty());
    let due = store.due(T0, 9).await.unwrap();
    assert_eq!(due, [(schedule.clone(), b"args".to_vec())]);
    let nodes: Vec<_> =
        (0..8).map(|_| store.fire(schedule.id, T0, T0 + 60_000, Some(job(T0)))).collect();
    let fired: Vec<bool> =
        futures_util::future::join_all(nodes).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(fired.iter().filter(|fired| **fired).count(), 1);
    assert_eq!(store.claim("w", [0, 9, 0], T0, T0 + 1).await.unwrap().jobs.len(), 1);
    assert!(store.due(T0 + 59_999, 9).await.unwrap().is_empty());
    let (moved, _) = store.schedule(schedule.id).await.unwrap().unwrap();
    assert_eq!((moved.next_at, moved.last_at), (T0 + 60_000, Some(T0)));
    assert!(store.fire(schedule.id, T0 + 60_000, T0 + 120_000, None).await.unwrap(), "skipped");
    assert!(claim(&store, T0 * 2).await.is_none());
    let off = Schedule { enabled: false, ..store.schedule(schedule.id).await.unwrap().unwrap().0 };
    store.put_schedule(off, b"args".to_vec()).await.unwrap();
    assert!(store.due(T0 * 2, 9).await.unwrap().is_empty());
    assert!(!store.fire(schedule.id, T0 + 120_000, T0 * 2, Some(job(T0))).await.unwrap());
}

pub(super) async fn schedules_are_capped_listed_and_removed(
    Fixture { store, keep: _keep }: Fixture,
) {
    let first = schedule("ada", T0);
    store.put_schedule(first.clone(), Vec::new()).await.unwrap();
    store.put_schedule(schedule("ada", T0), Vec::new()).await.unwrap();
    let third = store.put_schedule(schedule("ada", T0), Vec::new()).await;
    assert!(matches!(third, Err(JobsError::CallerSchedulesFull(2))));
    store.put_schedule(first.clone(), Vec::new()).await.unwrap();
    store.put_schedule(schedule("bob", T0), Vec::new()).await.unwrap();
    let fourth = store.put_schedule(schedule("eve", T0), Vec::new()).await;
    assert!(matches!(fourth, Err(JobsError::SchedulesFull(3))));
    assert_eq!(store.schedules(Some(caller("ada"))).await.unwrap().len(), 2);
    assert_eq!(store.schedules(None).await.unwrap().len(), 3);
    assert!(store.remove_schedule(first.id).await.unwrap());
    assert!(!store.remove_schedule(first.id).await.unwrap());
    assert!(store.schedule(first.id).await.unwrap().is_none());
    assert!(!store.fire(first.id, T0, T0 + 1, Some(job(T0))).await.unwrap());
    store.put_schedule(schedule("eve", T0), Vec::new()).await.unwrap();
}

pub(super) async fn figures_tell_how_full_the_lanes_are(Fixture { store, keep: _keep }: Fixture) {
    let dead = running(&store, job(T0), T0).await;
    finish(&store, dead, End::Unknown { fault: fault() }, T0).await;
    running(&store, job(T0), T0).await;
    for n in 0..3 {
        store.enqueue(job(T0 + n)).await.unwrap();
    }
    let mut low = job(T0);
    (low.spec.lane, low.run_at) = (Lane::Low, T0 + 9_000);
    store.enqueue(low).await.unwrap();
    let [interactive, normal, low] = store.depths(T0 + 100).await.unwrap();
    assert_eq!(interactive, Default::default());
    assert_eq!((normal.queued, normal.running, normal.dead, normal.oldest_ms), (3, 1, 1, 100));
    assert_eq!((low.queued, low.running, low.dead, low.oldest_ms), (1, 0, 0, 0));
}
