//! The supervisor's hand on one child, whatever its kind.
//!
//! Owns: the orders channel of the present cell and whether there is one. Called by: the
//! supervisor's actor and the drain, on the supervisors' thread; nothing here waits for a child.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cell::{Cell, Core, Order};
use super::child::Placement;
use super::drain::{DRAIN_GRACE, Lost};
use super::node::{Body, ChildState, Node, lock};
use super::stay::Stay;
use super::supervisor::Supervisor;

/// The owner of an inbox nobody may take from.
const NOBODY: u64 = u64::MAX;
/// How long to wait before trying again when no thread could be started.
const THREAD_RETRY: Duration = Duration::from_secs(1);

pub(super) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// What the watchdog finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// A handler of this child blocks its thread.
    Blocking,
    /// Something else blocks the thread this child shares.
    Starved,
}

pub(super) trait Control: Send + Sync {
    fn node(&self) -> &Arc<Node>;
    /// Restarts the child (for a supervisor: its whole subtree) after the delay.
    fn restart(self: Arc<Self>, delay: Duration);
    /// Stops the work and keeps the queue until a parent has decided.
    fn suspend(&self);
    /// Ends the child for good.
    fn end(&self, state: ChildState);
    /// Lets the child answer what it accepted, at the latest until then; resolves when it ended.
    fn drain(self: Arc<Self>, until: Instant) -> LocalFuture<Vec<Lost>>;
    /// Takes the queue away from a cell that cannot be reached any more.
    fn disown(&self) {}
    fn look(&self, _stall_after: Duration) -> Option<Stall> {
        None
    }
    fn stay(&self) -> u64 {
        0
    }
    /// The child as a supervisor, when it is one.
    fn supervisor(&self) -> Option<Supervisor> {
        None
    }
}

pub(super) struct ActorChild<A: Actor> {
    core: Arc<Core<A>>,
    placement: Placement,
    /// To the present cell; `None` when there is none (disowned, or ended without one).
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
    /// Rises with every decision, so that a launch that still waits out its delay sees it is stale.
    decisions: AtomicU64,
}

impl<A: Actor<Context = Context<A>> + Supervised> ActorChild<A> {
    /// Starts the first cell where the child was placed.
    pub(super) fn start(core: Arc<Core<A>>, placement: Placement) -> io::Result<Arc<Self>> {
        let (orders, decisions) = (Mutex::default(), AtomicU64::new(0));
        let child = Arc::new(Self { core, placement, orders, decisions });
        match &child.placement {
            Placement::Dedicated => child.launch_on_own_thread(false)?,
            Placement::Shared(thread) => {
                if !child.launch(thread.clone(), None, false) {
                    return Err(io::Error::other("the shared thread has ended"));
                }
            }
        }
        Ok(child)
    }

    fn launch_on_own_thread(&self, restart: bool) -> io::Result<()> {
        let thread = Arbiter::try_new()?.handle();
        self.launch(thread.clone(), Some(thread), restart);
        Ok(())
    }

    /// A new cell with a new stay takes over the inbox. False: the thread is gone.
    fn launch(&self, thread: ArbiterHandle, own: Option<ArbiterHandle>, restart: bool) -> bool {
        let Body::Actor { stay: present, .. } = &self.core.node.body else { return false };
        let stay = Stay::new(present.load().number + 1);
        present.store(Arc::clone(&stay));
        self.core.inbox.give_to(stay.number);
        let (sender, receiver) = mpsc::unbounded_channel();
        *lock(&self.orders) = Some(sender);
        let core = Arc::clone(&self.core);
        thread.spawn_fn(move || {
            actix_rt::spawn(Cell::new(core, stay, receiver, own, restart));
        })
    }

    fn present_stay(&self) -> Option<Arc<Stay>> {
        match &self.core.node.body {
            Body::Actor { stay, .. } => Some(stay.load_full()),
            Body::Supervisor { .. } => None,
        }
    }

    /// False: there is no cell to hear it.
    fn order(&self, order: Order) -> bool {
        self.decisions.fetch_add(1, Ordering::AcqRel);
        lock(&self.orders).as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }

    fn launch_later(self: Arc<Self>, delay: Duration) {
        let decision = self.decisions.load(Ordering::Acquire);
        let node = &self.core.node;
        node.set_back_at(Some(Instant::now() + delay));
        node.set_state(ChildState::Restarting);
        actix_rt::spawn(async move {
            tokio::time::sleep(delay).await;
            if self.decisions.load(Ordering::Acquire) != decision {
                return;
            }
            self.core.node.set_back_at(None);
            if let Err(error) = self.launch_on_own_thread(true) {
                tracing::error!(child = %self.core.node.name, %error, "no thread for the child");
                self.launch_later(THREAD_RETRY);
            }
        });
    }

    /// Ends the child without the help of a cell.
    fn end_from_outside(&self, state: ChildState) {
        self.disown();
        self.core.gate.close();
        self.core.inbox.close(state);
        self.core.node.set_state(state);
    }
}

impl<A: Actor<Context = Context<A>> + Supervised> Control for ActorChild<A> {
    fn node(&self) -> &Arc<Node> {
        &self.core.node
    }

    fn restart(self: Arc<Self>, delay: Duration) {
        if !self.core.node.state().is_final() && !self.order(Order::Restart(delay)) {
            self.launch_later(delay);
        }
    }

    fn suspend(&self) {
        if !self.order(Order::Suspend) {
            self.core.node.set_state(ChildState::Suspended);
        }
    }

    fn end(&self, state: ChildState) {
        if !self.order(Order::End(state)) {
            self.end_from_outside(state);
        }
    }

    fn drain(self: Arc<Self>, until: Instant) -> LocalFuture<Vec<Lost>> {
        if !self.order(Order::Drain(until)) && !self.core.node.state().is_final() {
            let waiting = self.core.gate.in_flight() > 0;
            match waiting.then(|| self.launch_on_own_thread(true)) {
                Some(Ok(())) => {
                    self.order(Order::Drain(until));
                }
                _ => self.end_from_outside(ChildState::Stopped),
            }
        }
        Box::pin(async move {
            // Also when those before it used up the time: a child with nothing in hand ends at once.
            let patience = until.max(Instant::now()) + DRAIN_GRACE;
            let ended = tokio::time::timeout_at(patience, self.core.node.ended()).await;
            if ended.is_err() {
                // Its thread is stuck: whatever it holds is lost to its callers.
                self.end_from_outside(ChildState::Failed);
            }
            let messages = self.core.gate.lost_in_drain();
            let child = Arc::clone(&self.core.node.name);
            if messages > 0 { vec![Lost { child, messages }] } else { Vec::new() }
        })
    }

    fn disown(&self) {
        self.decisions.fetch_add(1, Ordering::AcqRel);
        self.core.inbox.give_to(NOBODY);
        let orders = lock(&self.orders).take();
        if orders.is_some_and(|orders| orders.send(Order::Leave).is_ok()) {
            self.core.node.count_stall();
        }
        if let Some(stay) = self.present_stay() {
            stay.hand.drop_all();
        }
    }

    fn look(&self, stall_after: Duration) -> Option<Stall> {
        let stay = self.present_stay()?;
        if self.core.node.state().is_final() || lock(&self.orders).is_none() {
            return None;
        }
        let passed = |since: Option<Duration>| since.is_some_and(|since| since > stall_after);
        if passed(stay.busy_for()) {
            return Some(Stall::Blocking);
        }
        if passed(stay.silent_for()) {
            return Some(Stall::Starved);
        }
        if stay.ping() {
            // Not `order`: a ping decides nothing.
            if let Some(orders) = &*lock(&self.orders) {
                let _ = orders.send(Order::Ping);
            }
        }
        None
    }

    fn stay(&self) -> u64 {
        self.present_stay().map_or(0, |stay| stay.number)
    }
}
