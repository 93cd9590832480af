//! The system calls a payload may make: an allow-list per [`Profile`], everything else answers
//! ENOSYS, so that libraries fall back as on an older kernel instead of dying.
//!
//! Derived from what moby's default profile allows, less everything that needs a capability, reaches
//! another process's memory, changes namespaces or mounts, or belongs to the kernel's young and
//! rarely used parts. EPERM where libraries expect "not permitted" rather than "not there".
//! Only a foreign architecture and the x32 calls kill: no honest program makes those by accident.
//!
//! Left out on purpose: inotify and fanotify (they see through mount namespaces what others do with the
//! shared system, and count against the host's own quota), System V and POSIX message queues, raw and
//! netlink sockets, huge pages.

pub(crate) mod bpf;
mod calls;
mod rules;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

use std::collections::BTreeMap;

use self::bpf::{Instruction, Verdict, assemble};
use crate::spec::Profile;

/// AUDIT_ARCH_* of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the cell knows the system calls of x86_64 and aarch64 only");

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
    for calls in calls::PLAIN {
        add(calls, Verdict::Allow);
    }
    if profile == Profile::Node {
        add(calls::NODE, Verdict::Allow);
    }
    add(calls::FORBIDDEN, Verdict::Errno(libc::EPERM));
    // All files of a run are in memory; these would make the host write its disks.
    add(calls::SYNC, Verdict::Errno(0));
    for (call, rule) in rules::common() {
        add(&[call], rule);
    }
    if memory_files {
        add(&[libc::SYS_memfd_create], rules::memory_file());
    }
    // Compiled tools read files and print: a socketpair serves their own threads and children.
    add(&[libc::SYS_socketpair], rules::socketpair());
    if profile != Profile::Native {
        add(calls::SOCKETS, Verdict::Allow);
        for (call, rule) in rules::sockets() {
            add(&[call], rule);
        }
    }
    table
}
