//! Who comes back, in whose company.

use futures_util::future::{join, join_all};
use ultimate_mcp_actors::supervision::{
    AskError, ChildState, PolicyOptions, Restart, SpawnError, Strategy, Supervisor, SupervisorSpec,
};

use crate::support::*;

fn with(strategy: Strategy) -> PolicyOptions {
    PolicyOptions { strategy, ..quick() }
}

fn generations(supervisor: &Supervisor, names: [&str; 3]) -> [u32; 3] {
    names.map(|name| node(supervisor, name).generation)
}

const NAMES: [&str; 3] = ["first", "second", "third"];

async fn crash_the_second(strategy: Strategy) -> Supervisor {
    let (root, _exit) = root(with(strategy));
    spawn(&root, NAMES[0]).await;
    let second = spawn(&root, NAMES[1]).await;
    spawn(&root, NAMES[2]).await;
    crash(&second).await;
    root
}

#[actix_rt::test]
async fn one_for_one_restarts_only_the_child_that_crashed() {
    let root = crash_the_second(Strategy::OneForOne).await;
    until("the second is back", || generations(&root, NAMES)[1] == 1).await;
    until_state_of(&root, "second", ChildState::Running).await;
    assert_eq!(generations(&root, NAMES), [0, 1, 0]);
}

#[actix_rt::test]
async fn one_for_all_restarts_every_sibling() {
    let root = crash_the_second(Strategy::OneForAll).await;
    until("all are back", || generations(&root, NAMES) == [1, 1, 1]).await;
}

#[actix_rt::test]
async fn rest_for_one_restarts_the_later_siblings() {
    let root = crash_the_second(Strategy::RestForOne).await;
    until("the later two are back", || generations(&root, NAMES) == [0, 1, 1]).await;
}

#[actix_rt::test]
async fn siblings_restarted_in_company_keep_their_queues() {
    let (root, _exit) = root(with(Strategy::OneForAll));
    let crashing = spawn(&root, "crashing").await;
    let sibling = spawn(&root, "sibling").await;
    sibling.ask(Add(50), soon()).await.unwrap();
    let (release, held) = std::sync::mpsc::channel();
    sibling.tell(Block(held)).unwrap();
    let queued = join_all((0..20).map(|_| sibling.ask(Add(1), soon())));
    let crash_then_release = async {
        crash(&crashing).await;
        until("a restart is ordered", || node(&root, "crashing").generation == 1).await;
        drop(release);
    };
    let (answers, ()) = join(queued, crash_then_release).await;
    let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
    // Those handled before the order arrived count on from 50, those after it from zero; none is lost.
    assert_eq!(answers.len(), 20);
    until("the sibling restarted", || node(&root, "sibling").generation == 1).await;
    assert_eq!(node(&root, "sibling").panics, 0);
}

#[actix_rt::test]
async fn siblings_that_crash_together_cost_one_restart_of_the_group() {
    // On one thread both are down before their supervisor looks.
    let root = root_here(PolicyOptions { max_restarts: 1, ..with(Strategy::OneForAll) });
    let first = root.spawn(worker("first").placement(here())).await.unwrap();
    let second = root.spawn(worker("second").placement(here())).await.unwrap();
    first.ask(Add(1), soon()).await.unwrap();
    second.ask(Add(1), soon()).await.unwrap();
    join(crash(&first), crash(&second)).await;
    assert_eq!(first.ask(Add(1), soon()).await, Ok(1));
    assert_eq!(second.ask(Add(1), soon()).await, Ok(1));
    assert_eq!((node(&root, "first").restarts, node(&root, "second").restarts), (1, 1));
}

#[actix_rt::test]
async fn a_nested_supervisor_restarts_with_its_siblings() {
    let (root, _exit) = root(with(Strategy::OneForAll));
    let crashing = spawn(&root, "crashing").await;
    let inner = root.supervisor(SupervisorSpec::new("inner", quick())).await.unwrap();
    let below = spawn(&inner, "below").await;
    below.ask(Add(9), soon()).await.unwrap();
    crash(&crashing).await;
    until("the subtree restarted", || node(&root, "below").generation == 1).await;
    assert_eq!(below.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(node(&root, "inner").restarts, 1);
}

#[actix_rt::test]
async fn a_permanent_child_comes_back_after_it_stopped_by_itself() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    child.ask(Stop, soon()).await.unwrap();
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(node(&root, "worker").restarts, 1);
}

#[actix_rt::test]
async fn a_transient_child_comes_back_after_a_crash_but_not_after_it_stopped() {
    let (root, _exit) = root(quick());
    let child = root.spawn(worker("worker").restart(Restart::Transient)).await.unwrap();
    crash(&child).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
    child.ask(Stop, soon()).await.unwrap();
    until_state(&child, ChildState::Stopped).await;
    let refused = child.ask(Add(1), soon()).await;
    let stopped = ChildState::Stopped;
    assert!(matches!(refused, Err(AskError::Unavailable { state, .. }) if state == stopped));
    // Its name is free again.
    let again = spawn(&root, "worker").await;
    assert_eq!(again.ask(Add(3), soon()).await.unwrap(), 3);
}

#[actix_rt::test]
async fn a_temporary_child_never_comes_back_and_leaves_the_tree() {
    let (root, _exit) = root(quick());
    let child = root.spawn(worker("worker").restart(Restart::Temporary)).await.unwrap();
    let behind = join(child.ask(Boom, soon()), child.ask(Add(1), soon())).await.1;
    assert!(matches!(behind, Err(AskError::Unavailable { .. })), "{behind:?}");
    until_state(&child, ChildState::Failed).await;
    until("it left the tree", || root.tree().snapshot().children.is_empty()).await;
}

#[actix_rt::test]
async fn a_child_whose_thread_ended_is_started_on_another() {
    let (root, _exit) = root(quick());
    let thread = actix_rt::Arbiter::new();
    let placement = ultimate_mcp_actors::supervision::Placement::Shared(thread.handle());
    let child = root.spawn(worker("worker").placement(placement)).await.unwrap();
    child.ask(Add(5), soon()).await.unwrap();
    thread.stop();
    thread.join().unwrap();
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(node(&root, "worker").stuck_threads, 0);
}

#[actix_rt::test]
async fn what_cannot_stand_in_the_tree_is_refused() {
    let (root, _exit) = root(quick());
    spawn(&root, "worker").await;
    let taken = root.spawn(worker("worker")).await.err();
    assert!(matches!(taken, Some(SpawnError::NameTaken(_))), "{taken:?}");
    for name in ["", "Worker", "a b", &"x".repeat(65)] {
        let refused = root.spawn(worker(name)).await.err();
        assert!(matches!(refused, Some(SpawnError::InvalidName(_))), "{name:?}: {refused:?}");
    }
    let spec = ultimate_mcp_actors::supervision::ChildSpec { mailbox: 0, ..worker("none") };
    let refused = root.spawn(spec).await.err();
    assert!(matches!(refused, Some(SpawnError::InvalidMailbox(0))), "{refused:?}");
    let policy = PolicyOptions { window_seconds: 0, ..quick() };
    let refused = root.supervisor(SupervisorSpec::new("inner", policy)).await.err();
    assert!(matches!(refused, Some(SpawnError::InvalidPolicy(_))), "{refused:?}");
}
