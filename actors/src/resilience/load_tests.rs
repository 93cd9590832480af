//! What a dependency does under load: limits that find themselves, hedges, shares, priorities. Through
//! `Dependency::call`, in paused time.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::poll;
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::deadline::Deadline;
use crate::testing::caller;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

impl Failure for Broken {
    fn class(&self) -> Class {
        Class::Transient
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn soon() -> Deadline {
    Deadline::after(ms(60_000))
}

fn options(change: impl FnOnce(&mut DependencyOptions)) -> DependencyOptions {
    let mut options = DependencyOptions { wait_ms: 60_000, ..DependencyOptions::default() };
    change(&mut options);
    assert_eq!(options.mistakes(), []);
    options
}

fn dependency(change: impl FnOnce(&mut DependencyOptions)) -> Dependency {
    Dependency::new("db", options(change), Arc::new(|_, _| {}))
}

/// A server that works on so many calls at once; others queue inside it.
struct Server {
    workers: Semaphore,
    work_ms: AtomicU64,
}

impl Server {
    async fn serve(&self) -> Result<(), Broken> {
        let _worker = self.workers.acquire().await.map_err(|_| Broken)?;
        sleep(ms(self.work_ms.load(Ordering::Relaxed))).await;
        Ok(())
    }
}

/// The mean of the limit over five seconds.
async fn mean_limit(db: &Dependency) -> f64 {
    let mut sum = 0;
    for _ in 0..100 {
        sleep(ms(50)).await;
        sum += db.snapshot().places.limit;
    }
    sum as f64 / 100.0
}

#[tokio::test(start_paused = true)]
async fn the_limit_finds_what_the_server_bears_and_follows_it() {
    let db = dependency(|options| {
        options.concurrency = Concurrency::Adaptive;
        options.concurrent_max = 500;
        options.breaker.calls_min = 100_000;
    });
    let server = Arc::new(Server { workers: Semaphore::new(20), work_ms: AtomicU64::new(10) });
    for _ in 0..200 {
        let (db, server) = (db.clone(), Arc::clone(&server));
        tokio::spawn(async move {
            loop {
                db.call(soon(), true, || server.serve()).await.unwrap();
            }
        });
    }
    assert_eq!(db.snapshot().places.limit, 4, "it begins with few");
    let near = |mean: f64, knee: f64| {
        assert!(mean >= knee * 0.8 && mean <= knee * 2.5, "{mean} for {knee}");
    };
    sleep(ms(10_000)).await;
    near(mean_limit(&db).await, 20.0);
    // It loses workers, and gets others.
    server.workers.acquire_many(12).await.unwrap().forget();
    sleep(ms(10_000)).await;
    near(mean_limit(&db).await, 8.0);
    server.workers.add_permits(32);
    sleep(ms(10_000)).await;
    near(mean_limit(&db).await, 40.0);
    // Slower for good: once the base is measured anew, that is what it takes without a queue.
    server.work_ms.store(30, Ordering::Relaxed);
    sleep(ms(70_000)).await;
    near(mean_limit(&db).await, 40.0);
}

#[tokio::test(start_paused = true)]
async fn the_limit_and_the_wait_change_while_it_works_and_the_waiting_notice() {
    let db = dependency(|options| options.concurrent_max = 1);
    let hang = || std::future::pending::<Result<(), Broken>>();
    let mut held = Box::pin(db.call(soon(), true, hang));
    assert!(poll!(held.as_mut()).is_pending());
    let mut waiting = Box::pin(db.call(soon(), true, || async { Ok::<_, Broken>(()) }));
    assert!(poll!(waiting.as_mut()).is_pending());
    assert_eq!(db.snapshot().places.waiting, 1);
    db.reconfigure(options(|options| options.concurrent_max = 2));
    assert_eq!(waiting.await, Ok(()));
    db.reconfigure(options(|options| (options.concurrent_max, options.wait_ms) = (1, 10)));
    let began = Instant::now();
    let refused = db.call(soon(), true, || async { Ok::<_, Broken>(()) }).await;
    assert_eq!(refused, Err(CallError::Full { dependency: "db".into() }));
    assert_eq!((began.elapsed(), db.snapshot().places.refused), (ms(10), 1));
    let adaptive = |options: &mut DependencyOptions| {
        (options.concurrency, options.concurrent_min) = (Concurrency::Adaptive, 7);
    };
    db.reconfigure(options(adaptive));
    assert_eq!(db.snapshot().places.limit, 7);
    db.reconfigure(options(|options| options.concurrent_max = 9));
    assert_eq!((db.snapshot().places.limit, db.snapshot().places.in_flight), (9, 1));
}

/// A dependency that hedges after 100 ms, and calls whose first request takes `first` and whose others
/// take 10 ms; answers which request was answered and how many were sent.
async fn hedged(
    db: &Dependency,
    repeat: Repeat,
    first: u64,
) -> (Result<u32, CallError<Broken>>, u32) {
    let sent = Cell::new(0);
    let operation = || {
        sent.set(sent.get() + 1);
        let number = sent.get();
        async move {
            sleep(ms(if number == 1 { first } else { 10 })).await;
            Ok(number)
        }
    };
    (db.call_as(soon(), repeat, operation).await, sent.get())
}

fn hedging(change: impl FnOnce(&mut DependencyOptions)) -> Dependency {
    dependency(|options| {
        options.hedge = HedgeOptions { enabled: true, delay_ms: 100 };
        change(options);
    })
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_is_sent_again_and_the_first_answer_counts_once() {
    let db = hedging(|options| options.breaker.slow_ms = 1000);
    let began = Instant::now();
    assert_eq!(hedged(&db, Repeat::Reads, 5000).await, (Ok(2), 2));
    assert_eq!(began.elapsed(), ms(110));
    assert_eq!(
        hedged(&db, Repeat::Reads, 105).await,
        (Ok(1), 2),
        "the first was quicker after all"
    );
    assert_eq!(hedged(&db, Repeat::Reads, 50).await, (Ok(1), 1), "quick reads are sent once");
    let shown = db.snapshot();
    assert_eq!((shown.hedges.sent, shown.hedges.won), (2, 1));
    assert_eq!((shown.breaker.calls, shown.breaker.failed, shown.breaker.slow), (3, 0, 0));
    assert_eq!(shown.places.in_flight, 0, "the losers gave their places back");
}

#[tokio::test(start_paused = true)]
async fn writes_are_never_hedged_nor_is_anything_unless_it_is_switched_on() {
    for repeat in [Repeat::WithoutEffect, Repeat::AfterAnything] {
        assert_eq!(hedged(&hedging(|_| {}), repeat, 1000).await, (Ok(1), 1));
    }
    assert_eq!(hedged(&dependency(|_| {}), Repeat::Reads, 1000).await, (Ok(1), 1));
}

#[tokio::test(start_paused = true)]
async fn hedges_are_paid_for_by_the_retry_budget_and_need_a_free_place() {
    let poor =
        hedging(|options| (options.retry.budget_percent, options.retry.budget_per_second) = (0, 0));
    assert_eq!(hedged(&poor, Repeat::Reads, 1000).await, (Ok(1), 1));
    let narrow = hedging(|options| options.concurrent_max = 1);
    assert_eq!(hedged(&narrow, Repeat::Reads, 1000).await, (Ok(1), 1));
    let busy = hedging(|_| {});
    let background = Requester::background();
    assert_eq!(background.scope(hedged(&busy, Repeat::Reads, 1000)).await, (Ok(1), 1));
    let rich = hedging(|options| options.retry.budget_percent = 10);
    for _ in 0..200 {
        assert!(hedged(&rich, Repeat::Reads, 110).await.0.is_ok());
    }
    // 10 % of the calls, and 5 per second for the 22 seconds this takes.
    let sent = rich.snapshot().hedges.sent;
    assert!((100..=135).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn probes_are_never_hedged_and_a_failed_pair_is_one_failure() {
    let db = hedging(|options| {
        options.retry.attempts_max = 1;
        options.breaker.calls_min = 2;
        options.breaker.slow_ms = 4000;
    });
    let sent = Cell::new(0);
    let failing = || {
        sent.set(sent.get() + 1);
        async {
            sleep(ms(200)).await;
            Err::<(), _>(Broken)
        }
    };
    assert!(db.call_as(soon(), Repeat::Reads, failing).await.is_err());
    assert_eq!((sent.get(), db.snapshot().breaker.failed), (2, 1));
    assert!(db.call_as(soon(), Repeat::Reads, failing).await.is_err());
    assert_eq!(db.breaker().state(), BreakerState::Open);
    sleep(ms(700)).await;
    assert_eq!(hedged(&db, Repeat::Reads, 1000).await, (Ok(1), 1));
    assert_eq!(db.breaker().state(), BreakerState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_of_its_own_a_read_is_hedged_after_the_slowest_twentieth() {
    let db = hedging(|options| {
        (options.hedge.delay_ms, options.retry.budget_per_second) = (0, 1000);
    });
    assert_eq!(hedged(&db, Repeat::Reads, 4000).await, (Ok(1), 1), "nothing is known yet");
    for number in 0..128 {
        // 1 to 100 ms, in no order.
        hedged(&db, Repeat::Reads, number * 37 % 100 + 1).await.0.unwrap();
    }
    let before = db.snapshot().hedges.sent;
    let began = Instant::now();
    assert_eq!(hedged(&db, Repeat::Reads, 4000).await, (Ok(2), 2));
    assert!(began.elapsed() > ms(90) && began.elapsed() < ms(130), "{:?}", began.elapsed());
    assert_eq!(db.snapshot().hedges.sent, before + 1);
}

type Call = tokio::task::JoinHandle<Result<(), CallError<Broken>>>;

/// A call for this requester that takes a second once it has a place.
async fn begin(db: &Dependency, requester: &Requester) -> Call {
    let (db, requester) = (db.clone(), requester.clone());
    let call = tokio::spawn(requester.scope(async move {
        db.call(soon(), true, || async {
            sleep(ms(1000)).await;
            Ok::<_, Broken>(())
        })
        .await
    }));
    tokio::task::yield_now().await;
    call
}

#[tokio::test(start_paused = true)]
async fn one_caller_gets_no_more_than_its_share_of_the_places() {
    let db = dependency(|options| {
        (options.concurrent_max, options.concurrent_caller_percent) = (4, 50);
    });
    let [greedy, modest] =
        ["greedy", "modest"].map(|name| Requester::of(caller(name), Priority::Interactive));
    for _ in 0..10 {
        begin(&db, &greedy).await;
    }
    let shown = db.snapshot().places;
    assert_eq!((shown.in_flight, shown.waiting), (2, 8));
    let first = begin(&db, &modest).await;
    let own = begin(&db, &Requester::default()).await;
    assert_eq!(db.snapshot().places.in_flight, 4, "others and the server itself have their places");
    advance(ms(1000)).await;
    assert_eq!((first.await.unwrap(), own.await.unwrap()), (Ok(()), Ok(())));
    sleep(ms(10)).await;
    assert_eq!(db.snapshot().places.in_flight, 2, "still half, though nobody else is there");
    db.reconfigure(options(|options| options.concurrent_max = 4));
    assert_eq!(db.snapshot().places.in_flight, 4, "100 percent is no share");
}

#[tokio::test(start_paused = true)]
async fn background_work_leaves_places_and_goes_last() {
    let db = dependency(|options| options.concurrent_max = 2);
    let (people, background) = (Requester::default(), Requester::background());
    let first = begin(&db, &background).await;
    let copy = begin(&db, &background).await;
    let shown = db.snapshot().places;
    assert_eq!((shown.in_flight, shown.background, shown.waiting), (1, 1, 1), "half of two");
    let second = begin(&db, &people).await;
    let later = begin(&db, &people).await;
    sleep(ms(500)).await;
    assert!(!copy.is_finished() && !later.is_finished());
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    sleep(ms(10)).await;
    assert_eq!(db.snapshot().places.in_flight, 2);
    later.await.unwrap().unwrap();
    copy.await.unwrap().unwrap();

    let one = dependency(|options| options.concurrent_max = 1);
    let held = begin(&one, &people).await;
    let copy = begin(&one, &background).await;
    let person = begin(&one, &people).await;
    held.await.unwrap().unwrap();
    person.await.unwrap().unwrap();
    assert!(!copy.is_finished(), "it came first and goes last");
    copy.await.unwrap().unwrap();
    assert_eq!(one.snapshot().places.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_queue_takes_no_place_with_it() {
    let db = dependency(|options| options.concurrent_max = 1);
    let people = Requester::default();
    let held = begin(&db, &people).await;
    let gone = begin(&db, &people).await;
    let next = begin(&db, &people).await;
    gone.abort();
    assert!(gone.await.is_err());
    assert_eq!(db.snapshot().places.waiting, 1);
    held.abort();
    next.await.unwrap().unwrap();
    let shown = db.snapshot().places;
    assert_eq!((shown.in_flight, shown.waiting), (0, 0));
}
