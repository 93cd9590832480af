//! Panics: what they cost, and whom.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::dev::{MessageResponse, OneshotSender};
use actix::fut::wrap_future;
use actix::prelude::*;
use futures_util::future::{join, join_all};
use ultimate_mcp_actors::supervision::{AskError, ChildSpec, ChildState, PolicyOptions};

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

/// Answered by a future of the actor that panics right after it.
struct AnsweredThenBoom;

impl Message for AnsweredThenBoom {
    type Result = u32;
}

/// Hands the reply to such a future.
struct Answering;

impl Handler<AnsweredThenBoom> for Worker {
    type Result = Answering;

    fn handle(&mut self, _: AnsweredThenBoom, _: &mut Context<Self>) -> Answering {
        Answering
    }
}

impl MessageResponse<Worker, AnsweredThenBoom> for Answering {
    fn handle(self, context: &mut Context<Worker>, reply: Option<OneshotSender<u32>>) {
        let answering = async move {
            reply.unwrap().send(7).unwrap();
            panic!("after the answer");
        };
        context.spawn(wrap_future(answering));
    }
}

#[actix_rt::test]
async fn what_was_answered_before_a_crash_is_told_as_answered() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    assert_eq!(child.ask(AnsweredThenBoom, soon()).await.unwrap(), 7);
    until("the panic", || node(&root, "worker").panics == 1).await;
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
}

#[actix_rt::test]
async fn a_factory_that_panics_thrice_is_tried_until_it_builds() {
    let (root, _exit) = root(quick());
    let script = Arc::<Script>::default();
    script.fail_factory.store(3, Ordering::SeqCst);
    let child = root.spawn(scripted("worker", &script)).await.unwrap();
    assert_eq!(child.ask(Add(7), soon()).await.unwrap(), 7, "the message waited for the actor");
    let node = node(&root, "worker");
    assert_eq!((node.panics, node.restarts), (3, 3));
}

#[actix_rt::test]
async fn a_panic_in_a_stop_hook_does_not_keep_a_child_from_ending() {
    let (root, _exit) = root(quick());
    let script = Arc::<Script>::default();
    script.fail_stopping.store(1, Ordering::SeqCst);
    let child = root.spawn(scripted("worker", &script)).await.unwrap();
    child.ask(Add(1), soon()).await.unwrap();
    let report = root.drain(soon()).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(child.state(), ChildState::Stopped);
}

#[actix_rt::test]
async fn a_panic_in_a_detached_future_costs_only_its_own_message() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    child.ask(Add(1), soon()).await.unwrap();
    let lost = child.ask(DetachedBoom, soon()).await;
    assert!(matches!(lost, Err(AskError::Crashed { .. })), "{lost:?}");
    assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 2, "the actor never noticed");
    assert_eq!(child.in_flight(), 0);
}

#[actix_rt::test]
async fn every_message_in_hand_hears_of_the_crash_at_once() {
    let policy = PolicyOptions { backoff_initial_ms: 60_000, backoff_max_ms: 60_000, ..quick() };
    let (root, _exit) = root(policy);
    let child = spawn(&root, "worker").await;
    let (_keep, held) = tokio::sync::oneshot::channel();
    // The held message would wait forever, the backoff lasts a minute: only the crash answers it.
    let (held, boom) = join(child.ask(Held(held), soon()), child.ask(Boom, soon())).await;
    assert!(matches!(held, Err(AskError::Crashed { .. })), "{held:?}");
    assert!(matches!(boom, Err(AskError::Crashed { .. })), "{boom:?}");
    assert_eq!(child.in_flight(), 0);
}

#[actix_rt::test]
async fn restarts_do_not_leak_places() {
    let (root, _exit) = root(quick());
    let spec = ChildSpec { mailbox: 4, ..worker("worker") };
    let child = root.spawn(spec).await.unwrap();
    for _ in 0..20 {
        let (_keep, held) = tokio::sync::oneshot::channel();
        let outcomes = join(child.ask(Held(held), soon()), child.ask(Boom, soon())).await;
        assert!(outcomes.0.is_err() && outcomes.1.is_err());
        assert_eq!(child.in_flight(), 0);
    }
    let all = join_all((0..4).map(|_| child.ask(Slow(ms(1)), soon()))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

#[actix_rt::test]
async fn a_message_that_crashes_its_actor_is_not_delivered_again() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    crash(&child).await;
    child.ask(Add(1), soon()).await.unwrap();
    let node = node(&root, "worker");
    assert_eq!((node.panics, node.mailbox.unwrap().lost), (1, 1));
}
