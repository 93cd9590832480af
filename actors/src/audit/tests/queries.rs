//! Queries: the same answer as a naive filter, always by an index, pages without gaps.

use chrono::DateTime;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::Trail;
use crate::audit::error::AuditError;
use crate::audit::event::{Event, EventType, NewEvent, Phase};
use crate::audit::prepared::Prepared;
use crate::audit::query::test_access::plan;
use crate::audit::query::{Filter, LIMIT_MAX, page};
use crate::audit::schema::open_reader;
use crate::fault::{Classify, Kind};
use crate::ids::{CallId, CallerId};

const USERS: [&str; 4] = ["ada", "bob", "eve", "o'brien"];
const TOOLS: [&str; 3] = ["execute_code", "lint_code", "graph_query"];
const TYPES: [EventType; 4] =
    [EventType::CodeExecution, EventType::CodeLint, EventType::AuthFailure, EventType::GraphQuery];

fn some<T: Clone + std::fmt::Debug + 'static>(
    of: &'static [T],
) -> impl Strategy<Value = Option<T>> {
    prop_oneof![1 => Just(None), 2 => prop::sample::select(of).prop_map(Some)]
}

fn event() -> impl Strategy<Value = Prepared> {
    let phase = prop::sample::select(&[Phase::Intent, Phase::Outcome, Phase::Single][..]);
    let kind = prop::sample::select(&TYPES[..]);
    // Few distinct times, so that many events share one.
    (kind, phase, some(&USERS), some(&TOOLS), some(&[true, false]), 0..40_i64).prop_map(
        |(kind, phase, user, tool, success, ts)| {
            let mut event = NewEvent::new(kind, phase, "act");
            event.call_id = Some(CallId::new());
            event.user_id = user.map(|user| CallerId::parse(user).unwrap());
            event.tool = tool.map(Into::into);
            event.success = success;
            Prepared { ts_us: ts, ..Prepared::new(&event) }
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let time = || prop_oneof![Just(None), (0..40_i64).prop_map(DateTime::from_timestamp_micros)];
    (some(&TYPES), some(&USERS), some(&TOOLS), some(&[true, false]), time(), time(), 1..50_usize)
        .prop_map(|(event_type, user, tool, success, start, end, limit)| Filter {
            event_type,
            user: user.map(Into::into),
            tool: tool.map(Into::into),
            success,
            start,
            end,
            cursor: None,
            limit,
        })
}

fn matches(filter: &Filter, event: &Prepared) -> bool {
    event.phase != Phase::Intent
        && filter.event_type.is_none_or(|kind| event.event_type == kind)
        && filter.user.as_ref().is_none_or(|user| event.user_id.as_ref() == Some(user))
        && filter.tool.as_ref().is_none_or(|tool| event.tool.as_deref() == Some(tool.as_str()))
        && filter.success.is_none_or(|success| event.success == Some(success))
        && filter.start.is_none_or(|start| event.ts_us >= start.timestamp_micros())
        && filter.end.is_none_or(|end| event.ts_us < end.timestamp_micros())
}

fn naive(filter: &Filter, rows: &[Prepared]) -> Vec<i64> {
    let mut found: Vec<_> = (1..)
        .zip(rows)
        .filter(|(_, event)| matches(filter, event))
        .map(|(seq, event)| (event.ts_us, seq))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, seq)| seq).collect()
}

fn seqs(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.seq).collect()
}

#[test]
fn ten_thousand_random_queries_answer_as_a_naive_filter_does() {
    let config = Config { rng_seed: RngSeed::Fixed(7), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let rows = prop::collection::vec(event(), 600);
    let rows = rows.new_tree(&mut runner).unwrap().current();
    let trail = Trail::new();
    trail.open().append(&rows).unwrap();
    let reader = open_reader(&trail.path).unwrap();
    let filters = filter();
    let (mut asked, mut found) = (0, 0);
    while asked < 10_000 {
        let wanted = filters.new_tree(&mut runner).unwrap().current();
        let expected = naive(&wanted, &rows);
        let mut next = wanted.clone();
        let mut got = Vec::new();
        loop {
            asked += 1;
            let answer = match page(&reader, &next) {
                Err(AuditError::BadRange) => {
                    assert!(wanted.start >= wanted.end);
                    break;
                }
                answer => answer.unwrap(),
            };
            assert!(answer.events.len() <= wanted.limit);
            got.extend(seqs(&answer.events));
            match answer.next_cursor {
                Some(cursor) => next.cursor = Some(cursor),
                None => {
                    assert_eq!(got, expected, "{wanted:?}");
                    break;
                }
            }
        }
        found += got.len();
    }
    assert!(found > 10_000, "the filters found next to nothing: {found}");
}

#[test]
fn every_combination_of_filters_uses_an_index_and_sorts_nothing() {
    let trail = Trail::with_events(200);
    let reader = open_reader(&trail.path).unwrap();
    let time = DateTime::from_timestamp_micros(0);
    let cursor = page(&reader, &Filter { limit: 1, ..Filter::default() }).unwrap().next_cursor;
    assert!(cursor.is_some());
    for bits in 0..64_u32 {
        let on = |bit: u32| bits & (1 << bit) != 0;
        for success in [None, Some(true), Some(false)] {
            let mut filter = Filter {
                event_type: on(0).then_some(EventType::DataRead),
                user: on(1).then(|| "user-1".to_owned()),
                tool: on(2).then(|| "lint_code".to_owned()),
                success,
                start: time.filter(|_| on(3)),
                end: on(4).then(chrono::Utc::now),
                cursor: None,
                limit: 1,
            };
            if on(5) {
                filter.cursor = page(&reader, &filter).unwrap().next_cursor;
            }
            let plan = plan(&reader, &filter);
            let first = plan.lines().next().unwrap();
            assert!(first.contains("USING INDEX event_by_"), "{filter:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
            // Without a range the few entries of the failures' own index are walked as they are.
            let failures = first == "SCAN e USING INDEX event_by_failure";
            let narrowed = on(0) || on(1) || on(2) || on(3) || on(4) || filter.cursor.is_some();
            assert!(!narrowed || failures || first.starts_with("SEARCH"), "{filter:?}: {plan}");
        }
    }
}

#[test]
fn a_rare_tool_of_a_busy_user_is_found_by_the_tool() {
    let trail = Trail::new();
    let mut rows: Vec<_> = (0..50).map(|_| super::single("ada")).collect();
    rows.push(Prepared { tool: Some("rare".into()), ..super::single("ada") });
    trail.open().append(&rows).unwrap();
    let reader = open_reader(&trail.path).unwrap();
    let filter =
        Filter { user: Some("ada".into()), tool: Some("rare".into()), ..Filter::default() };
    assert!(plan(&reader, &filter).contains("event_by_tool"), "{}", plan(&reader, &filter));
    assert_eq!(seqs(&page(&reader, &filter).unwrap().events), [51]);
}

#[test]
fn bad_cursors_limits_ranges_and_types_are_typed_errors() {
    let trail = Trail::with_events(10);
    let reader = open_reader(&trail.path).unwrap();
    let first = Filter { limit: 3, ..Filter::default() };
    let cursor = page(&reader, &first).unwrap().next_cursor.unwrap();
    let of_other_query =
        Filter { user: Some("ada".into()), cursor: Some(cursor.clone()), ..first.clone() };
    let mut bad = vec![of_other_query];
    for text in ["", "x", "!!!!", &cursor[1..], &format!("{cursor}AA"), &"A".repeat(100_000)] {
        bad.push(Filter { cursor: Some(text.to_owned()), ..first.clone() });
    }
    for limit in [0, LIMIT_MAX + 1, usize::MAX] {
        bad.push(Filter { limit, ..Filter::default() });
    }
    let time = DateTime::from_timestamp_micros(5);
    bad.push(Filter { start: time, end: time, ..Filter::default() });
    for filter in bad {
        let error = page(&reader, &filter).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{filter:?}");
    }
    let unknown = Filter::parse_type("code_exec").unwrap_err();
    assert_eq!(unknown.kind(), Kind::InvalidInput);
    assert!(unknown.to_string().contains("code_execution"), "{unknown}");
}

#[test]
fn an_event_shows_its_place_in_the_chain() {
    let trail = Trail::with_events(3);
    let reader = open_reader(&trail.path).unwrap();
    let events = page(&reader, &Filter::default()).unwrap().events;
    assert_eq!(seqs(&events), [3, 2, 1]);
    assert_eq!(events[0].prev_hash, events[1].hash);
    assert_eq!(events[2].prev_hash, "0".repeat(64));
    assert!(events[0].timestamp.ends_with('Z') && events[0].timestamp.len() == 27);
}

#[test]
fn quotes_and_percent_signs_in_a_filter_are_only_text() {
    let trail = Trail::with_events(5);
    let reader = open_reader(&trail.path).unwrap();
    for user in ["' OR 1=1 --", "%", "user-_", "\0", "e.user_id"] {
        let filter = Filter { user: Some(user.to_owned()), ..Filter::default() };
        assert_eq!(page(&reader, &filter).unwrap().events, [], "{user:?}");
    }
}
