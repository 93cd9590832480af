//! What the writer does for the file between its batches: retention and erasure, a little at a time.
//!
//! Part of [`super::actor::AuditActor`]. After each step it rests four times as long as the step took, so
//! that appending keeps at least four fifths of the writer's time.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::actor::AuditActor;
use super::erasure::{STAGE_LOOKED, Step};
use super::error::AuditError;

/// How often it is looked for something to do.
const IDLE: Duration = Duration::from_secs(1);
/// Rest after a step, in lengths of the step.
const REST_FACTOR: u32 = 4;
/// Events removed in one step: a few milliseconds.
const CUT_MAX: usize = 256;
const DAY_US: i64 = 86_400 * 1_000_000;

/// What an erasure did to the trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ErasureReport {
    /// Events from which the person was erased.
    pub events: i64,
    /// Those of them whose content named the person: they are sealed.
    pub sealed: i64,
}

/// Who waits for an erasure, and when the next step is due.
#[derive(Default)]
pub(crate) struct Upkeep {
    next: Option<SpawnHandle>,
    waiting: HashMap<Uuid, Vec<oneshot::Sender<ErasureReport>>>,
    unproven: usize,
}

/// Erases a person from the trail; answered when every stored event was looked at. Durable before that:
/// it is carried on after a crash.
#[derive(Message)]
#[rtype(result = "Result<ErasureReport, AuditError>")]
pub(crate) struct Erase {
    pub user: String,
}

/// Copies elsewhere have followed an erasure up to this stage.
#[derive(Message)]
#[rtype(result = "Result<(), AuditError>")]
pub(crate) struct ErasureCopied {
    pub id: Uuid,
    pub stage: i64,
}

impl AuditActor {
    /// Has the next step done after this long, and no other.
    pub(crate) fn upkeep_after(&mut self, pause: Duration, context: &mut Context<Self>) {
        if let Some(earlier) = self.upkeep.next.take() {
            context.cancel_future(earlier);
        }
        let next = context.run_later(pause, |actor, context| {
            actor.upkeep.next = None;
            let began = Instant::now();
            let more = actor.cut_expired() | actor.erase_on();
            let rest = (began.elapsed() * REST_FACTOR).max(Duration::from_millis(1));
            actor.upkeep_after(if more { rest } else { IDLE }, context);
        });
        self.upkeep.next = Some(next);
    }

    /// Removes some of the events that are older than retention keeps; says whether there may be more.
    fn cut_expired(&mut self) -> bool {
        let days = i64::from(self.setup().options.retention_days);
        if days == 0 {
            return false;
        }
        let counters = self.setup().counters.clone();
        let before_us = chrono::Utc::now().timestamp_micros() - days * DAY_US;
        let shipped = counters.shipped_seq.load(Ordering::Acquire);
        let cut = self.store().and_then(|store| store.cut_expired(before_us, shipped, CUT_MAX));
        match cut {
            Ok(count) => {
                counters.events_removed.fetch_add(count as u64, Ordering::Relaxed);
                count > 0
            }
            Err(error) => self.upkeep_failed(&error, "expired events could not be removed"),
        }
    }

    /// Carries on with erasures; says whether there may be more to do now.
    fn erase_on(&mut self) -> bool {
        let now_us = chrono::Utc::now().timestamp_micros();
        let copies = self.setup().options.copied_elsewhere;
        match self.store().and_then(|store| store.erase_step(now_us, copies)) {
            Ok(None) => false,
            Ok(Some(step)) => {
                self.erased(step);
                true
            }
            Err(error) => self.upkeep_failed(&error, "a person could not be erased just now"),
        }
    }

    fn erased(&mut self, Step { erasure, unproven }: Step) {
        self.upkeep.unproven += unproven;
        if erasure.stage < STAGE_LOOKED {
            return;
        }
        let unproven = std::mem::take(&mut self.upkeep.unproven);
        if unproven > 0 {
            tracing::error!(events = unproven, "events that do not verify were not erased");
        }
        let report = ErasureReport { events: erasure.changed, sealed: erasure.sealed };
        for waiting in self.upkeep.waiting.remove(&erasure.id).unwrap_or_default() {
            // Whoever left does not need the answer.
            let _ = waiting.send(report);
        }
    }

    fn upkeep_failed(&mut self, error: &AuditError, what: &str) -> bool {
        tracing::error!(error = error as &dyn std::error::Error, "{what}");
        self.forget_store();
        false
    }
}

impl Handler<Erase> for AuditActor {
    type Result = ResponseFuture<Result<ErasureReport, AuditError>>;

    fn handle(&mut self, erase: Erase, context: &mut Context<Self>) -> Self::Result {
        // What was gathered before belongs to the past that is to be looked through.
        self.commit();
        let now_us = chrono::Utc::now().timestamp_micros();
        let (send, done) = oneshot::channel();
        match self.store().and_then(|store| store.begin_erasure(&erase.user, now_us)) {
            Ok(id) => self.upkeep.waiting.entry(id).or_default().push(send),
            Err(error) => return Box::pin(async move { Err(error) }),
        }
        self.upkeep_after(Duration::ZERO, context);
        Box::pin(async move { done.await.map_err(|_| AuditError::ReaderCrashed) })
    }
}

impl Handler<ErasureCopied> for AuditActor {
    type Result = Result<(), AuditError>;

    fn handle(&mut self, copied: ErasureCopied, _: &mut Context<Self>) -> Self::Result {
        self.store()?.erasure_copied(copied.id, copied.stage)
    }
}
