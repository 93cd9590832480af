//! Who gets a place when, and who is turned away.

use super::*;
use crate::testing::{caller, soon};

fn gate(places: usize, places_per_caller: usize, queue: usize) -> Arc<Gate> {
    let (queue_per_caller, background_percent) = (queue, 75);
    Gate::new(Bounds { places, places_per_caller, queue, queue_per_caller, background_percent })
}

fn waiting(
    gate: &Arc<Gate>,
    name: &str,
) -> tokio::task::JoinHandle<Result<Ticket, ExecutionError>> {
    let (gate, owner) = (Arc::clone(gate), caller(name));
    tokio::spawn(async move { gate.enter(&owner, soon()).await })
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_place_given_back_goes_to_the_one_who_waited_longest() {
    let gate = gate(1, 1, 8);
    let first = gate.enter(&caller("a"), soon()).await.unwrap();
    let second = waiting(&gate, "b");
    settle().await;
    let third = waiting(&gate, "c");
    settle().await;
    assert_eq!(gate.counts(), (1, 2));
    drop(first);
    let second = second.await.unwrap().unwrap();
    assert!(!third.is_finished());
    drop(second);
    drop(third.await.unwrap().unwrap());
    assert_eq!(gate.counts(), (0, 0));
    assert!(gate.lock().callers.is_empty(), "idle callers are forgotten");
}

#[tokio::test]
async fn one_caller_cannot_keep_the_others_out() {
    let gate = gate(3, 2, 64);
    let a1 = gate.enter(&caller("a"), soon()).await.unwrap();
    let _a2 = gate.enter(&caller("a"), soon()).await.unwrap();
    let a3: Vec<_> = (0..10).map(|_| waiting(&gate, "a")).collect();
    settle().await;
    assert_eq!(gate.counts(), (2, 10), "the third place stays free for others");
    let b1 = gate.enter(&caller("b"), soon()).await.unwrap();
    let b2 = waiting(&gate, "b");
    settle().await;
    // Ten of `a` came first, but `b` has fewer runs.
    drop(b1);
    drop(b2.await.unwrap().unwrap());
    drop(a1);
    settle().await;
    assert_eq!(gate.counts(), (2, 9));
    a3.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_caller_with_a_long_queue_does_not_keep_another_waiting() {
    let gate = gate(1, 1, 64);
    let first = gate.enter(&caller("greedy"), soon()).await.unwrap();
    let mut greedy = Vec::new();
    for _ in 0..5 {
        greedy.push(waiting(&gate, "greedy"));
        settle().await;
    }
    let modest = waiting(&gate, "modest");
    settle().await;
    drop(first);
    let ticket = modest.await.unwrap().unwrap();
    assert!(greedy.iter().all(|run| !run.is_finished()), "five of the greedy one came first");
    drop(ticket);
    drop(greedy.remove(0).await.unwrap().unwrap());
    greedy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn jobs_leave_places_go_last_and_are_not_forgotten() {
    let gate = gate(4, 4, 8);
    let job = |name: &'static str| {
        let (gate, owner) = (Arc::clone(&gate), caller(name));
        let enter = async move { gate.enter(&owner, soon()).await };
        tokio::spawn(Requester::background().scope(enter))
    };
    let mut running = Vec::new();
    for name in ["a", "b", "c"] {
        running.push(job(name).await.unwrap().unwrap());
    }
    let early = job("d");
    settle().await;
    assert_eq!(gate.counts(), (3, 1), "the fourth place stays free for those who wait");
    let person = gate.enter(&caller("p"), soon()).await.unwrap();
    let next = waiting(&gate, "q");
    settle().await;
    drop(running.pop());
    let next = next.await.unwrap().unwrap();
    assert!(!early.is_finished(), "it came first and goes last");
    tokio::time::advance(BACKGROUND_PATIENCE).await;
    let late = waiting(&gate, "r");
    settle().await;
    drop(next);
    drop(early.await.unwrap().unwrap());
    drop(late.await.unwrap().unwrap());
    drop((running, person));
    assert_eq!(gate.counts(), (0, 0));
    assert_eq!(gate.lock().background, 0);
}

#[tokio::test]
async fn asking_for_room_says_what_entering_would_and_takes_nothing() {
    let gate = gate(1, 1, 1);
    let (a, b) = (caller("a"), caller("b"));
    assert!(gate.room(&a, soon()).is_ok());
    assert_eq!(gate.counts(), (0, 0));
    let _held = gate.enter(&a, soon()).await.unwrap();
    assert!(gate.room(&b, soon()).is_ok(), "it may wait");
    let _queued = waiting(&gate, "b");
    settle().await;
    assert!(matches!(gate.room(&b, soon()), Err(ExecutionError::QueueFull { .. })));
    assert!(matches!(gate.enter(&b, soon()).await, Err(ExecutionError::QueueFull { .. })));
    assert_eq!(gate.counts(), (1, 1));
}

#[tokio::test]
async fn jobs_cannot_fill_the_queue() {
    let gate = gate(1, 1, 4);
    let _held = gate.enter(&caller("a"), soon()).await.unwrap();
    let jobs: Vec<_> = ["b", "c", "d", "e"]
        .map(|name| {
            let (gate, owner) = (Arc::clone(&gate), caller(name));
            let enter = async move { gate.enter(&owner, soon()).await };
            tokio::spawn(Requester::background().scope(enter))
        })
        .into();
    settle().await;
    assert_eq!(gate.counts(), (1, 3), "three quarters of four");
    let person = waiting(&gate, "p");
    settle().await;
    assert_eq!(gate.counts(), (1, 4));
    person.abort();
    jobs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let gate = gate(1, 1, 1);
    let _held = gate.enter(&caller("a"), soon()).await.unwrap();
    let _queued = waiting(&gate, "b");
    settle().await;
    let refused = gate.enter(&caller("c"), soon()).await;
    assert!(matches!(refused, Err(ExecutionError::QueueFull { .. })));
}

#[tokio::test]
async fn one_caller_cannot_fill_the_queue() {
    let bounds = Bounds {
        places: 1,
        places_per_caller: 1,
        queue: 8,
        queue_per_caller: 1,
        background_percent: 75,
    };
    let gate = Gate::new(bounds);
    let _held = gate.enter(&caller("a"), soon()).await.unwrap();
    let _queued = waiting(&gate, "a");
    settle().await;
    let refused = gate.enter(&caller("a"), soon()).await;
    assert!(matches!(refused, Err(ExecutionError::CallerQueueFull { waiting: 1 })));
    let other = waiting(&gate, "b");
    settle().await;
    assert!(!other.is_finished());
}

#[tokio::test]
async fn who_leaves_the_queue_frees_its_place_in_it() {
    let gate = gate(1, 1, 1);
    let held = gate.enter(&caller("a"), soon()).await.unwrap();
    let queued = waiting(&gate, "b");
    settle().await;
    queued.abort();
    assert!(queued.await.is_err());
    assert_eq!(gate.counts(), (1, 0));
    drop(held);
    assert_eq!(gate.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_the_queue_is_told_as_not_begun() {
    let gate = gate(1, 1, 8);
    let _held = gate.enter(&caller("a"), soon()).await.unwrap();
    let deadline = Deadline::after(Duration::from_secs(1));
    let refused = gate.enter(&caller("b"), deadline).await;
    assert!(matches!(refused, Err(ExecutionError::NotBegun)));
    assert_eq!(gate.counts(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_begin_in_time_is_refused_at_once() {
    let gate = gate(1, 1, 64);
    for _ in 0..50 {
        let ticket = gate.enter(&caller("a"), soon()).await.unwrap();
        tokio::time::advance(Duration::from_secs(4)).await;
        drop(ticket);
    }
    let _held = gate.enter(&caller("a"), soon()).await.unwrap();
    let _queued = [waiting(&gate, "b"), waiting(&gate, "c")];
    settle().await;
    let began = Instant::now();
    let late = gate.enter(&caller("d"), Deadline::after(Duration::from_secs(5))).await;
    assert!(matches!(late, Err(ExecutionError::TooLate { .. })));
    assert_eq!(began.elapsed(), Duration::ZERO);
}
