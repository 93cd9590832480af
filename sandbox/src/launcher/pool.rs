//! Sandboxes kept prepared, and how an order finds one.
//!
//! Two kinds: empty ones, for any program, and those in which an interpreter born of a zygote waits, for
//! Python alone. Both are refilled one at a time and off the path of a run; what is used is gone.

use std::collections::HashSet;
use std::fs;
use std::time::Instant;

use rustix::event::epoll;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::run::{Demand, Prepared, Run};
use super::{Launcher, REFILL_PAUSE, TOKEN_ZYGOTE};

impl Launcher {
    /// Gives the order to a prepared sandbox, or to one prepared now. `python` says that an interpreter
    /// born of a zygote may serve it.
    pub(super) fn order(&mut self, demand: Demand, python: bool) -> Result<Run, String> {
        let mut demand = demand;
        if python && let Some(sandbox) = self.with_interpreter() {
            match self.give(sandbox, demand) {
                Ok(run) => return Ok(run),
                Err((given_back, _)) => demand = given_back,
            }
        }
        if let Some(spare) = self.spares.pop_front() {
            match self.give(spare, demand) {
                Ok(run) => return Ok(run),
                Err((given_back, _)) => demand = given_back,
            }
        }
        self.order_afresh(demand)
    }

    /// Gives the order to a sandbox prepared now: those that waited may have been killed while they did.
    pub(super) fn order_afresh(&mut self, demand: Demand) -> Result<Run, String> {
        let sandbox = self.prepare(false)?;
        self.give(sandbox, demand).map_err(|(_, message)| message)
    }

    fn with_interpreter(&mut self) -> Option<Prepared> {
        if let Some(sandbox) = self.waiting.pop_front() {
            return Some(sandbox);
        }
        if self.zygotes.up() { self.prepare(true).ok() } else { None }
    }

    fn give(&mut self, sandbox: Prepared, demand: Demand) -> Result<Run, (Demand, String)> {
        let Some(ground) = self.ground.as_ref() else {
            return Err((demand, "there is no root to run in".to_owned()));
        };
        sandbox.order(demand, ground).map_err(|failure| {
            let (sandbox, demand, message) = *failure;
            self.free_slots.push(sandbox.slot);
            sandbox.abandon(&ground.cgroups);
            (demand, message)
        })
    }

    fn prepare(&mut self, interpreter: bool) -> Result<Prepared, String> {
        let ground = self.ground.as_ref().ok_or("there is no root to run in")?;
        let slot = self.free_slots.pop().ok_or("every slot is taken")?;
        self.serial += 1;
        let zygotes = interpreter.then_some(&mut self.zygotes);
        let made = Prepared::new(self.serial, slot, self.identities.of(slot), ground, zygotes);
        made.map_err(|unprepared| {
            self.free_slots.push(slot);
            self.leftovers.extend(unprepared.left);
            unprepared.message
        })
    }

    /// Prepares one sandbox when it is time to, so that runs in hand are attended to in between.
    pub(super) fn refill(&mut self) {
        let now = Instant::now();
        if self.refill_at.is_none_or(|at| now < at) {
            return;
        }
        self.refill_at = None;
        if self.capabilities.refusal(self.options.allow_degraded).is_some() {
            return;
        }
        let interpreter = self.waiting.len() < self.zygotes.spares();
        if !interpreter && self.spares.len() >= usize::from(self.options.spares) {
            return;
        }
        // A failure shows when a run needs the sandbox: it tries again and tells its caller.
        if let Ok(spare) = self.prepare(interpreter) {
            let pool = if interpreter { &mut self.waiting } else { &mut self.spares };
            pool.push_back(spare);
            self.refill_at = Some(now + REFILL_PAUSE);
        }
    }

    /// Starts or renews a zygote when it is time to.
    pub(super) fn tend_zygotes(&mut self) {
        let Some(ground) = &self.ground else { return };
        self.serial += 1;
        if let Some(socket) = self.zygotes.tend(self.serial, ground) {
            let data = epoll::EventData::new_u64(TOKEN_ZYGOTE);
            let _ = epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN);
        }
    }

    /// A zygote is up, or gone.
    pub(super) fn hear_zygotes(&mut self) {
        let Some(ground) = &self.ground else { return };
        let before = self.leftovers.len();
        self.leftovers.extend(self.zygotes.hear(ground));
        self.strays |= self.leftovers.len() > before;
        self.refill_at = Some(Instant::now());
    }

    /// Ends children that nobody knows of: a zygote that was killed, or was too slow and is gone, may have
    /// borne one without having said so.
    pub(super) fn end_strays(&mut self) {
        if !self.strays {
            return;
        }
        let prepared = self.spares.iter().chain(&self.waiting).map(Prepared::pid);
        let known: HashSet<i32> =
            self.runs.values().map(Run::pid).chain(prepared).chain(self.zygotes.pids()).collect();
        self.strays = false;
        // Not every kernel tells (CONFIG_PROC_CHILDREN); a stray leaves by itself, for its socket is closed.
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let Some(stray) = Pid::from_raw(pid).filter(|_| !known.contains(&pid)) else {
                continue;
            };
            self.strays = true;
            // The number is not given to another before we have reaped this one.
            let _ = kill_process(stray, Signal::KILL);
            let _ = waitpid(Some(stray), WaitOptions::NOHANG);
        }
    }
}
