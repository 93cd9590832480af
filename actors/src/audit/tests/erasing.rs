//! A person is erased, the chain still verifies, and what nobody erased cannot pass for erased.

use rusqlite::Connection;

use super::{Trail, key, single};
use crate::audit::chain::{GENESIS, Hash};
use crate::audit::event::{Event, EventType, NewEvent, Phase};
use crate::audit::prepared::Prepared;
use crate::audit::query::{Filter, page};
use crate::audit::schema::{FIRST_TABLES, open_reader};
use crate::audit::verify::{Fault, VerifyReport, verify};
use crate::audit::{AuditHandle, AuditOptions, Lines};
use crate::testing::{caller, root, soon};

/// What `user` did, with everything that tells of a person.
fn personal(user: &str) -> NewEvent {
    let mut event = NewEvent::new(EventType::CodeExecution, Phase::Single, "tools/call");
    event.user_id = Some(caller(user));
    event.ip_address = Some([192, 0, 2, 77].into());
    event.user_agent = Some("adas-browser/1".into());
    event.session_id = Some(crate::ids::SessionId::parse("session-of-ada").unwrap());
    event.success = Some(true);
    event
}

/// What an administrator did to `user`.
fn about(user: &str) -> NewEvent {
    let mut event = NewEvent::new(EventType::ConfigChange, Phase::Single, "roles/assign");
    event.user_id = Some(caller("root"));
    event.resource = Some(format!("user:{user}").into());
    event.details.insert("role".into(), "viewer".into());
    event
}

fn erase(trail: &Trail, user: &str) -> (i64, i64) {
    let mut store = trail.open();
    store.begin_erasure(user, 0).unwrap();
    let mut counts = (0, 0);
    // Asked long ago: both looks are due.
    while let Some(step) = store.erase_step(i64::MAX / 2, false).unwrap() {
        assert_eq!(step.unproven, 0);
        counts = (step.erasure.changed, step.erasure.sealed);
    }
    counts
}

fn events(trail: &Trail) -> Vec<Event> {
    let reader = open_reader(&trail.path).unwrap();
    let mut events = page(&reader, &Filter::default()).unwrap().events;
    events.reverse();
    events
}

fn intact(trail: &Trail) -> VerifyReport {
    let report = verify(&trail.path, &key()).unwrap();
    assert!(report.is_intact(), "{report:?}");
    report
}

fn mixed() -> Trail {
    let trail = Trail::new();
    let events: Vec<_> = [personal("ada"), personal("bob"), about("ada"), personal("adaptive")]
        .iter()
        .map(Prepared::new)
        .collect();
    trail.open().append(&events).unwrap();
    trail
}

#[test]
fn an_erased_person_is_nowhere_in_the_file_and_every_event_still_verifies() {
    let trail = mixed();
    let hashes: Vec<_> = events(&trail).into_iter().map(|event| event.hash).collect();
    assert_eq!(erase(&trail, "ada"), (2, 1));
    let report = intact(&trail);
    assert_eq!((report.events_intact, report.erased, report.sealed), (4, 2, 1));

    let after = events(&trail);
    let kept: Vec<_> = after.iter().map(|event| event.hash.clone()).collect();
    assert_eq!(kept, hashes, "history is not rewritten");
    let [own, bob, told, other] = &after[..] else { panic!("{after:?}") };
    assert_eq!((&own.user_id, own.erased, own.success), (&None, true, Some(true)));
    let who = (&own.body.ip_address, &own.body.user_agent, &own.body.session_id);
    assert_eq!(who, (&None, &None, &None));
    assert_eq!((bob.user_id.as_deref(), bob.erased), (Some("bob"), false));
    assert!(bob.body.ip_address.is_some());
    assert_eq!((told.user_id.as_deref(), told.erased), (Some("root"), true));
    assert_eq!(told.body.resource.as_deref(), Some("user:[erased]"));
    assert_eq!(told.body.details["role"], "viewer");
    assert_eq!((other.user_id.as_deref(), other.erased), (Some("adaptive"), false));

    // Not in free pages, not in the write-ahead log.
    trail.open().connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let bytes = std::fs::read(&trail.path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("user:ada\""), "the name is still in the file");
    assert_eq!(text.matches("192.0.2.77").count(), 2, "bob's and adaptive's");

    // The chain goes on behind it.
    trail.open().append(&[single("ada")]).unwrap();
    assert_eq!(intact(&trail).events_intact, 5);
}

#[test]
fn two_persons_of_one_event_are_erased_one_after_the_other() {
    let trail = mixed();
    erase(&trail, "ada");
    assert_eq!(erase(&trail, "root"), (1, 1));
    let told = events(&trail).remove(2);
    assert_eq!((told.user_id, told.body.resource.as_deref()), (None, Some("user:[erased]")));
    assert_eq!(intact(&trail).sealed, 1);
}

#[test]
fn whoever_erases_or_restores_without_the_key_is_found() {
    let changes = [
        // An event that nobody erased passed off as erased.
        (2, "user_id = NULL, who = NULL, salt = NULL"),
        (2, "user_id = NULL, who = NULL, salt = NULL, commitment = zeroblob(32), erased = 1"),
        (2, "user_id = NULL, who = NULL, salt = NULL, erased = 2, seal = zeroblob(32)"),
        // An erased one given to somebody else, or changed.
        (1, "user_id = 'bob'"),
        (1, "who = '{}'"),
        (1, "seal = zeroblob(32)"),
        (1, "erased = 2"),
        (1, "tool = 'other'"),
        (3, "body = replace(body, 'viewer', 'admin')"),
        (3, "user_id = 'bob'"),
        (3, "erased = 0, seal = NULL"),
        (3, "hash = zeroblob(32)"),
        (3, "format = 1"),
    ];
    for (seq, change) in changes {
        let trail = mixed();
        erase(&trail, "ada");
        let file = Connection::open(&trail.path).unwrap();
        file.execute_batch("DROP TRIGGER event_no_update").unwrap();
        file.execute_batch(&format!("UPDATE event SET {change} WHERE seq = {seq}")).unwrap();
        let broken = verify(&trail.path, &key()).unwrap().broken.expect(change);
        assert_eq!((broken.seq, broken.fault), (seq, Fault::Changed), "{change}");
    }
}

#[test]
fn a_seal_of_one_place_is_none_at_another() {
    let trail = Trail::new();
    let twins: Vec<_> = (0..2).map(|_| Prepared::new(&about("ada"))).collect();
    trail.open().append(&twins).unwrap();
    erase(&trail, "ada");
    let file = Connection::open(&trail.path).unwrap();
    file.execute_batch(
        "DROP TRIGGER event_no_update; UPDATE event SET seal = (SELECT seal FROM event WHERE seq = 1) \
         WHERE seq = 2",
    )
    .unwrap();
    assert_eq!(verify(&trail.path, &key()).unwrap().broken.map(|b| b.seq), Some(2));
}

#[test]
fn erasing_does_not_launder_what_somebody_changed() {
    let trail = mixed();
    let file = Connection::open(&trail.path).unwrap();
    file.execute_batch("DROP TRIGGER event_no_update").unwrap();
    file.execute_batch("UPDATE event SET success = 0 WHERE seq = 1").unwrap();
    let mut store = trail.open();
    store.begin_erasure("ada", 0).unwrap();
    let step = store.erase_step(i64::MAX / 2, false).unwrap().unwrap();
    assert_eq!((step.unproven, step.erasure.changed), (1, 1));
    assert_eq!(verify(&trail.path, &key()).unwrap().broken.map(|b| b.seq), Some(1));
}

/// A file as the first version left it: its tables, and events whose names are hashed in the clear.
fn first_version(users: &[&str]) -> Trail {
    let trail = Trail::new();
    let file = Connection::open(&trail.path).unwrap();
    file.execute_batch(FIRST_TABLES).unwrap();
    let mut prev: Hash = GENESIS;
    let mut scratch = Vec::new();
    for (seq, user) in (1..).zip(users) {
        let body = r#"{"action":"read","ip_address":"192.0.2.1","resource":"user:ada"}"#;
        let id = uuid::Uuid::now_v7();
        let fields = crate::audit::chain::Fields {
            format: crate::audit::chain::FORMAT_PLAIN,
            seq,
            event_id: id.as_bytes(),
            ts_us: 1_700_000_000_000_000 + seq,
            event_type: "data_read",
            phase: "single",
            call_id: None,
            who: Some(user.as_bytes()),
            tool: None,
            success: Some(1),
            body,
        };
        prev = key().event_hash(&fields, &prev, &mut scratch);
        file.execute(
            "INSERT INTO event (seq, event_id, ts, event_type, phase, user_id, success, body, hash) \
             VALUES (?1, ?2, ?3, 'data_read', 'single', ?4, 1, ?5, ?6)",
            rusqlite::params![seq, fields.event_id, fields.ts_us, user, body, prev.as_slice()],
        )
        .unwrap();
    }
    let seq = users.len() as i64;
    let mac = key().head_mac(seq, &prev, 1);
    file.execute(
        "INSERT INTO head (id, seq, hash, open_from, mac, key_id) VALUES (1, ?1, ?2, 1, ?3, ?4)",
        rusqlite::params![seq, prev.as_slice(), mac.as_slice(), key().id().as_slice()],
    )
    .unwrap();
    trail
}

#[test]
fn events_of_the_first_format_verify_before_and_after_the_migration_and_after_an_erasure() {
    let trail = first_version(&["ada", "bob", "ada"]);
    assert_eq!(intact(&trail).events_intact, 3);
    trail.open().append(&[single("ada")]).unwrap();
    let report = intact(&trail);
    assert_eq!((report.events_intact, report.erased), (4, 0));
    assert_eq!(erase(&trail, "ada"), (4, 3), "bob's names ada too");
    let report = intact(&trail);
    assert_eq!((report.erased, report.sealed), (4, 3));
    let after = events(&trail);
    assert_eq!((after[0].user_id.as_deref(), after[0].body.ip_address.as_deref()), (None, None));
    assert_eq!(after[1].user_id.as_deref(), Some("bob"));
    // Hashes may hold the letters by chance; a name stands in quotes or behind a colon.
    let text = serde_json::to_string(&after).unwrap();
    assert!(!text.contains("\"ada\"") && !text.contains(":ada"), "{text}");
}

#[test]
fn an_erasure_that_a_crash_interrupted_is_carried_on() {
    let trail = Trail::new();
    let batch: Vec<_> = (0..2500).map(|n| single(["ada", "bob"][n % 2])).collect();
    trail.open().append(&batch).unwrap();
    let mut store = trail.open();
    store.begin_erasure("ada", chrono::Utc::now().timestamp_micros()).unwrap();
    let now_us = chrono::Utc::now().timestamp_micros();
    let step = store.erase_step(now_us, false).unwrap().unwrap();
    assert!(step.erasure.stage == 0 && step.erasure.changed > 0);
    assert!(intact(&trail).erased < 1250);
    drop(store);
    let mut store = trail.open();
    while store.erase_step(now_us, false).unwrap().is_some() {}
    assert_eq!(intact(&trail).erased, 1250);
    // What was still running then is found by the second look, which also forgets the name.
    store.append(&[single("ada")]).unwrap();
    while store.erase_step(i64::MAX / 2, false).unwrap().is_some() {}
    assert_eq!(intact(&trail).erased, 1251);
    let owed = "SELECT count(*) FROM erasure";
    let owed: i64 = store.connection().query_row(owed, [], |row| row.get(0)).unwrap();
    assert_eq!(owed, 0);
}

#[actix::test]
async fn an_erasure_is_answered_when_every_event_was_looked_at_and_beside_it_calls_are_recorded() {
    let trail = Trail::new();
    let batch: Vec<_> = (0..5000).map(|n| single(["ada", "bob"][n % 2])).collect();
    trail.open().append(&batch).unwrap();
    let options = AuditOptions { stdout: Lines::Off, ..AuditOptions::default() };
    let audit = AuditHandle::start(&root(), &trail.path, key(), options).await.unwrap();
    let ada = caller("ada");
    let erased = audit.erase(&ada, soon());
    let append = audit.append(personal("bob"), soon());
    let (report, appended) = futures_util::join!(erased, append);
    appended.unwrap();
    assert_eq!((report.as_ref().unwrap().events, report.unwrap().sealed), (2500, 0));
    let filter = Filter { user: Some("ada".into()), ..Filter::default() };
    assert_eq!(audit.query(filter, soon()).await.unwrap().events, []);
    assert_eq!(intact(&trail).events_intact, 5001);
}
