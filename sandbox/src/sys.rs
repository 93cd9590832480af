//! The system calls that rustix does not wrap, each as a safe function with its reason.
//!
//! Called by the launcher and by the single-threaded processes it forks; never by the server.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// Namespaces a run has from its birth; its init enters the others by itself.
pub(crate) const BIRTH_NAMESPACES: u64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWPID) as u64;

/// CLONE_INTO_CGROUP of linux/sched.h; libc types it as an int, which it does not fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    let code = std::io::Error::last_os_error().raw_os_error();
    Errno::from_raw_os_error(code.unwrap_or(libc::EIO))
}

/// A forked child, still ours to wait for.
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// Forks with new namespaces, optionally straight into a cgroup v2 directory; runs `body` in the
/// child, which never returns from here. The caller must be single-threaded: the child gets a copy of
/// memory in which locks of other threads would stay locked for ever.
pub(crate) fn clone_child(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> Infallible,
) -> Result<Child, Errno> {
    if let Some(child) = clone_here(namespaces, libc::SIGCHLD, cgroup)? {
        return Ok(child);
    }
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(never) => match never {},
        Err(_) => exit_now(70),
    }
}

/// Forks a child of this process's own parent; `None` in the child, which goes on from here. Same demand
/// on threads as [`clone_child`].
pub(crate) fn clone_sibling(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<Child>, Errno> {
    // Its end is announced as ours would be: the kernel takes no signal of its own here.
    clone_here(namespaces | libc::CLONE_PARENT as u64, 0, cgroup)
}

fn clone_here(
    namespaces: u64,
    exit_signal: i32,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<Child>, Errno> {
    let mut pidfd: RawFd = -1;
    let mut flags = namespaces | libc::CLONE_PIDFD as u64;
    if cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    // SAFETY: clone_args is plain old data; zero is valid for each field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = u64::from(exit_signal.cast_unsigned());
    args.cgroup = cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned()));
    // SAFETY: without CLONE_VM this is a fork: the child runs on a copy of our memory and stack. The
    // kernel writes the descriptor to `pidfd`, which outlives the call.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&args), size_of::<libc::clone_args>())
    })?;
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: on success the kernel stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Some(Child { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd }))
}

/// Plain fork inside a run's init. Same demand on threads as [`clone_child`]; answers the pid.
pub(crate) fn fork_child(body: impl FnOnce() -> Infallible) -> Result<i32, Errno> {
    if let Some(pid) = fork()? {
        return Ok(pid);
    }
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(never) => match never {},
        Err(_) => exit_now(70),
    }
}

/// Plain fork; `None` in the child, which goes on from here. Same demand on threads as [`clone_child`].
pub(crate) fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: the caller is single-threaded, so the child may go on as ordinary code.
    let pid = check(libc::c_long::from(unsafe { libc::fork() }))?;
    Ok((pid != 0).then(|| i32::try_from(pid).unwrap_or(i32::MAX)))
}

/// Moves this (single-threaded) process into new namespaces (unshare(2)).
pub(crate) fn unshare(namespaces: i32) -> Result<(), Errno> {
    // SAFETY: the flags passed (CLONE_NEW*) share nothing that Rust relies on, unlike CLONE_FILES.
    check(libc::c_long::from(unsafe { libc::unshare(namespaces) })).map(drop)
}

/// Ends the process without running destructors that belong to the process it was forked from.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Reaps the process behind a pidfd that has become readable; answers the processor time of it and
/// of all it has reaped, in nanoseconds.
pub(crate) fn reap(pidfd: impl AsFd) -> Result<u64, Errno> {
    // SAFETY: both are plain old data; zero is valid.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
    let id = pidfd.as_fd().as_raw_fd().cast_unsigned();
    // SAFETY: the raw call takes the rusage pointer that libc's wrapper hides; both outlive it.
    check(unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            id,
            std::ptr::from_mut(&mut info),
            libc::WEXITED,
            std::ptr::from_mut(&mut usage),
        )
    })?;
    let micros = |t: libc::timeval| {
        u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_usec).unwrap_or(0)
    };
    Ok((micros(usage.ru_utime) + micros(usage.ru_stime)) * 1000)
}

/// Sends SIGINT to the process group that the process behind a pidfd leads (pidfd_send_signal(2) with
/// PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9).
pub(crate) fn interrupt_group(pidfd: impl AsFd) -> Result<(), Errno> {
    const PROCESS_GROUP: u32 = 1 << 2;
    // SAFETY: numbers, and a null pointer where the kernel fills the details in by itself.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            libc::SIGINT,
            std::ptr::null::<libc::siginfo_t>(),
            PROCESS_GROUP,
        )
    })
    .map(drop)
}

/// mount_setattr(2): sets attributes on a mount, and on all mounts below it when `recursive`.
pub(crate) fn mount_attributes(path: &CStr, set: u64, recursive: bool) -> Result<(), Errno> {
    // SAFETY: plain old data; zero is valid.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = set;
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path is NUL-terminated, attr outlives the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Signals and dispositions as a fresh program expects them: nothing ignored, handled or blocked.
/// (Rust ignores SIGPIPE at start and handles SIGSEGV and SIGBUS; an exec keeps what is ignored.)
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: setting a default disposition has no preconditions; the two that refuse
        // (SIGKILL, SIGSTOP) and the C library's own two just return an error.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_signals();
}

/// Unblocks every signal.
pub(crate) fn unblock_signals() {
    // SAFETY: the set is initialised by sigemptyset before its use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Blocks SIGTERM and SIGINT and answers a descriptor that becomes readable instead.
pub(crate) fn termination_fd() -> Result<OwnedFd, Errno> {
    // SAFETY: the set is initialised by sigemptyset before its use; signalfd answers a new
    // descriptor that nobody else owns, or -1, which `check` turns into an error first.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(libc::c_long::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// A prctl(2) whose arguments are plain numbers.
pub(crate) fn prctl(option: i32, argument: u64) -> Result<(), Errno> {
    let zero: libc::c_ulong = 0;
    // SAFETY: only options that take numbers are passed (callers: PR_SET_*, PR_CAP*).
    check(libc::c_long::from(unsafe { libc::prctl(option, argument, zero, zero, zero) })).map(drop)
}

/// prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL).
pub(crate) fn clear_ambient() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64)
}

/// Ordinary scheduling with this nice value, for this process (sched(7), setpriority(2)).
pub(crate) fn schedule_ordinarily(nice: i32) -> Result<(), Errno> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameters from a pointer that outlives the call; the rest are
    // numbers.
    unsafe {
        check(libc::c_long::from(libc::sched_setscheduler(
            0,
            libc::SCHED_OTHER,
            &raw const parameters,
        )))?;
        match check(libc::c_long::from(libc::setpriority(libc::PRIO_PROCESS, 0, nice))) {
            // A launcher started under nice(1) without CAP_SYS_NICE cannot raise itself back
            // (setpriority(2)): then its runs are as nice as it is, which harms nobody.
            Ok(_) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Gives up every capability, those to come included.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    bound_capabilities(&[])
}

/// Gives up every capability that an exec could grant, but those to `keep`.
pub(crate) fn bound_capabilities(keep: &[u64]) -> Result<(), Errno> {
    // Beyond CAP_LAST_CAP the kernel answers EINVAL: that ends the loop on any kernel.
    for capability in (0..64).filter(|capability| !keep.contains(capability)) {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    clear_ambient()
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// Empties the effective, permitted and inheritable sets.
pub(crate) fn clear_capabilities() -> Result<(), Errno> {
    set_capabilities(0)
}

/// Gives up every capability but CAP_KILL: init kills what its run leaves behind.
pub(crate) fn keep_only_kill() -> Result<(), Errno> {
    const CAP_KILL: u32 = 5;
    set_capabilities(1 << CAP_KILL)
}

/// capset(2), version 3: effective, permitted and inheritable, in two words each.
fn set_capabilities(low: u32) -> Result<(), Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = CapHeader { version: VERSION_3, pid: 0 };
    let data = [low, low, 0, 0, 0, 0];
    // SAFETY: header and data have the layout of linux/capability.h for version 3.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) })
        .map(drop)
}

/// Sets all three uids and gids of this process, and its file system ids with them.
pub(crate) fn become_id(uid: u32, gid: u32, drop_groups: bool) -> Result<(), Errno> {
    // SAFETY: these calls take numbers, and a null pointer with length 0. The raw calls act on this
    // thread, which is the only one.
    unsafe {
        if drop_groups {
            check(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
        }
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// Sets the ids used for file access only (setfsuid(2)); the kernel moves the file capabilities
/// along, so files made meanwhile are as if the payload had made them.
pub(crate) fn file_ids(uid: u32, gid: u32) {
    // SAFETY: the calls take numbers; they report nothing but the previous value.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}

/// Lowers a resource limit of this process; never above what it already is at most.
pub(crate) fn limit(
    resource: libc::__rlimit_resource_t,
    soft: u64,
    hard: u64,
) -> Result<(), Errno> {
    // SAFETY: plain old data; zero is valid, and the pointers outlive the calls.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        check(libc::c_long::from(libc::getrlimit(resource, &raw mut now)))?;
        let hard = hard.min(now.rlim_max);
        let new = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
        check(libc::c_long::from(libc::setrlimit(resource, &raw const new)))?;
    }
    Ok(())
}

/// Lowers a limit of a process below this one (prlimit(2)); never above what it already is at most.
pub(crate) fn limit_other(
    pid: i32,
    resource: libc::__rlimit_resource_t,
    value: u64,
) -> Result<(), Errno> {
    // SAFETY: plain old data; zero is valid, and the pointers outlive the calls.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        check(libc::c_long::from(libc::prlimit(pid, resource, std::ptr::null(), &raw mut now)))?;
        let value = value.min(now.rlim_max);
        let new = libc::rlimit { rlim_cur: value, rlim_max: value };
        let old = std::ptr::null_mut();
        check(libc::c_long::from(libc::prlimit(pid, resource, &raw const new, old))).map(drop)
    }
}

/// Closes every descriptor except those in `keep`.
pub(crate) fn close_all_but(keep: &mut [RawFd]) -> Result<(), Errno> {
    keep.sort_unstable();
    let mut first: u32 = 0;
    for fd in keep.iter().map(|fd| fd.cast_unsigned()) {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: the callers run in a forked child that owns nothing it will use again but `keep`.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Puts `from` on the fixed number `to`, without close-on-exec.
pub(crate) fn place_fd(from: BorrowedFd<'_>, to: RawFd) -> Result<(), Errno> {
    // SAFETY: plain numbers; the caller knows that `to` is free or its own to replace.
    check(libc::c_long::from(unsafe { libc::dup2(from.as_raw_fd(), to) })).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain old data; zero is valid. The name is shorter than IFNAMSIZ, and the
    // request outlives the call.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed();
        request.ifr_name[1] = b'o'.cast_signed();
        request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
        check(libc::c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )))
        .map(drop)
    }
}

/// Installs a seccomp filter on this process (seccomp(2)); needs no_new_privs set before.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from the pointer and changes nothing.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            std::ptr::from_ref(&program),
        )
    })
    .map(drop)
}

/// Whether the kernel knows a seccomp action (SECCOMP_GET_ACTION_AVAIL).
pub(crate) fn seccomp_action_known(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 from the pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            std::ptr::from_ref(&action),
        )
    };
    result == 0
}

/// Replaces this process. Returns only on failure.
pub(crate) fn exec(program: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with a null pointer, and their strings live until execve returns.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_errno()
}

/// Waits for any child; `None` when there is none left. Answers pid and raw status.
pub(crate) fn wait_any() -> Option<(i32, i32)> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes the status to a variable that outlives the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if pid > 0 {
            return Some((pid, status));
        }
        if last_errno() != Errno::INTR {
            return None;
        }
    }
}

/// Kills every other process of this process's namespace that it may signal (kill(2), pid -1).
pub(crate) fn kill_all_others() {
    if std::process::id() != 1 {
        return;
    }
    // SAFETY: kill takes numbers; as process 1, -1 means the processes of our own namespace alone.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// The running kernel's clock ticks per second, the unit of times in `/proc/<pid>/stat`.
pub(crate) fn clock_ticks() -> u64 {
    // SAFETY: sysconf takes a number.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}

/// Makes a character device node (mknodat(2)).
pub(crate) fn make_device(path: &CStr, major: u32, minor: u32) -> Result<(), Errno> {
    // SAFETY: path is NUL-terminated; the rest are numbers.
    let result =
        unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(major, minor)) };
    check(libc::c_long::from(result)).map(drop)
}
