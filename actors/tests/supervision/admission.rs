//! What gets into a mailbox, and what callers hear.

use actix::prelude::*;
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

/// A child on this thread, where the clock moves only when nothing else does.
async fn in_paused_time(spec: ChildSpec<Worker>) -> ChildRef<Worker> {
    tokio::time::pause();
    root_here(quick()).spawn(spec.placement(here())).await.unwrap()
}

#[actix_rt::test]
async fn a_timeout_tells_work_begun_from_work_that_never_will() {
    let child = in_paused_time(worker("worker")).await;
    let (release, held) = tokio::sync::oneshot::channel();
    let short = || Deadline::after(ms(30));
    let asks = join(child.ask(AtomicHeld(held), short()), child.ask(Add(5), short()));
    let (begun, queued) = asks.await;
    let (begun, queued) = (begun.unwrap_err(), queued.unwrap_err());
    assert!(matches!(begun, AskError::Timeout { begun: true, .. }), "{begun:?}");
    assert!(matches!(queued, AskError::Timeout { begun: false, .. }), "{queued:?}");
    assert_eq!((begun.retry(), queued.retry()), (Retry::Unsafe, Retry::Safe));
    assert_eq!(begun.kind(), Kind::DeadlineExceeded);
    release.send(()).unwrap();
    assert_eq!(child.ask(Add(0), soon()).await.unwrap(), 0, "the queued one was skipped");
}

#[actix_rt::test]
async fn a_message_whose_deadline_passed_in_the_queue_is_not_begun_even_if_its_caller_still_waits()
{
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let (release, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    // This thread blocks past the deadline, so that the child looks first.
    let deadline = Deadline::after(ms(20));
    let release_late = async {
        while !deadline.is_past() {
            std::hint::spin_loop();
        }
        drop(release);
        while child.in_flight() > 0 {
            std::hint::spin_loop();
        }
    };
    let expired = join(child.ask(Add(5), deadline), release_late).await.0;
    assert!(matches!(expired, Err(AskError::Timeout { begun: false, .. })), "{expired:?}");
    assert_eq!(child.ask(Add(0), soon()).await.unwrap(), 0);
}

#[actix_rt::test]
async fn a_place_follows_the_work_after_its_caller_left() {
    let child = in_paused_time(with_places(1)).await;
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
    let child = in_paused_time(worker("worker")).await;
    let (release, held) = tokio::sync::oneshot::channel();
    child.tell(AtomicHeld(held)).unwrap();
    let queued = tokio::time::timeout(ms(30), child.ask(Add(5), soon())).await;
    assert!(queued.is_err(), "the outer timeout dropped the ask");
    release.send(()).unwrap();
    assert_eq!(child.ask(Add(0), soon()).await.unwrap(), 0);
    assert_eq!(child.in_flight(), 0);
}

#[actix_rt::test]
async fn what_was_taken_back_counts_against_the_bound_until_the_queue_has_passed_it() {
    let child = in_paused_time(with_places(3)).await;
    let (release, held) = tokio::sync::oneshot::channel();
    child.tell(AtomicHeld(held)).unwrap();
    for _ in 0..2 {
        child.ask(Add(5), Deadline::after(ms(30))).await.unwrap_err();
    }
    let refused = child.ask(Add(5), soon()).await;
    assert!(matches!(refused, Err(AskError::Overloaded { .. })), "{refused:?}");
    release.send(()).unwrap();
    until("the queue has passed them", || child.in_flight() == 0).await;
    assert_eq!(child.ask(Add(1), soon()).await, Ok(1));
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

#[actix_rt::test]
async fn an_atomic_handler_holds_back_the_messages_behind_it() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let both = join(child.ask(Atomic(1), soon()), child.ask(Add(10), soon())).await;
    assert_eq!(both, (Ok(1), Ok(11)));
    let both = join(child.ask(Atomic(1), soon()), child.ask(Boom, soon())).await;
    assert_eq!(both.0, Ok(12), "it was no longer in hand when the next one crashed");
}

/// An actor that may not leave its thread.
struct Homebody(std::rc::Rc<u32>);

impl Actor for Homebody {
    type Context = Context<Self>;
}

impl Supervised for Homebody {}

impl Handler<Add> for Homebody {
    type Result = u32;
    fn handle(&mut self, message: Add, _: &mut Context<Self>) -> u32 {
        *self.0 + message.0
    }
}

#[actix_rt::test]
async fn references_and_asks_travel_between_threads_even_when_the_actor_cannot() {
    fn travels<T: Send>(value: T) -> T {
        value
    }
    let (root, _exit) = root(quick());
    let spec = ChildSpec::new("homebody", 8, || Homebody(std::rc::Rc::new(40)));
    let child = travels(root.spawn(spec).await.unwrap());
    let other_thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(travels(async move { child.ask(Add(2), soon()).await }))
    });
    let answer = tokio::task::spawn_blocking(|| other_thread.join().unwrap()).await.unwrap();
    assert_eq!(answer, Ok(42));
}
