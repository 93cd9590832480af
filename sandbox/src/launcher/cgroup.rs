//! Control groups: the hard limits of a run, its account, and the atomic kill.
//!
//! Three kinds of host: v2 alone (one directory per run), v1 alone, and the hybrid where v1 limits
//! and a v2 directory without controllers kills (`cgroup.kill`, `CLONE_INTO_CGROUP`). Which one it is
//! is found by trying. Directories are held open from the start, because the launcher soon leaves the
//! host's file system; each launcher's own directory carries a lock, so that the next one can tell a
//! dead launcher's leftovers from a living one's.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::mounts::{Hierarchy, hierarchies};
use crate::spec::Limits;
use crate::wire::memfd::read_small;

/// Directories of ours start with this; the process id follows.
const PREFIX: &str = "ultimate-mcp-cell-";
/// Times a directory is claimed before its hierarchy counts as not ours to use.
const CLAIMS_MAX: usize = 4;
/// The period of the processor share in microseconds (kernel default of cpu.cfs_period_us).
const CPU_PERIOD_US: u64 = 100_000;
/// Largest control file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// What a hierarchy is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    V1Memory,
    V1Pids,
    V1Cpu,
    V1CpuAcct,
    V2 { memory: bool, pids: bool, cpu: bool },
}

struct Tree {
    uses: Vec<Use>,
    parent: OwnedFd,
    top: OwnedFd,
    name: String,
}

/// All hierarchies this launcher may use.
pub(crate) struct Cgroups {
    trees: Vec<Tree>,
}

/// One run's directories, in the order of the trees.
pub(crate) struct RunGroup {
    name: String,
    dirs: Vec<OwnedFd>,
}

/// What the directories counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) memory_peak: Option<u64>,
    pub(crate) oom_kills: u32,
    pub(crate) pids_hits: u32,
}

impl Cgroups {
    /// None at all, as on a host that grants no rights over control groups.
    pub(crate) fn none() -> Self {
        Self { trees: Vec::new() }
    }

    /// Finds, by trying, what this process may use; removes what dead launchers left behind.
    pub(crate) fn open() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let trees = hierarchies(&mounts, &own).iter().filter_map(open_tree).collect();
        Self { trees }
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.trees.is_empty()
    }

    fn has(&self, wanted: impl Fn(&Use) -> bool) -> bool {
        self.trees.iter().flat_map(|tree| &tree.uses).any(wanted)
    }

    pub(crate) fn limits_memory(&self) -> bool {
        self.has(|u| matches!(u, Use::V1Memory | Use::V2 { memory: true, .. }))
    }

    pub(crate) fn limits_pids(&self) -> bool {
        self.has(|u| matches!(u, Use::V1Pids | Use::V2 { pids: true, .. }))
    }

    pub(crate) fn limits_cpu(&self) -> bool {
        self.has(|u| matches!(u, Use::V1Cpu | Use::V2 { cpu: true, .. }))
    }

    pub(crate) fn counts_cpu(&self) -> bool {
        self.has(|u| matches!(u, Use::V1CpuAcct | Use::V2 { .. }))
    }

    pub(crate) fn kills_atomically(&self) -> bool {
        self.has(|u| matches!(u, Use::V2 { .. }))
    }

    /// Makes a run's directories, without limits yet.
    pub(crate) fn create(&self, serial: u64) -> Result<RunGroup, Errno> {
        let mut group = RunGroup { name: serial.to_string(), dirs: Vec::new() };
        for tree in &self.trees {
            match make_dir(&tree.top, &group.name) {
                Ok(dir) => group.dirs.push(dir),
                Err(errno) => {
                    self.remove(&group);
                    return Err(errno);
                }
            }
        }
        Ok(group)
    }

    /// Sets the limits of a run. `spare_pids` are for init, which is in the directories too.
    pub(crate) fn limit(
        &self,
        group: &RunGroup,
        limits: &Limits,
        spare_pids: u32,
    ) -> Result<(), Errno> {
        for (tree, dir) in self.trees.iter().zip(&group.dirs) {
            apply_limits(dir, &tree.uses, limits, spare_pids)?;
        }
        Ok(())
    }

    /// Changes a run's processor share.
    pub(crate) fn share(&self, group: &RunGroup, cpu_milli: u32) -> Result<(), Errno> {
        let quota_us = quota_us(cpu_milli);
        for (tree, dir) in self.trees.iter().zip(&group.dirs) {
            for used in &tree.uses {
                match used {
                    Use::V1Cpu => write_file(dir, "cpu.cfs_quota_us", &quota_us.to_string())?,
                    Use::V2 { cpu: true, .. } => {
                        write_file(dir, "cpu.max", &format!("{quota_us} {CPU_PERIOD_US}"))?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The v2 directory to be born into, when there is one.
    pub(crate) fn birthplace<'a>(&self, group: &'a RunGroup) -> Option<BorrowedFd<'a>> {
        let v2 = |tree: &Tree| tree.uses.iter().any(|u| matches!(u, Use::V2 { .. }));
        self.trees.iter().zip(&group.dirs).find(|(tree, _)| v2(tree)).map(|(_, dir)| dir.as_fd())
    }

    /// The files through which a process joins the directories it was not born into. Whoever holds
    /// them open has our rights over them (the kernel checks those of the opener).
    pub(crate) fn join_files(&self, group: &RunGroup) -> Result<Vec<OwnedFd>, Errno> {
        let v1 = |tree: &Tree| !tree.uses.iter().any(|u| matches!(u, Use::V2 { .. }));
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let dirs = self.trees.iter().zip(&group.dirs).filter(|(tree, _)| v1(tree));
        dirs.map(|(_, dir)| openat(dir, "cgroup.procs", flags, Mode::empty())).collect()
    }

    /// Kills every process in the group, where the host can do so at once. The caller also kills
    /// init, which ends the whole process namespace.
    pub(crate) fn kill(&self, group: &RunGroup) {
        if let Some(dir) = self.birthplace(group) {
            let _ = write_file(dir, "cgroup.kill", "1");
        }
    }

    /// Processor time of the group so far.
    pub(crate) fn cpu_ns(&self, group: &RunGroup) -> Option<u64> {
        let mut found = None;
        for (tree, dir) in self.trees.iter().zip(&group.dirs) {
            for used in &tree.uses {
                let value = match used {
                    Use::V1CpuAcct => read_number(dir, "cpuacct.usage"),
                    Use::V2 { .. } => read_field(dir, "cpu.stat", "usage_usec").map(|us| us * 1000),
                    _ => None,
                };
                // The v2 figure of a hybrid host counts the same time; prefer the finer one.
                found = match (used, value) {
                    (Use::V1CpuAcct, Some(value)) => return Some(value),
                    (_, value) => value.or(found),
                };
            }
        }
        found
    }

    /// What the group consumed. Read it when everything in it is dead, before [`Self::remove`].
    pub(crate) fn account(&self, group: &RunGroup) -> Account {
        let mut account = Account::default();
        let small = |value: Option<u64>| u32::try_from(value.unwrap_or(0)).unwrap_or(u32::MAX);
        for (tree, dir) in self.trees.iter().zip(&group.dirs) {
            for used in &tree.uses {
                match used {
                    Use::V1Memory => {
                        account.memory_peak = read_number(dir, "memory.max_usage_in_bytes");
                        account.oom_kills =
                            small(read_field(dir, "memory.oom_control", "oom_kill"));
                    }
                    Use::V1Pids => account.pids_hits = small(read_field(dir, "pids.events", "max")),
                    Use::V2 { memory, pids, .. } => {
                        if *memory {
                            account.memory_peak = read_number(dir, "memory.peak");
                            account.oom_kills = small(read_field(dir, "memory.events", "oom_kill"));
                        }
                        if *pids {
                            account.pids_hits = small(read_field(dir, "pids.events", "max"));
                        }
                    }
                    Use::V1Cpu | Use::V1CpuAcct => {}
                }
            }
        }
        account
    }

    /// Removes a run's directories; false when the kernel still holds one (try again shortly).
    pub(crate) fn remove(&self, group: &RunGroup) -> bool {
        let mut gone = true;
        for tree in &self.trees {
            match unlinkat(&tree.top, &group.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) => gone = false,
            }
        }
        gone
    }

    /// Removes a run's directories, waiting for the kernel to let go (milliseconds).
    pub(crate) fn remove_soon(&self, group: &RunGroup) {
        for tree in &self.trees {
            remove_patiently(&tree.top, &group.name);
        }
    }

    /// Removes the launcher's own directories, at its end.
    pub(crate) fn leave(&self) {
        for tree in &self.trees {
            let _ = unlinkat(&tree.parent, &tree.name, AtFlags::REMOVEDIR);
        }
    }
}

// === opening ===

fn open_tree(hierarchy: &Hierarchy) -> Option<Tree> {
    hierarchy.candidates.iter().find_map(|path| open_tree_at(hierarchy, path))
}

fn open_tree_at(hierarchy: &Hierarchy, path: &Path) -> Option<Tree> {
    let parent = open_dir(path).ok()?;
    sweep(&parent);
    if hierarchy.v2 {
        delegate(&parent);
    }
    (0..CLAIMS_MAX).find_map(|_| claim(hierarchy, parent.try_clone().ok()?))
}

/// Makes and locks a directory of our own. A launcher that sweeps at this very moment may take it for a
/// dead one's before it is locked: then the caller tries again under another name.
fn claim(hierarchy: &Hierarchy, parent: OwnedFd) -> Option<Tree> {
    // Launchers of several containers may share a hierarchy and have the same process id.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let name = format!("{PREFIX}{}-{}{:09}", std::process::id(), now.tv_sec, now.tv_nsec);
    let top = make_dir(&parent, &name).ok()?;
    if flock(&top, FlockOperation::NonBlockingLockExclusive).is_err() {
        let _ = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
        return None;
    }
    let tree = Tree { uses: uses_of(hierarchy, &top), parent, top, name };
    // The first limit of its kind patches the running kernel; holding one keeps that off each run.
    let _ = write_file(&tree.top, "memory.kmem.tcp.limit_in_bytes", "-1");
    if tree.uses.is_empty() || !usable(&tree) {
        let _ = unlinkat(&tree.parent, &tree.name, AtFlags::REMOVEDIR);
        return None;
    }
    Some(tree)
}

fn uses_of(hierarchy: &Hierarchy, top: &OwnedFd) -> Vec<Use> {
    if hierarchy.v2 {
        enable(top);
        let on = read_text(top, "cgroup.subtree_control").unwrap_or_default();
        let has = |name: &str| on.split_whitespace().any(|word| word == name);
        return vec![Use::V2 { memory: has("memory"), pids: has("pids"), cpu: has("cpu") }];
    }
    let use_of = |name: &String| match name.as_str() {
        "memory" => Some(Use::V1Memory),
        "pids" => Some(Use::V1Pids),
        "cpu" => Some(Use::V1Cpu),
        "cpuacct" => Some(Use::V1CpuAcct),
        _ => None,
    };
    hierarchy.controllers.iter().filter_map(use_of).collect()
}

/// Whether a directory with limits can really be made and removed here.
fn usable(tree: &Tree) -> bool {
    let limits = Limits {
        wall: std::time::Duration::from_secs(1),
        cpu: std::time::Duration::from_secs(1),
        memory_bytes: 64 << 20,
        pids: 8,
        output_bytes: 0,
        disk_bytes: 0,
        cpu_milli: 1000,
    };
    let Ok(dir) = make_dir(&tree.top, "probe") else { return false };
    let applied = apply_limits(&dir, &tree.uses, &limits, 0).is_ok();
    drop(dir);
    unlinkat(&tree.top, "probe", AtFlags::REMOVEDIR).is_ok() && applied
}

/// Turns the controllers on for the children of a v2 directory, as far as its parent grants them.
fn enable(dir: &OwnedFd) {
    for controller in ["+memory", "+pids", "+cpu"] {
        let _ = write_file(dir, "cgroup.subtree_control", controller);
    }
}

/// v2 lets a directory have either processes or limited children. When the only processes in ours
/// are the server and this launcher, as in a service with `Delegate=yes`, they move to a leaf.
fn delegate(parent: &OwnedFd) {
    enable(parent);
    let on = read_text(parent, "cgroup.subtree_control").unwrap_or_default();
    let offered = read_text(parent, "cgroup.controllers").unwrap_or_default();
    if !offered.contains("memory") || on.contains("memory") {
        return;
    }
    let ours = [Some(rustix::process::getpid()), rustix::process::getppid()];
    let ours: Vec<String> = ours.iter().flatten().map(|pid| pid.to_string()).collect();
    let procs = read_text(parent, "cgroup.procs").unwrap_or_default();
    if procs.lines().any(|pid| !ours.iter().any(|own| own == pid)) {
        return;
    }
    let Ok(leaf) = make_dir(parent, "ultimate-mcp-server") else { return };
    for pid in procs.lines() {
        let _ = write_file(&leaf, "cgroup.procs", pid);
    }
    enable(parent);
}

/// Kills and removes what launchers that are no more left behind: those whose lock is free.
fn sweep(parent: &OwnedFd) {
    for name in dir_names(parent).into_iter().filter(|name| name.starts_with(PREFIX)) {
        let Ok(top) = open_dir_at(parent, &name) else { continue };
        if flock(&top, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        for run in dir_names(&top) {
            if let Ok(dir) = open_dir_at(&top, &run) {
                kill_all(&dir);
            }
            remove_patiently(&top, &run);
        }
        let _ = unlinkat(parent, &name, AtFlags::REMOVEDIR);
    }
}

fn kill_all(dir: &OwnedFd) {
    if write_file(dir, "cgroup.kill", "1").is_ok() {
        return;
    }
    for pid in read_text(dir, "cgroup.procs").unwrap_or_default().lines() {
        let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Killed processes leave their directory within milliseconds.
fn remove_patiently(top: &OwnedFd, name: &str) {
    let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    for _ in 0..200 {
        if unlinkat(top, name, AtFlags::REMOVEDIR) != Err(Errno::BUSY) {
            return;
        }
        let _ = rustix::thread::nanosleep(&pause);
    }
}

// === limits and files ===

fn apply_limits(dir: &OwnedFd, uses: &[Use], limits: &Limits, spare: u32) -> Result<(), Errno> {
    let pids = (limits.pids + spare).to_string();
    let memory = limits.memory_bytes.to_string();
    let quota_us = quota_us(limits.cpu_milli);
    for used in uses {
        match used {
            Use::V1Memory => {
                write_file(dir, "memory.limit_in_bytes", &memory)?;
                optional(write_file(dir, "memory.memsw.limit_in_bytes", &memory))?;
                // v1 counts socket buffers apart, and not at all until a limit is set.
                let sockets = (limits.memory_bytes / 4).to_string();
                optional(write_file(dir, "memory.kmem.tcp.limit_in_bytes", &sockets))?;
            }
            Use::V1Pids => write_file(dir, "pids.max", &pids)?,
            Use::V1Cpu => {
                write_file(dir, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                write_file(dir, "cpu.cfs_quota_us", &quota_us.to_string())?;
            }
            Use::V1CpuAcct => {}
            Use::V2 { memory: has_memory, pids: has_pids, cpu } => {
                if *has_memory {
                    write_file(dir, "memory.max", &memory)?;
                    optional(write_file(dir, "memory.swap.max", "0"))?;
                    optional(write_file(dir, "memory.oom.group", "1"))?;
                }
                if *has_pids {
                    write_file(dir, "pids.max", &pids)?;
                }
                if *cpu {
                    write_file(dir, "cpu.max", &format!("{quota_us} {CPU_PERIOD_US}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Microseconds of processor time per period; the kernel takes no less than a millisecond.
fn quota_us(cpu_milli: u32) -> u64 {
    (u64::from(cpu_milli) * CPU_PERIOD_US / 1000).max(1000)
}

/// Kernels without swap accounting, or older ones, lack some files.
fn optional(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

fn open_dir_at(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(dir, name, flags, Mode::empty())
}

fn make_dir(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    open_dir_at(parent, name)
}

fn dir_names(dir: &OwnedFd) -> Vec<String> {
    let Ok(entries) = rustix::fs::Dir::read_from(dir) else { return Vec::new() };
    let directories =
        entries.flatten().filter(|e| e.file_type() == rustix::fs::FileType::Directory);
    let names = directories.map(|e| e.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "." && name != "..").collect()
}

fn write_file(dir: impl AsFd, name: &str, text: &str) -> Result<(), Errno> {
    let fd = openat(dir, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut file = fs::File::from(fd);
    file.write_all(text.as_bytes()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

fn read_text(dir: &OwnedFd, name: &str) -> Option<String> {
    let fd = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    read_small(fs::File::from(fd), FILE_BYTES_MAX).ok()
}

fn read_number(dir: &OwnedFd, name: &str) -> Option<u64> {
    read_text(dir, name)?.trim().parse().ok()
}

fn read_field(dir: &OwnedFd, name: &str, field: &str) -> Option<u64> {
    let text = read_text(dir, name)?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Where a hierarchy's directories of ours may lie, best first; made by `mounts`.
pub(crate) type Candidates = Vec<PathBuf>;
