//! A sandbox that stays: the clock of its step in hand, its interrupt, its share between steps.
//!
//! Owned by its [`Run`]; the event loop of `mod.rs` passes on what the server asks. The clock is here and
//! not in the server so that a step ends in time whatever becomes of whoever waits for it. A step that
//! overruns is interrupted (SIGINT to the interpreter's process group), and killed with its sandbox when
//! its grace has passed too.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::run::{Ground, Run};
use crate::sys;
use crate::wire::message::{KillCause, Usage};

/// What a run has when it stays.
pub(crate) struct Steps {
    /// The server's ends: where requests are written, where replies are read.
    pipes: Option<(OwnedFd, OwnedFd)>,
    /// The interpreter itself, once it runs.
    interpreter: Option<OwnedFd>,
    clock: Option<Clock>,
}

/// The step in hand.
struct Clock {
    step: u32,
    deadline: Instant,
    grace: Duration,
    interrupted: bool,
}

impl Clock {
    /// When something is due next.
    fn due(&self) -> Instant {
        if self.interrupted { self.deadline + self.grace } else { self.deadline }
    }
}

impl Steps {
    pub(crate) fn new(requests: OwnedFd, replies: OwnedFd) -> Self {
        Self { pipes: Some((requests, replies)), interpreter: None, clock: None }
    }

    /// The interpreter runs: where it can be signalled, and what the server gets.
    pub(crate) fn began(&mut self, interpreter: Option<OwnedFd>) -> Vec<OwnedFd> {
        self.interpreter = interpreter;
        self.pipes.take().map(|(requests, replies)| vec![requests, replies]).unwrap_or_default()
    }

    /// When the step in hand needs attention.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.clock.as_ref().map(Clock::due)
    }

    fn interrupt(&mut self, now: Instant) {
        let Some(clock) = self.clock.as_mut().filter(|clock| !clock.interrupted) else { return };
        (clock.interrupted, clock.deadline) = (true, now);
        let Some(interpreter) = &self.interpreter else { return };
        // Its group too: a program that it waits for must not keep it from hearing. Kernels before 6.9
        // do not know how; then the interpreter alone.
        if sys::interrupt_group(interpreter) == Err(Errno::INVAL) {
            let _ = pidfd_send_signal(interpreter, Signal::INT);
        }
    }
}

impl Run {
    /// A step begins: all of its processor share, and a clock.
    pub(crate) fn begin_step(
        &mut self,
        step: u32,
        wall: Duration,
        grace: Duration,
        ground: &Ground,
    ) {
        let (now, milli) = (Instant::now(), self.limits().cpu_milli);
        let Some(steps) = self.steps.as_mut() else { return };
        let deadline = now.checked_add(wall).unwrap_or(now);
        steps.clock = Some(Clock { step, deadline, grace, interrupted: false });
        self.share(milli, ground);
    }

    /// The step is over; what goes on in the background gets `rest_milli`. `None` when it is another.
    pub(crate) fn end_step(
        &mut self,
        step: u32,
        rest_milli: u32,
        ground: &Ground,
    ) -> Option<Usage> {
        let steps = self.steps.as_mut()?;
        let clock = steps.clock.take_if(|clock| clock.step == step)?;
        let milli = rest_milli.clamp(10, self.limits().cpu_milli.max(10));
        self.share(milli, ground);
        Some(self.usage(clock.interrupted, ground))
    }

    /// Interrupts the step in hand, now.
    pub(crate) fn interrupt_step(&mut self) {
        if let Some(steps) = &mut self.steps {
            steps.interrupt(Instant::now());
        }
    }

    /// Interrupts a step whose time is up; kills the sandbox whose step did not heed it.
    pub(crate) fn enforce_step(&mut self, now: Instant, ground: &Ground) {
        let Some(steps) = &mut self.steps else { return };
        let Some(clock) = steps.clock.as_ref().filter(|clock| now >= clock.due()) else { return };
        match clock.interrupted {
            false => steps.interrupt(now),
            true => self.kill(KillCause::Step, &ground.cgroups),
        }
    }
}
