//! One run as the launcher holds it: birth, progress, end. The event loop of `mod.rs` drives it.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, pidfd_send_signal};

use super::cgroup::{Cgroups, RunGroup};
use super::watch;
use crate::inside::{Filter, Identity, Inside, PAYLOAD_ID, Report, Stage, Template, init};
use crate::spec::Limits;
use crate::sys;
use crate::wire::message::{Exit, KillCause, Outcome};
use crate::wire::runfile::RunHead;
use crate::wire::socket;

/// A preparation that takes longer than this has failed. Measured: 2–4 ms, ten times that under load.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Shortest time between two looks at the processor account.
const CPU_CHECK_MIN: Duration = Duration::from_millis(2);
/// Highest oom_score_adj: under memory pressure the host sacrifices payloads first.
const OOM_SCORE: &str = "1000";

/// What all runs share.
pub(crate) struct Ground {
    pub(crate) cgroups: Cgroups,
    pub(crate) template: Template,
    pub(crate) landlock: bool,
    pub(crate) ticks: u64,
}

/// What a new run is made of.
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) head: RunHead,
    pub(crate) runfile: File,
    pub(crate) stdin: OwnedFd,
    pub(crate) identity: Identity,
    pub(crate) slot: u16,
}

/// A run between its fork and the end of its last process.
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) slot: u16,
    pub(crate) pidfd: OwnedFd,
    pub(crate) control: OwnedFd,
    /// Read ends, until they are handed to the server.
    pub(crate) outputs: Option<(OwnedFd, OwnedFd)>,
    pid: i32,
    group: RunGroup,
    limits: Limits,
    born: Instant,
    started: Option<Instant>,
    ended: Option<Instant>,
    exit: Exit,
    compiled: bool,
    killed: KillCause,
    next_look: Option<Instant>,
    watched: watch::Usage,
}

/// What init's message means to the loop.
pub(crate) enum Progress {
    /// The payload runs; here is its working directory.
    Started(OwnedFd),
    /// Nothing to tell the server yet.
    Noted,
}

impl Run {
    /// Forks the run and lets it go, with ids mapped and control groups attached.
    pub(crate) fn start(order: Order, ground: &Ground, filter: &Filter) -> Result<Self, String> {
        let limits = order.head.limits;
        let say = |what: &str, errno: Errno| format!("{what}: {errno}");
        let (stdout, stdout_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| say("pipe", e))?;
        let (stderr, stderr_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| say("pipe", e))?;
        let flags = SocketFlags::CLOEXEC;
        let (control, inner) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|e| say("socketpair", e))?;
        let inside = Inside {
            head: order.head,
            runfile: order.runfile,
            stdin: order.stdin,
            stdout: stdout_in,
            stderr: stderr_in,
            control: inner,
            identity: order.identity,
            memory_by_rlimit: !ground.cgroups.limits_memory(),
            landlock: ground.landlock,
        };
        let group =
            ground.cgroups.create(order.id, &limits, 1).map_err(|e| say("control groups", e))?;
        let birthplace = ground.cgroups.birthplace(&group);
        let body = || init::run(&inside, &ground.template, filter);
        let child = match sys::clone_child(sys::RUN_NAMESPACES, birthplace, body) {
            Ok(child) => child,
            Err(errno) => {
                ground.cgroups.remove(&group);
                return Err(say("clone with new namespaces", errno));
            }
        };
        drop(inside);
        let mut run = Self {
            id: order.id,
            slot: order.slot,
            pidfd: child.pidfd,
            control,
            outputs: Some((stdout, stderr)),
            pid: child.pid,
            group,
            limits,
            born: Instant::now(),
            started: None,
            ended: None,
            exit: Exit::Unknown,
            compiled: false,
            killed: KillCause::None,
            next_look: None,
            watched: watch::Usage::default(),
        };
        match run.release(order.identity, &ground.cgroups) {
            Ok(()) => Ok(run),
            Err(message) => {
                run.abandon(&ground.cgroups);
                Err(message)
            }
        }
    }

    /// Does what init waits for, then tells it.
    fn release(&self, identity: Identity, cgroups: &Cgroups) -> Result<(), String> {
        let pid = self.pid;
        map_ids(pid, identity).map_err(|error| format!("mapping user ids: {error}"))?;
        cgroups.attach(&self.group, pid).map_err(|e| format!("joining control groups: {e}"))?;
        // A wish, not a wall: some hosts forbid changing it.
        let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
        socket::send(&self.control, b"go", &[]).map_err(|e| format!("waking init: {e}"))?;
        rustix::io::ioctl_fionbio(&self.control, true).map_err(|e| format!("init's socket: {e}"))
    }

    /// Ends a run that never came to life.
    fn abandon(&mut self, cgroups: &Cgroups) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = sys::reap(&self.pidfd);
        cgroups.remove(&self.group);
    }

    /// Takes init's next message, if there is one.
    pub(crate) fn hear(&mut self) -> Option<Progress> {
        let mut buffer = [0u8; 64];
        let (len, mut fds) = socket::receive(&self.control, &mut buffer).ok().flatten()?;
        match Report::decode(&buffer[..len]) {
            Ok(Report::Ready) => {
                let now = Instant::now();
                self.started = Some(now);
                self.next_look = Some(now + self.first_look());
                fds.pop().map(Progress::Started)
            }
            Ok(Report::Exited { exit, compiled }) => {
                (self.exit, self.compiled) = (exit, compiled);
                self.ended = Some(Instant::now());
                Some(Progress::Noted)
            }
            Ok(Report::Failed { stage, errno }) => {
                self.exit = Exit::Setup { stage, errno };
                self.compiled = true;
                Some(Progress::Noted)
            }
            Err(_) => {
                self.exit = Exit::Setup { stage: Stage::Process as u8, errno: libc::EPROTO };
                Some(Progress::Noted)
            }
        }
    }

    /// Kills the whole tree. The first cause stays.
    pub(crate) fn kill(&mut self, cause: KillCause, cgroups: &Cgroups) {
        if self.killed == KillCause::None && self.ended.is_none() {
            self.killed = cause;
        }
        self.next_look = None;
        cgroups.kill(&self.group);
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// When this run needs attention next.
    pub(crate) fn wakeup(&self) -> Option<Instant> {
        if self.killed != KillCause::None || self.ended.is_some() {
            return None;
        }
        let deadline = match self.started {
            Some(started) => started + self.limits.wall,
            None => self.born + SETUP_TIMEOUT,
        };
        Some(self.next_look.map_or(deadline, |look| look.min(deadline)))
    }

    /// Enforces the deadlines that have come.
    pub(crate) fn enforce(&mut self, now: Instant, ground: &Ground) {
        if self.wakeup().is_none_or(|wakeup| now < wakeup) {
            return;
        }
        let wall = match self.started {
            Some(started) => now >= started + self.limits.wall,
            None => now >= self.born + SETUP_TIMEOUT,
        };
        if wall {
            if self.started.is_none() {
                let errno = libc::ETIMEDOUT;
                self.exit = Exit::Setup { stage: Stage::Process as u8, errno };
            }
            return self.kill(KillCause::Wall, &ground.cgroups);
        }
        if self.next_look.is_some_and(|look| now >= look) {
            self.look(now, ground);
        }
    }

    fn look(&mut self, now: Instant, ground: &Ground) {
        if !ground.cgroups.limits_memory() || !ground.cgroups.counts_cpu() {
            let usage = watch::usage(self.pid, ground.ticks);
            self.watched.cpu_ns = self.watched.cpu_ns.max(usage.cpu_ns);
            self.watched.memory_bytes = self.watched.memory_bytes.max(usage.memory_bytes);
            if !ground.cgroups.limits_memory() && usage.memory_bytes > self.limits.memory_bytes {
                return self.kill(KillCause::Memory, &ground.cgroups);
            }
        }
        let used = ground.cgroups.cpu_ns(&self.group).unwrap_or(self.watched.cpu_ns);
        let used = Duration::from_nanos(used);
        if used >= self.limits.cpu {
            return self.kill(KillCause::Cpu, &ground.cgroups);
        }
        let mut pause = self.soonest_cpu_end(self.limits.cpu - used);
        if !ground.cgroups.limits_memory() {
            pause = pause.min(watch::INTERVAL);
        }
        self.next_look = Some(now + pause);
    }

    fn first_look(&self) -> Duration {
        self.soonest_cpu_end(self.limits.cpu).min(watch::INTERVAL)
    }

    /// The earliest moment at which a tree running on all its processors can have used up `left`.
    fn soonest_cpu_end(&self, left: Duration) -> Duration {
        let online = std::thread::available_parallelism().map_or(1, usize::from);
        let online = u32::try_from(online).unwrap_or(u32::MAX);
        let share = self.limits.cpu_milli.div_ceil(1000).clamp(1, online.max(1));
        (left / share).max(CPU_CHECK_MIN)
    }

    /// Collects what the dead tree leaves behind. Called when the pidfd is readable.
    pub(crate) fn finish(mut self, ground: &Ground) -> (Outcome, RunGroup) {
        while self.hear().is_some() {}
        let ended = self.ended.unwrap_or_else(Instant::now);
        let reaped_ns = sys::reap(&self.pidfd).unwrap_or(0);
        let account = ground.cgroups.account(&self.group);
        let watched = (self.watched.memory_bytes > 0).then_some(self.watched.memory_bytes);
        let outcome = Outcome {
            exit: self.exit,
            killed: self.killed,
            compiled: self.compiled,
            oom_kills: account.oom_kills,
            pids_hits: account.pids_hits,
            cpu_ns: account.cpu_ns.unwrap_or(reaped_ns),
            memory_peak: account.memory_peak.or(watched).unwrap_or(u64::MAX),
            duration_ns: self.started.map_or(0, |started| {
                u64::try_from(ended.duration_since(started).as_nanos()).unwrap_or(u64::MAX)
            }),
        };
        (outcome, self.group)
    }

    /// What to watch: init's socket and the process itself.
    pub(crate) fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.control.as_fd(), self.pidfd.as_fd()]
    }
}

fn map_ids(pid: i32, identity: Identity) -> std::io::Result<()> {
    let (uid_map, gid_map) = match identity {
        Identity::Slot { init, payload } => {
            let map = format!("0 {init} 1\n{PAYLOAD_ID} {payload} 1\n");
            (map.clone(), map)
        }
        Identity::Own { uid, gid } => {
            fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
            (format!("{PAYLOAD_ID} {uid} 1\n"), format!("{PAYLOAD_ID} {gid} 1\n"))
        }
    };
    fs::write(format!("/proc/{pid}/uid_map"), uid_map)?;
    fs::write(format!("/proc/{pid}/gid_map"), gid_map)
}
