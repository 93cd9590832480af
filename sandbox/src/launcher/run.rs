//! One run as the launcher holds it: prepared, ordered, ended. The event loop of `mod.rs` drives it.
//!
//! A [`Prepared`] sandbox has its namespaces, root and control groups, and knows nothing of any run;
//! an order with the run's description and descriptors turns it into a [`Run`]. Each serves once.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, pidfd_send_signal};

use super::cgroup::{Cgroups, RunGroup};
use super::steps::Steps;
use super::watch;
use super::zygote::Zygotes;
use crate::inside::{Common, Identity, PAYLOAD_ID, Report, Seed, Stage, init};
use crate::spec::Limits;
use crate::sys;
use crate::wire::message::{Exit, KillCause, Outcome, Usage};
use crate::wire::socket;

/// A preparation that takes longer than this has failed. Measured: 2–15 ms, ten times that under load.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Shortest time between two looks at the processor account.
const CPU_CHECK_MIN: Duration = Duration::from_millis(2);
/// Highest oom_score_adj: under memory pressure the host sacrifices payloads first.
const OOM_SCORE: &str = "1000";

/// What all runs share.
pub(crate) struct Ground {
    pub(crate) cgroups: Cgroups,
    pub(crate) common: Common,
    pub(crate) ticks: u64,
}

/// A sandbox that waits for its order.
pub(crate) struct Prepared {
    pub(crate) slot: u16,
    pid: i32,
    pidfd: OwnedFd,
    control: OwnedFd,
    group: RunGroup,
}

/// What is asked of a sandbox.
pub(crate) struct Demand {
    pub(crate) id: u64,
    pub(crate) limits: Limits,
    pub(crate) runfile: File,
    pub(crate) stdin: OwnedFd,
    /// It stays, driven by requests.
    pub(crate) steps: bool,
    /// A sandbox was lost before the code began, and this is for another.
    pub(crate) again: bool,
}

/// A run between its order and the end of its last process.
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) slot: u16,
    pub(crate) pidfd: OwnedFd,
    pub(crate) control: OwnedFd,
    /// The server knows how it ended.
    pub(crate) told: bool,
    /// Read ends, until they are handed to the server.
    pub(crate) outputs: Option<(OwnedFd, OwnedFd)>,
    /// What it has when it stays.
    pub(crate) steps: Option<Steps>,
    /// What was asked, until the code has begun.
    demand: Option<Demand>,
    pid: i32,
    group: RunGroup,
    limits: Limits,
    ordered: Instant,
    started: Option<Instant>,
    ended: Option<Instant>,
    exit: Exit,
    compiled: bool,
    killed: KillCause,
    next_look: Option<Instant>,
    /// Processor time that the preparation took; not the payload's.
    cpu_before_ns: u64,
    watched: watch::Usage,
}

/// What init's message means to the loop.
pub(crate) enum Progress {
    /// The payload runs; here is its working directory, and the server's ends of a sandbox that stays.
    Started(Vec<OwnedFd>),
    /// The payload and all its processes are dead.
    Over,
}

/// Why there is no sandbox, and the control groups that could not be removed yet.
pub(crate) struct Unprepared {
    pub(crate) message: String,
    pub(crate) left: Option<RunGroup>,
}

impl From<String> for Unprepared {
    fn from(message: String) -> Self {
        Self { message, left: None }
    }
}

impl Prepared {
    /// Init's process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Forks an init with a user and a process namespace, maps its ids and lets it prepare the rest.
    ///
    /// With `zygotes`, the one that is up forks it, with an interpreter that waits in it.
    pub(crate) fn new(
        serial: u64,
        slot: u16,
        identity: Identity,
        ground: &Ground,
        zygotes: Option<&mut Zygotes>,
    ) -> Result<Self, Unprepared> {
        let say = |what: &str, errno: Errno| Unprepared::from(format!("{what}: {errno}"));
        let flags = SocketFlags::CLOEXEC;
        let (control, inner) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|e| say("socketpair", e))?;
        let group = ground.cgroups.create(serial).map_err(|e| say("control groups", e))?;
        let born = ground.cgroups.join_files(&group).and_then(|join| {
            let seed = Seed { control: inner, identity, join };
            let birthplace = ground.cgroups.birthplace(&group);
            if let Some(zygotes) = zygotes {
                return zygotes.bear(seed, birthplace);
            }
            let body = || init::run(&seed, &ground.common);
            sys::clone_child(sys::BIRTH_NAMESPACES, birthplace, body)
        });
        let child = match born {
            Ok(child) => child,
            // A zygote that did not answer in time may have borne it all the same.
            Err(errno) => {
                let left = (!ground.cgroups.remove(&group)).then_some(group);
                return Err(Unprepared { left, ..say("clone with new namespaces", errno) });
            }
        };
        let sandbox = Self { slot, pid: child.pid, pidfd: child.pidfd, control, group };
        match sandbox.release(identity) {
            Ok(()) => Ok(sandbox),
            Err(message) => {
                sandbox.abandon(&ground.cgroups);
                Err(message.into())
            }
        }
    }

    /// Does what init waits for, then tells it.
    fn release(&self, identity: Identity) -> Result<(), String> {
        let pid = self.pid;
        map_ids(pid, identity).map_err(|error| format!("mapping user ids: {error}"))?;
        // A wish, not a wall: some hosts forbid changing it.
        let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
        socket::send(&self.control, b"go", &[]).map_err(|e| format!("waking init: {e}"))?;
        rustix::io::ioctl_fionbio(&self.control, true).map_err(|e| format!("init's socket: {e}"))
    }

    /// Ends a sandbox that will not be used. Waits for its end, which takes about a millisecond.
    pub(crate) fn abandon(self, cgroups: &Cgroups) {
        cgroups.kill(&self.group);
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = sys::reap(&self.pidfd);
        cgroups.remove_soon(&self.group);
    }

    /// Turns the sandbox into a run: limits first, then the order. On failure everything is given back.
    pub(crate) fn order(
        self,
        demand: Demand,
        ground: &Ground,
    ) -> Result<Run, Box<(Self, Demand, String)>> {
        match self.send_order(&demand, ground) {
            Ok(Ends { stdout, stderr, steps }) => Ok(Run {
                id: demand.id,
                slot: self.slot,
                told: false,
                outputs: Some((stdout, stderr)),
                steps,
                pid: self.pid,
                cpu_before_ns: ground.cgroups.cpu_ns(&self.group).unwrap_or(0),
                pidfd: self.pidfd,
                control: self.control,
                group: self.group,
                limits: demand.limits,
                demand: Some(demand),
                ordered: Instant::now(),
                started: None,
                ended: None,
                exit: Exit::Unknown,
                compiled: false,
                killed: KillCause::None,
                next_look: None,
                watched: watch::Usage::default(),
            }),
            Err(message) => Err(Box::new((self, demand, message))),
        }
    }

    fn send_order(&self, demand: &Demand, ground: &Ground) -> Result<Ends, String> {
        let say = |what: &str, errno: Errno| format!("{what}: {errno}");
        ground.cgroups.limit(&self.group, &demand.limits, 1).map_err(|e| say("limits", e))?;
        let (stdout, stdout_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| say("pipe", e))?;
        let (stderr, stderr_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| say("pipe", e))?;
        let mut fds = vec![
            demand.runfile.as_fd(),
            demand.stdin.as_fd(),
            stdout_in.as_fd(),
            stderr_in.as_fd(),
        ];
        let talk = match demand.steps {
            true => {
                let asking = pipe_with(PipeFlags::CLOEXEC).map_err(|e| say("pipe", e))?;
                Some((asking, pipe_with(PipeFlags::CLOEXEC).map_err(|e| say("pipe", e))?))
            }
            false => None,
        };
        if let Some(((asked, _), (_, answer))) = &talk {
            fds.extend([asked.as_fd(), answer.as_fd()]);
        }
        socket::send(&self.control, b"order", &fds).map_err(|e| say("ordering the run", e))?;
        let steps = talk.map(|((_, requests), (replies, _))| Steps::new(requests, replies));
        Ok(Ends { stdout, stderr, steps })
    }
}

/// The launcher's ends of a run's pipes.
struct Ends {
    stdout: OwnedFd,
    stderr: OwnedFd,
    steps: Option<Steps>,
}

impl Run {
    /// Takes init's next message, if there is one.
    pub(crate) fn hear(&mut self) -> Option<Progress> {
        let mut buffer = [0u8; 64];
        let (len, fds) = socket::receive(&self.control, &mut buffer).ok().flatten()?;
        let now = Instant::now();
        match Report::decode(&buffer[..len]) {
            Ok(Report::Ready) => {
                self.started = Some(now);
                self.demand = None;
                self.next_look = Some(now + self.first_look());
                let mut fds = fds.into_iter();
                let mut given = vec![fds.next()?];
                if let Some(steps) = &mut self.steps {
                    given.extend(steps.began(fds.next()));
                }
                return Some(Progress::Started(given));
            }
            Ok(Report::Exited { exit, compiled }) => (self.exit, self.compiled) = (exit, compiled),
            Ok(Report::Failed { stage, errno }) => self.exit = Exit::Setup { stage, errno },
            Err(_) => {
                self.exit = Exit::Setup { stage: Stage::Process as u8, errno: libc::EPROTO };
            }
        }
        self.ended = Some(now);
        Some(Progress::Over)
    }

    /// Whether init said something that has not been heard yet.
    pub(crate) fn has_message(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&self.control, &mut [0u8; 1][..], flags), Ok((_, len)) if len > 0)
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
            None => self.ordered + SETUP_TIMEOUT,
        };
        let step = self.steps.as_ref().and_then(Steps::due);
        [self.next_look, step].into_iter().flatten().chain([deadline]).min()
    }

    /// Enforces the deadlines that have come.
    pub(crate) fn enforce(&mut self, now: Instant, ground: &Ground) {
        if self.wakeup().is_none_or(|wakeup| now < wakeup) {
            return;
        }
        match self.started {
            None => {
                let (stage, errno) = (Stage::Process as u8, libc::ETIMEDOUT);
                self.exit = Exit::Setup { stage, errno };
                self.kill(KillCause::Wall, &ground.cgroups);
            }
            Some(started) if now >= started + self.limits.wall => {
                self.kill(KillCause::Wall, &ground.cgroups);
            }
            Some(_) => {
                self.enforce_step(now, ground);
                if self.next_look.is_some_and(|look| now >= look) {
                    self.look(now, ground);
                }
            }
        }
    }

    fn look(&mut self, now: Instant, ground: &Ground) {
        let blind = !ground.cgroups.limits_memory();
        if blind || !ground.cgroups.counts_cpu() {
            let usage = watch::usage(self.pid, ground.ticks);
            self.watched.cpu_ns = self.watched.cpu_ns.max(usage.cpu_ns);
            self.watched.memory_bytes = self.watched.memory_bytes.max(usage.memory_bytes);
        }
        if blind && self.watched.memory_bytes > self.limits.memory_bytes {
            return self.kill(KillCause::Memory, &ground.cgroups);
        }
        let used = Duration::from_nanos(self.cpu_used(ground).unwrap_or(self.watched.cpu_ns));
        if used >= self.limits.cpu {
            return self.kill(KillCause::Cpu, &ground.cgroups);
        }
        let mut pause = self.soonest_cpu_end(self.limits.cpu - used);
        if blind {
            pause = pause.min(watch::INTERVAL);
        }
        self.next_look = Some(now + pause);
    }

    /// Init's process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes how much of the processors the whole tree may use.
    pub(super) fn share(&self, cpu_milli: u32, ground: &Ground) {
        // It fails when the group is gone, and then so is the tree.
        let _ = ground.cgroups.share(&self.group, cpu_milli);
    }

    /// What a sandbox has used so far.
    pub(super) fn usage(&self, interrupted: bool, ground: &Ground) -> Usage {
        let account = ground.cgroups.account(&self.group);
        let watched = (self.watched.memory_bytes > 0).then_some(self.watched.memory_bytes);
        Usage {
            interrupted,
            cpu_ns: self.cpu_used(ground).unwrap_or(self.watched.cpu_ns),
            memory_peak: account.memory_peak.or(watched).unwrap_or(u64::MAX),
            oom_kills: account.oom_kills,
            pids_hits: account.pids_hits,
        }
    }

    fn cpu_used(&self, ground: &Ground) -> Option<u64> {
        let total = ground.cgroups.cpu_ns(&self.group)?;
        Some(total.saturating_sub(self.cpu_before_ns))
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

    /// What to tell the server. Everything of the payload is dead by now.
    pub(crate) fn outcome(&self, ground: &Ground, reaped_ns: u64) -> Outcome {
        let ended = self.ended.unwrap_or_else(Instant::now);
        let account = ground.cgroups.account(&self.group);
        let watched = (self.watched.memory_bytes > 0).then_some(self.watched.memory_bytes);
        Outcome {
            exit: self.exit,
            killed: self.killed,
            compiled: self.compiled,
            oom_kills: account.oom_kills,
            pids_hits: account.pids_hits,
            cpu_ns: self.cpu_used(ground).unwrap_or(reaped_ns.max(self.watched.cpu_ns)),
            memory_peak: account.memory_peak.or(watched).unwrap_or(u64::MAX),
            duration_ns: self.started.map_or(0, |started| {
                u64::try_from(ended.duration_since(started).as_nanos()).unwrap_or(u64::MAX)
            }),
        }
    }

    /// What was asked of a sandbox that nobody meant to end and that ended before the code began, killed
    /// from outside or for want of memory: another may do it. Once.
    pub(crate) fn undone(&mut self) -> Option<Demand> {
        if self.told || self.exit != Exit::Unknown || self.killed != KillCause::None {
            return None;
        }
        let demand = self.demand.take().filter(|demand| !demand.again)?;
        // Init says that the code has begun just after it has: some of the input may have been read.
        let _ = rustix::fs::seek(&demand.stdin, rustix::fs::SeekFrom::Start(0));
        Some(Demand { again: true, ..demand })
    }

    /// Reaps init, whose pidfd is readable; answers the processor time of the tree in nanoseconds.
    pub(crate) fn reap(&self) -> u64 {
        sys::reap(&self.pidfd).unwrap_or(0)
    }

    /// The control groups, to be removed.
    pub(crate) fn into_group(self) -> RunGroup {
        self.group
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
