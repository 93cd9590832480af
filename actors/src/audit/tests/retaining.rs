//! Retention removes the oldest events, the chain still verifies, and nobody else can do it.

use rusqlite::Connection;

use super::{Trail, call, key, single};
use crate::audit::cut;
use crate::audit::event::Phase;
use crate::audit::prepared::Prepared;
use crate::audit::query::{Filter, page};
use crate::audit::schema::open_reader;
use crate::audit::verify::{Broken, Fault, Witness, verify, verify_against};
use crate::audit::{AuditHandle, AuditOptions, Lines};
use crate::ids::CallId;
use crate::testing::{root, soon};

const DAY_US: i64 = 86_400_000_000;

fn aged(days: i64) -> Prepared {
    let mut event = single("ada");
    event.ts_us -= days * DAY_US;
    event
}

/// Ten events of 100 days ago, ten of today.
fn half_expired() -> Trail {
    let trail = Trail::new();
    let old = (0..10).map(|_| aged(100));
    let events: Vec<_> = old.chain((0..10).map(|_| aged(0))).collect();
    trail.open().append(&events).unwrap();
    trail
}

fn before_us(days: i64) -> i64 {
    chrono::Utc::now().timestamp_micros() - days * DAY_US
}

#[test]
fn a_cut_trail_verifies_and_says_where_it_begins() {
    let trail = half_expired();
    let mut store = trail.open();
    assert_eq!(store.cut_expired(before_us(90), i64::MAX, 4).unwrap(), 4);
    assert_eq!(store.cut_expired(before_us(90), i64::MAX, 100).unwrap(), 6);
    assert_eq!(store.cut_expired(before_us(90), i64::MAX, 100).unwrap(), 0);
    let report = verify(&trail.path, &key()).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.first_seq, report.last_seq, report.events_intact), (11, 20, 10));
    // The chain goes on, also for a writer that opens the file anew.
    drop(store);
    assert_eq!(trail.open().append(&[single("bob")]).unwrap().first_seq, 21);
    assert!(verify(&trail.path, &key()).unwrap().is_intact());
    let reader = open_reader(&trail.path).unwrap();
    let events = page(&reader, &Filter::default()).unwrap().events;
    let first = events.iter().find(|event| event.seq == 11).unwrap();
    assert_ne!(first.prev_hash, "0".repeat(64), "the hash before the first is kept");
}

#[test]
fn a_trail_of_which_everything_expired_goes_on_where_it_ended() {
    let trail = Trail::new();
    trail.open().append(&[aged(200), aged(199)]).unwrap();
    assert_eq!(trail.open().cut_expired(before_us(90), i64::MAX, 100).unwrap(), 2);
    let mut store = trail.open();
    assert_eq!(store.append(&[single("ada")]).unwrap().first_seq, 3);
    let report = verify(&trail.path, &key()).unwrap();
    assert!(report.is_intact() && report.events_intact == 1, "{report:?}");
}

#[test]
fn nothing_younger_unshipped_or_open_is_cut() {
    let trail = half_expired();
    let mut store = trail.open();
    assert_eq!(store.cut_expired(before_us(101), i64::MAX, 100).unwrap(), 0);
    assert_eq!(store.cut_expired(before_us(90), 3, 100).unwrap(), 3, "shipped up to 3");
    drop(store);

    let trail = Trail::new();
    let mut open = call(CallId::new(), Phase::Intent);
    open.ts_us -= 100 * DAY_US;
    trail.open().append(&[aged(100), open, aged(100)]).unwrap();
    assert_eq!(trail.open().cut_expired(before_us(90), i64::MAX, 100).unwrap(), 1);
    assert_eq!(trail.open().open_calls(), 1);
}

#[test]
fn cutting_anything_that_retention_did_not_cut_is_found() {
    let cut_trail = || {
        let trail = half_expired();
        trail.open().cut_expired(before_us(90), i64::MAX, 100).unwrap();
        trail
    };
    let broken = |sql: &str| {
        let trail = cut_trail();
        let file = Connection::open(&trail.path).unwrap();
        for trigger in ["event_no_update", "event_no_delete", "cut_no_return", "cut_no_delete"] {
            file.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        file.execute_batch(sql).unwrap();
        verify(&trail.path, &key()).unwrap().broken
    };
    let found = |seq, fault| Some(Broken { seq, fault });
    assert_eq!(broken("DELETE FROM event WHERE seq = 11"), found(11, Fault::Removed));
    assert_eq!(broken("DELETE FROM cut"), found(1, Fault::Removed));
    let moved = "DELETE FROM event WHERE seq = 11; UPDATE cut SET last_seq = 11";
    assert_eq!(broken(moved), found(0, Fault::CutChanged));
    let moved = "UPDATE cut SET last_seq = 12, hash = (SELECT hash FROM event WHERE seq = 12); \
                 DELETE FROM event WHERE seq <= 12";
    assert_eq!(broken(moved), found(0, Fault::CutChanged));
}

#[test]
fn an_older_cut_record_put_back_is_found() {
    let trail = half_expired();
    let mut store = trail.open();
    store.cut_expired(before_us(90), i64::MAX, 4).unwrap();
    let old = cut::read(store.connection(), &key()).unwrap();
    store.cut_expired(before_us(90), i64::MAX, 4).unwrap();
    let file = Connection::open(&trail.path).unwrap();
    file.execute_batch("DROP TRIGGER cut_no_return").unwrap();
    let mac = key().cut_mac(old.seq, &old.hash);
    let put_back = "UPDATE cut SET last_seq = ?1, hash = ?2, mac = ?3";
    file.execute(put_back, rusqlite::params![old.seq, old.hash.as_slice(), mac.as_slice()])
        .unwrap();
    let broken = verify(&trail.path, &key()).unwrap().broken;
    assert_eq!(broken, Some(Broken { seq: 5, fault: Fault::Removed }));
}

#[test]
fn everybody_else_still_finds_the_trail_append_only() {
    let trail = half_expired();
    trail.open().cut_expired(before_us(90), i64::MAX, 5).unwrap();
    let file = Connection::open(&trail.path).unwrap();
    for sql in [
        "DELETE FROM event WHERE seq = 6",
        "DELETE FROM event",
        "UPDATE event SET user_id = 'eve' WHERE seq = 15",
        "UPDATE event SET user_id = NULL, erased = 1 WHERE seq = 15",
        "UPDATE event SET hash = zeroblob(32), erased = 1, seal = x'00' WHERE seq = 15",
        "UPDATE cut SET last_seq = 1",
        "DELETE FROM cut",
        "DELETE FROM head",
    ] {
        let refused = file.execute_batch(sql).unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
}

#[test]
fn a_witness_older_than_the_cut_is_said_to_prove_nothing() {
    let trail = half_expired();
    let hash = [7; 32];
    trail.open().cut_expired(before_us(90), i64::MAX, 10).unwrap();
    let report = verify_against(&trail.path, &key(), Some(Witness { seq: 3, hash })).unwrap();
    assert!(report.is_intact() && report.witness_removed, "{report:?}");
    let report = verify_against(&trail.path, &key(), Some(Witness { seq: 10, hash })).unwrap();
    assert_eq!(report.broken.map(|b| b.fault), Some(Fault::WitnessDisagrees));
}

#[actix::test]
async fn the_server_removes_what_expired_and_goes_on_recording() {
    let trail = half_expired();
    let options = AuditOptions { stdout: Lines::Off, ..AuditOptions::default() };
    let audit = AuditHandle::start(&root(), &trail.path, key(), options).await.unwrap();
    while audit.stats().events_removed < 10 {
        assert!(!soon().is_past());
        tokio::task::yield_now().await;
    }
    let event =
        crate::audit::NewEvent::new(crate::audit::EventType::DataRead, Phase::Single, "read");
    audit.append(event, soon()).await.unwrap();
    let report = verify(&trail.path, &key()).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.first_seq, report.events_intact), (11, 11));
}
