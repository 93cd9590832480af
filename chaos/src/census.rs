//! What processes hold, read from `/proc` and `/sys/fs/cgroup`: memory, descriptors, mounts, children,
//! control groups.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of control groups are looked through this deep: a launcher's lie below its parent's.
const GROUP_DEPTH_MAX: usize = 5;
/// Every control group of a cell begins with this, the pid of its launcher follows.
const GROUP_PREFIX: &str = "ultimate-mcp-cell-";

/// A process that a later one with the same number is not: pid and start time in clock ticks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// Its number.
    pub pid: u32,
    /// When it began, in clock ticks since the machine did.
    pub began: u64,
    /// Its command name.
    pub name: String,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Resident memory in KiB.
    pub rss_kb: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Mounts it sees.
    pub mounts: usize,
    /// Processes below it, itself included.
    pub processes: usize,
}

/// Counts what this process holds; nothing when it is gone.
pub fn of(pid: u32) -> Option<Census> {
    let proc = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(proc.join("status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(Census {
        rss_kb: rss.trim().trim_end_matches("kB").trim().parse().ok()?,
        descriptors: fs::read_dir(proc.join("fd")).ok()?.count(),
        mounts: fs::read_to_string(proc.join("mountinfo")).ok()?.lines().count(),
        processes: family(pid).len(),
    })
}

/// What several processes hold together.
pub fn sum(all: &[Census]) -> Census {
    all.iter().fold(Census::default(), |sum, one| Census {
        rss_kb: sum.rss_kb + one.rss_kb,
        descriptors: sum.descriptors + one.descriptors,
        mounts: sum.mounts + one.mounts,
        processes: sum.processes + one.processes,
    })
}

/// This process and everything below it.
pub fn family(root: u32) -> Vec<Life> {
    let mut below: HashMap<u32, Vec<Life>> = HashMap::new();
    let mut family = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some((life, parent)) = stat(pid) else { continue };
        if pid == root {
            family.push(life);
        } else {
            below.entry(parent).or_default().push(life);
        }
    }
    let mut next = 0;
    while next < family.len() {
        let children = below.remove(&family[next].pid).unwrap_or_default();
        family.extend(children);
        next += 1;
    }
    family
}

/// Processes whose parent this one is.
pub fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether exactly this process is still there, and not only its zombie.
pub fn is_alive(life: &Life) -> bool {
    stat(life.pid).is_some_and(|(now, _)| now.began == life.began) && !is_zombie(life.pid)
}

fn fields(pid: u32) -> Option<(String, Vec<String>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses of its own.
    let (head, rest) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    Some((name, rest.split_whitespace().map(str::to_owned).collect()))
}

/// The life and its parent's pid; proc(5), fields 3 (state), 4 (ppid) and 22 (starttime).
fn stat(pid: u32) -> Option<(Life, u32)> {
    let (name, fields) = fields(pid)?;
    let began = fields.get(19)?.parse().ok()?;
    Some((Life { pid, began, name }, fields.get(1)?.parse().ok()?))
}

fn is_zombie(pid: u32) -> bool {
    fields(pid).is_some_and(|(_, fields)| fields.first().is_some_and(|state| state == "Z"))
}

/// Control groups that these launchers made and that are still there.
pub fn groups(launchers: &[u32]) -> Vec<PathBuf> {
    let names: Vec<String> = launchers.iter().map(|pid| format!("{GROUP_PREFIX}{pid}-")).collect();
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), 0, &names, &mut found);
    found
}

fn look(folder: &Path, depth: usize, names: &[String], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if names.iter().any(|wanted| name.starts_with(wanted.as_str())) {
            found.push(entry.path());
        } else if depth < GROUP_DEPTH_MAX {
            look(&entry.path(), depth + 1, names, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_family_holds_its_children_and_a_dead_child_is_not_alive() {
        let own = std::process::id();
        let mut child = Command::new("sleep").arg("30").spawn().expect("sleep starts");
        let life = family(own).into_iter().find(|life| life.pid == child.id()).expect("a child");
        assert!(is_alive(&life));
        child.kill().and_then(|()| child.wait().map(|_| ())).expect("it ends");
        assert!(!is_alive(&life));
        let census = of(own).expect("this process");
        assert!(census.rss_kb > 0 && census.descriptors > 2 && census.mounts > 0);
    }
}
