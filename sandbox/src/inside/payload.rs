//! The last steps before untrusted code: descriptors, limits, privileges, Landlock, seccomp, exec.
//!
//! The order matters: what needs a right comes before the step that takes it away, seccomp is last.
//! Refuses to go on after any failure except a kernel without Landlock.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{chdir, setsid};

use super::{ABOVE, At, Common, Failure, Identity, Order, PAYLOAD_ID, Stage, WORK_DIR};
use crate::spec::Profile;
use crate::sys;

/// The clean environment; a run's own variables come after and win.
pub(crate) const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", WORK_DIR),
    ("TMPDIR", "/tmp"),
    ("LANG", "C.UTF-8"),
];

/// What the kernel calls an interpreter that was executed.
const INTERPRETER_NAME: &CStr = c"python3";
/// Descriptor on which a program says that its source compiled.
const COMPILE_FD: i32 = 3;
/// Descriptors on which the driver of a sandbox that stays reads requests and writes replies.
const STEP_FDS: [i32; 2] = [3, 4];
/// Open files per process: enough for a server with workers, too few to exhaust the host's table.
const OPEN_FILES: u64 = 1024;
const LOCKED_BYTES: u64 = 64 * 1024;
const STACK_SOFT_BYTES: u64 = 8 * 1024 * 1024;
const STACK_HARD_BYTES: u64 = 64 * 1024 * 1024;
const PENDING_SIGNALS: u64 = 256;
/// Address space beyond the memory limit for mapped libraries, where no control group counts pages.
const LIBRARY_BYTES: u64 = 1024 * 1024 * 1024;

/// Becomes the payload. Comes back only with a failure.
pub(super) fn become_payload(
    order: &Order,
    identity: Identity,
    common: &Common,
    failures: &OwnedFd,
    compiled: Option<&OwnedFd>,
) -> Result<Infallible, Failure> {
    let filter = common.filters.get(&order.head.profile).ok_or((Stage::Seccomp, Errno::INVAL))?;
    setsid().at(Stage::Fork)?;
    descriptors(order, failures, compiled).at(Stage::Fork)?;
    sys::schedule_ordinarily(0).at(Stage::Limits)?;
    fixed_limits().at(Stage::Limits)?;
    resource_limits(order, identity, common).at(Stage::Limits)?;
    give_up(identity)?;
    let (program, argv, env) = command(order).at(Stage::Exec)?;
    if common.landlock {
        confine().map_err(|_| (Stage::Landlock, Errno::PERM))?;
    }
    sys::install_filter(filter).at(Stage::Seccomp)?;
    Err((Stage::Exec, sys::exec(&program, &argv, &env)))
}

/// Confines an interpreter that has started already and waits: all of [`become_payload`] but the streams and
/// the limits that a run chooses.
pub(super) fn confine_waiting(identity: Identity, common: &Common) -> Result<(), Failure> {
    let filter = common.filters.get(&Profile::Python).ok_or((Stage::Seccomp, Errno::INVAL))?;
    setsid().at(Stage::Fork)?;
    sys::schedule_ordinarily(0).at(Stage::Limits)?;
    fixed_limits().at(Stage::Limits)?;
    give_up(identity)?;
    // What an exec would have done: the name, and that a process may look at itself (proc(5)).
    let _ = rustix::thread::set_name(INTERPRETER_NAME);
    sys::prctl(libc::PR_SET_DUMPABLE, 1).at(Stage::Privileges)?;
    if common.landlock {
        confine().map_err(|_| (Stage::Landlock, Errno::PERM))?;
    }
    sys::install_filter(filter).at(Stage::Seccomp)
}

/// Sets what a run chooses, from outside, on the interpreter that waits for it.
pub(super) fn limit_waiting(main: i32, order: &Order) -> Result<(), Errno> {
    let limits = &order.head.limits;
    sys::limit_other(main, libc::RLIMIT_FSIZE, limits.disk_bytes)?;
    sys::limit_other(main, libc::RLIMIT_NPROC, u64::from(limits.pids))
}

/// Rights and ids; then the place where a program begins.
fn give_up(identity: Identity) -> Result<(), Failure> {
    sys::drop_capabilities().at(Stage::Privileges)?;
    if let Identity::Slot { .. } = identity {
        sys::become_id(PAYLOAD_ID, PAYLOAD_ID, true).at(Stage::Privileges)?;
    }
    sys::clear_capabilities().at(Stage::Privileges)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).at(Stage::Privileges)?;
    chdir(WORK_DIR).at(Stage::Exec)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// Exactly 0, 1, 2 and, when asked for, the compile signal or the two pipes of steps; `failures` closes itself at exec.
fn descriptors(order: &Order, failures: &OwnedFd, compiled: Option<&OwnedFd>) -> Result<(), Errno> {
    let high =
        [&order.stdin, &order.stdout, &order.stderr].map(|fd| fcntl_dupfd_cloexec(fd, ABOVE));
    let talk = order
        .steps
        .as_ref()
        .map(|(asked, answer)| [asked, answer].map(|fd| fcntl_dupfd_cloexec(fd, ABOVE)));
    let [stdin, stdout, stderr] = high;
    for (fd, number) in [(stdin?, 0), (stdout?, 1), (stderr?, 2)] {
        sys::place_fd(fd.as_fd(), number)?;
        std::mem::forget(fd);
    }
    let mut keep = vec![0, 1, 2];
    if let Some(compiled) = compiled {
        sys::place_fd(fcntl_dupfd_cloexec(compiled, ABOVE)?.as_fd(), COMPILE_FD)?;
        keep.push(COMPILE_FD);
    }
    for (fd, number) in talk.into_iter().flatten().zip(STEP_FDS) {
        sys::place_fd(fd?.as_fd(), number)?;
        keep.push(number);
    }
    keep.push(std::os::fd::AsRawFd::as_raw_fd(failures));
    sys::close_all_but(&mut keep)
}

/// The limits that are the same for every run.
fn fixed_limits() -> Result<(), Errno> {
    let both = |resource, value| sys::limit(resource, value, value);
    both(libc::RLIMIT_CORE, 0)?;
    both(libc::RLIMIT_NOFILE, OPEN_FILES)?;
    both(libc::RLIMIT_MEMLOCK, LOCKED_BYTES)?;
    both(libc::RLIMIT_MSGQUEUE, 0)?;
    both(libc::RLIMIT_NICE, 0)?;
    both(libc::RLIMIT_RTPRIO, 0)?;
    both(libc::RLIMIT_SIGPENDING, PENDING_SIGNALS)?;
    sys::limit(libc::RLIMIT_STACK, STACK_SOFT_BYTES, STACK_HARD_BYTES)
}

fn resource_limits(order: &Order, identity: Identity, common: &Common) -> Result<(), Errno> {
    let limits = &order.head.limits;
    let both = |resource, value| sys::limit(resource, value, value);
    both(libc::RLIMIT_FSIZE, limits.disk_bytes)?;
    // Counted per user namespace since Linux 5.14, so it bounds this run alone; init is counted too
    // where it shares the payload's uid.
    let init = u64::from(matches!(identity, Identity::Own { .. }));
    both(libc::RLIMIT_NPROC, u64::from(limits.pids) + init)?;
    if common.memory_by_rlimit {
        both(libc::RLIMIT_DATA, limits.memory_bytes)?;
        // V8 reserves address space by the gigabyte without touching it.
        if order.head.profile != Profile::Node {
            both(libc::RLIMIT_AS, limits.memory_bytes + LIBRARY_BYTES)?;
        }
        let seconds = limits.cpu.as_secs() + 1;
        sys::limit(libc::RLIMIT_CPU, seconds, seconds + 1)?;
    }
    Ok(())
}

type Command = (CString, Vec<CString>, Vec<CString>);

fn command(order: &Order) -> Result<Command, Errno> {
    let text = |text: String| CString::new(text).map_err(|_| Errno::INVAL);
    let head = &order.head;
    let argv = head.argv.iter().cloned().map(text).collect::<Result<Vec<_>, _>>()?;
    let own = |key: &str| head.env.iter().any(|(name, _)| name == key);
    let base = ENVIRONMENT.iter().filter(|(key, _)| !own(key)).map(|(k, v)| format!("{k}={v}"));
    let rest = head.env.iter().map(|(key, value)| format!("{key}={value}"));
    let env = base.chain(rest).map(text).collect::<Result<Vec<_>, _>>()?;
    let program = argv.first().cloned().ok_or(Errno::INVAL)?;
    Ok((program, argv, env))
}

/// Landlock as far as the kernel knows it: writing only where the run owns the files, no signals and
/// no abstract sockets beyond the run. A second line behind mounts and namespaces.
fn confine() -> Result<(), landlock::RulesetError> {
    let abi = ABI::V6;
    let write = AccessFs::from_write(abi);
    let devices: BitFlags<AccessFs> = AccessFs::MakeChar | AccessFs::MakeBlock;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(write)?
        .scope(Scope::from_all(abi))?
        .create()?;
    for (path, access) in [
        (WORK_DIR, write & !devices),
        ("/tmp", write & !devices),
        ("/dev/shm", write & !devices),
        ("/dev/null", AccessFs::WriteFile.into()),
        ("/dev/zero", AccessFs::WriteFile.into()),
        ("/dev/full", AccessFs::WriteFile.into()),
        ("/dev/random", AccessFs::WriteFile.into()),
        ("/dev/urandom", AccessFs::WriteFile.into()),
    ] {
        if let Ok(fd) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    rules.restrict_self().map(drop)
}
