//! The launcher: one process, one thread, that owns everything a run needs from the host.
//!
//! Owns control groups, uid slots, deadlines and kills; serves one server over one socket; refuses
//! runs that the host cannot isolate. It holds no secret: its environment is empty and what it knows
//! came over the socket. When the socket closes, the server is gone: it kills every run, removes its
//! control groups and leaves. When it dies itself, the kernel kills each run's init (PDEATHSIG), and
//! with it the run's process namespace; the next launcher removes the empty control groups.

mod cgroup;
mod mounts;
mod pool;
mod run;
mod steps;
mod template;
mod trial;
mod watch;
mod zygote;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;

use self::cgroup::RunGroup;
use self::run::{Demand, Ground, Prepared, Progress, Run};
use self::zygote::Zygotes;
use crate::language;
use crate::options::LauncherOptions;
use crate::probe::CellCapabilities;
use crate::sys;
use crate::wire::message::{Event, KillCause, Refusal, Request};
use crate::wire::{memfd, runfile, socket};

/// The argument that turns the server's binary into a launcher.
pub const LAUNCHER_ARGUMENT: &str = "cell-launcher";

const TOKEN_CONTROL: u64 = 0;
const TOKEN_TERMINATION: u64 = 1;
const TOKEN_ZYGOTE: u64 = 2;
/// Tokens of runs start here: two per run, init's socket and its process.
const TOKEN_RUNS: u64 = 16;
/// The launcher's nice value, where it may choose.
const NICE: i32 = -10;
/// Pause before the next sandbox is prepared: the run just ordered goes first.
const REFILL_PAUSE: Duration = Duration::from_millis(3);
/// How long the end waits for killed runs to vanish.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two attempts to remove a control group that the kernel still holds.
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// Becomes the launcher when the process was started as one: first argument [`LAUNCHER_ARGUMENT`],
/// control socket on descriptor 0. Call it first thing in `main`, before any thread exists.
pub fn run_if_asked() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != LAUNCHER_ARGUMENT {
        return None;
    }
    let control = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
    Some(main(control))
}

/// The launcher's life on a control socket. The process must be single-threaded.
pub fn main(control: OwnedFd) -> ExitCode {
    match serve(control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("cell launcher: {error}\n");
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum LauncherError {
    #[error("{0}")]
    Errno(#[from] Errno),
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

fn serve(control: OwnedFd) -> Result<(), LauncherError> {
    let null = prepare_process()?;
    let mut buffer = socket::buffer();
    let Some((len, _)) = socket::receive(&control, &mut buffer)? else { return Ok(()) };
    let options = match Request::decode(&buffer[..len]) {
        Ok(Request::Hello { options }) => serde_json::from_slice::<LauncherOptions>(&options)
            .map_err(|error| LauncherError::Protocol(error.to_string()))?,
        Ok(_) | Err(_) => return Err(LauncherError::Protocol("it did not greet".to_owned())),
    };
    let termination = sys::termination_fd()?;
    rustix::io::ioctl_fionbio(&control, true)?;
    let mut launcher = Launcher::new(control, termination, null, options)?;
    let result = launcher.serve(&mut buffer);
    launcher.close();
    result
}

/// A session of its own (no terminal, no Ctrl-C meant for the server), default signals, and
/// /dev/null where the control socket was, so that no program inherits it by number.
fn prepare_process() -> Result<OwnedFd, Errno> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    sys::reset_signals();
    let _ = rustix::process::setsid();
    // Deadlines are kept by this process: on a crowded host it goes first. Without the right to, it
    // stays as it is; a real-time server must not hand its class on (v1 cpu groups refuse it).
    if sys::schedule_ordinarily(NICE).is_err() {
        let _ = sys::schedule_ordinarily(0);
    }
    // Where sessions are scheduled as groups, the value above counts within ours only (sched(7)).
    let _ = std::fs::write("/proc/self/autogroup", NICE.to_string());
    let _ = rustix::thread::set_name(c"cell-launcher");
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::place_fd(null.as_fd(), 0)?;
    sys::place_fd(null.as_fd(), 1)?;
    Ok(null)
}

struct Launcher {
    control: OwnedFd,
    /// Readable once SIGTERM or SIGINT came.
    _termination: OwnedFd,
    epoll: OwnedFd,
    null: OwnedFd,
    options: LauncherOptions,
    /// `None` where the host's root could not be left: nothing can run.
    ground: Option<Ground>,
    identities: trial::Identities,
    capabilities: CellCapabilities,
    runs: HashMap<u64, Run>,
    /// Prepared sandboxes, oldest first.
    spares: VecDeque<Prepared>,
    zygotes: Zygotes,
    /// Prepared sandboxes in which an interpreter waits, oldest first.
    waiting: VecDeque<Prepared>,
    refill_at: Option<Instant>,
    serial: u64,
    free_slots: Vec<u16>,
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    leftovers: Vec<RunGroup>,
    /// A zygote is gone, and may have left a child that nobody knows of.
    strays: bool,
}

impl Launcher {
    fn new(
        control: OwnedFd,
        termination: OwnedFd,
        null: OwnedFd,
        options: LauncherOptions,
    ) -> Result<Self, LauncherError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (fd, token) in [(&control, TOKEN_CONTROL), (&termination, TOKEN_TERMINATION)] {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        }
        let mut tried = trial::prepare(&options);
        tried.self_test(&null);
        let capabilities = tried.capabilities();
        let library = tried.take_library();
        Ok(Self {
            control,
            _termination: termination,
            epoll,
            null,
            free_slots: (0..trial::slots(&options)).rev().collect(),
            zygotes: Zygotes::new(options.zygote.clone(), library),
            options,
            ground: tried.ground,
            identities: tried.identities,
            capabilities,
            runs: HashMap::new(),
            spares: VecDeque::new(),
            waiting: VecDeque::new(),
            refill_at: Some(Instant::now()),
            serial: 0,
            outbox: VecDeque::new(),
            leftovers: Vec::new(),
            strays: false,
        })
    }

    fn serve(&mut self, buffer: &mut [u8]) -> Result<(), LauncherError> {
        let ready = serde_json::to_vec(&self.capabilities)
            .map_err(|error| LauncherError::Protocol(error.to_string()))?;
        self.post(Event::Ready { capabilities: ready }, Vec::new())?;
        loop {
            for token in self.wait()? {
                match token {
                    TOKEN_TERMINATION => return Ok(()),
                    TOKEN_CONTROL => {
                        if !self.hear_server(buffer)? {
                            return Ok(());
                        }
                    }
                    TOKEN_ZYGOTE => self.hear_zygotes(),
                    token => self.hear_run(token)?,
                }
            }
            self.flush()?;
            self.enforce();
            self.tend_zygotes();
            self.refill();
        }
    }

    /// Waits for something to happen, at most until the next deadline.
    fn wait(&self) -> Result<Vec<u64>, Errno> {
        let now = Instant::now();
        let mut until = self
            .runs
            .values()
            .filter_map(Run::wakeup)
            .chain(self.refill_at)
            .chain(self.zygotes.wakeup())
            .min();
        if self.strays || !self.leftovers.is_empty() {
            let soon = now + REMOVAL_PAUSE;
            until = Some(until.map_or(soon, |at| at.min(soon)));
        }
        let span = until.map(|at| timespec(at.saturating_duration_since(now)));
        let mut events = Vec::with_capacity(64);
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, span.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        // Processes that ended first: their slots may serve a request of the same batch.
        let mut tokens: Vec<u64> =
            events.iter().map(|event: &epoll::Event| event.data.u64()).collect();
        tokens.sort_unstable_by(|a, b| b.cmp(a));
        Ok(tokens)
    }

    /// Handles what the server sent; false when it is gone.
    fn hear_server(&mut self, buffer: &mut [u8]) -> Result<bool, LauncherError> {
        self.flush()?;
        loop {
            let (len, fds) = match socket::receive(&self.control, buffer) {
                Ok(Some(message)) => message,
                Ok(None) | Err(Errno::CONNRESET) => return Ok(false),
                Err(Errno::AGAIN) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            };
            match Request::decode(&buffer[..len]) {
                Ok(Request::Run { id }) => {
                    if let Err((refusal, message)) = self.start(id, fds) {
                        self.post(Event::Refused { id, refusal, message }, Vec::new())?;
                    }
                }
                Ok(Request::Kill { id }) => self.kill(id, KillCause::Asked),
                Ok(
                    request @ (Request::StepBegin { .. }
                    | Request::StepEnd { .. }
                    | Request::Interrupt { .. }),
                ) => {
                    self.step(&request)?;
                }
                Ok(Request::Hello { .. }) => {
                    return Err(LauncherError::Protocol("it greeted twice".to_owned()));
                }
                Err(malformed) => return Err(LauncherError::Protocol(malformed.to_string())),
            }
        }
    }

    fn start(&mut self, id: u64, fds: Vec<OwnedFd>) -> Result<(), (Refusal, String)> {
        let isolation = |message| (Refusal::Isolation, message);
        if let Some(message) = self.capabilities.refusal(self.options.allow_degraded) {
            return Err(isolation(message));
        }
        let invalid = |message: &str| (Refusal::Invalid, message.to_owned());
        let mut fds = fds.into_iter();
        let runfile = File::from(fds.next().ok_or_else(|| invalid("no description is attached"))?);
        let head = runfile::read(&runfile).map_err(|error| invalid(&error.to_string()))?;
        let stdin = match fds.next() {
            Some(fd) => {
                memfd::check_sealed(&fd).map_err(|error| invalid(&error.to_string()))?;
                fd
            }
            None => self.null.try_clone().map_err(|error| isolation(error.to_string()))?,
        };
        if self.runs.values().any(|run| run.id == id) {
            return Err(invalid("its number is taken"));
        }
        let in_hand = self.runs.values().filter(|run| !run.told).count();
        if in_hand >= usize::from(self.options.runs_max) {
            return Err((Refusal::Busy, "every slot is taken".to_owned()));
        }
        let demand =
            Demand { id, limits: head.limits, runfile, stdin, steps: head.steps, again: false };
        let run = self.order(demand, language::suits_zygote(&head)).map_err(isolation)?;
        self.attend_to(run);
        Ok(())
    }

    fn attend_to(&mut self, run: Run) {
        self.serial += 1;
        let first = TOKEN_RUNS + 2 * self.serial;
        for (source, token) in run.sources().into_iter().zip([first, first + 1]) {
            let data = epoll::EventData::new_u64(token);
            // Only exhaustion of kernel memory makes this fail; the run's deadline still holds.
            let _ = epoll::add(&self.epoll, source, data, epoll::EventFlags::IN);
        }
        self.runs.insert(self.serial, run);
        self.refill_at = Some(Instant::now() + REFILL_PAUSE);
    }

    fn kill(&mut self, id: u64, cause: KillCause) {
        let Some(ground) = &self.ground else { return };
        if let Some(run) = self.runs.values_mut().find(|run| run.id == id) {
            run.kill(cause, &ground.cgroups);
        }
    }

    /// What the server says of a sandbox that stays. One that is gone already has been told of.
    fn step(&mut self, request: &Request) -> Result<(), LauncherError> {
        let Some(ground) = &self.ground else { return Ok(()) };
        let id = match *request {
            Request::StepBegin { id, .. }
            | Request::StepEnd { id, .. }
            | Request::Interrupt { id } => id,
            Request::Hello { .. } | Request::Run { .. } | Request::Kill { .. } => return Ok(()),
        };
        let Some(run) = self.runs.values_mut().find(|run| run.id == id && !run.told) else {
            return Ok(());
        };
        match *request {
            Request::StepBegin { step, wall_ns, grace_ns, .. } => {
                let (wall, grace) = (Duration::from_nanos(wall_ns), Duration::from_nanos(grace_ns));
                run.begin_step(step, wall, grace, ground);
            }
            Request::StepEnd { step, rest_milli, .. } => {
                if let Some(usage) = run.end_step(step, rest_milli, ground) {
                    return self.post(Event::StepEnded { id, step, usage }, Vec::new());
                }
            }
            _ => run.interrupt_step(),
        }
        Ok(())
    }

    fn hear_run(&mut self, token: u64) -> Result<(), LauncherError> {
        let (serial, is_process) = ((token - TOKEN_RUNS) / 2, token % 2 == 1);
        if is_process {
            return self.finish(serial);
        }
        let (Some(run), Some(ground)) = (self.runs.get_mut(&serial), &self.ground) else {
            return Ok(());
        };
        let id = run.id;
        match run.hear() {
            Some(Progress::Started(given)) => {
                let Some((stdout, stderr)) = run.outputs.take() else { return Ok(()) };
                let fds = [stdout, stderr].into_iter().chain(given).collect();
                self.post(Event::Started { id }, fds)
            }
            // Only init itself is left, and it is leaving: no need to wait for that, unless its end
            // is what tells the processor time.
            Some(Progress::Over) if ground.cgroups.counts_cpu() && !run.told => {
                run.told = true;
                let outcome = run.outcome(ground, 0);
                self.post(Event::Finished { id, outcome }, Vec::new())
            }
            Some(Progress::Over) => Ok(()),
            None => {
                // Closed: the process tells the rest; stop watching the socket.
                let _ = epoll::delete(&self.epoll, &run.control);
                Ok(())
            }
        }
    }

    /// Init is dead, and so is everything of the run.
    fn finish(&mut self, serial: u64) -> Result<(), LauncherError> {
        // What it said last may not have been read yet; each reading takes one message.
        let mut unread = true;
        while unread {
            unread = self.runs.get_mut(&serial).is_some_and(|run| run.has_message());
            if unread {
                self.hear_run(TOKEN_RUNS + 2 * serial)?;
            }
        }
        let (Some(mut run), Some(ground)) = (self.runs.remove(&serial), &self.ground) else {
            return Ok(());
        };
        let reaped_ns = run.reap();
        let undone = run.undone();
        if undone.is_none() && !run.told {
            let (id, outcome) = (run.id, run.outcome(ground, reaped_ns));
            self.post(Event::Finished { id, outcome }, Vec::new())?;
        }
        self.free_slots.push(run.slot);
        self.leftovers.push(run.into_group());
        self.sweep();
        undone.map_or(Ok(()), |demand| self.repeat(demand))
    }

    /// A run whose sandbox was lost before its code began gets a fresh one, for the others that were
    /// prepared may have been lost with it.
    fn repeat(&mut self, demand: Demand) -> Result<(), LauncherError> {
        let id = demand.id;
        match self.order_afresh(demand) {
            Ok(run) => self.attend_to(run),
            Err(message) => {
                let refusal = Refusal::Isolation;
                self.post(Event::Refused { id, refusal, message }, Vec::new())?;
            }
        }
        Ok(())
    }

    fn enforce(&mut self) {
        let Some(ground) = &self.ground else { return };
        let now = Instant::now();
        for run in self.runs.values_mut() {
            run.enforce(now, ground);
        }
        self.end_strays();
        self.sweep();
    }

    /// Removes the control groups of finished runs.
    fn sweep(&mut self) {
        if let Some(ground) = &self.ground {
            self.leftovers.retain(|group| !ground.cgroups.remove(group));
        }
    }

    fn post(&mut self, event: Event, fds: Vec<OwnedFd>) -> Result<(), LauncherError> {
        self.outbox.push_back((event.encode(), fds));
        self.flush()
    }

    /// Sends what waits, as far as the server's socket takes it.
    fn flush(&mut self) -> Result<(), LauncherError> {
        while let Some((bytes, fds)) = self.outbox.front() {
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match socket::send(&self.control, bytes, &borrowed) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(Errno::AGAIN) => break,
                // The server is gone; reading from the socket says so in order.
                Err(Errno::PIPE | Errno::CONNRESET) => self.outbox.clear(),
                Err(errno) => return Err(errno.into()),
            }
        }
        let interest = match self.outbox.is_empty() {
            true => epoll::EventFlags::IN,
            false => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        };
        let data = epoll::EventData::new_u64(TOKEN_CONTROL);
        epoll::modify(&self.epoll, &self.control, data, interest)?;
        Ok(())
    }

    /// Kills every run, waits for them to vanish, removes what is ours.
    fn close(&mut self) {
        let Some(ground) = &self.ground else { return };
        self.leftovers.extend(self.zygotes.close(ground));
        for spare in self.spares.drain(..).chain(self.waiting.drain(..)) {
            spare.abandon(&ground.cgroups);
        }
        for run in self.runs.values_mut() {
            run.kill(KillCause::Asked, &ground.cgroups);
        }
        let until = Instant::now() + CLOSING_TIMEOUT;
        for (_, run) in self.runs.drain() {
            let left = timespec(until.saturating_duration_since(Instant::now()));
            let mut poll = [rustix::event::PollFd::new(&run.pidfd, rustix::event::PollFlags::IN)];
            if rustix::event::poll(&mut poll, Some(&left)) == Ok(1) {
                run.reap();
                self.leftovers.push(run.into_group());
            }
        }
        while !self.leftovers.is_empty() && Instant::now() < until {
            self.leftovers.retain(|group| !ground.cgroups.remove(group));
            let _ = rustix::thread::nanosleep(&timespec(Duration::from_millis(1)));
        }
        ground.cgroups.leave();
    }
}

fn timespec(span: Duration) -> rustix::time::Timespec {
    rustix::time::Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}
