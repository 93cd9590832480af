//! Operators change policies while the engine runs.

use ultimate_mcp_actors::supervision::{ChildState, PolicyOptions, ReconfigureError, Strategy};

use crate::support::*;

#[actix_rt::test]
async fn a_policy_changed_live_holds_for_the_next_crash() {
    let (root, _exit) = root(PolicyOptions { max_restarts: 1, ..quick() });
    let first = spawn(&root, "first").await;
    let second = spawn(&root, "second").await;
    let policy = PolicyOptions { strategy: Strategy::RestForOne, max_restarts: 50, ..quick() };
    root.reconfigure(policy).await.unwrap();
    for round in 1..=10 {
        crash(&first).await;
        assert_eq!(first.ask(Add(2), soon()).await.unwrap(), 2);
        until("the later one restarted", || node(&root, "second").generation == round).await;
    }
    assert_eq!(second.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(root.tree().snapshot().policy, Some(policy));
}

#[actix_rt::test]
async fn a_policy_out_of_range_changes_nothing() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let wrong = PolicyOptions { window_seconds: 0, backoff_jitter: 7.0, ..quick() };
    let refused = root.reconfigure(wrong).await.unwrap_err();
    let ReconfigureError::Invalid(mistakes) = &refused else { panic!("{refused:?}") };
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(keys, ["window_seconds", "backoff_jitter"]);
    assert_eq!(root.tree().snapshot().policy, Some(quick()));
    crash(&child).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(child.state(), ChildState::Running);
}
