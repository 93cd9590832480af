//! Calls that depend on their arguments. Only the low 32 bits are compared; see [`bpf`](super::bpf).

use super::bpf::{Condition, Test, Verdict};

/// CLONE_NEWTIME (0x80) shares its bit with the exit signal in clone(2): no signal has that number.
const CLONE_NEW_ANY: u32 = 0x7E02_0080;

/// MFD_HUGETLB of linux/memfd.h.
const MFD_HUGETLB: u32 = 4;

/// A call and its rule.
type Rule = (libc::c_long, Verdict);

fn allow(conditions: Vec<Condition>) -> Test {
    Test { conditions, errno: None }
}

fn refuse(conditions: Vec<Condition>, errno: i32) -> Test {
    Test { conditions, errno: Some(errno) }
}

fn among(argument: u32, mask: u32, values: &[u32]) -> Condition {
    Condition::Among { argument, mask, values: values.to_vec() }
}

fn is(argument: u32, values: &[i32]) -> Condition {
    let values = values.iter().map(|value| value.cast_unsigned()).collect();
    Condition::Among { argument, mask: u32::MAX, values }
}

fn none_of(argument: u32, flags: i32) -> Condition {
    Condition::NoneOf { argument, mask: flags.cast_unsigned() }
}

/// Everything but these values of an argument.
fn except(argument: u32, values: &[i32], errno: i32) -> Verdict {
    Verdict::Arguments(vec![refuse(vec![is(argument, values)], errno), allow(vec![])], errno)
}

/// The rules of every profile.
pub(super) fn common() -> Vec<Rule> {
    let mut rules = vec![
        (libc::SYS_clone, clone()),
        (libc::SYS_ioctl, ioctl()),
        (libc::SYS_prctl, prctl()),
        (libc::SYS_mknodat, mknod(2)),
        // Asking, or the ordinary one: others switch address randomisation off.
        (libc::SYS_personality, only(0, &[0, -1], libc::EPERM)),
        // dnotify sees what others do with shared files, leases hold their openings up.
        (libc::SYS_fcntl, except(1, &[libc::F_NOTIFY, libc::F_SETLEASE], libc::EPERM)),
        // Pages merged with a neighbour's can be told by their timing.
        (libc::SYS_madvise, except(2, &[libc::MADV_MERGEABLE, libc::MADV_HWPOISON], libc::EINVAL)),
        // Huge pages are the host's own reserve; no bound on memory counts them.
        (
            libc::SYS_mmap,
            Verdict::Arguments(vec![allow(vec![none_of(3, libc::MAP_HUGETLB)])], libc::EPERM),
        ),
        // Synchronously it would write a file of the host to its disk: done, says the filter.
        (libc::SYS_msync, Verdict::Arguments(vec![allow(vec![none_of(2, libc::MS_SYNC)])], 0)),
    ];
    if cfg!(target_arch = "x86_64") {
        // mknod, which libc names for this architecture only.
        rules.push((133, mknod(1)));
    }
    rules
}

fn only(argument: u32, values: &[i32], errno: i32) -> Verdict {
    Verdict::Arguments(vec![allow(vec![is(argument, values)])], errno)
}

/// Memory files, without huge pages.
pub(super) fn memory_file() -> Verdict {
    let plain = Condition::NoneOf { argument: 1, mask: MFD_HUGETLB };
    Verdict::Arguments(vec![allow(vec![plain])], libc::EPERM)
}

/// Threads and processes, but no namespace. (clone3 hides its flags behind a pointer: ENOSYS.)
fn clone() -> Verdict {
    let plain = Condition::NoneOf { argument: 0, mask: CLONE_NEW_ANY };
    Verdict::Arguments(vec![allow(vec![plain])], libc::EPERM)
}

/// What terminals, pipes and sockets are asked by ordinary programs; for the rest "not a terminal",
/// which is what the wrong kind of file answers too. Pushing input into a terminal and climbing to other
/// namespaces is not permitted.
fn ioctl() -> Verdict {
    const TERMINAL: &[u32] = &[
        0x5401,
        0x5402,
        0x5403,
        0x5404, // TCGETS, TCSETS, TCSETSW, TCSETSF
        0x540f,
        0x5410,
        0x5411,
        0x5413,
        0x5414, // TIOC GPGRP, SPGRP, OUTQ, GWINSZ, SWINSZ
        0x541b,
        0x5421,
        0x5422,
        0x5429, // FIONREAD, FIONBIO, TIOCNOTTY, TIOCGSID
        0x5450,
        0x5451,
        0x5452,
        0x5460,      // FIONCLEX, FIOCLEX, FIOASYNC, FIOQSIZE
        0x802c_542a, // TCGETS2
    ];
    const INTERFACES: &[u32] = &[
        0x8905, 0x8910, 0x8912, 0x8913,
        0x8915, // SIOC ATMARK, GIFNAME, GIFCONF, GIFFLAGS, GIFADDR
        0x891b, 0x8921, 0x8927, 0x8933, // SIOC GIFNETMASK, GIFMTU, GIFHWADDR, GIFINDEX
    ];
    const REFUSED: &[u32] = &[
        0x5412, 0x541c, 0x5423, // TIOC STI, LINUX, SETD
        0xb701, 0xb702, 0xb703, 0xb704, // NS_GET USERNS, PARENT, NSTYPE, OWNER_UID
    ];
    Verdict::Arguments(
        vec![
            allow(vec![among(1, u32::MAX, TERMINAL)]),
            allow(vec![among(1, u32::MAX, INTERFACES)]),
            refuse(vec![among(1, u32::MAX, REFUSED)], libc::EPERM),
        ],
        libc::ENOTTY,
    )
}

/// What a process may ask about and do to itself. Not: further filters (they reach the kernel's JIT
/// compiler), a processor core for itself, merged pages, another memory layout.
fn prctl() -> Verdict {
    const PR_SET_VMA: i32 = 0x5356_4d41;
    let options = [
        libc::PR_SET_PDEATHSIG,
        libc::PR_GET_PDEATHSIG,
        libc::PR_GET_DUMPABLE,
        libc::PR_SET_DUMPABLE,
        libc::PR_GET_KEEPCAPS,
        libc::PR_GET_TIMING,
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_GET_SECCOMP,
        libc::PR_CAPBSET_READ,
        libc::PR_GET_SECUREBITS,
        libc::PR_SET_TIMERSLACK,
        libc::PR_GET_TIMERSLACK,
        libc::PR_SET_CHILD_SUBREAPER,
        libc::PR_GET_CHILD_SUBREAPER,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NO_NEW_PRIVS,
        libc::PR_GET_TID_ADDRESS,
        libc::PR_SET_THP_DISABLE,
        libc::PR_GET_THP_DISABLE,
        libc::PR_GET_SPECULATION_CTRL,
        libc::PR_SET_SPECULATION_CTRL,
        PR_SET_VMA,
    ];
    only(0, &options, libc::EPERM)
}

/// FIFOs, sockets and regular files; no devices. Type 0 means a regular file (mknod(2)).
fn mknod(argument: u32) -> Verdict {
    let kinds = [0, libc::S_IFIFO, libc::S_IFREG, libc::S_IFSOCK];
    Verdict::Arguments(vec![allow(vec![among(argument, libc::S_IFMT, &kinds)])], libc::EPERM)
}

// === sockets ===

/// SOCK_NONBLOCK and SOCK_CLOEXEC sit above the type's four bits (SOCK_TYPE_MASK).
const TYPE_BITS: u32 = 0xf;

fn local() -> Vec<Condition> {
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
    let kinds = kinds.map(i32::cast_unsigned);
    vec![is(0, &[libc::AF_UNIX]), among(1, TYPE_BITS, &kinds)]
}

/// UNIX sockets only: other families' pairs would load kernel modules (TIPC).
pub(super) fn socketpair() -> Verdict {
    Verdict::Arguments(vec![allow(local())], libc::EAFNOSUPPORT)
}

/// The rules of profiles with sockets.
pub(super) fn sockets() -> Vec<Rule> {
    let mut rules = vec![(libc::SYS_socket, socket()), (libc::SYS_setsockopt, setsockopt())];
    // Urgent bytes: hardly used, and a source of bugs in UNIX sockets (CVE-2025-38236).
    for (call, flags) in [
        (libc::SYS_sendto, 3),
        (libc::SYS_recvfrom, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_recvmsg, 2),
        (libc::SYS_sendmmsg, 3),
        (libc::SYS_recvmmsg, 3),
    ] {
        let plain = vec![allow(vec![none_of(flags, libc::MSG_OOB)])];
        rules.push((call, Verdict::Arguments(plain, libc::EOPNOTSUPP)));
    }
    rules
}

/// UNIX sockets, and TCP and UDP for the run's own loopback. Named protocols only: asking for others
/// loads kernel modules (SCTP, MPTCP, DCCP). No raw sockets, no netlink, no vsock.
fn socket() -> Verdict {
    let plain = [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(i32::cast_unsigned);
    let inet = vec![
        is(0, &[libc::AF_INET, libc::AF_INET6]),
        among(1, TYPE_BITS, &plain),
        is(2, &[0, libc::IPPROTO_TCP, libc::IPPROTO_UDP]),
    ];
    let known = is(0, &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6]);
    let tests = vec![allow(local()), allow(inet), refuse(vec![known], libc::EPERM)];
    Verdict::Arguments(tests, libc::EAFNOSUPPORT)
}

/// Options that servers and clients set. Not: packet filters, kernel TLS, tunnels, congestion modules.
fn setsockopt() -> Verdict {
    let general = [
        libc::SO_DEBUG,
        libc::SO_REUSEADDR,
        libc::SO_DONTROUTE,
        libc::SO_BROADCAST,
        libc::SO_SNDBUF,
        libc::SO_RCVBUF,
        libc::SO_KEEPALIVE,
        libc::SO_OOBINLINE,
        libc::SO_PRIORITY,
        libc::SO_LINGER,
        libc::SO_REUSEPORT,
        libc::SO_PASSCRED,
        libc::SO_RCVLOWAT,
        libc::SO_RCVTIMEO,
        libc::SO_SNDTIMEO,
        libc::SO_TIMESTAMP,
    ];
    let tcp = [
        libc::TCP_NODELAY,
        libc::TCP_MAXSEG,
        libc::TCP_CORK,
        libc::TCP_KEEPIDLE,
        libc::TCP_KEEPINTVL,
        libc::TCP_KEEPCNT,
        libc::TCP_SYNCNT,
        libc::TCP_LINGER2,
        libc::TCP_DEFER_ACCEPT,
        libc::TCP_QUICKACK,
        libc::TCP_USER_TIMEOUT,
    ];
    let ipv4 = [
        libc::IP_TOS,
        libc::IP_TTL,
        libc::IP_PKTINFO,
        libc::IP_RECVERR,
        libc::IP_MTU_DISCOVER,
        libc::IP_BIND_ADDRESS_NO_PORT,
        libc::IP_MULTICAST_IF,
        libc::IP_MULTICAST_TTL,
        libc::IP_MULTICAST_LOOP,
    ];
    let ipv6 = [
        libc::IPV6_V6ONLY,
        libc::IPV6_UNICAST_HOPS,
        libc::IPV6_RECVPKTINFO,
        libc::IPV6_RECVERR,
        libc::IPV6_TCLASS,
        libc::IPV6_MULTICAST_IF,
        libc::IPV6_MULTICAST_HOPS,
        libc::IPV6_MULTICAST_LOOP,
    ];
    let levels: [(i32, &[i32]); 4] = [
        (libc::SOL_SOCKET, &general),
        (libc::IPPROTO_TCP, &tcp),
        (libc::IPPROTO_IP, &ipv4),
        (libc::IPPROTO_IPV6, &ipv6),
    ];
    let tests = levels.map(|(level, names)| allow(vec![is(1, &[level]), is(2, names)]));
    Verdict::Arguments(tests.into(), libc::EPERM)
}
