//! Committed events as log lines: target `audit`, field names of the Elastic Common Schema.
//!
//! Runs on a thread of its own behind a bounded queue, so that formatting never delays a commit. When
//! the queue is full the lines are dropped and counted; the trail itself is complete regardless.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chain::Hash;
use super::event::{Phase, Who};
use super::options::Lines;
use super::prepared::Prepared;
use super::query::rfc3339;
use crate::hex;

/// Batches that may wait to be written.
const QUEUE_BATCHES: usize = 256;

/// A committed batch on its way to standard output.
pub(crate) struct LineBatch {
    pub first_seq: i64,
    pub events: Vec<Prepared>,
    pub hashes: Vec<Hash>,
}

/// The way into the thread; a clone shares it. The thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct LineWriter {
    which: Lines,
    queue: SyncSender<LineBatch>,
    dropped: Arc<AtomicU64>,
}

impl LineWriter {
    /// Starts the thread; `None` when lines are off.
    pub(crate) fn start(which: Lines, dropped: Arc<AtomicU64>) -> std::io::Result<Option<Self>> {
        if which == Lines::Off {
            return Ok(None);
        }
        let (queue, batches) = sync_channel::<LineBatch>(QUEUE_BATCHES);
        std::thread::Builder::new().name("audit-lines".to_owned()).spawn(move || {
            for batch in batches {
                let places = (batch.first_seq..).zip(&batch.hashes);
                for (event, (seq, hash)) in batch.events.iter().zip(places) {
                    if which == Lines::All || event.phase != Phase::Intent {
                        write_line(event, seq, hash);
                    }
                }
            }
        })?;
        Ok(Some(Self { which, queue, dropped }))
    }

    /// Hands a batch over; never waits.
    pub(crate) fn send(&self, batch: LineBatch) {
        let wanted = |event: &&Prepared| self.which == Lines::All || event.phase != Phase::Intent;
        let lines = batch.events.iter().filter(wanted).count() as u64;
        if lines > 0 && self.queue.try_send(batch).is_err() {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// What a line shows of [`Body`](super::event::Body); details stay the text they are.
#[derive(Default, Deserialize)]
struct Shown<'a> {
    action: String,
    resource: Option<String>,
    request_id: Option<String>,
    duration_ms: Option<f64>,
    error_message: Option<String>,
    trace_id: Option<String>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

pub(crate) fn write_line(event: &Prepared, seq: i64, hash: &Hash) {
    let body: Shown<'_> = serde_json::from_str(&event.body).unwrap_or_default();
    let who = event.who.as_deref().and_then(|who| serde_json::from_str::<Who>(who).ok());
    let who = who.unwrap_or_default();
    let details = body.details.map(RawValue::get).filter(|text| *text != "{}");
    let outcome = match event.success {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    };
    // ECS counts event.duration in nanoseconds (ECS 8.11, event fields).
    let duration_ns = body.duration_ms.map(|ms| (ms * 1e6) as u64);
    tracing::info!(
        target: "audit",
        {
            event.id = %event.event_id,
            event.sequence = seq,
            event.kind = "event",
            event.action = event.event_type.as_str(),
            event.outcome = outcome,
            event.created = rfc3339(event.ts_us),
            event.duration = duration_ns,
            event.hash = hex::encode(hash),
            user.id = event.user_id.as_deref(),
            user_agent.original = who.user_agent,
            client.ip = who.ip_address,
            http.request.id = body.request_id,
            trace.id = body.trace_id,
            error.message = body.error_message,
            labels.phase = event.phase.as_str(),
            labels.tool = event.tool.as_deref(),
            labels.call_id = event.call_id.map(|id| id.to_string()),
            labels.session_id = who.session_id,
            labels.resource = body.resource,
            labels.details = details
        },
        "{}",
        body.action
    );
}
