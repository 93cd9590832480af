//! Stopping in order.

use std::sync::{Arc, Mutex};

use actix::prelude::*;
use futures_util::future::{join, join_all};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::supervision::{
    AskError, ChildSpec, ChildState, Exit, Lost, PolicyOptions, SupervisorSpec,
};

use crate::support::*;

/// Writes its name down when it stops.
struct Leaver {
    name: &'static str,
    journal: Arc<Mutex<Vec<&'static str>>>,
}

impl Actor for Leaver {
    type Context = Context<Self>;
    fn stopped(&mut self, _: &mut Context<Self>) {
        self.journal.lock().unwrap().push(self.name);
    }
}

impl Supervised for Leaver {}

impl Handler<Held> for Leaver {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, message: Held, _: &mut Context<Self>) -> Self::Result {
        Box::pin(message.0.into_actor(self).map(|_, _, _| ()))
    }
}

fn leaver(name: &'static str, journal: &Arc<Mutex<Vec<&'static str>>>) -> ChildSpec<Leaver> {
    let journal = Arc::clone(journal);
    ChildSpec::new(name, 8, move || Leaver { name, journal: Arc::clone(&journal) })
}

#[actix_rt::test]
async fn children_end_in_reverse_start_order_each_when_it_has_answered() {
    let (root, exit) = root(quick());
    let journal = Arc::<Mutex<Vec<&str>>>::default();
    root.spawn(leaver("first", &journal)).await.unwrap();
    let inner = root.supervisor(SupervisorSpec::new("inner", quick())).await.unwrap();
    inner.spawn(leaver("second", &journal)).await.unwrap();
    inner.spawn(leaver("third", &journal)).await.unwrap();
    let last = root.spawn(leaver("last", &journal)).await.unwrap();
    // Who was never built has nothing to stop.
    for name in ["first", "second", "third", "last"] {
        until_state_of(&root, name, ChildState::Running).await;
    }
    let (release, held) = tokio::sync::oneshot::channel();
    let release_later = async {
        until_state_of(&root, "last", ChildState::Draining).await;
        assert!(journal.lock().unwrap().is_empty(), "nobody ends before the last one has answered");
        release.send(()).unwrap();
    };
    let asks_and_drain = join(last.ask(Held(held), soon()), root.drain(soon()));
    let ((answer, report), ()) = join(asks_and_drain, release_later).await;
    assert_eq!(answer, Ok(()));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(*journal.lock().unwrap(), ["last", "third", "second", "first"]);
    assert!(matches!(exit.wait().await, Exit::Drained(_)));
}

#[actix_rt::test]
async fn what_was_accepted_is_answered_and_what_comes_later_refused() {
    let (root, _exit) = root(quick());
    let child = spawn(&root, "worker").await;
    let accepted = join_all((0..30).map(|_| child.ask(Slow(ms(30)), soon())));
    let drain = async {
        until("all accepted", || child.in_flight() == 30).await;
        root.drain(soon()).await
    };
    let (answers, report) = join(accepted, drain).await;
    assert!(report.is_clean() && answers.iter().all(Result::is_ok), "{answers:?}");
    let refused = child.ask(Add(1), soon()).await;
    let stopped = ChildState::Stopped;
    assert!(matches!(refused, Err(AskError::Unavailable { state, .. }) if state == stopped));
}

#[actix_rt::test]
async fn admission_closes_everywhere_at_once_but_accepted_work_may_still_record_its_outcome() {
    let (root, _exit) = root(quick());
    let recorder = spawn(&root, "recorder").await;
    let worker = spawn(&root, "worker").await;
    let (release, held) = tokio::sync::oneshot::channel();
    let meanwhile = async {
        until_state_of(&root, "worker", ChildState::Draining).await;
        let refused = recorder.ask(Add(1), soon()).await;
        assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
        assert_eq!(recorder.through_drain().ask(Add(1), soon()).await.unwrap(), 1);
        release.send(()).unwrap();
    };
    let asks_and_drain = join(worker.ask(Held(held), soon()), root.drain(soon()));
    let ((answer, report), ()) = join(asks_and_drain, meanwhile).await;
    assert!(answer.is_ok() && report.is_clean(), "{answer:?} {report:?}");
    let refused = recorder.through_drain().ask(Add(1), soon()).await;
    assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
}

#[actix_rt::test]
async fn a_crash_during_the_drain_costs_one_message_and_does_not_wait_for_the_deadline() {
    // A restart would take a minute; a draining child does not wait for it.
    let policy = PolicyOptions { backoff_initial_ms: 60_000, backoff_max_ms: 60_000, ..quick() };
    let (root, _exit) = root(policy);
    let child = spawn(&root, "worker").await;
    let (release, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    let queued = join(child.ask(Boom, soon()), join_all((0..5).map(|_| child.ask(Add(1), soon()))));
    let drain = async {
        until("all queued", || child.in_flight() == 7).await;
        let release_soon = async {
            until("admission closed", || child.tell(Add(1)).is_err()).await;
            drop(release);
        };
        join(root.drain(Deadline::after(2 * PATIENCE)), release_soon).await.0
    };
    let began = std::time::Instant::now();
    let ((crashed, answers), report) = join(queued, drain).await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(matches!(crashed, Err(AskError::Crashed { .. })), "{crashed:?}");
    let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [1, 2, 3, 4, 5]);
    assert_eq!(report.lost, [Lost { child: "worker".into(), messages: 1 }]);
}

#[actix_rt::test]
async fn a_child_that_only_crashes_is_given_up_and_its_losses_are_stated() {
    let (root, _exit) = root(quick());
    let child = root.spawn(ChildSpec { mailbox: 64, ..worker("worker") }).await.unwrap();
    let (release, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    (0..10).for_each(|_| child.tell(Boom).unwrap());
    let release_soon = async {
        until("admission closed", || child.tell(Add(1)).is_err()).await;
        drop(release);
    };
    let (report, ()) = join(root.drain(soon()), release_soon).await;
    assert_eq!(report.lost, [Lost { child: "worker".into(), messages: 10 }]);
    assert_eq!(child.state(), ChildState::Failed);
}

#[actix_rt::test]
async fn a_stuck_child_costs_the_deadline_and_its_messages_are_stated_as_lost() {
    let (root, _exit) = root(quick());
    let earlier = spawn(&root, "earlier").await;
    let child = spawn(&root, "worker").await;
    let (_keep, held) = std::sync::mpsc::channel();
    child.tell(Block(held)).unwrap();
    child.tell(Add(1)).unwrap();
    let report = root.drain(Deadline::after(ms(50))).await;
    assert_eq!(report.lost, [Lost { child: "worker".into(), messages: 2 }]);
    assert_eq!((child.state(), earlier.state()), (ChildState::Failed, ChildState::Stopped));
}

#[actix_rt::test]
async fn a_child_in_backoff_serves_its_queue_before_it_ends() {
    let policy = PolicyOptions { backoff_initial_ms: 60_000, backoff_max_ms: 60_000, ..quick() };
    let (root, _exit) = root(policy);
    let child = spawn(&root, "worker").await;
    crash(&child).await;
    until_state(&child, ChildState::Restarting).await;
    let patient = Deadline::after(ms(90_000));
    let drain = async {
        until("it is queued", || child.in_flight() == 1).await;
        root.drain(soon()).await
    };
    let (answer, report) = join(child.ask(Add(3), patient), drain).await;
    assert_eq!((answer, report.is_clean()), (Ok(3), true));
}
