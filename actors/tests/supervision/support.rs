//! A worker that fails on request, and the verbs the tests speak.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::supervision::{
    AskError, ChildRef, ChildSpec, ChildState, ExitSignal, NodeSnapshot, Placement, PolicyOptions,
    Supervisor, unobserved,
};

/// Longer than any test may take; reached only when a promise is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

pub fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Adds to the worker's sum, which a restart sets back to zero.
#[derive(Message)]
#[rtype(result = "u32")]
pub struct Add(pub u32);

/// Answers after this long, other messages go on meanwhile.
#[derive(Message)]
#[rtype(result = "u32")]
pub struct Slow(pub Duration);

/// Answers when the receiver hears something; others go on meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Held(pub tokio::sync::oneshot::Receiver<()>);

/// As `Held`, but holds back every message behind it meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AtomicHeld(pub tokio::sync::oneshot::Receiver<()>);

/// Yields a few times, and holds back every message behind it meanwhile.
#[derive(Message)]
#[rtype(result = "u32")]
pub struct Atomic(pub u32);

/// Panics in the handler.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Boom;

/// Panics in the handler's future.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AsyncBoom;

/// Panics in a future that left the actor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DetachedBoom;

/// Panics in an interval, later.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BoomInInterval;

/// Blocks the thread until the sender is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Block(pub std::sync::mpsc::Receiver<()>);

/// Stops the actor in order.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// How often the parts of a worker's life are still to fail, and how often they were reached.
#[derive(Default)]
pub struct Script {
    pub fail_factory: AtomicUsize,
    pub fail_started: AtomicUsize,
    pub fail_restarting: AtomicUsize,
    pub fail_stopping: AtomicUsize,
    pub built: AtomicUsize,
    pub stopped: AtomicUsize,
}

fn fails(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

pub struct Worker {
    sum: u32,
    script: Arc<Script>,
}

impl Worker {
    pub fn build(script: &Arc<Script>) -> Self {
        assert!(!fails(&script.fail_factory), "factory failed");
        script.built.fetch_add(1, Ordering::SeqCst);
        Self { sum: 0, script: Arc::clone(script) }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        assert!(!fails(&self.script.fail_started), "started failed");
    }

    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        assert!(!fails(&self.script.fail_stopping), "stopping failed");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.script.stopped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Supervised for Worker {
    fn restarting(&mut self, _: &mut Context<Self>) {
        assert!(!fails(&self.script.fail_restarting), "restarting failed");
        *self = Worker { sum: 0, script: Arc::clone(&self.script) };
    }
}

impl Handler<Add> for Worker {
    type Result = u32;
    fn handle(&mut self, message: Add, _: &mut Context<Self>) -> u32 {
        self.sum += message.0;
        self.sum
    }
}

impl Handler<Slow> for Worker {
    type Result = ResponseActFuture<Self, u32>;
    fn handle(&mut self, message: Slow, _: &mut Context<Self>) -> Self::Result {
        Box::pin(tokio::time::sleep(message.0).into_actor(self).map(|(), worker, _| worker.sum))
    }
}

impl Handler<Held> for Worker {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, message: Held, _: &mut Context<Self>) -> Self::Result {
        Box::pin(message.0.into_actor(self).map(|_, _, _| ()))
    }
}

impl Handler<AtomicHeld> for Worker {
    type Result = AtomicResponse<Self, ()>;
    fn handle(&mut self, message: AtomicHeld, _: &mut Context<Self>) -> Self::Result {
        AtomicResponse::new(Box::pin(message.0.into_actor(self).map(|_, _, _| ())))
    }
}

impl Handler<Atomic> for Worker {
    type Result = AtomicResponse<Self, u32>;
    fn handle(&mut self, message: Atomic, _: &mut Context<Self>) -> Self::Result {
        let work = async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        };
        AtomicResponse::new(Box::pin(work.into_actor(self).map(move |(), worker, _| {
            worker.sum += message.0;
            worker.sum
        })))
    }
}

impl Handler<Boom> for Worker {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("handler failed");
    }
}

impl Handler<AsyncBoom> for Worker {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, _: AsyncBoom, _: &mut Context<Self>) -> Self::Result {
        Box::pin(
            async {
                tokio::task::yield_now().await;
                panic!("handler future failed")
            }
            .into_actor(self),
        )
    }
}

impl Handler<DetachedBoom> for Worker {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: DetachedBoom, _: &mut Context<Self>) -> Self::Result {
        Box::pin(async { panic!("detached future failed") })
    }
}

impl Handler<BoomInInterval> for Worker {
    type Result = ();
    fn handle(&mut self, _: BoomInInterval, context: &mut Context<Self>) {
        context.run_interval(ms(1), |_, _| panic!("interval failed"));
    }
}

impl Handler<Block> for Worker {
    type Result = ();
    fn handle(&mut self, message: Block, _: &mut Context<Self>) {
        // An error is the signal: the sender is gone.
        let _ = message.0.recv();
    }
}

impl Handler<Stop> for Worker {
    type Result = ();
    fn handle(&mut self, _: Stop, context: &mut Context<Self>) {
        context.stop();
    }
}

/// Quick restarts, plenty of them, no jitter.
pub fn quick() -> PolicyOptions {
    PolicyOptions {
        max_restarts: 100,
        backoff_initial_ms: 1,
        backoff_max_ms: 4,
        backoff_jitter: 0.0,
        ..PolicyOptions::default()
    }
}

pub fn root(policy: PolicyOptions) -> (Supervisor, ExitSignal) {
    Supervisor::root("root", policy, unobserved()).unwrap()
}

/// The spec of a worker of which nothing fails unasked.
pub fn worker(name: &str) -> ChildSpec<Worker> {
    scripted(name, &Arc::default())
}

pub fn scripted(name: &str, script: &Arc<Script>) -> ChildSpec<Worker> {
    let script = Arc::clone(script);
    ChildSpec::new(name, 64, move || Worker::build(&script))
}

pub async fn spawn(supervisor: &Supervisor, name: &str) -> ChildRef<Worker> {
    supervisor.spawn(worker(name)).await.unwrap()
}

/// Crashes the child and checks that the caller is told so.
pub async fn crash(child: &ChildRef<Worker>) {
    let outcome = child.ask(Boom, soon()).await;
    assert!(matches!(outcome, Err(AskError::Crashed { .. })), "{outcome:?}");
}

/// Polls until the condition holds; fails the test if it never does.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(ms(1)).await;
    }
}

pub fn node(supervisor: &Supervisor, name: &str) -> NodeSnapshot {
    supervisor.tree().snapshot().find(name).cloned().unwrap_or_else(|| panic!("no node {name}"))
}

pub async fn until_state(child: &ChildRef<Worker>, state: ChildState) {
    until(&format!("{} is {state}", child.name()), || child.state() == state).await;
}

pub async fn until_state_of(supervisor: &Supervisor, name: &str, state: ChildState) {
    until(&format!("{name} is {state}"), || node(supervisor, name).state == state).await;
}

/// This test's own thread, so that its clock can be paused.
pub fn here() -> Placement {
    Placement::Shared(Arbiter::current())
}

/// A root on this test's own thread.
pub fn root_here(policy: PolicyOptions) -> Supervisor {
    Supervisor::root_on(&Arbiter::current(), "root", policy, unobserved()).unwrap().0
}
