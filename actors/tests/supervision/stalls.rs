//! Handlers that never return.

use futures_util::future::{join, join_all};
use ultimate_mcp_actors::supervision::{
    AskError, ChildState, Exit, Placement, PolicyOptions, Restart,
};

use crate::support::*;

fn watchful() -> PolicyOptions {
    PolicyOptions { stall_after_ms: 300, ..quick() }
}

#[actix_rt::test]
async fn a_blocked_handler_is_replaced_and_its_queue_served_on_a_new_thread() {
    let (root, _exit) = root(watchful());
    let child = spawn(&root, "worker").await;
    child.ask(Add(5), soon()).await.unwrap();
    let (release, held) = std::sync::mpsc::channel();
    let behind = join_all((0..20).map(|_| child.ask(Add(1), soon())));
    let (blocked, answers) = join(child.ask(Block(held), soon()), behind).await;
    assert!(matches!(blocked, Err(AskError::Crashed { .. })), "{blocked:?}");
    let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, (1..=20).collect::<Vec<_>>());
    let stalled = node(&root, "worker");
    assert_eq!((stalled.stalls, stalled.stuck_threads, stalled.generation), (1, 1, 1));
    assert_eq!(child.in_flight(), 0, "the stuck message holds no place");

    drop(release);
    until("the stuck thread ended", || node(&root, "worker").stuck_threads == 0).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 21, "the old actor touched nothing");
}

#[actix_rt::test]
async fn a_stuck_thread_that_comes_back_takes_nothing_from_its_successor() {
    let (root, _exit) = root(watchful());
    let child = spawn(&root, "worker").await;
    let (release_stuck, held) = std::sync::mpsc::channel();
    let blocked = child.ask(Block(held), soon()).await;
    assert!(matches!(blocked, Err(AskError::Crashed { .. })), "{blocked:?}");
    let (release, held) = tokio::sync::oneshot::channel();
    let queued = async {
        let holding = child.ask(AtomicHeld(held), soon());
        join(holding, join_all((0..5).map(|_| child.ask(Add(1), soon())))).await
    };
    let come_back = async {
        until("all are queued", || child.in_flight() == 6).await;
        drop(release_stuck);
        until("the stuck thread ended", || node(&root, "worker").stuck_threads == 0).await;
        assert_eq!(child.in_flight(), 6);
        release.send(()).unwrap();
    };
    let ((_, answers), ()) = join(queued, come_back).await;
    assert_eq!(answers, (1..=5).map(Ok).collect::<Vec<_>>());
}

#[actix_rt::test]
async fn a_child_starved_by_a_blocked_neighbour_moves_without_blame() {
    let policy = PolicyOptions { max_restarts: 1, ..watchful() };
    let (root, _exit) = root(policy);
    let thread = actix_rt::Arbiter::new();
    let shared = || Placement::Shared(thread.handle());
    let blocking = root.spawn(worker("blocking").placement(shared())).await.unwrap();
    let starved = root.spawn(worker("starved").placement(shared())).await.unwrap();
    starved.ask(Add(1), soon()).await.unwrap();
    let (_keep, held) = std::sync::mpsc::channel();
    blocking.tell(Block(held)).unwrap();
    until("it blocks", || node(&root, "blocking").busy_for_ms.is_some_and(|busy| busy > 5)).await;
    assert_eq!(starved.ask(Add(1), soon()).await.unwrap(), 1, "answered by a fresh actor");
    assert_eq!(blocking.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(root.tree().snapshot().state, ChildState::Running, "one restart was counted");
}

#[actix_rt::test]
async fn the_tree_can_be_read_while_a_child_is_stuck() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let (release, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    until("it is seen as busy", || {
        node(&root, "worker").busy_for_ms.is_some_and(|busy| busy >= 20)
    })
    .await;
    let shown = serde_json::to_value(root.tree().snapshot()).unwrap();
    let worker = &shown["children"][0];
    assert_eq!(worker["name"], "worker");
    assert_eq!(worker["kind"], "actor");
    assert_eq!(worker["state"], "running");
    assert_eq!(worker["mailbox"]["in_flight"], 1);
    assert_eq!(shown["policy"]["strategy"], "one_for_one");
    drop(release);
    child.ask(Add(1), soon()).await.unwrap();
    until("it is idle", || node(&root, "worker").busy_for_ms.is_none()).await;
}

#[actix_rt::test]
async fn a_stuck_child_that_does_not_come_back_is_ended_without_its_thread() {
    let (root, _exit) = root(watchful());
    let child = root.spawn(worker("worker").restart(Restart::Temporary)).await.unwrap();
    let (_keep, held) = std::sync::mpsc::channel();
    let (blocked, behind) = join(child.ask(Block(held), soon()), child.ask(Add(1), soon())).await;
    assert!(matches!(blocked, Err(AskError::Crashed { .. })), "{blocked:?}");
    assert!(matches!(behind, Err(AskError::Unavailable { .. })), "{behind:?}");
    until_state(&child, ChildState::Failed).await;
}

#[actix_rt::test]
async fn stalls_beyond_the_intensity_escalate() {
    let (root, exit) = root(PolicyOptions { max_restarts: 0, ..watchful() });
    let child = spawn(&root, "worker").await;
    let (_keep, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    let Exit::Failed { child, text, .. } = exit.wait().await else { panic!("drained?") };
    assert_eq!((&*child, text.contains("blocks its thread")), ("worker", true), "{text}");
}
