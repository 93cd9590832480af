//! The cell: one child on its thread. Polls the actor's context and survives its panics.
//!
//! - owns: the actor, its context, its phase; the queue is the inbox's
//! - mailbox: orders of the supervisor, unbounded but few (one per decision and ping), before messages
//! - dies when: told to, drained, replaced after a stall, or its thread goes away
//! - restarted how: it restarts the actor (`ContextFut::restart`, hence `Supervised::restarting`);
//!   after a stall or a lost thread its supervisor starts another cell on a new thread
//!
//! actix drops actor and mailbox when a handler panics. The cell polls `ContextFut` itself, under
//! `catch_unwind`, so that after a panic it still owns both, reports, and waits for the decision.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker, ready};
use std::time::Duration;

use actix::dev::{ContextFut, channel};
use actix::prelude::*;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::gate::Gate;
use super::inbox::{Inbox, Pump};
use super::node::{ChildState, Failure, Node};
use super::panics::guard;
use super::policy::Down;
use super::stay::Stay;

/// Crashes during its own drain after which a child is given up; it would only crash again.
const DRAIN_CRASHES_MAX: u32 = 3;

/// What a supervisor tells a cell.
pub(super) enum Order {
    /// Restart this long after you went down, or from now when you did not, whatever you are doing.
    Restart(Duration),
    /// Stop the actor, keep the queue, wait.
    Suspend,
    /// Answer what was accepted, end at the latest then.
    Drain(Instant),
    /// End now, in this state.
    End(ChildState),
    /// Another cell has taken your place: leave without a trace.
    Leave,
    /// Show that your thread is alive.
    Ping,
}

/// What a cell tells its supervisor.
pub(super) struct Report {
    pub(super) stay: u64,
    pub(super) generation: u32,
    pub(super) down: Down,
    pub(super) failure: Option<Failure>,
    /// The cell has already seen to it (it drains): nothing to decide.
    pub(super) settled: bool,
}

pub(super) type Reporter = Arc<dyn Fn(Report) + Send + Sync>;
pub(super) type Factory<A> = Arc<dyn Fn() -> A + Send + Sync>;

/// What every cell of one child shares, from the first thread to the last.
pub(super) struct Core<A: Actor> {
    pub(super) node: Arc<Node>,
    pub(super) gate: Arc<Gate>,
    pub(super) inbox: Arc<Inbox<A>>,
    pub(super) factory: Factory<A>,
    pub(super) report: Reporter,
}

enum Phase {
    /// The actor is to be built or rebuilt now; true: this counts as a restart.
    ComingUp {
        restart: bool,
    },
    Running,
    /// Down; the supervisor decides.
    Awaiting,
    Backoff(Pin<Box<Sleep>>),
}

pub(super) struct Cell<A: Actor<Context = Context<A>> + Supervised> {
    core: Arc<Core<A>>,
    stay: Arc<Stay>,
    context: Option<ContextFut<A, Context<A>>>,
    /// Keeps actix' own mailbox open: without an address a context may neither live nor restart.
    address: Option<Addr<A>>,
    phase: Phase,
    /// When it went down, while nothing was decided: the backoff counts from there.
    down_at: Option<Instant>,
    drain: Option<Pin<Box<Sleep>>>,
    drain_crashes: u32,
    orders: mpsc::UnboundedReceiver<Order>,
    /// The thread to stop at the end, when it is the child's own.
    own_thread: Option<ArbiterHandle>,
    over: bool,
}

impl<A: Actor<Context = Context<A>> + Supervised> Unpin for Cell<A> {}

impl<A: Actor<Context = Context<A>> + Supervised> Cell<A> {
    pub(super) fn new(
        core: Arc<Core<A>>,
        stay: Arc<Stay>,
        orders: mpsc::UnboundedReceiver<Order>,
        own_thread: Option<ArbiterHandle>,
        restart: bool,
    ) -> Self {
        Self {
            core,
            stay,
            context: None,
            address: None,
            phase: Phase::ComingUp { restart },
            down_at: None,
            drain: None,
            drain_crashes: 0,
            orders,
            own_thread,
            over: false,
        }
    }

    /// Runs code of the actor: busy while it runs, its panic caught.
    fn guarded<T>(&mut self, code: impl FnOnce(&mut Self) -> T) -> Result<T, String> {
        let (name, stay) = (Arc::clone(&self.core.node.name), Arc::clone(&self.stay));
        stay.enter();
        let outcome = guard(&name, || code(self));
        stay.leave();
        outcome
    }

    fn follow_orders(&mut self, task: &mut Task<'_>) {
        while !self.over {
            let Poll::Ready(order) = self.orders.poll_recv(task) else { return };
            match order {
                // Decided before the supervisor knew that the drain sees to it.
                Some(Order::Restart(_) | Order::Suspend) if self.drain.is_some() => {}
                Some(Order::Restart(delay)) => {
                    self.quiesce();
                    let back_at = self.down_at.take().unwrap_or_else(Instant::now) + delay;
                    self.core.node.set_back_at(Some(back_at));
                    self.core.node.set_state(ChildState::Restarting);
                    self.phase = Phase::Backoff(Box::pin(tokio::time::sleep_until(back_at)));
                }
                Some(Order::Suspend) => {
                    self.quiesce();
                    self.core.node.set_state(ChildState::Suspended);
                    self.phase = Phase::Awaiting;
                }
                Some(Order::Drain(until)) => self.begin_drain(until),
                Some(Order::End(state)) => self.end(state),
                Some(Order::Leave) => self.leave(),
                Some(Order::Ping) => self.stay.pong(),
                // The supervisor is gone: nobody would restart us, so fail closed.
                None => self.end(ChildState::Failed),
            }
        }
    }

    fn begin_drain(&mut self, until: Instant) {
        self.core.gate.close();
        self.core.node.set_state(ChildState::Draining);
        self.drain = Some(Box::pin(tokio::time::sleep_until(until)));
        if matches!(self.phase, Phase::Awaiting | Phase::Backoff(_)) {
            // Messages wait: serve them now. None wait: `check_drain` ends it at once.
            self.phase = Phase::ComingUp { restart: true };
        }
    }

    /// Ends a draining child that has answered everything, or whose time is over.
    fn check_drain(&mut self, task: &mut Task<'_>) {
        let Some(until) = &mut self.drain else { return };
        if self.core.gate.in_flight() == 0 || until.as_mut().poll(task).is_ready() {
            self.end(ChildState::Stopped);
        }
    }

    fn come_up(&mut self, restart: bool) {
        if restart {
            self.core.node.count_restart();
        }
        let built = self.guarded(|cell| {
            match &mut cell.context {
                Some(context) => {
                    // True as long as an address lives, and we hold one.
                    context.restart();
                }
                None => {
                    // 0: unbounded. Only the actor itself has this address (`ctx.address()`).
                    let (sender, receiver) = channel::channel::<A>(0);
                    let actor = (cell.core.factory)();
                    cell.address = Some(Addr::new(sender));
                    cell.context = Some(Context::with_receiver(receiver).into_future(actor));
                }
            }
            if let Some(context) = &mut cell.context {
                let core = &cell.core;
                let (node, inbox) = (Arc::clone(&core.node), Arc::clone(&core.inbox));
                context.ctx().spawn(Pump { node, inbox, stay: Arc::clone(&cell.stay) });
            }
        });
        match built {
            Ok(()) => self.phase = Phase::Running,
            Err(text) => self.crashed(&text),
        }
    }

    fn run(&mut self, task: &mut Task<'_>) -> Poll<()> {
        let polled = self.guarded(|cell| match &mut cell.context {
            Some(context) => Pin::new(context).poll(task),
            None => Poll::Ready(()),
        });
        match polled {
            Err(text) => self.crashed(&text),
            Ok(Poll::Ready(())) => self.stopped_itself(),
            Ok(Poll::Pending) => return Poll::Pending,
        }
        Poll::Ready(())
    }

    fn crashed(&mut self, text: &str) {
        self.core.node.count_panic();
        let failure = self.core.node.note_failure(text);
        self.down(Down::Panicked, Some(failure));
    }

    fn stopped_itself(&mut self) {
        self.down(Down::Stopped, None);
    }

    fn down(&mut self, down: Down, failure: Option<Failure>) {
        let generation = self.core.node.generation();
        let settled = self.drain.is_some();
        if !settled {
            self.down_at = Some(Instant::now());
            self.core.node.set_state(ChildState::Crashed);
            self.phase = Phase::Awaiting;
        }
        // After the state: who hears of the crash and looks finds it.
        self.stay.hand.drop_all();
        if settled {
            self.drain_crashes += 1;
            if self.drain_crashes > DRAIN_CRASHES_MAX {
                self.end(ChildState::Failed);
            } else {
                self.phase = Phase::ComingUp { restart: true };
            }
        }
        (self.core.report)(Report { stay: self.stay.number, generation, down, failure, settled });
    }

    /// Stops a running actor in order (its stop hooks run) and loses what it had in hand.
    fn quiesce(&mut self) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        // A panic in a stop hook changes nothing: the state is rebuilt anyway. The hook logs it.
        let _ = self.guarded(|cell| {
            if let Some(context) = &mut cell.context {
                context.ctx().stop();
                let _ = Pin::new(context).poll(&mut Task::from_waker(Waker::noop()));
            }
        });
        self.stay.hand.drop_all();
    }

    /// Ends the child for good.
    fn end(&mut self, state: ChildState) {
        self.over = true;
        self.core.gate.close();
        // Dropping the context runs the stop hooks.
        let context = self.context.take();
        let _ = self.guarded(|_| drop(context));
        self.stay.hand.drop_all();
        self.core.inbox.close(state);
        self.core.node.set_state(state);
        self.stop_own_thread();
    }

    /// Ends this cell only; the child lives on in another.
    fn leave(&mut self) {
        self.over = true;
        let context = self.context.take();
        let _ = self.guarded(|_| drop(context));
        self.stay.hand.drop_all();
        self.core.node.count_unstuck();
        self.stop_own_thread();
    }

    fn stop_own_thread(&mut self) {
        if let Some(thread) = self.own_thread.take() {
            thread.stop();
        }
    }
}

impl<A: Actor<Context = Context<A>> + Supervised> Future for Cell<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let cell = self.get_mut();
        loop {
            cell.follow_orders(task);
            if !cell.over {
                cell.check_drain(task);
            }
            if cell.over {
                return Poll::Ready(());
            }
            match &mut cell.phase {
                Phase::Awaiting => return Poll::Pending,
                Phase::Backoff(delay) => {
                    ready!(delay.as_mut().poll(task));
                    cell.core.node.set_back_at(None);
                    cell.phase = Phase::ComingUp { restart: true };
                }
                Phase::ComingUp { restart } => {
                    let restart = *restart;
                    cell.come_up(restart);
                }
                Phase::Running => {
                    if cell.run(task).is_pending() {
                        cell.check_drain(task);
                        return if cell.over { Poll::Ready(()) } else { Poll::Pending };
                    }
                }
            }
        }
    }
}

impl<A: Actor<Context = Context<A>> + Supervised> Drop for Cell<A> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // Dropped from outside: the thread's event loop ended with us on it.
        self.orders.close();
        let context = self.context.take();
        let _ = self.guarded(|_| drop(context));
        self.stay.hand.drop_all();
        let failure = self.core.node.note_failure("its thread ended");
        let report = Report {
            stay: self.stay.number,
            generation: self.core.node.generation(),
            down: Down::Vanished,
            failure: Some(failure),
            settled: false,
        };
        // A reporter that panics while everything is torn down must not abort the process.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.core.report)(report)));
    }
}
