//! PID 1 of a run: prepares everything, waits for its order, starts the payload, reaps, reports.
//!
//! It is a fork of the launcher, so it does three things first: close what is not its own, ask to die
//! with the launcher, and wait for the word that its ids are mapped. Its memory cannot be read from
//! inside (not dumpable, another uid where the host allows it, no environment), and no signal from
//! inside reaches it (pid_namespaces(7)). It reports only when it is the last process of the run; if
//! it is killed, the kernel kills the others with it.

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{RecvFlags, recv};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{ABOVE, At, Common, Failure, Identity, Order, Report, Seed, Stage, payload, rootfs};
use crate::sys;
use crate::wire::message::Exit;
use crate::wire::{runfile, socket};

/// The name of the machine as the payload sees it.
const HOST_NAME: &[u8] = b"cell";

/// Entered by init itself, so that their cost does not keep the launcher from other runs.
const OWN_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// The life of init.
pub(crate) fn run(seed: &Seed, common: &Common) -> Infallible {
    say_and_leave(seed, live(seed, common))
}

/// The last word of an init, as [`run`] says it.
pub(super) fn say_and_leave(seed: &Seed, report: Result<Report, Failure>) -> ! {
    match report {
        Ok(report) => leave(seed, report),
        Err((stage, errno)) => {
            leave(seed, Report::Failed { stage: stage as u8, errno: errno.raw_os_error() })
        }
    }
}

fn leave(seed: &Seed, report: Report) -> ! {
    // Nobody is left to tell when this fails: the launcher is gone, and so are we.
    let _ = socket::send(&seed.control, &report.encode(), &[]);
    sys::exit_now(0)
}

fn live(seed: &Seed, common: &Common) -> Result<Report, Failure> {
    prepare(seed, common, &[])?;
    let order = await_order(seed)?;
    let work = rootfs::furnish(&order)?;
    shield(seed)?;
    start_and_reap(seed, common, order, work)
}

/// Everything that does not depend on the run. Descriptors other than its own and `kept` are closed.
pub(super) fn prepare(seed: &Seed, common: &Common, kept: &[i32]) -> Result<(), Failure> {
    let mut keep: Vec<i32> = seed.join.iter().map(AsRawFd::as_raw_fd).collect();
    keep.push(seed.control.as_raw_fd());
    keep.extend(kept);
    sys::close_all_but(&mut keep).at(Stage::Process)?;
    sys::unblock_signals();
    let _ = rustix::thread::set_name(c"cell-init");
    die_with_launcher(seed)?;
    hear(seed, &mut [0; 8])?;
    for file in &seed.join {
        // "0" is the writer. Takes a grace period of RCU: the launcher could not wait that long.
        rustix::io::write(file, b"0").at(Stage::Groups)?;
    }
    if let Identity::Slot { .. } = seed.identity {
        sys::become_id(0, 0, true).at(Stage::Identity)?;
    }
    shield(seed)?;
    sys::unshare(OWN_NAMESPACES).at(Stage::Namespaces)?;
    rootfs::prepare(&common.masks).at(Stage::Root)?;
    rustix::system::sethostname(HOST_NAME).at(Stage::Network)?;
    sys::loopback_up().at(Stage::Network)
}

/// Unreadable, and dead with the launcher. The kernel undoes both whenever ids change, those for file
/// access included (commit_creds of kernel/cred.c), so this follows every such change.
pub(super) fn shield(seed: &Seed) -> Result<(), Failure> {
    sys::prctl(libc::PR_SET_DUMPABLE, 0).at(Stage::Identity)?;
    die_with_launcher(seed)
}

/// A launcher that died before this was set shows as a closed socket.
fn die_with_launcher(seed: &Seed) -> Result<(), Failure> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).at(Stage::Process)?;
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match recv(&seed.control, &mut [0u8; 1][..], peek) {
        Ok((_, 0)) => sys::exit_now(0),
        _ => Ok(()),
    }
}

/// Waits for the launcher's next word; leaves when there is no launcher any more.
fn hear(seed: &Seed, buffer: &mut [u8]) -> Result<Vec<OwnedFd>, Failure> {
    match socket::receive(&seed.control, buffer).at(Stage::Process)? {
        Some((_, fds)) => Ok(fds),
        None => sys::exit_now(0),
    }
}

pub(super) fn await_order(seed: &Seed) -> Result<Order, Failure> {
    let mut fds = hear(seed, &mut [0; 8])?.into_iter();
    let mut next = || fds.next().ok_or((Stage::Process, Errno::BADF));
    let (runfile, stdin, stdout, stderr) = (File::from(next()?), next()?, next()?, next()?);
    let head = runfile::read(&runfile).map_err(|_| (Stage::Process, Errno::INVAL))?;
    let steps = if head.steps { Some((next()?, next()?)) } else { None };
    Ok(Order { head, runfile, stdin, stdout, stderr, steps })
}

fn start_and_reap(
    seed: &Seed,
    common: &Common,
    order: Order,
    work: OwnedFd,
) -> Result<Report, Failure> {
    let (failure_in, failure_out) = high_pipe().at(Stage::Fork)?;
    let (compiled_in, compiled_out) = match order.head.compile_signal {
        true => {
            let (input, output) = high_pipe().at(Stage::Fork)?;
            (Some(input), Some(output))
        }
        false => (None, None),
    };
    let main = sys::fork_child(|| {
        let compiled = compiled_out.as_ref();
        let Err((stage, errno)) =
            payload::become_payload(&order, seed.identity, common, &failure_out, compiled);
        let mut bytes = [0u8; 5];
        bytes[0] = stage as u8;
        bytes[1..].copy_from_slice(&errno.raw_os_error().to_le_bytes());
        let _ = rustix::io::write(&failure_out, &bytes);
        sys::exit_now(127)
    })
    .at(Stage::Fork)?;
    let interpreter = match order.steps {
        Some(_) => Some(handle_of(main).at(Stage::Fork)?),
        None => None,
    };
    let given: Vec<_> = [Some(&work), interpreter.as_ref()].into_iter().flatten().collect();
    let given: Vec<_> = given.into_iter().map(AsFd::as_fd).collect();
    socket::send(&seed.control, &Report::Ready.encode(), &given).at(Stage::Fork)?;
    // By name, before everything is closed by number: nothing may be closed twice.
    drop((work, interpreter, order, failure_out, compiled_out));
    let pipes = [Some(&failure_in), compiled_in.as_ref()].into_iter().flatten();
    let pipes: Vec<i32> = pipes.map(AsRawFd::as_raw_fd).collect();
    step_back(seed, &pipes).at(Stage::Privileges)?;
    let exit = reap_until(main);
    let failure = read_failure(&failure_in);
    let compiled = compiled_in.as_ref().is_none_or(said_so);
    end_the_rest();
    Ok(match failure {
        Some((stage, errno)) => Report::Failed { stage, errno },
        None => Report::Exited { exit, compiled },
    })
}

/// A handle by which the launcher can signal a child of ours, whatever becomes of its number.
fn handle_of(child: i32) -> Result<OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(child).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
}

/// A pipe out of the way of the numbers that the payload's own descriptors get.
pub(super) fn high_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (input, output) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((fcntl_dupfd_cloexec(&input, ABOVE)?, fcntl_dupfd_cloexec(&output, ABOVE)?))
}

/// Init needs nothing any more but to wait, to kill, to read its pipes and to write one message.
pub(super) fn step_back(seed: &Seed, pipes: &[i32]) -> Result<(), Errno> {
    let mut keep = vec![seed.control.as_raw_fd()];
    keep.extend(pipes);
    sys::close_all_but(&mut keep)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    sys::keep_only_kill()
}

/// Reaps whatever ends, orphans of the payload included, until its first process has.
pub(super) fn reap_until(main: i32) -> Exit {
    while let Some((pid, status)) = sys::wait_any() {
        if pid == main {
            return match libc::WIFSIGNALED(status) {
                true => Exit::Signal(libc::WTERMSIG(status)),
                false => Exit::Code(libc::WEXITSTATUS(status)),
            };
        }
    }
    Exit::Unknown
}

/// Kills and reaps what the program left behind. Afterwards init is alone in its namespace: a fork
/// that raced with the kill has been adopted and is waited for by the next round.
pub(super) fn end_the_rest() {
    loop {
        sys::kill_all_others();
        if sys::wait_any().is_none() {
            return;
        }
    }
}

/// What stopped the payload before its exec. Its end is closed by now, so this never waits.
fn read_failure(pipe: &OwnedFd) -> Option<(u8, i32)> {
    let mut bytes = [0u8; 5];
    match rustix::io::read(pipe, &mut bytes) {
        Ok(5) => Some((bytes[0], i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]))),
        _ => None,
    }
}

/// Whether the program said that its source compiled. A process it left behind may still hold the
/// other end open, so the pipe is asked, not awaited.
pub(super) fn said_so(pipe: &OwnedFd) -> bool {
    rustix::io::ioctl_fionread(pipe).unwrap_or(0) > 0
}
