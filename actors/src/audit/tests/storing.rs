//! Appending: batches, failures, open calls.

use super::{Trail, call, key, single};
use crate::audit::error::AuditError;
use crate::audit::event::Phase;
use crate::audit::orphans::{self, STOPPED};
use crate::audit::query::{Filter, page};
use crate::audit::schema::open_reader;
use crate::audit::verify::verify;
use crate::fault::{Classify, Kind};
use crate::ids::CallId;

#[test]
fn a_reopened_store_continues_the_chain() {
    let trail = Trail::new();
    for round in 1..=5 {
        let placed = trail.open().append(&[single("ada"), single("bob")]).unwrap();
        assert_eq!(placed.first_seq, round * 2 - 1);
    }
    let report = verify(&trail.path, &key()).unwrap();
    assert!(report.is_intact());
    assert_eq!(report.events_intact, 10);
}

#[test]
fn a_full_disk_fails_the_batch_and_nothing_else() {
    let trail = Trail::with_events(10);
    let mut store = trail.open();
    // SQLite's own bound on the file stands in for a full disk: both end in SQLITE_FULL.
    let pages: i64 =
        store.connection().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection().pragma_update(None, "max_page_count", pages).unwrap();
    let batch: Vec<_> = (0..2000).map(|_| single("ada")).collect();
    let error = store.append(&batch).unwrap_err();
    assert!(matches!(error, AuditError::Write(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(verify(&trail.path, &key()).unwrap().is_intact());

    store.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    assert_eq!(store.append(&batch).unwrap().first_seq, 11);
    let report = verify(&trail.path, &key()).unwrap();
    assert!(report.is_intact());
    assert_eq!(report.events_intact, 2010);
}

#[test]
fn a_writer_replaced_after_a_stall_does_not_fork_the_chain() {
    let trail = Trail::with_events(4);
    let mut stalled = trail.open();
    let mut fresh = trail.open();
    let open_call = CallId::new();
    stalled.append(&[call(open_call, Phase::Intent)]).unwrap();
    assert_eq!(fresh.append(&[single("ada")]).unwrap().first_seq, 6);
    assert_eq!(fresh.open_calls(), 1, "the predecessor's open call is known");
    assert_eq!(stalled.append(&[call(open_call, Phase::Outcome)]).unwrap().first_seq, 7);
    assert!(verify(&trail.path, &key()).unwrap().is_intact());
}

#[test]
fn every_orphaned_intent_gets_an_outcome_at_start_exactly_once() {
    let trail = Trail::new();
    let (finished, orphan) = (CallId::new(), CallId::new());
    trail
        .open()
        .append(&[
            call(finished, Phase::Intent),
            call(orphan, Phase::Intent),
            single("bob"),
            call(finished, Phase::Outcome),
        ])
        .unwrap();
    assert_eq!(orphans::sweep(&trail.path, &key(), 1000).unwrap().0, 1);
    assert_eq!(orphans::sweep(&trail.path, &key(), 1000).unwrap().0, 0);

    let reader = open_reader(&trail.path).unwrap();
    let filter = Filter { success: Some(false), ..Filter::default() };
    let events = page(&reader, &filter).unwrap().events;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].call_id, Some(orphan.to_string()));
    assert_eq!(events[0].phase, Phase::Outcome);
    assert_eq!(events[0].user_id.as_deref(), Some("ada"));
    assert_eq!(events[0].tool.as_deref(), Some("execute_code"));
    assert_eq!(events[0].body.action, "tools/call");
    assert_eq!(events[0].body.error_message.as_deref(), Some(STOPPED));
    assert!(verify(&trail.path, &key()).unwrap().is_intact());
}

#[test]
fn opening_reads_only_the_stretch_since_the_oldest_open_call() {
    let trail = Trail::new();
    let mut store = trail.open();
    for _ in 0..50 {
        let id = CallId::new();
        store.append(&[call(id, Phase::Intent), call(id, Phase::Outcome)]).unwrap();
    }
    let head = store.head();
    assert!(head.open_from >= head.seq - 2, "{head:?}");
    // An old open call holds the mark, and is still known after many more events.
    store.append(&[call(CallId::new(), Phase::Intent)]).unwrap();
    let opened_at = store.head().seq;
    for _ in 0..50 {
        store.append(&[single("ada")]).unwrap();
    }
    assert_eq!(store.head().open_from, opened_at);
    drop(store);
    assert_eq!(trail.open().open_calls(), 1);
}

#[test]
fn overdue_calls_are_the_late_ones_and_the_oldest_beyond_the_bound() {
    let trail = Trail::new();
    let mut store = trail.open();
    let mut intents: Vec<_> = (0..10).map(|_| call(CallId::new(), Phase::Intent)).collect();
    for (n, intent) in intents.iter_mut().enumerate() {
        intent.ts_us = 1000 + n as i64;
    }
    store.append(&intents).unwrap();
    let seqs = |ts, keep| store.overdue(ts, keep, 100).iter().map(|c| c.seq).collect::<Vec<_>>();
    assert_eq!(seqs(1003, 100), [1, 2, 3]);
    assert_eq!(seqs(0, 8), [1, 2]);
    assert_eq!(seqs(1003, 8), [1, 2, 3]);
    assert_eq!(store.overdue(i64::MAX, 0, 4).len(), 4);
}
