//! PID 1 of a run: prepares everything, starts the payload, reaps, reports how it ended, leaves.
//!
//! It is a fork of the launcher, so it does three things first: close what is not its own, ask to die
//! with the launcher, and wait for the word that ids and control groups are set. Its memory can not
//! be read from inside (not dumpable, another uid where the host allows it, no environment), and no
//! signal from inside reaches it (pid_namespaces(7)). When it leaves, the kernel kills what is left.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{RecvFlags, recv};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{
    ABOVE, At, Failure, Filter, Identity, Inside, Report, Stage, Template, payload, rootfs,
};
use crate::sys;
use crate::wire::message::Exit;
use crate::wire::socket;

/// The name of the machine as the payload sees it.
const HOST_NAME: &[u8] = b"cell";

/// The life of init.
pub(crate) fn run(inside: &Inside, template: &Template, filter: &Filter) -> Infallible {
    let report = match live(inside, template, filter) {
        Ok(report) => report,
        Err((stage, errno)) => Report::Failed { stage: stage as u8, errno: errno.raw_os_error() },
    };
    // Nobody is left to tell when this fails: the launcher is gone, and so are we.
    let _ = socket::send(&inside.control, &report.encode(), &[]);
    sys::exit_now(0)
}

fn live(inside: &Inside, template: &Template, filter: &Filter) -> Result<Report, Failure> {
    let own = [&inside.stdin, &inside.stdout, &inside.stderr, &inside.control];
    let mut keep: Vec<i32> = own.map(AsRawFd::as_raw_fd).to_vec();
    keep.push(inside.runfile.as_raw_fd());
    sys::close_all_but(&mut keep).at(Stage::Process)?;
    sys::unblock_signals();
    die_with_launcher(inside)?;
    wait_for_go(inside)?;
    if let Identity::Slot { .. } = inside.identity {
        sys::become_id(0, 0, true).at(Stage::Identity)?;
    }
    // Changing ids cleared it (prctl(2)); a launcher that died in between shows as a closed socket.
    die_with_launcher(inside)?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0).at(Stage::Identity)?;
    sys::unshare(libc::CLONE_NEWCGROUP).at(Stage::Identity)?;
    let work = rootfs::build(inside, template)?;
    rustix::system::sethostname(HOST_NAME).at(Stage::Network)?;
    sys::loopback_up().at(Stage::Network)?;
    start_and_reap(inside, filter, work)
}

fn die_with_launcher(inside: &Inside) -> Result<(), Failure> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).at(Stage::Process)?;
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match recv(&inside.control, &mut [0u8; 1][..], peek) {
        Ok((_, 0)) => sys::exit_now(0),
        _ => Ok(()),
    }
}

/// Blocks until the launcher has mapped our ids and attached our control groups.
fn wait_for_go(inside: &Inside) -> Result<(), Failure> {
    let mut buffer = [0u8; 8];
    match socket::receive(&inside.control, &mut buffer).at(Stage::Process)? {
        Some(_) => Ok(()),
        None => sys::exit_now(0),
    }
}

fn start_and_reap(inside: &Inside, filter: &Filter, work: OwnedFd) -> Result<Report, Failure> {
    let (failure_in, failure_out) = high_pipe().at(Stage::Fork)?;
    let (compiled_in, compiled_out) = match inside.head.compile_signal {
        true => {
            let (input, output) = high_pipe().at(Stage::Fork)?;
            (Some(input), Some(output))
        }
        false => (None, None),
    };
    let main = sys::fork_child(|| {
        let Err((stage, errno)) =
            payload::become_payload(inside, filter, &failure_out, compiled_out.as_ref());
        let mut bytes = [0u8; 5];
        bytes[0] = stage as u8;
        bytes[1..].copy_from_slice(&errno.raw_os_error().to_le_bytes());
        let _ = rustix::io::write(&failure_out, &bytes);
        sys::exit_now(127)
    })
    .at(Stage::Fork)?;
    socket::send(&inside.control, &Report::Ready.encode(), &[work.as_fd()]).at(Stage::Fork)?;
    // By name, before everything is closed by number: nothing may be closed twice.
    drop((work, failure_out, compiled_out));
    step_back(inside, &failure_in, compiled_in.as_ref()).at(Stage::Privileges)?;
    let exit = reap_until(main);
    if let Some((stage, errno)) = read_failure(&failure_in) {
        return Ok(Report::Failed { stage, errno });
    }
    Ok(Report::Exited { exit, compiled: compiled_in.as_ref().is_none_or(said_so) })
}

/// A pipe out of the way of the numbers that the payload's own descriptors get.
fn high_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (input, output) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((fcntl_dupfd_cloexec(&input, ABOVE)?, fcntl_dupfd_cloexec(&output, ABOVE)?))
}

/// Init needs nothing any more but to wait, to read two pipes and to write one message.
fn step_back(inside: &Inside, failure: &OwnedFd, compiled: Option<&OwnedFd>) -> Result<(), Errno> {
    let mut keep = vec![inside.control.as_raw_fd(), failure.as_raw_fd()];
    keep.extend(compiled.map(AsRawFd::as_raw_fd));
    sys::close_all_but(&mut keep)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    sys::clear_capabilities()
}

/// Reaps whatever ends, orphans of the payload included, until its first process has.
fn reap_until(main: i32) -> Exit {
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
fn said_so(pipe: &OwnedFd) -> bool {
    let ready = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
    ready > 0
}
