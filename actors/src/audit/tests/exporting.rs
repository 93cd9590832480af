//! An export is whole, in order, provable without the server, and disturbs nobody.

use super::{Trail, call, key, single};
use crate::audit::event::{NewEvent, Phase};
use crate::audit::export::STRETCH_FOR_TESTS;
use crate::audit::prepared::Prepared;
use crate::audit::query::Filter;
use crate::audit::{
    AuditHandle, AuditKey, AuditOptions, EXPORTS_MAX, EventType, Export, ExportFormat, Lines,
    export_file, verify_export,
};
use crate::fault::{Classify, Kind};
use crate::ids::CallId;
use crate::testing::{caller, root, soon};

async fn all(mut export: Export) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = export.next().await {
        bytes.extend(piece.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

async fn started(trail: &Trail) -> AuditHandle {
    let options = AuditOptions { stdout: Lines::Off, ..AuditOptions::default() };
    AuditHandle::start(&root(), &trail.path, key(), options).await.unwrap()
}

fn mixed(count: usize) -> Trail {
    let trail = Trail::new();
    let mut events = Vec::new();
    for n in 0..count {
        let id = CallId::new();
        events.extend([call(id, Phase::Intent), call(id, Phase::Outcome)]);
        events.push(single(["ada", "bob"][n % 2]));
    }
    trail.open().append(&events).unwrap();
    trail
}

#[actix::test]
async fn a_whole_export_is_a_whole_chain_and_proves_itself() {
    let trail = mixed(700);
    let mut store = trail.open();
    store.begin_erasure("bob", 0).unwrap();
    while store.erase_step(i64::MAX / 2, false).unwrap().is_some() {}
    drop(store);
    let audit = started(&trail).await;
    let text = all(audit.export(Filter::default(), ExportFormat::JsonLines).unwrap()).await;
    const { assert!(2100 > STRETCH_FOR_TESTS, "more than one piece") };
    let report = verify_export(text.as_bytes(), &key()).unwrap();
    assert_eq!((report.events, report.first_seq, report.last_seq), (2100, 1, 2100));
    assert_eq!((report.gaps, report.broken), (0, None));

    let mut file = Vec::new();
    let count =
        export_file(&trail.path, &Filter::default(), ExportFormat::JsonLines, &mut file).unwrap();
    assert_eq!((count, String::from_utf8(file).unwrap()), (2100, text.clone()));

    // Any change shows, and another key proves nothing.
    let lines: Vec<&str> = text.lines().collect();
    for (from, to) in [
        ("\"user_id\":\"ada\"", "\"user_id\":\"eve\""),
        ("\"success\":true", "\"success\":false"),
        ("\"action\":\"read\"", "\"action\":\"Read\""),
        ("\"erased\":1", "\"erased\":0"),
    ] {
        let at = lines.iter().position(|line| line.contains(from)).unwrap();
        let mut changed = lines.clone();
        let line = lines[at].replacen(from, to, 1);
        changed[at] = &line;
        let report = verify_export(changed.join("\n").as_bytes(), &key()).unwrap();
        assert_eq!(report.broken.map(|(line, _)| line), Some(at as u64 + 1), "{from}");
    }
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    assert!(verify_export(swapped.join("\n").as_bytes(), &key()).unwrap().broken.is_some());
    let other = AuditKey::from_bytes(&[1; 32]);
    assert!(verify_export(text.as_bytes(), &other).unwrap().broken.is_some());
}

#[actix::test]
async fn a_filtered_export_holds_what_was_asked_for_and_says_that_it_has_gaps() {
    let trail = mixed(700);
    let audit = started(&trail).await;
    let filter = Filter { user: Some("bob".into()), ..Filter::default() };
    let text = all(audit.export(filter.clone(), ExportFormat::JsonLines).unwrap()).await;
    assert!(text.lines().all(|line| line.contains("\"user_id\":\"bob\"")));
    let report = verify_export(text.as_bytes(), &key()).unwrap();
    assert_eq!((report.events, report.gaps, report.broken), (350, 349, None));
    let text = all(audit.export(filter, ExportFormat::Csv).unwrap()).await;
    assert_eq!(text.lines().count(), 351);
    let nobody = Filter { user: Some("eve".into()), ..Filter::default() };
    assert_eq!(all(audit.export(nobody, ExportFormat::JsonLines).unwrap()).await, "");
}

#[actix::test]
async fn csv_is_read_back_as_it_was_and_holds_no_formula() {
    let trail = Trail::new();
    let mut event = NewEvent::new(EventType::DataRead, Phase::Single, "=cmd|' /C calc'!A0");
    event.user_id = Some(caller("@ada, \"the\" first"));
    event.error_message = Some("two\nlines".into());
    event.details.insert("n".into(), 1.into());
    trail.open().append(&[Prepared::new(&event)]).unwrap();
    let audit = started(&trail).await;
    let text = all(audit.export(Filter::default(), ExportFormat::Csv).unwrap()).await;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1);
    let cell = |name: &str| &rows[0][names.iter().position(|n| n == name).unwrap()];
    assert_eq!(cell("action"), "'=cmd|' /C calc'!A0");
    assert_eq!(cell("user_id"), "'@ada, \"the\" first");
    assert_eq!(cell("error_message"), "two\nlines");
    assert_eq!(cell("details"), "{\"n\":1}");
}

#[actix::test]
async fn exports_are_bounded_in_number_and_give_their_readers_back_between_pieces() {
    let trail = mixed(700);
    let options = AuditOptions {
        stdout: Lines::Off,
        readers: 1,
        readers_waiting_max: 0,
        ..Default::default()
    };
    let audit = AuditHandle::start(&root(), &trail.path, key(), options).await.unwrap();
    let begin = || audit.export(Filter::default(), ExportFormat::JsonLines);
    let mut running: Vec<_> = (0..EXPORTS_MAX).map(|_| begin().unwrap()).collect();
    let refused = begin().err().unwrap();
    assert_eq!(refused.kind(), Kind::Overloaded);
    running[0].next().await.unwrap().unwrap();
    // A client that reads no further keeps nobody from asking.
    assert_eq!(audit.query(Filter::default(), soon()).await.unwrap().events.len(), 100);
    drop(running);
    assert!(begin().is_ok());
}
