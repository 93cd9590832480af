//! Panics: what they cost, and whom.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::{join, join_all};
use ultimate_mcp_actors::supervision::AskError;

use crate::support::*;

#[actix_rt::test]
async fn five_panics_lose_nothing_but_the_message_in_hand() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    for round in 1..=5_u64 {
        assert!(child.ask(Add(100), soon()).await.unwrap() >= 100);
        let behind = join_all((0..20).map(|_| child.ask(Add(1), soon())));
        let (crashed, answers) = join(child.ask(Boom, soon()), behind).await;
        assert!(matches!(crashed, Err(AskError::Crashed { .. })), "{crashed:?}");
        let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (1..=20).collect::<Vec<_>>(), "in order, by a fresh state");
        let node = node(&root, "worker");
        assert_eq!((node.panics, node.restarts, node.generation), (round, round, round as u32));
        assert!(node.last_failure.unwrap().text.starts_with("handler failed"));
    }
}

#[actix_rt::test]
async fn a_panic_anywhere_in_an_actors_life_is_survived() {
    let (root, _exit) = root(quick());
    let script = Arc::<Script>::default();
    let child = root.spawn(scripted("worker", &script)).await.unwrap();
    child.ask(Add(1), soon()).await.unwrap();

    let crashed = child.ask(AsyncBoom, soon()).await;
    assert!(matches!(crashed, Err(AskError::Crashed { .. })), "{crashed:?}");
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);

    child.ask(BoomInInterval, soon()).await.unwrap();
    until("the interval's panic", || node(&root, "worker").panics == 2).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);

    script.fail_started.store(3, Ordering::SeqCst);
    crash(&child).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(node(&root, "worker").panics, 6);

    script.fail_restarting.store(2, Ordering::SeqCst);
    crash(&child).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
    assert_eq!(node(&root, "worker").panics, 9);
    assert_eq!(
        script.built.load(Ordering::SeqCst),
        1,
        "rebuilt in `restarting`, not by the factory"
    );
}
