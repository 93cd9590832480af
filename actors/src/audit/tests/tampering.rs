//! Whoever changes the file without the key is found out, and where.

use rusqlite::Connection;

use super::{Trail, key, single};
use crate::audit::chain::AuditKey;
use crate::audit::error::AuditError;
use crate::audit::store::Store;
use crate::audit::verify::{Broken, Fault, VerifyReport, Witness, verify, verify_against};

/// Does to the file what somebody with write access and the sqlite3 tool can do.
fn tamper(trail: &Trail, sql: &str) {
    let connection = Connection::open(&trail.path).unwrap();
    connection
        .execute_batch(
            "DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete; DROP TRIGGER head_no_delete;",
        )
        .unwrap();
    connection.execute_batch(sql).unwrap();
}

fn report(trail: &Trail) -> VerifyReport {
    verify(&trail.path, &key()).unwrap()
}

fn assert_broken(trail: &Trail, seq: i64, fault: Fault) {
    let found = report(trail);
    assert_eq!(found.broken, Some(Broken { seq, fault }), "{found:?}");
    assert!(!found.is_intact());
}

#[test]
fn an_untouched_trail_verifies() {
    let trail = Trail::with_events(50);
    let found = report(&trail);
    assert!(found.is_intact(), "{found:?}");
    assert_eq!(found.events_intact, 50);
    assert!(report(&Trail::with_events(0)).is_intact());
}

#[test]
fn one_changed_event_is_found_whatever_column_was_changed() {
    for change in [
        "user_id = 'mallory'",
        "user_id = NULL",
        "tool = 'other'",
        "success = 0",
        "success = NULL",
        "event_type = 'data_write'",
        "phase = 'intent'",
        "ts = ts + 1",
        "event_id = x'00'",
        "call_id = x'00112233445566778899aabbccddeeff'",
        "body = replace(body, 'read', 'Read')",
        "hash = zeroblob(32)",
        "hash = x'00'",
    ] {
        let trail = Trail::with_events(20);
        tamper(&trail, &format!("UPDATE event SET {change} WHERE seq = 7"));
        assert_broken(&trail, 7, Fault::Changed);
    }
}

#[test]
fn one_removed_event_is_found() {
    let trail = Trail::with_events(20);
    tamper(&trail, "DELETE FROM event WHERE seq = 7");
    assert_broken(&trail, 7, Fault::Removed);

    let trail = Trail::with_events(20);
    tamper(&trail, "DELETE FROM event WHERE seq = 1");
    assert_broken(&trail, 1, Fault::Removed);

    // Closing the gap by renumbering does not help: the seq is hashed too.
    let trail = Trail::with_events(20);
    tamper(&trail, "DELETE FROM event WHERE seq = 7; UPDATE event SET seq = seq - 1 WHERE seq > 7");
    assert_broken(&trail, 7, Fault::Changed);
}

#[test]
fn reordered_events_are_found() {
    let trail = Trail::with_events(20);
    tamper(
        &trail,
        "UPDATE event SET seq = -1 WHERE seq = 7; UPDATE event SET seq = 7 WHERE seq = 11; \
         UPDATE event SET seq = 11 WHERE seq = -1;",
    );
    assert_broken(&trail, 7, Fault::Reordered { found_at: 11 });
}

#[test]
fn an_event_appended_without_the_key_is_found() {
    let copy = "INSERT INTO event (seq, event_id, ts, event_type, phase, call_id, user_id, tool, \
                success, body, hash) SELECT 21, event_id, ts, event_type, phase, call_id, user_id, \
                tool, success, body, hash FROM event WHERE seq = 20;";
    let trail = Trail::with_events(20);
    tamper(&trail, copy);
    assert_broken(&trail, 21, Fault::Appended);

    // Moving the head along needs the key as well.
    let trail = Trail::with_events(20);
    tamper(&trail, &format!("{copy} UPDATE head SET seq = 21;"));
    assert_broken(&trail, 21, Fault::Changed);

    // A chain continued with another key.
    let trail = Trail::with_events(20);
    tamper(&trail, "UPDATE head SET key_id = x'0000000000000000'");
    assert_broken(&trail, 20, Fault::HeadChanged);
}

#[test]
fn a_truncated_tail_is_found() {
    let trail = Trail::with_events(20);
    tamper(&trail, "DELETE FROM event WHERE seq > 15");
    assert_broken(&trail, 16, Fault::Truncated { head_seq: 20 });

    let trail = Trail::with_events(20);
    tamper(
        &trail,
        "DELETE FROM event WHERE seq > 15; UPDATE head SET seq = 15, \
                    hash = (SELECT hash FROM event WHERE seq = 15)",
    );
    assert_broken(&trail, 15, Fault::HeadChanged);

    let trail = Trail::with_events(20);
    tamper(&trail, "DELETE FROM event WHERE seq > 15; DELETE FROM head");
    assert_broken(&trail, 15, Fault::HeadMissing);
}

#[test]
fn an_older_head_put_back_is_found_and_with_a_witness_also_an_older_file() {
    let trail = Trail::with_events(20);
    let old = Trail::new();
    std::fs::copy(&trail.path, &old.path).unwrap();
    trail.open().append(&[single("eve"), single("eve")]).unwrap();
    let hash = trail.open().head().hash;
    let witness = Witness { seq: 22, hash };

    let attach = format!(
        "ATTACH '{}' AS old; UPDATE head SET (seq, hash, open_from, mac) = \
         (SELECT seq, hash, open_from, mac FROM old.head);",
        old.path.display()
    );
    let forged = Trail::new();
    std::fs::copy(&trail.path, &forged.path).unwrap();
    tamper(&forged, &attach);
    assert_broken(&forged, 21, Fault::HeadOld { head_seq: 20 });

    assert!(report(&old).is_intact(), "an old state was once authentic");
    let found = verify_against(&old.path, &key(), Some(witness)).unwrap();
    assert_eq!(found.broken, Some(Broken { seq: 21, fault: Fault::WitnessDisagrees }));
    assert!(verify_against(&trail.path, &key(), Some(witness)).unwrap().is_intact());
}

#[test]
fn a_wrong_key_is_told_from_a_broken_trail() {
    let trail = Trail::with_events(3);
    let other = AuditKey::from_bytes(&[1; 32]);
    assert!(matches!(verify(&trail.path, &other), Err(AuditError::WrongKey)));
    assert!(matches!(Store::open(&trail.path, other, 1000), Err(AuditError::WrongKey)));
}

#[test]
fn a_chain_whose_end_was_touched_is_not_continued() {
    for sql in [
        "DELETE FROM event WHERE seq = 20",
        "UPDATE event SET hash = zeroblob(32) WHERE seq = 20",
        "UPDATE head SET open_from = 21",
        "DELETE FROM head",
        "INSERT INTO event (seq, event_id, ts, event_type, phase, body, hash) \
         VALUES (21, x'00', 0, 'data_read', 'single', '{}', x'00')",
    ] {
        let trail = Trail::with_events(20);
        tamper(&trail, sql);
        let opened = Store::open(&trail.path, key(), 1000).map(|_| ());
        assert!(matches!(opened, Err(AuditError::Tampered(_))), "{sql}: {opened:?}");
    }
}

#[test]
fn the_file_itself_refuses_updates_and_deletes() {
    let trail = Trail::with_events(3);
    let connection = Connection::open(&trail.path).unwrap();
    for sql in ["UPDATE event SET user_id = 'x'", "DELETE FROM event", "DELETE FROM head"] {
        let refused = connection.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
}

#[test]
fn a_trail_can_be_verified_while_it_grows() {
    let trail = Trail::with_events(10);
    let mut store = trail.open();
    for _ in 0..20 {
        store.append(&[single("ada"), single("bob")]).unwrap();
        assert!(report(&trail).is_intact());
    }
    assert_eq!(report(&trail).events_intact, 50);
}
