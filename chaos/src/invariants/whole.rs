//! I4 and I6 to I9: the server as a whole, before, during and after.

use std::time::Duration;

use super::Verdict;
use crate::evidence::{Evidence, Health, Sample};

/// Descriptors that come and go with pools of connections, readers and prepared cells; a leak for each
/// call or each fault is several times that.
const DESCRIPTORS_MORE_MAX: usize = 48;
/// Prepared cells that the launcher holds or not at the moment of counting.
const PROCESSES_MORE_MAX: usize = 12;
/// Memory that stays with allocator and caches after a few hundred calls more; debug builds included.
const MEMORY_MORE_MAX_KB: u64 = 64 * 1024;
/// A dependency that hangs is seen after its health check and its time limit: this long health may lag.
pub const HEALTH_LAG_MAX: Duration = Duration::from_millis(3000);

/// I4.
pub(super) fn the_chain_verifies(evidence: &Evidence) -> Verdict {
    match &evidence.chain {
        None => Verdict::Unjudged,
        Some((true, _)) => Verdict::Held,
        Some((false, said)) => Verdict::Violated(vec![said.clone()]),
    }
}

/// I6.
pub(super) fn nothing_leaks(evidence: &Evidence) -> Verdict {
    let Some((before, after)) = evidence.census else { return Verdict::Unjudged };
    let mut violations = Vec::new();
    for life in &evidence.left_processes {
        violations.push(format!("process {} ({}) outlived the server", life.pid, life.name));
    }
    for group in &evidence.left_groups {
        violations.push(format!("control group {} was left", group.display()));
    }
    let counts = [
        ("descriptors", before.descriptors, after.descriptors, DESCRIPTORS_MORE_MAX),
        ("mounts", before.mounts, after.mounts, 0),
        ("processes", before.processes, after.processes, PROCESSES_MORE_MAX),
    ];
    for (what, before, after, more_max) in counts {
        if after > before + more_max {
            violations.push(format!("{before} {what} before, {after} after"));
        }
    }
    Verdict::of(true, violations)
}

/// I7.
pub(super) fn everything_heals(evidence: &Evidence) -> Verdict {
    let Some(undrained) = &evidence.undrained else { return Verdict::Unjudged };
    let mut violations = [undrained.clone(), evidence.complaints.clone()].concat();
    if evidence.recovered.is_none() {
        violations.push("some kind of call never worked again".to_owned());
    }
    Verdict::of(true, violations)
}

/// I8.
pub(super) fn memory_returns(evidence: &Evidence) -> Verdict {
    let Some((before, after)) = evidence.census else { return Verdict::Unjudged };
    let (before, after) = (before.rss_kb, after.rss_kb);
    let grown = after > before + before / 4 + MEMORY_MORE_MAX_KB;
    let said = format!("{} MiB before, {} MiB after", before / 1024, after / 1024);
    Verdict::of(true, if grown { vec![said] } else { Vec::new() })
}

/// I9: not `ready` while a dependency has been away for a while, and `ready` in the end.
pub(super) fn health_is_honest(evidence: &Evidence) -> Verdict {
    let Some(last) = evidence.samples.last() else { return Verdict::Unjudged };
    let ready = |sample: &&Sample| sample.health == Health::Said("ready".to_owned());
    let mut violations = Vec::new();
    if !ready(&last) {
        violations.push(format!("in the end it says {:?}", last.health));
    }
    for fault in evidence.faults.iter().filter(|fault| fault.down) {
        let since = fault.window.began + HEALTH_LAG_MAX;
        // The moment it ends is not the moment an answer was made.
        let until = fault.window.ended.saturating_sub(Duration::from_millis(300));
        let within = evidence.samples.iter().filter(|s| s.at >= since && s.at < until);
        let lies: Vec<&Sample> = within.filter(ready).collect();
        if let Some(lie) = lies.first() {
            let at = lie.at.as_secs_f64();
            violations.push(format!("at {at:.2} s it says ready during: {}", fault.what));
        }
    }
    Verdict::of(true, violations)
}
