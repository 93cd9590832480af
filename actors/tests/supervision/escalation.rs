//! What happens when restarting does not help.

use futures_util::future::{join, join_all};
use ultimate_mcp_actors::supervision::{
    AskError, ChildState, Exit, PolicyOptions, SpawnError, Supervisor, SupervisorSpec, unobserved,
};

use crate::support::*;

fn at_most(max_restarts: u32) -> PolicyOptions {
    PolicyOptions { max_restarts, ..quick() }
}

async fn inner(root: &Supervisor, max_restarts: u32) -> Supervisor {
    root.supervisor(SupervisorSpec::new("inner", at_most(max_restarts))).await.unwrap()
}

#[actix_rt::test]
async fn a_root_that_used_up_its_restarts_fails_closed_and_signals_the_exit() {
    let (root, exit) = root(at_most(3));
    let failing = spawn(&root, "failing").await;
    let bystander = spawn(&root, "bystander").await;
    for _ in 0..3 {
        crash(&failing).await;
        failing.ask(Add(1), soon()).await.unwrap();
    }
    crash(&failing).await;
    let Exit::Failed { child, text, report } = exit.wait().await else { panic!("drained?") };
    assert_eq!(&*child, "failing");
    assert!(text.contains("handler failed"), "{text}");
    assert!(report.is_clean(), "the bystander had nothing in hand: {report:?}");
    assert_eq!((failing.state(), bystander.state()), (ChildState::Failed, ChildState::Stopped));
    let refused = bystander.ask(Add(1), soon()).await;
    assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
    let refused = root.spawn(worker("late")).await.err();
    assert!(matches!(refused, Some(SpawnError::Unavailable(_))), "{refused:?}");
    assert_eq!(root.tree().snapshot().state, ChildState::Failed);
}

#[actix_rt::test]
async fn a_failing_root_lets_the_others_answer_what_they_accepted() {
    let (root, exit) = root(at_most(0));
    let bystander = spawn(&root, "bystander").await;
    let failing = spawn(&root, "failing").await;
    let (release, held) = tokio::sync::oneshot::channel();
    let crash_then_release = async {
        crash(&failing).await;
        until("admission closed", || bystander.tell(Add(1)).is_err()).await;
        release.send(()).unwrap();
    };
    let (answer, ()) = join(bystander.ask(Held(held), soon()), crash_then_release).await;
    assert_eq!(answer, Ok(()));
    assert!(matches!(exit.wait().await, Exit::Failed { .. }));
}

#[actix_rt::test]
async fn an_inner_supervisor_that_gives_up_is_restarted_with_its_whole_subtree() {
    let (root, _exit) = root(at_most(5));
    let outside = spawn(&root, "outside").await;
    let inner = inner(&root, 1).await;
    let failing = spawn(&inner, "failing").await;
    let sibling = spawn(&inner, "sibling").await;
    outside.ask(Add(7), soon()).await.unwrap();
    sibling.ask(Add(7), soon()).await.unwrap();

    crash(&failing).await;
    let behind = join_all((0..10).map(|_| failing.ask(Add(1), soon())));
    let (crashed, answers) = join(failing.ask(Boom, soon()), behind).await;
    assert!(matches!(crashed, Err(AskError::Crashed { .. })), "{crashed:?}");
    let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, (1..=10).collect::<Vec<_>>(), "the queue outlived the escalation");

    until("the sibling restarted too", || node(&root, "sibling").generation == 1).await;
    assert_eq!(sibling.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(outside.ask(Add(1), soon()).await.unwrap(), 8, "outside nothing happened");
    let inner = node(&root, "inner");
    assert_eq!((inner.restarts, inner.state), (1, ChildState::Running));
    assert!(inner.last_failure.unwrap().text.contains("failing used up the restarts"));
}

#[actix_rt::test]
async fn an_inner_supervisor_that_keeps_giving_up_takes_the_root_down() {
    let (root, exit) = root(at_most(1));
    let inner = inner(&root, 0).await;
    let failing = spawn(&inner, "failing").await;
    crash(&failing).await;
    failing.ask(Add(1), soon()).await.unwrap();
    crash(&failing).await;
    let Exit::Failed { child, text, .. } = exit.wait().await else { panic!("drained?") };
    assert_eq!(&*child, "inner");
    assert!(text.contains("handler failed"), "{text}");
    until_state(&failing, ChildState::Failed).await;
}

#[actix_rt::test]
async fn the_engine_goes_on_without_an_optional_child_that_used_up_its_restarts() {
    let (root, _exit) = root(at_most(2));
    let optional = root.spawn(worker("optional").optional()).await.unwrap();
    let critical = spawn(&root, "critical").await;
    for _ in 0..3 {
        crash(&optional).await;
    }
    until_state(&optional, ChildState::Failed).await;
    let refused = optional.ask(Add(1), soon()).await;
    let failed = ChildState::Failed;
    assert!(matches!(refused, Err(AskError::Unavailable { state, .. }) if state == failed));
    // What it used up is not held against the critical one.
    for _ in 0..2 {
        crash(&critical).await;
        critical.ask(Add(1), soon()).await.unwrap();
    }
    assert!(root.tree().snapshot().can_serve());
}

#[actix_rt::test]
async fn when_the_supervisors_thread_ends_every_child_fails_closed() {
    let thread = actix_rt::Arbiter::new();
    let (root, exit) =
        Supervisor::root_on(&thread.handle(), "root", quick(), unobserved()).unwrap();
    let child = spawn(&root, "worker").await;
    child.ask(Add(1), soon()).await.unwrap();
    thread.stop();
    assert!(matches!(exit.wait().await, Exit::Failed { .. }));
    until_state(&child, ChildState::Failed).await;
    let refused = child.ask(Add(1), soon()).await;
    assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
    let refused = root.spawn(worker("late")).await.err();
    assert!(matches!(refused, Some(SpawnError::Unavailable(_))), "{refused:?}");
}
