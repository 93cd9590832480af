//! Reads `/proc/self/mountinfo` and `/proc/self/cgroup`: which control group hierarchies exist, and
//! which directory of each is ours. Pure, so that any host's files can be tested.

use std::path::{Path, PathBuf};

use super::cgroup::Candidates;

/// One hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) v2: bool,
    /// v1 controllers attached to it; empty for v2.
    pub(crate) controllers: Vec<String>,
    /// Directories to try: our own group first, so that limits set on us hold for runs too; then the
    /// top, for hosts where our own group cannot have children.
    pub(crate) candidates: Candidates,
}

/// All hierarchies with a controller that the cell uses, and v2.
pub(crate) fn hierarchies(mountinfo: &str, own: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some(hierarchy) = parse(line, own) else { continue };
        let known = |other: &Hierarchy| {
            other.v2 == hierarchy.v2 && other.controllers == hierarchy.controllers
        };
        if !found.iter().any(known) {
            found.push(hierarchy);
        }
    }
    found
}

/// `36 35 98:0 /root /mount/point options - fstype source super-options` (proc_pid_mountinfo(5)).
fn parse(line: &str, own: &str) -> Option<Hierarchy> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, point) = (front.next()?, PathBuf::from(front.next()?));
    let mut back = back.split(' ');
    let (kind, options) = (back.next()?, back.nth(1).unwrap_or(""));
    let v2 = match kind {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let wanted = |name: &&str| ["memory", "pids", "cpu", "cpuacct"].contains(name);
    let controllers: Vec<String> = match v2 {
        true => Vec::new(),
        false => options.split(',').filter(wanted).map(str::to_owned).collect(),
    };
    if !v2 && controllers.is_empty() {
        return None;
    }
    let mut candidates = Vec::new();
    let own = own_path(own, controllers.first().map(String::as_str));
    if let Some(path) = own.and_then(|path| below(&point, root, &path)) {
        candidates.push(path);
    }
    if !candidates.contains(&point) {
        candidates.push(point);
    }
    Some(Hierarchy { v2, controllers, candidates })
}

/// Our group's path in the hierarchy of a controller, or in v2 (`0::/path`).
fn own_path(own: &str, controller: Option<&str>) -> Option<String> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let here = match controller {
            Some(controller) => names.split(',').any(|name| name == controller),
            None => names.is_empty(),
        };
        here.then(|| path.to_owned())
    })
}

/// Where `path` of the hierarchy is seen, when `root` of it is mounted on `point`.
fn below(point: &Path, root: &str, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path).strip_prefix(root).ok()?;
    if relative.components().any(|part| part == std::path::Component::ParentDir) {
        return None;
    }
    Some(if relative.as_os_str().is_empty() { point.to_owned() } else { point.join(relative) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_has_v1_limits_and_a_v2_directory() {
        let mountinfo = "\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/api/x\n1:cpu,cpuacct:/\n0::/\n";
        let found = hierarchies(mountinfo, own);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(found[1].candidates[0], Path::new("/sys/fs/cgroup/memory/api/x"));
        assert_eq!(found[1].candidates[1], Path::new("/sys/fs/cgroup/memory"));
        assert!(found[2].v2);
        assert_eq!(found[2].candidates, [Path::new("/sys/fs/cgroup/unified")]);
    }

    #[test]
    fn a_container_sees_its_own_part_of_v2() {
        let mountinfo = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n";
        let found = hierarchies(mountinfo, "0::/docker/abc\n");
        assert_eq!(found[0].candidates, [Path::new("/sys/fs/cgroup")]);
        let outside = hierarchies(mountinfo, "0::/../other\n");
        assert_eq!(outside[0].candidates, [Path::new("/sys/fs/cgroup")]);
    }

    #[test]
    fn a_service_of_a_v2_host_tries_its_own_group_first() {
        let mountinfo = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = hierarchies(mountinfo, "0::/system.slice/ultimate-mcp.service\n");
        assert_eq!(
            found[0].candidates[0],
            Path::new("/sys/fs/cgroup/system.slice/ultimate-mcp.service")
        );
    }

    #[test]
    fn other_file_systems_and_nonsense_are_skipped() {
        assert!(hierarchies("x\n1 2 3 / /p rw - ext4 /dev/vda rw\n - \n", "").is_empty());
    }
}
