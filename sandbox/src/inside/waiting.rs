//! PID 1 of a sandbox born of a zygote, and the interpreter that waits in it, confined, for a run.
//!
//! Both are forks of the zygote. Init prepares everything, then forks the interpreter, which confines
//! itself completely before it has heard of any run: no capability, its own uid, Landlock, seccomp, one
//! socket to init. At the order init sizes the places, writes the files, sets the limits of the run from
//! outside and passes the streams; nothing is left to be confined between the code's arrival and its
//! start. After that init does what it does for every other run.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::pipe;

use super::init;
use super::{At, Common, Failure, Order, Report, Seed, Stage, payload, rootfs};
use crate::sys;
use crate::wire::socket;

/// The interpreter's socket to init, until its streams are in place.
const ORDER_FD: i32 = 3;
/// Keeps the pipe open that stands for the output meanwhile.
const STAND_IN_FD: i32 = 4;
/// What the interpreter says when it is ready.
const READY: &[u8] = b"ready";
/// Size of the places until the order says another.
const DISK_BYTES: u64 = 1 << 20;

/// Comes back only in the interpreter; init lives and ends in here.
pub(crate) fn run(seed: Seed, common: &Common) {
    let report = match prepare(&seed, common) {
        Ok(None) => {
            // Closed by number; nothing may be closed twice.
            std::mem::forget(seed);
            return;
        }
        Ok(Some((main, socket))) => oversee(&seed, main, socket),
        Err(failure) => Err(failure),
    };
    init::say_and_leave(&seed, report)
}

/// Everything that does not depend on the run. `None` in the interpreter.
fn prepare(seed: &Seed, common: &Common) -> Result<Option<(i32, OwnedFd)>, Failure> {
    init::prepare(seed, common, &[0, 1, 2])?;
    rootfs::places(DISK_BYTES, 0).at(Stage::Root)?;
    init::shield(seed)?;
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).at(Stage::Fork)?;
    match sys::fork().at(Stage::Fork)? {
        Some(main) => {
            // The interpreter's handlers are not for process 1: with one, a signal from inside would
            // reach it (pid_namespaces(7)).
            sys::reset_signals();
            Ok(Some((main, ours)))
        }
        None => {
            std::mem::forget(ours);
            // SAFETY: open, and closed by number in `streams` only; nobody owns it from here on.
            let theirs = unsafe { BorrowedFd::borrow_raw(theirs.into_raw_fd()) };
            if let Err(errno) = streams(theirs) {
                fail(theirs, (Stage::Fork, errno));
            }
            // SAFETY: `streams` placed our socket there.
            let socket = unsafe { BorrowedFd::borrow_raw(ORDER_FD) };
            match payload::confine_waiting(seed.identity, common) {
                Ok(()) => Ok(None),
                Err(failure) => fail(socket, failure),
            }
        }
    }
}

/// One byte longer than [`READY`], so that the two cannot be confused.
fn fail(socket: BorrowedFd<'_>, (stage, errno): Failure) -> ! {
    let mut bytes = [0u8; 6];
    bytes[0] = stage as u8;
    bytes[1..5].copy_from_slice(&errno.raw_os_error().to_le_bytes());
    let _ = socket::send(socket, &bytes, &[]);
    sys::exit_now(127)
}

/// Puts its socket where it belongs, and stand-ins of the same kind as those of a run in place of the
/// streams: a program's buffers depend on what they see there when they are made.
fn streams(theirs: BorrowedFd<'_>) -> Result<(), Errno> {
    let (input, output) = pipe()?;
    for (from, to) in [(theirs, ORDER_FD + 32), (input.as_fd(), STAND_IN_FD + 32)] {
        sys::place_fd(from, to)?;
    }
    for to in [1, 2] {
        sys::place_fd(output.as_fd(), to)?;
    }
    // SAFETY: the two numbers were filled just now and belong to nobody else.
    let (order, stand_in) =
        unsafe { (OwnedFd::from_raw_fd(ORDER_FD + 32), OwnedFd::from_raw_fd(STAND_IN_FD + 32)) };
    // From here on the low numbers are replaced, whoever had them: their owners must not close them.
    let _ = (input.into_raw_fd(), output.into_raw_fd());
    sys::place_fd(order.as_fd(), ORDER_FD)?;
    sys::place_fd(stand_in.as_fd(), STAND_IN_FD)?;
    drop((order, stand_in));
    sys::close_all_but(&mut [0, 1, 2, ORDER_FD, STAND_IN_FD])
}

/// Says that it is ready, waits for the streams of the run and puts them where they belong: 0, 1, 2, and 3
/// for the word that the source compiles. Nothing else stays open.
pub(crate) fn take_streams() -> Result<(), Errno> {
    // SAFETY: the number is our socket, placed by `streams`; it is replaced below.
    let socket = unsafe { BorrowedFd::borrow_raw(ORDER_FD) };
    socket::send(socket, READY, &[])?;
    let (_, fds) = socket::receive(socket, &mut [0; 8])?.ok_or(Errno::PIPE)?;
    if fds.len() != 4 {
        return Err(Errno::PROTO);
    }
    // They lie above the numbers they go to: those are taken.
    for (fd, to) in fds.into_iter().map(IntoRawFd::into_raw_fd).zip(0..) {
        // SAFETY: open until the last line closes it by number.
        sys::place_fd(unsafe { BorrowedFd::borrow_raw(fd) }, to)?;
    }
    sys::close_all_but(&mut [0, 1, 2, 3])
}

/// Waits for the order, carries it out, and for the end.
fn oversee(seed: &Seed, main: i32, socket: OwnedFd) -> Result<Report, Failure> {
    await_interpreter(&socket)?;
    let order = init::await_order(seed)?;
    rootfs::resize(order.head.limits.disk_bytes, order.head.files.len() as u64).at(Stage::Root)?;
    let work = rootfs::fill(&order)?;
    init::shield(seed)?;
    payload::limit_waiting(main, &order).at(Stage::Limits)?;
    let (compiled_in, compiled_out) = init::high_pipe().at(Stage::Fork)?;
    let Order { stdin, stdout, stderr, .. } = &order;
    let given = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), compiled_out.as_fd()];
    socket::send(&socket, b"run", &given).at(Stage::Fork)?;
    socket::send(&seed.control, &Report::Ready.encode(), &[work.as_fd()]).at(Stage::Fork)?;
    // By name, before everything is closed by number: nothing may be closed twice.
    drop((work, order, compiled_out, socket));
    init::step_back(seed, &[compiled_in.as_raw_fd()]).at(Stage::Privileges)?;
    let exit = init::reap_until(main);
    let compiled = init::said_so(&compiled_in);
    init::end_the_rest();
    Ok(Report::Exited { exit, compiled })
}

/// An interpreter that was killed while it waited says nothing about this host: then neither do we.
fn await_interpreter(socket: &OwnedFd) -> Result<(), Failure> {
    let mut buffer = [0; 8];
    match socket::receive(socket, &mut buffer).at(Stage::Fork)? {
        Some((5, _)) => Ok(()),
        Some((6, _)) => {
            let errno = i32::from_le_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]);
            Err((Stage::from_number(buffer[0]), Errno::from_raw_os_error(errno)))
        }
        _ => sys::exit_now(1),
    }
}
