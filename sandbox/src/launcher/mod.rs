//! The launcher: one process, one thread, that owns everything a run needs from the host.
//!
//! Owns control groups, uid slots, deadlines and kills; serves one server over one socket; refuses
//! runs that the host cannot isolate. It holds no secret: its environment is empty and what it knows
//! came over the socket. When the socket closes, the server is gone: it kills every run, removes its
//! control groups and leaves. When it dies itself, the kernel kills each run's init (PDEATHSIG), and
//! with it the run's process namespace; the next launcher removes the empty control groups.

mod cgroup;
mod mounts;
mod run;
mod template;
mod trial;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;

use self::cgroup::RunGroup;
use self::run::{Ground, Order, Progress, Run};
use crate::options::LauncherOptions;
use crate::probe::CellCapabilities;
use crate::seccomp;
use crate::seccomp::bpf::Instruction;
use crate::spec::Profile;
use crate::sys;
use crate::wire::message::{Event, KillCause, Refusal, Request};
use crate::wire::{memfd, runfile, socket};

/// The argument that turns the server's binary into a launcher.
pub const LAUNCHER_ARGUMENT: &str = "cell-launcher";

const TOKEN_CONTROL: u64 = 0;
const TOKEN_TERMINATION: u64 = 1;
/// Tokens of runs start here: two per run, init's socket and its process.
const TOKEN_RUNS: u64 = 16;
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
    filters: HashMap<Profile, Vec<Instruction>>,
    runs: HashMap<u64, Run>,
    serial: u64,
    free_slots: Vec<u16>,
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    leftovers: Vec<RunGroup>,
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
        let memory_files = tried.ground.as_ref().is_some_and(|g| g.cgroups.limits_memory());
        let filters = [Profile::Python, Profile::Node, Profile::Shell, Profile::Native]
            .into_iter()
            .map(|profile| (profile, seccomp::program(profile, memory_files)))
            .collect();
        tried.self_test(&null, &filters);
        let capabilities = tried.capabilities();
        Ok(Self {
            control,
            _termination: termination,
            epoll,
            null,
            free_slots: (0..options.runs_max).rev().collect(),
            options,
            ground: tried.ground,
            identities: tried.identities,
            capabilities,
            filters,
            runs: HashMap::new(),
            serial: 0,
            outbox: VecDeque::new(),
            leftovers: Vec::new(),
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
                    token => self.hear_run(token)?,
                }
            }
            self.flush()?;
            self.enforce();
        }
    }

    /// Waits for something to happen, at most until the next deadline.
    fn wait(&self) -> Result<Vec<u64>, Errno> {
        let now = Instant::now();
        let mut until = self.runs.values().filter_map(Run::wakeup).min();
        if !self.leftovers.is_empty() {
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
        let Some(ground) = &self.ground else { return Err(isolation("no ground".to_owned())) };
        let busy = || (Refusal::Busy, "every slot is taken".to_owned());
        let slot = self.free_slots.pop().ok_or_else(busy)?;
        let filter = self.filters.get(&head.profile).map(Vec::as_slice).unwrap_or_default();
        let identity = self.identities.of(slot);
        let order = Order { id, head, runfile, stdin, identity, slot };
        let started = Run::start(order, ground, filter);
        let run = started.map_err(|message| {
            self.free_slots.push(slot);
            isolation(message)
        })?;
        self.serial += 1;
        let first = TOKEN_RUNS + 2 * self.serial;
        for (source, token) in run.sources().into_iter().zip([first, first + 1]) {
            let data = epoll::EventData::new_u64(token);
            // Only exhaustion of kernel memory makes this fail; the run's deadline still holds.
            let _ = epoll::add(&self.epoll, source, data, epoll::EventFlags::IN);
        }
        self.runs.insert(self.serial, run);
        Ok(())
    }

    fn kill(&mut self, id: u64, cause: KillCause) {
        let Some(ground) = &self.ground else { return };
        if let Some(run) = self.runs.values_mut().find(|run| run.id == id) {
            run.kill(cause, &ground.cgroups);
        }
    }

    fn hear_run(&mut self, token: u64) -> Result<(), LauncherError> {
        let (serial, is_process) = ((token - TOKEN_RUNS) / 2, token % 2 == 1);
        if is_process {
            return self.finish(serial);
        }
        let Some(run) = self.runs.get_mut(&serial) else { return Ok(()) };
        match run.hear() {
            Some(Progress::Started(work)) => {
                let id = run.id;
                let Some((stdout, stderr)) = run.outputs.take() else { return Ok(()) };
                self.post(Event::Started { id }, vec![stdout, stderr, work])
            }
            Some(Progress::Noted) => Ok(()),
            None => {
                // Closed: init is about to be gone, its process tells; stop watching the socket.
                let _ = epoll::delete(&self.epoll, &run.control);
                Ok(())
            }
        }
    }

    fn finish(&mut self, serial: u64) -> Result<(), LauncherError> {
        let (Some(mut run), Some(ground)) = (self.runs.remove(&serial), &self.ground) else {
            return Ok(());
        };
        let (id, slot) = (run.id, run.slot);
        // A short run's beginning and end can arrive together.
        let mut begun = None;
        while let Some(progress) = run.hear() {
            if let (Progress::Started(work), Some((out, err))) = (progress, run.outputs.take()) {
                begun = Some(vec![out, err, work]);
            }
        }
        let (outcome, group) = run.finish(ground);
        if let Some(fds) = begun {
            self.post(Event::Started { id }, fds)?;
        }
        self.post(Event::Finished { id, outcome }, Vec::new())?;
        self.free_slots.push(slot);
        self.leftovers.push(group);
        self.flush()?;
        self.sweep();
        Ok(())
    }

    fn enforce(&mut self) {
        let Some(ground) = &self.ground else { return };
        let now = Instant::now();
        for run in self.runs.values_mut() {
            run.enforce(now, ground);
        }
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
        for run in self.runs.values_mut() {
            run.kill(KillCause::Asked, &ground.cgroups);
        }
        let until = Instant::now() + CLOSING_TIMEOUT;
        for (_, run) in self.runs.drain() {
            let left = timespec(until.saturating_duration_since(Instant::now()));
            let mut poll = [rustix::event::PollFd::new(&run.pidfd, rustix::event::PollFlags::IN)];
            if rustix::event::poll(&mut poll, Some(&left)) == Ok(1) {
                self.leftovers.push(run.finish(ground).1);
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
