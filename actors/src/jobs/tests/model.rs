//! A random walk over a store beside a model of it: after every step both agree on every job.
//!
//! The model is the pure transitions applied to a map; time is given. Walks come from proptest's
//! generator with a fixed seed, and a walk that fails prints its steps.

use std::collections::BTreeMap;
use std::future::Future;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::jobs::job::{DeadReason, Job, JobFault, State};
use crate::jobs::store::{Begun, Claimed, End, Finish, Grip, Recall};

const LEASE: Millis = 1_000;

#[derive(Clone, Debug)]
enum Step {
    Enqueue { lane: usize, idempotent: bool, delay: Millis, attempts: u32 },
    Claim { shares: [usize; 3] },
    Begin(usize),
    Heartbeat(usize),
    Finish { held: usize, how: usize },
    Cancel(usize),
    Reap,
    Purge,
    Replay(usize),
    Discard(usize),
    Wait(Millis),
    SetBack(Millis),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, any::<bool>(), prop_oneof![Just(0), 1..1500_i64], 1..3_u32).prop_map(
            |(lane, idempotent, delay, attempts)| Step::Enqueue { lane, idempotent, delay, attempts }
        ),
        4 => prop::array::uniform3(0..3_usize).prop_map(|shares| Step::Claim { shares }),
        4 => any::<usize>().prop_map(Step::Begin),
        2 => any::<usize>().prop_map(Step::Heartbeat),
        4 => (any::<usize>(), 0..8_usize).prop_map(|(held, how)| Step::Finish { held, how }),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => Just(Step::Reap),
        1 => Just(Step::Purge),
        1 => any::<usize>().prop_map(Step::Replay),
        1 => any::<usize>().prop_map(Step::Discard),
        3 => (1..1500_i64).prop_map(Step::Wait),
        1 => (1..3000_i64).prop_map(Step::SetBack),
    ]
}

fn end(how: usize, now: Millis) -> End {
    let fault = JobFault::new("code", "message");
    match how {
        0 | 1 => End::Completed { is_error: how == 1 },
        2 => End::Failed { fault, dead: Some(DeadReason::Permanent) },
        3 => End::Retry { fault, at: now + 300 },
        4 => End::Postponed { fault, at: now + 200 },
        5 => End::Cancelled,
        6 => End::Forbidden { fault },
        _ => End::Released,
    }
}

/// The model: what every job should be, and every grip ever given (old ones included).
#[derive(Default)]
struct Model {
    now: Millis,
    jobs: BTreeMap<JobId, Job>,
    grips: Vec<Grip>,
}

impl Model {
    fn any_job(&self, pick: usize) -> Option<JobId> {
        (!self.jobs.is_empty()).then(|| *self.jobs.keys().nth(pick % self.jobs.len()).unwrap())
    }

    fn any_grip(&self, pick: usize) -> Option<Grip> {
        (!self.grips.is_empty()).then(|| self.grips[pick % self.grips.len()])
    }

    fn claimed(&mut self, shares: [usize; 3], claimed: &[Claimed]) {
        let wanted: usize = shares.iter().sum();
        let could = self.jobs.values().filter(|job| job.is_claimable(self.now)).count();
        assert_eq!(claimed.len(), wanted.min(could), "as many as asked for and there are");
        for claimed in claimed {
            let job = self.jobs.get_mut(&claimed.job.id()).expect("a job that exists");
            assert!(job.is_claimable(self.now), "{job:?} was claimed at {}", self.now);
            job.claim(self.now + LEASE);
            assert_eq!(claimed.job.status.grip, job.status.grip);
            self.grips.push(Grip { id: job.id(), grip: job.status.grip, lane: job.spec.lane });
        }
    }
}

async fn take(step: &Step, model: &mut Model, store: &Arc<dyn JobStore>) {
    let (now, rules) = (model.now, rules());
    match *step {
        Step::Enqueue { lane, idempotent, delay, attempts } => {
            if model.jobs.values().filter(|job| !job.status.state.is_final()).count() >= 50 {
                return;
            }
            let mut new = job(now);
            (new.spec.lane, new.spec.idempotent) = (Lane::ALL[lane], idempotent);
            (new.spec.max_attempts, new.run_at) = (attempts, now + delay);
            model.jobs.insert(new.spec.id, Job::queued(new.spec.clone(), new.run_at, &rules));
            store.enqueue(new).await.unwrap();
        }
        Step::Claim { shares } => {
            let claims = store.claim("w", shares, now, now + LEASE).await.unwrap();
            model.claimed(shares, &claims.jobs);
        }
        Step::Begin(pick) => {
            let Some(grip) = model.any_grip(pick) else { return };
            let begun = store.begin(vec![grip], now).await.unwrap();
            let job = model.jobs.get_mut(&grip.id);
            let expected = job.map_or(Begun::Lost, |job| job.begin(grip.grip, now, &rules));
            assert_eq!(begun, [expected]);
        }
        Step::Heartbeat(pick) => {
            let Some(grip) = model.any_grip(pick) else { return };
            let held = store.extend("w", vec![grip], now + LEASE).await.unwrap();
            let job = model.jobs.get_mut(&grip.id);
            let expected = job.map(|job| job.extend(grip.grip, now + LEASE));
            assert_eq!(held, [expected.unwrap_or(crate::jobs::Hold::Lost)]);
        }
        Step::Finish { held, how } => {
            let Some(grip) = model.any_grip(held) else { return };
            let end = end(how, now);
            let job = model.jobs.get_mut(&grip.id);
            let expected = job.is_some_and(|job| job.finish(grip.grip, &end, now, &rules));
            let finish = Finish { grip, end, result: None };
            assert_eq!(store.finish(vec![finish], now).await.unwrap(), [expected]);
        }
        Step::Cancel(pick) => {
            let Some(id) = model.any_job(pick) else { return };
            let expected = model.jobs.get_mut(&id).map(|job| job.cancel(now, &rules));
            assert_eq!(store.cancel(id, None, now).await.unwrap(), expected);
        }
        Step::Reap => {
            let mut reaped: Vec<JobId> =
                store.reap(now, 1000).await.unwrap().iter().map(Job::id).collect();
            reaped.sort();
            let lost: Vec<JobId> =
                model.jobs.values().filter(|job| job.is_lost(now)).map(Job::id).collect();
            assert_eq!(reaped, lost);
            lost.iter().for_each(|id| model.jobs.get_mut(id).unwrap().lose(now, &rules));
        }
        Step::Purge => {
            let before = model.jobs.len();
            model.jobs.retain(|_, job| job.status.expires_at.is_none_or(|at| at > now));
            assert_eq!(store.purge(now, 1000).await.unwrap(), before - model.jobs.len());
        }
        Step::Replay(pick) => {
            let Some(id) = model.any_job(pick) else { return };
            let expected = model.jobs.get_mut(&id).is_some_and(|job| job.replay(now, &rules));
            assert_eq!(store.replay(id, now).await.unwrap(), expected);
        }
        Step::Discard(pick) => {
            let Some(id) = model.any_job(pick) else { return };
            let expected = model.jobs.get_mut(&id).is_some_and(|job| job.discard(now));
            assert_eq!(store.discard(id, now).await.unwrap(), expected);
        }
        Step::Wait(ms) => model.now += ms,
        Step::SetBack(ms) => {
            model.now -= ms;
            let (before, now) = (now, model.now);
            let recall = Recall { before, now, pause_max_ms: 250, lease_until: now + LEASE };
            // Every node notices.
            for _ in 0..2 {
                store.recall(recall).await.unwrap();
                model.jobs.values_mut().for_each(|job| job.recall(&recall));
            }
        }
    }
}

async fn agree(model: &Model, store: &Arc<dyn JobStore>) {
    for (id, expected) in &model.jobs {
        let (job, _) = store.get(*id).await.unwrap().expect("a job of the model is stored");
        assert_eq!(&job, expected);
    }
}

/// Walks so many walks of so many steps, each on a store of its own.
pub(super) async fn walks<F: Future<Output = Fixture>>(
    walks: usize,
    steps: usize,
    fixture: impl Fn() -> F,
) {
    let mut runner = TestRunner::deterministic();
    for walk in 0..walks {
        let Fixture { store, keep: _keep } = fixture().await;
        let mut model = Model { now: T0, ..Model::default() };
        let tree = prop::collection::vec(step(), steps).new_tree(&mut runner).unwrap();
        for (at, step) in tree.current().iter().enumerate() {
            eprintln!("walk {walk}, step {at} at {}: {step:?}", model.now);
            take(step, &mut model, &store).await;
            if at % 10 == 9 {
                agree(&model, &store).await;
            }
        }
        agree(&model, &store).await;
        let unknown = |job: &Job| job.status.state == State::OutcomeUnknown;
        assert!(!model.jobs.values().any(|job| unknown(job) && job.spec.idempotent));
    }
}
