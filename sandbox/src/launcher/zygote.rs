//! The launcher's side of zygotes: starts one, asks it for sandboxes, renews it, does without it.
//!
//! Owns at most two: the one in use, and the one that is coming to replace it. Nothing here waits for a
//! zygote to start; what waits for a birth does so for [`BIRTH_TIMEOUT`] at most. Whatever goes wrong ends
//! the zygote concerned, and runs start their interpreter themselves until another is up.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::process::{Signal, chdir, chroot, pidfd_send_signal};

use super::cgroup::RunGroup;
use super::run::Ground;
use crate::inside::payload::ENVIRONMENT;
use crate::inside::{Identity, Seed, TEMPLATE};
use crate::language;
use crate::options::ZygoteOptions;
use crate::spec::{Language, Limits};
use crate::sys::{self, Child};
use crate::wire::{memfd, socket};
use crate::zygote::{self as wire, Birth, Hello};

/// Much longer than a clone of a small process takes even on a loaded host: one that does not answer in this
/// time is of no use.
const BIRTH_TIMEOUT: Duration = Duration::from_millis(250);
/// Pauses before the next zygote after one that failed: first, and longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// What a zygote may hold and be: it is small, and only forks.
const MEMORY_BYTES: u64 = 256 << 20;
const PIDS: u32 = 64;
/// Capabilities it keeps until everything is loaded: to change its root, and to unmount.
const CAP_SYS_CHROOT: u64 = 18;
const CAP_SYS_ADMIN: u64 = 21;
/// Descriptors are moved above the fixed numbers before those are filled.
const ABOVE: i32 = 16;

/// One zygote.
struct Zygote {
    child: Child,
    control: OwnedFd,
    group: RunGroup,
    started: Instant,
    births: u32,
}

/// All that the launcher has of them.
pub(super) struct Zygotes {
    settings: Option<(ZygoteOptions, OwnedFd)>,
    current: Option<Zygote>,
    coming: Option<Zygote>,
    start_at: Option<Instant>,
    pause: Duration,
}

/// The shared library as a memory file, read before the host's file system is left. `None` when zygotes are
/// not wanted, or the file is not there: then every run starts its own interpreter.
pub(super) fn library(options: Option<&ZygoteOptions>) -> Option<OwnedFd> {
    let bytes = fs::read(&options?.library).ok()?;
    memfd::sealed(&[&bytes]).ok()
}

impl Zygotes {
    pub(super) fn new(options: Option<ZygoteOptions>, library: Option<OwnedFd>) -> Self {
        let settings = options.zip(library);
        let start_at = settings.is_some().then(Instant::now);
        Self { settings, current: None, coming: None, start_at, pause: PAUSE_FIRST }
    }

    /// Sandboxes to keep prepared; 0 while no zygote is up.
    pub(super) fn spares(&self) -> usize {
        match (&self.settings, &self.current) {
            (Some((options, _)), Some(_)) => usize::from(options.spares),
            _ => 0,
        }
    }

    pub(super) fn up(&self) -> bool {
        self.current.is_some()
    }

    /// When something is due.
    pub(super) fn wakeup(&self) -> Option<Instant> {
        let renewal = match (&self.settings, &self.current, &self.coming) {
            (Some((options, _)), Some(current), None) if current.births > 0 => {
                Some(current.started + options.renew_after)
            }
            _ => None,
        };
        [self.start_at, renewal].into_iter().flatten().min()
    }

    /// Starts one when it is time to; the descriptor is to be watched.
    pub(super) fn tend(&mut self, serial: u64, ground: &Ground) -> Option<OwnedFd> {
        let (options, library) = self.settings.as_ref()?;
        let now = Instant::now();
        let worn = self.current.as_ref().is_some_and(|zygote| {
            zygote.births >= options.renew_after_forks
                || (zygote.births > 0 && now >= zygote.started + options.renew_after)
        });
        let due = self.start_at.is_some_and(|at| now >= at);
        if self.coming.is_some() || !(due || (worn && self.start_at.is_none())) {
            return None;
        }
        self.start_at = None;
        match Zygote::start(serial, options, library, ground) {
            Ok(zygote) => {
                let watched = zygote.control.try_clone().ok();
                self.coming = Some(zygote);
                watched
            }
            Err(_) => {
                self.retry_later();
                None
            }
        }
    }

    fn retry_later(&mut self) {
        self.start_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// One of them said something, or is gone. Answers the control groups of those that are.
    pub(super) fn hear(&mut self, ground: &Ground) -> Vec<RunGroup> {
        let mut gone = Vec::new();
        match self.coming.as_ref().map(Zygote::word) {
            Some(Word::Up) => {
                gone.extend(self.current.take());
                self.current = self.coming.take();
                self.pause = PAUSE_FIRST;
            }
            Some(Word::Gone) => {
                gone.extend(self.coming.take());
                self.retry_later();
            }
            Some(Word::Nothing) | None => {}
        }
        if let Some(Word::Gone) = self.current.as_ref().map(Zygote::word) {
            gone.extend(self.current.take());
            self.retry_later();
        }
        gone.into_iter().map(|zygote| zygote.end(ground)).collect()
    }

    /// Asks for a sandbox's init. On failure the zygote is ended by the next [`Self::hear`].
    pub(super) fn bear(
        &mut self,
        seed: Seed,
        birthplace: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> Result<Child, Errno> {
        let zygote = self.current.as_mut().ok_or(Errno::SRCH)?;
        let born = zygote.bear(seed, birthplace);
        if born.is_err() {
            let _ = pidfd_send_signal(&zygote.child.pidfd, Signal::KILL);
        }
        born
    }

    /// Their processes.
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        [&self.current, &self.coming].into_iter().flatten().map(|zygote| zygote.child.pid)
    }

    /// Ends them all.
    pub(super) fn close(&mut self, ground: &Ground) -> Vec<RunGroup> {
        self.start_at = None;
        let all = [self.current.take(), self.coming.take()];
        all.into_iter().flatten().map(|zygote| zygote.end(ground)).collect()
    }
}

enum Word {
    Nothing,
    Up,
    Gone,
}

impl Zygote {
    fn start(
        serial: u64,
        options: &ZygoteOptions,
        library: &OwnedFd,
        ground: &Ground,
    ) -> Result<Self, Errno> {
        let (control, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let masks = ground.common.masks.clone();
        let sources = wire::SOURCES.to_owned();
        let hello = Hello { sources, masks, landlock: ground.common.landlock };
        let hello = serde_json::to_vec(&hello).map_err(|_| Errno::INVAL)?;
        socket::send(&control, &hello, &[])?;
        let command = command(&options.preload)?;
        let group = ground.cgroups.create(serial)?;
        let born = ground.cgroups.limit(&group, &limits(), 0).and_then(|()| {
            let join = ground.cgroups.join_files(&group)?;
            let birthplace = ground.cgroups.birthplace(&group);
            sys::clone_child(0, birthplace, || {
                let errno = become_interpreter(&theirs, library, &join, &command)
                    .map_or_else(|errno| errno, |never| match never {});
                let line = format!("cell zygote: {errno}\n");
                let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
                sys::exit_now(127)
            })
        });
        match born {
            Ok(child) => Ok(Self { child, control, group, started: Instant::now(), births: 0 }),
            Err(errno) => {
                ground.cgroups.remove(&group);
                Err(errno)
            }
        }
    }

    fn word(&self) -> Word {
        let mut buffer = [0u8; 16];
        match recv(&self.control, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((2, _)) if &buffer[..2] == wire::UP => Word::Up,
            Err(Errno::AGAIN | Errno::INTR) => Word::Nothing,
            _ => Word::Gone,
        }
    }

    fn bear(
        &mut self,
        seed: Seed,
        birthplace: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> Result<Child, Errno> {
        let Identity::Slot { init, payload } = seed.identity else { return Err(Errno::INVAL) };
        let birth = Birth { init, payload, birthplace: birthplace.is_some() };
        let fds: Vec<_> = [seed.control.as_fd()]
            .into_iter()
            .chain(birthplace)
            .chain(seed.join.iter().map(AsFd::as_fd))
            .collect();
        socket::send(&self.control, &birth.encode(), &fds)?;
        drop(fds);
        drop(seed);
        self.births = self.births.saturating_add(1);
        let span = super::timespec(BIRTH_TIMEOUT);
        if poll(&mut [PollFd::new(&self.control, PollFlags::IN)], Some(&span))? != 1 {
            return Err(Errno::TIMEDOUT);
        }
        let mut buffer = [0; 16];
        let (len, fds) = socket::receive(&self.control, &mut buffer)?.ok_or(Errno::PIPE)?;
        let pid = wire::read_answer(&buffer[..len])?;
        let pidfd = fds.into_iter().next().ok_or(Errno::PROTO)?;
        Ok(Child { pid, pidfd })
    }

    /// Kills and reaps it, which takes about a millisecond. What it bore lives on.
    fn end(self, ground: &Ground) -> RunGroup {
        ground.cgroups.kill(&self.group);
        let _ = pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = sys::reap(&self.child.pidfd);
        self.group
    }
}

struct Command {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

fn command(preload: &[String]) -> Result<Command, Errno> {
    let text = |text: String| CString::new(text).map_err(|_| Errno::INVAL);
    let seen = |path: &&&str| Path::new(TEMPLATE).join(&path[1..]).exists();
    let interpreter = Language::Python.interpreters().iter().find(seen).ok_or(Errno::NOENT)?;
    let argv = language::zygote_argv(interpreter).into_iter().chain(preload.iter().cloned());
    let env = ENVIRONMENT.iter().map(|(key, value)| format!("{key}={value}"));
    Ok(Command {
        program: text((*interpreter).to_owned())?,
        argv: argv.map(text).collect::<Result<_, _>>()?,
        env: env.map(text).collect::<Result<_, _>>()?,
    })
}

/// The new process: dead with the launcher, in groups of its own, without a network, in the prepared tree.
fn become_interpreter(
    control: &OwnedFd,
    library: &OwnedFd,
    join: &[OwnedFd],
    command: &Command,
) -> Result<Infallible, Errno> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
    sys::reset_signals();
    sys::limit(libc::RLIMIT_CORE, 0, 0)?;
    for file in join {
        rustix::io::write(file, b"0")?;
    }
    let spaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    sys::unshare(spaces)?;
    // Until the library is loaded, which can be named only through a /proc.
    rustix::mount::mount_bind_recursive("/proc", "/cell/proc")?;
    let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let high = [control, library, &root].map(|fd| fcntl_dupfd_cloexec(fd, ABOVE));
    let numbers = [wire::CONTROL_FD, wire::LIBRARY_FD, wire::ROOT_FD];
    let mut keep = vec![0, 1, 2];
    let high = high.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (fd, number) in high.iter().zip(numbers) {
        sys::place_fd(fd.as_fd(), number)?;
        keep.push(number);
    }
    debug_assert!(high.iter().all(|fd| fd.as_raw_fd() >= ABOVE), "above the fixed numbers");
    std::mem::forget(high);
    chroot(TEMPLATE)?;
    chdir("/")?;
    sys::close_all_but(&mut keep)?;
    sys::bound_capabilities(&[CAP_SYS_CHROOT, CAP_SYS_ADMIN])?;
    Err(sys::exec(&command.program, &command.argv, &command.env))
}

fn limits() -> Limits {
    Limits {
        wall: Duration::MAX,
        cpu: Duration::MAX,
        memory_bytes: MEMORY_BYTES,
        pids: PIDS,
        output_bytes: 0,
        disk_bytes: 0,
        cpu_milli: 8000,
    }
}
