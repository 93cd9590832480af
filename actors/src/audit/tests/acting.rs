//! The writer as an actor: shared commits, failures, restarts.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use rusqlite::Connection;

use super::{Trail, key};
use crate::audit::actor::{Crash, FillDisk};
use crate::audit::{
    AuditError, AuditHandle, AuditOptions, EventType, Filter, Lines, NewEvent, Phase, verify,
};
use crate::deadline::Deadline;
use crate::fault::{Classify, Kind};
use crate::ids::CallId;
use crate::testing::{caller, root, soon};

fn quiet() -> AuditOptions {
    AuditOptions { stdout: Lines::Off, ..AuditOptions::default() }
}

async fn started(trail: &Trail, options: AuditOptions) -> AuditHandle {
    AuditHandle::start(&root(), &trail.path, key(), options).await.unwrap()
}

fn event() -> NewEvent {
    let mut event = NewEvent::new(EventType::DataRead, Phase::Single, "read");
    event.user_id = Some(caller("ada"));
    event.success = Some(true);
    event
}

fn of_call(call_id: CallId, phase: Phase) -> NewEvent {
    let mut event = NewEvent::new(EventType::CodeExecution, phase, "tools/call");
    event.call_id = Some(call_id);
    event
}

fn assert_whole(trail: &Trail, events: i64) {
    let report = verify(&trail.path, &key()).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.events_intact, events);
}

#[test]
fn what_every_call_holds_of_the_audit_is_one_pointer() {
    assert_eq!(size_of::<AuditHandle>(), size_of::<usize>());
}

#[actix::test]
async fn an_answered_event_is_in_the_file_and_found_by_a_query() {
    let trail = Trail::new();
    let audit = started(&trail, quiet()).await;
    let id = audit.append(event(), soon()).await.unwrap();
    let page = audit.query(Filter::default(), soon()).await.unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].event_id, id.to_string());
    assert_eq!((audit.stats().events, audit.stats().commits), (1, 1));
    let mode = std::fs::metadata(&trail.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_whole(&trail, 1);
}

#[actix::test]
async fn events_that_may_wait_share_the_commit_of_the_one_that_may_not() {
    let trail = Trail::new();
    let audit = started(&trail, AuditOptions { defer_ms: 15_000, ..quiet() }).await;
    let mut waiting: Vec<_> =
        (0..60).map(|_| Box::pin(audit.append_deferred(event(), soon()))).collect();
    for append in &mut waiting {
        assert!(poll!(append.as_mut()).is_pending());
    }
    audit.append(event(), soon()).await.unwrap();
    for append in waiting {
        append.await.unwrap();
    }
    let stats = audit.stats();
    assert_eq!((stats.events, stats.commits, stats.batch_events_max), (61, 1, 61));
}

#[actix::test]
async fn an_event_that_may_wait_is_committed_without_company_too() {
    let trail = Trail::new();
    let audit = started(&trail, AuditOptions { defer_ms: 1, ..quiet() }).await;
    audit.append_deferred(event(), soon()).await.unwrap();
    assert_whole(&trail, 1);
}

#[actix::test]
async fn an_event_nobody_waits_for_shares_the_next_commit() {
    let trail = Trail::new();
    let audit = started(&trail, AuditOptions { defer_ms: 15_000, ..quiet() }).await;
    audit.record(&event()).unwrap();
    audit.append(event(), soon()).await.unwrap();
    assert_eq!((audit.stats().events, audit.stats().commits), (2, 1));
}

#[actix::test]
async fn events_that_arrive_during_a_commit_share_the_next_one() {
    let trail = Trail::new();
    let audit = started(&trail, quiet()).await;
    audit.append(event(), soon()).await.unwrap();
    // While another connection holds the write lock, the writer waits in its commit.
    let blocker = Connection::open(&trail.path).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut appends: Vec<_> = (0..500).map(|_| Box::pin(audit.append(event(), soon()))).collect();
    for append in &mut appends {
        assert!(poll!(append.as_mut()).is_pending());
    }
    blocker.execute_batch("ROLLBACK").unwrap();
    for append in appends {
        append.await.unwrap();
    }
    let stats = audit.stats();
    assert_eq!(stats.events, 501);
    assert!(stats.commits <= 12, "500 waiting events took {} commits", stats.commits - 1);
    assert_whole(&trail, 501);
}

#[actix::test]
async fn batches_keep_their_bounds() {
    let trail = Trail::new();
    let options = AuditOptions { defer_ms: 15_000, batch_events_max: 7, ..quiet() };
    let audit = started(&trail, options).await;
    let mut waiting: Vec<_> =
        (0..30).map(|_| Box::pin(audit.append_deferred(event(), soon()))).collect();
    for append in &mut waiting {
        assert!(poll!(append.as_mut()).is_pending());
    }
    audit.append(event(), soon()).await.unwrap();
    for answer in join_all(waiting).await {
        answer.unwrap();
    }
    let stats = audit.stats();
    assert_eq!((stats.commits, stats.batch_events_max), (5, 7));
    assert_whole(&trail, 31);
}

#[actix::test]
async fn concurrent_appenders_on_several_threads_make_one_chain() {
    let trail = Trail::new();
    let audit = started(&trail, quiet()).await;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let audit = audit.clone();
            let (done, over) = tokio::sync::oneshot::channel();
            let arbiter = actix::Arbiter::new();
            arbiter.spawn(async move {
                for _ in 0..25 {
                    let calls = (0..8).map(|_| async {
                        let call = CallId::new();
                        let intent = audit.append_deferred(of_call(call, Phase::Intent), soon());
                        let outcome = audit.append(of_call(call, Phase::Outcome), soon());
                        let (intent, outcome) = futures_util::join!(intent, outcome);
                        intent.unwrap();
                        outcome.unwrap();
                    });
                    join_all(calls).await;
                }
                done.send(()).unwrap();
            });
            (over, arbiter)
        })
        .collect();
    for (over, arbiter) in threads {
        over.await.unwrap();
        arbiter.stop();
    }
    let stats = audit.stats();
    assert_eq!((stats.events, stats.open_calls, stats.last_seq), (1600, 0, 1600));
    assert_whole(&trail, 1600);
}

#[actix::test]
async fn a_crashed_writer_reopens_the_file_and_continues_the_chain() {
    let trail = Trail::new();
    let audit = started(&trail, quiet()).await;
    let call = CallId::new();
    audit.append(of_call(call, Phase::Intent), soon()).await.unwrap();
    for _ in 0..3 {
        audit.0.child.tell(Crash).unwrap();
        let queued = (0..20).map(|_| audit.append(event(), soon()));
        for answer in join_all(queued).await {
            answer.unwrap();
        }
    }
    assert_eq!(audit.stats().open_calls, 1, "a live call is no orphan");
    audit.append(of_call(call, Phase::Outcome), soon()).await.unwrap();
    assert_eq!(audit.stats().open_calls, 0);
    assert_whole(&trail, 62);
}

#[actix::test]
async fn a_failed_commit_is_an_error_to_its_callers_and_to_nobody_after() {
    let trail = Trail::new();
    let audit = started(&trail, quiet()).await;
    for _ in 0..40 {
        audit.append(event(), soon()).await.unwrap();
    }
    audit.0.child.ask(FillDisk, soon()).await.unwrap();
    let mut large = event();
    large.details.insert("text".into(), "x".repeat(15_000).into());
    let error = audit.append(large.clone(), soon()).await.unwrap_err();
    assert!(matches!(error, AuditError::Write(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::Unavailable);
    audit.append(large, soon()).await.unwrap();
    let stats = audit.stats();
    assert_eq!((stats.events, stats.events_failed, stats.commits_failed), (41, 1, 1));
    assert_whole(&trail, 41);
}

#[actix::test]
async fn a_query_that_outlives_its_deadline_is_interrupted() {
    let trail = Trail::with_events(20_000);
    let audit = started(&trail, quiet()).await;
    // Every third event is the user's and none of them failed: a walk without a result.
    let filter = Filter {
        user: Some("user-1".into()),
        event_type: Some(EventType::DataRead),
        tool: None,
        success: None,
        start: None,
        end: None,
        cursor: None,
        limit: 1000,
    };
    assert_eq!(audit.query(filter.clone(), soon()).await.unwrap().events.len(), 1000);
    let error = audit.query(filter.clone(), Deadline::after(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(error, AuditError::TooSlow), "{error:?}");
    assert_eq!(audit.query(filter, soon()).await.unwrap().events.len(), 1000);
}

#[actix::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let trail = Trail::new();
    let first = started(&trail, quiet()).await;
    first.append(of_call(CallId::new(), Phase::Intent), soon()).await.unwrap();
    let second = AuditHandle::start(&root(), &trail.path, key(), quiet()).await;
    assert!(matches!(second.map(drop), Err(AuditError::Locked)));
    assert_whole(&trail, 1);
}
