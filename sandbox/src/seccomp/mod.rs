//! The system calls a payload may make: an allow-list per [`Profile`], everything else answers
//! ENOSYS, so that libraries fall back as on an older kernel instead of dying.
//!
//! Derived from what moby's default profile allows, less everything that needs a capability, reaches
//! another process's memory, changes namespaces or mounts, or belongs to the kernel's young and
//! rarely used parts. EPERM where libraries expect "not permitted" rather than "not there".
//! Only a foreign architecture and the x32 calls kill: no honest program makes those by accident.

pub(crate) mod bpf;

use std::collections::BTreeMap;

use self::bpf::{Condition, Instruction, Test, Verdict, assemble};
use crate::spec::Profile;

/// AUDIT_ARCH_* of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the cell knows the system calls of x86_64 and aarch64 only");

/// CLONE_NEWTIME (0x80) shares its bit with the exit signal in clone(2): no signal has that number.
const CLONE_NEW_ANY: u32 = 0x7E02_0080;

/// The program for a profile. `memory_files` is false where no control group would account for them.
pub(crate) fn program(profile: Profile, memory_files: bool) -> Vec<Instruction> {
    assemble(&table(profile, memory_files), ARCH, cfg!(target_arch = "x86_64"))
}

fn table(profile: Profile, memory_files: bool) -> BTreeMap<u32, Verdict> {
    let mut table = BTreeMap::new();
    let mut add = |calls: &[libc::c_long], verdict: Verdict| {
        for call in calls {
            let nr = u32::try_from(*call).expect("system call numbers are small and positive");
            table.insert(nr, verdict.clone());
        }
    };
    for calls in [FILES, DESCRIPTORS, MEMORY, PROCESSES, SIGNALS, TIME, IDS, SYSTEM, LEGACY] {
        add(calls, Verdict::Allow);
    }
    if memory_files {
        add(&[libc::SYS_memfd_create], Verdict::Allow);
    }
    match profile {
        Profile::Node => add(NODE, Verdict::Allow),
        Profile::Python | Profile::Shell | Profile::Native => {}
    }
    add(FORBIDDEN, Verdict::Errno(libc::EPERM));
    add(&[libc::SYS_clone], clone_rule());
    add(&[libc::SYS_ioctl], ioctl_rule());
    add(&[libc::SYS_personality], personality_rule());
    add(&[libc::SYS_prctl], prctl_rule());
    add(&[libc::SYS_mknodat], mknod_rule(2));
    #[cfg(target_arch = "x86_64")]
    add(&[libc::SYS_mknod], mknod_rule(1));
    if profile == Profile::Native {
        // Compiled tools read files and print: socketpair serves their own threads and children.
        add(&[libc::SYS_socketpair], Verdict::Allow);
    } else {
        add(SOCKETS, Verdict::Allow);
        add(&[libc::SYS_socket], socket_rule());
    }
    table
}

fn allow(conditions: Vec<Condition>) -> Test {
    Test { conditions, errno: None }
}

fn among(argument: u32, mask: u32, values: &[u32]) -> Condition {
    Condition::Among { argument, mask, values: values.to_vec() }
}

/// Threads and processes, but no namespace. (clone3 hides its flags behind a pointer: ENOSYS.)
fn clone_rule() -> Verdict {
    let plain = Condition::NoneOf { argument: 0, mask: CLONE_NEW_ANY };
    Verdict::Arguments(vec![allow(vec![plain])], libc::EPERM)
}

/// Anything but pushing input into a terminal.
fn ioctl_rule() -> Verdict {
    let terminal = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD];
    let values = terminal.map(|request| u32::try_from(request).expect("ioctl numbers fit"));
    let refuse = Test { conditions: vec![among(1, u32::MAX, &values)], errno: Some(libc::EPERM) };
    Verdict::Arguments(vec![refuse, allow(vec![])], libc::EPERM)
}

/// Asking for the personality, or the ordinary one: others switch address randomisation off.
fn personality_rule() -> Verdict {
    Verdict::Arguments(vec![allow(vec![among(0, u32::MAX, &[0, u32::MAX])])], libc::EPERM)
}

/// No further filters: a payload that loads BPF reaches the kernel's JIT compiler.
fn prctl_rule() -> Verdict {
    let filter = among(0, u32::MAX, &[libc::PR_SET_SECCOMP.cast_unsigned()]);
    let refuse = Test { conditions: vec![filter], errno: Some(libc::EINVAL) };
    Verdict::Arguments(vec![refuse, allow(vec![])], libc::EPERM)
}

/// FIFOs, sockets and regular files; no devices. Type 0 means a regular file (mknod(2)).
fn mknod_rule(argument: u32) -> Verdict {
    let kinds = [0, libc::S_IFIFO, libc::S_IFREG, libc::S_IFSOCK];
    Verdict::Arguments(vec![allow(vec![among(argument, libc::S_IFMT, &kinds)])], libc::EPERM)
}

/// UNIX sockets, and TCP and UDP for the run's own loopback. Named protocols only: asking for
/// others loads kernel modules (SCTP, MPTCP, DCCP). No raw sockets, no netlink, no vsock.
fn socket_rule() -> Verdict {
    let families = [libc::AF_INET, libc::AF_INET6].map(i32::cast_unsigned);
    let protocols = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(i32::cast_unsigned);
    let plain = [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(i32::cast_unsigned);
    let local = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET].map(i32::cast_unsigned);
    // SOCK_NONBLOCK and SOCK_CLOEXEC sit above the type's four bits (SOCK_TYPE_MASK).
    let unix = vec![among(0, u32::MAX, &[libc::AF_UNIX.cast_unsigned()]), among(1, 0xf, &local)];
    let inet =
        vec![among(0, u32::MAX, &families), among(1, 0xf, &plain), among(2, u32::MAX, &protocols)];
    let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(i32::cast_unsigned);
    let refuse = Test { conditions: vec![among(0, u32::MAX, &known)], errno: Some(libc::EPERM) };
    Verdict::Arguments(vec![allow(unix), allow(inet), refuse], libc::EAFNOSUPPORT)
}

const FILES: &[libc::c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_flock,
    libc::SYS_umask,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

const DESCRIPTORS: &[libc::c_long] = &[
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_pipe2,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
];

const MEMORY: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_membarrier,
];

const PROCESSES: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_prlimit64,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_ioprio_get,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_setattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_setparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval,
];

const SIGNALS: &[libc::c_long] = &[
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sigaltstack,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_restart_syscall,
];

const TIME: &[libc::c_long] = &[
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
];

/// Without capabilities these change nothing; programs that "drop privileges" expect them to work.
const IDS: &[libc::c_long] = &[
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capget,
    libc::SYS_capset,
];

const SYSTEM: &[libc::c_long] =
    &[libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrandom, libc::SYS_getcpu];

/// V8 may use protection keys for its code space.
const NODE: &[libc::c_long] = &[libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect];

const SOCKETS: &[libc::c_long] = &[
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
];

/// Older twins that only x86_64 has.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_eventfd,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_inotify_init,
    libc::SYS_signalfd,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_getpgrp,
    libc::SYS_pause,
    libc::SYS_alarm,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[libc::c_long] = &[];

/// Refused as "not permitted", which is what callers of these prepare for.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_seccomp,
    libc::SYS_fanotify_init,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vmsplice,
];

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::bpf::machine;
    use super::*;

    const ALL: [Profile; 4] = [Profile::Python, Profile::Node, Profile::Shell, Profile::Native];

    fn ask(profile: Profile, nr: libc::c_long, args: [u64; 6]) -> u32 {
        let nr = u32::try_from(nr).expect("a call number");
        machine::run(&program(profile, true), ARCH, nr, args)
    }

    fn errno(number: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | number.cast_unsigned()
    }

    #[test]
    fn a_foreign_architecture_and_x32_kill_whatever_they_call() {
        for profile in ALL {
            let program = program(profile, true);
            let i386 = machine::run(&program, 0x4000_0003, 20, [0; 6]);
            let x32 = machine::run(&program, ARCH, 0x4000_0000 | 39, [0; 6]);
            assert_eq!(
                (i386, x32),
                (libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_KILL_PROCESS)
            );
        }
    }

    #[test]
    fn calls_unknown_to_the_list_do_not_exist() {
        let unknown = [libc::SYS_io_uring_setup, libc::SYS_clone3, libc::SYS_modify_ldt, 460, 1000];
        for nr in unknown {
            for profile in ALL {
                assert_eq!(ask(profile, nr, [0; 6]), errno(libc::ENOSYS), "{profile:?} {nr}");
            }
        }
    }

    #[test]
    fn no_profile_allows_a_forbidden_call() {
        for nr in FORBIDDEN {
            for profile in ALL {
                assert_eq!(ask(profile, *nr, [0; 6]), errno(libc::EPERM), "{profile:?} {nr}");
            }
        }
    }

    #[test]
    fn clone_makes_threads_but_no_namespace_even_with_high_bits_set() {
        let thread = 0x3d_0f00;
        assert_eq!(
            ask(Profile::Python, libc::SYS_clone, [thread, 0, 0, 0, 0, 0]),
            libc::SECCOMP_RET_ALLOW
        );
        for flag in
            [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000, 0x80]
        {
            let args = [thread | flag | 1 << 40, 0, 0, 0, 0, 0];
            assert_eq!(
                ask(Profile::Python, libc::SYS_clone, args),
                errno(libc::EPERM),
                "{flag:#x}"
            );
        }
    }

    #[test]
    fn terminal_input_is_refused_whatever_the_high_bits_say() {
        for high in [0, 1 << 32] {
            let args = [0, high | 0x5412, 0, 0, 0, 0];
            assert_eq!(ask(Profile::Shell, libc::SYS_ioctl, args), errno(libc::EPERM));
        }
        assert_eq!(
            ask(Profile::Shell, libc::SYS_ioctl, [0, 0x5401, 0, 0, 0, 0]),
            libc::SECCOMP_RET_ALLOW
        );
    }

    #[test]
    fn sockets_are_local_or_plain_tcp_and_udp() {
        let socket = |family: u64, kind: u64, protocol: u64| {
            ask(Profile::Python, libc::SYS_socket, [family, kind, protocol, 0, 0, 0])
        };
        let cloexec = 0x80000;
        for (family, kind, protocol) in [(1, 1, 0), (1, 5, 0), (2, 1, 0), (2, 2, 17), (10, 1, 6)] {
            assert_eq!(socket(family, kind | cloexec, protocol), libc::SECCOMP_RET_ALLOW);
        }
        for (family, kind, protocol) in
            [(2, 3, 1), (1, 3, 0), (2, 1, 132), (2, 1, 262), (2, 2, 1), (10, 3, 255)]
        {
            assert_eq!(socket(family, kind | cloexec, protocol), errno(libc::EPERM));
        }
        for family in [16, 17, 38, 40, 31] {
            assert_eq!(socket(family, 2, 0), errno(libc::EAFNOSUPPORT), "family {family}");
        }
    }

    #[test]
    fn mknod_makes_no_devices() {
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            let mode = u64::from(kind | 0o666);
            assert_eq!(
                ask(Profile::Shell, libc::SYS_mknod, [0, mode, 0, 0, 0, 0]),
                errno(libc::EPERM)
            );
            assert_eq!(
                ask(Profile::Shell, libc::SYS_mknodat, [0, 0, mode, 0, 0, 0]),
                errno(libc::EPERM)
            );
        }
        let fifo = u64::from(libc::S_IFIFO | 0o600);
        assert_eq!(
            ask(Profile::Shell, libc::SYS_mknodat, [0, 0, fifo, 0, 0, 0]),
            libc::SECCOMP_RET_ALLOW
        );
    }

    #[test]
    fn address_randomisation_stays_on() {
        assert_eq!(
            ask(Profile::Native, libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0]),
            errno(libc::EPERM)
        );
        assert_eq!(
            ask(Profile::Native, libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]),
            libc::SECCOMP_RET_ALLOW
        );
    }

    #[test]
    fn compiled_tools_get_no_sockets() {
        assert_eq!(ask(Profile::Native, libc::SYS_socket, [1, 1, 0, 0, 0, 0]), errno(libc::ENOSYS));
        assert_eq!(ask(Profile::Native, libc::SYS_connect, [0; 6]), errno(libc::ENOSYS));
    }

    #[test]
    fn memory_files_need_an_accountant() {
        let nr = u32::try_from(libc::SYS_memfd_create).unwrap();
        let without = machine::run(&program(Profile::Python, false), ARCH, nr, [0; 6]);
        assert_eq!(without, errno(libc::ENOSYS));
        assert_eq!(ask(Profile::Python, libc::SYS_memfd_create, [0; 6]), libc::SECCOMP_RET_ALLOW);
    }
}
