//! What the finished programs answer, asked call by call.

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
        assert_eq!((i386, x32), (libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_KILL_PROCESS));
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
    for nr in calls::FORBIDDEN {
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
    for flag in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000, 0x80]
    {
        let args = [thread | flag | 1 << 40, 0, 0, 0, 0, 0];
        assert_eq!(ask(Profile::Python, libc::SYS_clone, args), errno(libc::EPERM), "{flag:#x}");
    }
}

#[test]
fn terminal_input_is_refused_whatever_the_high_bits_say() {
    for high in [0, 1 << 32] {
        let args = [0, high | 0x5412, 0, 0, 0, 0];
        assert_eq!(ask(Profile::Shell, libc::SYS_ioctl, args), errno(libc::EPERM));
    }
    let unknown = ask(Profile::Shell, libc::SYS_ioctl, [0, 0x4004_9409, 0, 0, 0, 0]);
    assert_eq!(unknown, errno(libc::ENOTTY));
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
        assert_eq!(ask(Profile::Shell, libc::SYS_mknod, [0, mode, 0, 0, 0, 0]), errno(libc::EPERM));
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

#[test]
fn nothing_watches_what_others_do_with_shared_files() {
    for nr in [libc::SYS_inotify_init1, libc::SYS_inotify_init, libc::SYS_inotify_add_watch] {
        assert_eq!(ask(Profile::Node, nr, [0; 6]), errno(libc::ENOSYS));
    }
    let notify = [0, u64::from(libc::F_NOTIFY.cast_unsigned()), 0, 0, 0, 0];
    assert_eq!(ask(Profile::Python, libc::SYS_fcntl, notify), errno(libc::EPERM));
    let flags = [0, u64::from(libc::F_GETFL.cast_unsigned()), 0, 0, 0, 0];
    assert_eq!(ask(Profile::Python, libc::SYS_fcntl, flags), libc::SECCOMP_RET_ALLOW);
}

#[test]
fn the_host_is_not_made_to_write_its_disks() {
    for nr in calls::SYNC {
        assert_eq!(ask(Profile::Python, *nr, [0; 6]), errno(0));
    }
    let sync = [0, 0, u64::from(libc::MS_SYNC.cast_unsigned()), 0, 0, 0];
    assert_eq!(ask(Profile::Python, libc::SYS_msync, sync), errno(0));
    assert_eq!(ask(Profile::Python, libc::SYS_msync, [0; 6]), libc::SECCOMP_RET_ALLOW);
}

#[test]
fn sockets_take_the_options_of_servers_and_no_others() {
    let set = |level: i32, name: i32| {
        let (level, name) = (u64::from(level.cast_unsigned()), u64::from(name.cast_unsigned()));
        ask(Profile::Python, libc::SYS_setsockopt, [3, level, name, 0, 0, 0])
    };
    for (level, name) in [(1, 2), (1, 15), (6, 1), (41, 26), (0, 34)] {
        assert_eq!(set(level, name), libc::SECCOMP_RET_ALLOW, "{level} {name}");
    }
    // SO_ATTACH_FILTER, SO_ATTACH_BPF, TCP_ULP, TCP_CONGESTION, UDP_ENCAP, IPT_SO_SET_REPLACE.
    for (level, name) in [(1, 26), (1, 50), (6, 31), (6, 13), (17, 100), (0, 64)] {
        assert_eq!(set(level, name), errno(libc::EPERM), "{level} {name}");
    }
    let oob = [0, 0, 0, u64::from(libc::MSG_OOB.cast_unsigned()), 0, 0];
    assert_eq!(ask(Profile::Python, libc::SYS_sendto, oob), errno(libc::EOPNOTSUPP));
}

#[test]
fn socket_pairs_are_local() {
    let pair = |family: u64, kind: u64| {
        ask(Profile::Native, libc::SYS_socketpair, [family, kind | 0x80000, 0, 0, 0, 0])
    };
    assert_eq!(pair(1, 1), libc::SECCOMP_RET_ALLOW);
    assert_eq!((pair(30, 1), pair(1, 3)), (errno(libc::EAFNOSUPPORT), errno(libc::EAFNOSUPPORT)));
}

#[test]
fn huge_pages_and_cores_stay_with_the_host() {
    let huge = [0, 0, 0, u64::from(libc::MAP_HUGETLB.cast_unsigned()) | 0x22, 0, 0];
    assert_eq!(ask(Profile::Node, libc::SYS_mmap, huge), errno(libc::EPERM));
    assert_eq!(ask(Profile::Node, libc::SYS_mmap, [0, 0, 0, 0x22, 0, 0]), libc::SECCOMP_RET_ALLOW);
    let core = [62, 1, 0, 0, 0, 0];
    assert_eq!(ask(Profile::Node, libc::SYS_prctl, core), errno(libc::EPERM));
    let name = [15, 0, 0, 0, 0, 0];
    assert_eq!(ask(Profile::Node, libc::SYS_prctl, name), libc::SECCOMP_RET_ALLOW);
}
