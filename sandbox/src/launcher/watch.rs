//! Watches a run's tree through `/proc` where no control group does: memory and processor time.
//!
//! Best effort by nature: what starts and ends between two looks is not seen, pages shared after a
//! fork count once per process. Reports say so (`Isolation::degraded`).

use std::fs;
use std::time::Duration;

/// Time between two looks. A process can fill some 40 MB in that time on the machine of cell.md.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

/// Most processes looked at per run; RLIMIT_NPROC keeps a tree below it.
const TREE_MAX: usize = 4096;

/// What one look saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_ns: u64,
}

/// Sums over the tree below `init`, whose orphans it adopts, so that none can hide.
pub(crate) fn usage(init: i32, ticks_per_second: u64) -> Usage {
    let mut usage = Usage::default();
    let mut waiting = vec![init];
    let mut seen = 0;
    while let Some(pid) = waiting.pop() {
        seen += 1;
        if seen > TREE_MAX {
            break;
        }
        usage.memory_bytes += memory_of(pid);
        usage.cpu_ns += cpu_ticks_of(pid) * (1_000_000_000 / ticks_per_second);
        waiting.extend(children_of(pid));
    }
    usage
}

fn children_of(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Anonymous and shared-memory pages; pages of program files are the host's.
fn memory_of(pid: i32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("RssAnon:") + kib("RssShmem:")) * 1024
}

/// Own time and that of children already reaped (fields 14 to 17 of proc_pid_stat(5)).
fn cpu_ticks_of(pid: i32) -> u64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0 };
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0 };
    let times = fields.split_whitespace().skip(11).take(4);
    times.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_this_very_process_sees_memory() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(usage(pid, 100).memory_bytes > 0);
    }

    #[test]
    fn a_look_at_a_process_that_is_gone_sees_nothing() {
        assert_eq!(usage(i32::MAX, 100), Usage::default());
    }
}
