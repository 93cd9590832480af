//! What gets into a mailbox, and what callers hear.

use futures_util::future::{join, join_all};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::fault::{Classify, Kind, Retry};
use ultimate_mcp_actors::supervision::{AskError, ChildRef, ChildSpec, ChildState, PolicyOptions};

use crate::support::*;

fn with_places(places: usize) -> ChildSpec<Worker> {
    ChildSpec { mailbox: places, ..worker("worker") }
}

fn overloaded(outcome: &Result<u32, AskError>) -> bool {
    matches!(outcome, Err(AskError::Overloaded { capacity: 16, .. }))
}

#[actix_rt::test]
async fn of_a_hundred_asks_at_sixteen_places_exactly_sixteen_are_accepted() {
    let (root, _exit) = root(quick());
    let child = root.spawn(with_places(16)).await.unwrap();
    let outcomes = join_all((0..100).map(|_| child.ask(Slow(ms(50)), soon()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 16);
    assert_eq!(outcomes.iter().filter(|outcome| overloaded(outcome)).count(), 84);
    assert_eq!(child.in_flight(), 0);
}

#[actix_rt::test]
async fn a_deadline_already_past_is_refused_without_queueing() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let refused = child.ask(Add(1), Deadline::after(ms(0))).await.unwrap_err();
    assert!(matches!(refused, AskError::Timeout { begun: false, .. }), "{refused:?}");
    assert_eq!(child.ask(Add(0), soon()).await.unwrap(), 0, "it was never handled");
}

#[actix_rt::test]
async fn a_timeout_tells_work_begun_from_work_that_never_will() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let (release, held) = std::sync::mpsc::channel();
    let short = || Deadline::after(ms(30));
    let (begun, queued) = join(child.ask(Block(held), short()), child.ask(Add(5), short())).await;
    let (begun, queued) = (begun.unwrap_err(), queued.unwrap_err());
    assert!(matches!(begun, AskError::Timeout { begun: true, .. }), "{begun:?}");
    assert!(matches!(queued, AskError::Timeout { begun: false, .. }), "{queued:?}");
    assert_eq!((begun.retry(), queued.retry()), (Retry::Unsafe, Retry::Safe));
    assert_eq!(begun.kind(), Kind::DeadlineExceeded);
    drop(release);
    assert_eq!(child.ask(Add(0), soon()).await.unwrap(), 0, "the queued one was skipped");
}

#[actix_rt::test]
async fn a_place_follows_the_work_after_its_caller_left() {
    let (root, _exit) = root(quick());
    let child = root.spawn(with_places(1)).await.unwrap();
    let (release, held) = tokio::sync::oneshot::channel();
    let left = child.ask(Held(held), Deadline::after(ms(30))).await;
    assert!(matches!(left, Err(AskError::Timeout { begun: true, .. })), "{left:?}");
    let refused = child.ask(Add(1), soon()).await;
    assert!(matches!(refused, Err(AskError::Overloaded { .. })), "{refused:?}");
    release.send(()).unwrap();
    until("the place is free", || child.in_flight() == 0).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
}

#[actix_rt::test]
async fn a_caller_that_is_dropped_takes_its_queued_message_back() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let (release, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    let queued = tokio::time::timeout(ms(30), child.ask(Add(5), soon())).await;
    assert!(queued.is_err(), "the outer timeout dropped the ask");
    drop(release);
    assert_eq!(child.ask(Add(0), soon()).await.unwrap(), 0);
    assert_eq!(child.in_flight(), 0);
}

#[actix_rt::test]
async fn tell_is_bounded_like_ask() {
    let (root, _exit) = root(quick());
    let child = root.spawn(with_places(3)).await.unwrap();
    let (release, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    child.tell(Add(1)).unwrap();
    child.tell(Add(1)).unwrap();
    assert!(matches!(child.tell(Add(1)), Err(AskError::Overloaded { .. })));
    drop(release);
    until("all told", || child.in_flight() == 0).await;
    assert_eq!(child.ask(Add(0), soon()).await.unwrap(), 2);
}

/// A child on this thread, whose restart takes ten seconds of a clock that stands still.
async fn in_long_backoff() -> ChildRef<Worker> {
    tokio::time::pause();
    let policy = PolicyOptions { backoff_initial_ms: 10_000, ..quick() };
    let root = root_here(PolicyOptions { backoff_max_ms: 10_000, ..policy });
    let child = root.spawn(worker("worker").placement(here())).await.unwrap();
    crash(&child).await;
    until_state(&child, ChildState::Restarting).await;
    child
}

#[actix_rt::test]
async fn messages_to_a_child_in_backoff_wait_for_its_restart() {
    let child = in_long_backoff().await;
    let began = tokio::time::Instant::now();
    assert_eq!(child.ask(Add(1), Deadline::after(ms(15_000))).await.unwrap(), 1);
    let waited = began.elapsed();
    assert!(waited > ms(9_000) && waited < ms(11_000), "{waited:?}");
}

#[actix_rt::test]
async fn a_restart_that_outlasts_the_deadline_is_told_at_once() {
    let child = in_long_backoff().await;
    let began = tokio::time::Instant::now();
    let refused = child.ask(Add(1), Deadline::after(ms(2_000))).await.unwrap_err();
    assert!(began.elapsed() < ms(100), "{:?}", began.elapsed());
    let AskError::Restarting { retry_after, .. } = &refused else { panic!("{refused:?}") };
    assert!(*retry_after > ms(9_000), "{retry_after:?}");
    assert_eq!(refused.retry(), Retry::After(*retry_after));
    assert_eq!(child.in_flight(), 0);
}

#[actix_rt::test]
async fn a_busy_mailbox_does_not_starve_its_neighbours() {
    let root = root_here(quick());
    let spec = ChildSpec { mailbox: 100_000, ..worker("busy") };
    let busy = root.spawn(spec.placement(here())).await.unwrap();
    let neighbour = root.spawn(worker("neighbour").placement(here())).await.unwrap();
    neighbour.ask(Add(0), soon()).await.unwrap();
    (0..100_000).for_each(|_| busy.tell(Add(1)).unwrap());
    neighbour.ask(Add(1), soon()).await.unwrap();
    assert!(busy.in_flight() > 50_000, "the neighbour waited for {}", 100_000 - busy.in_flight());
}
