//! Prepares the ground for runs and finds out, by trying, what this host can isolate.
//!
//! Each thing is tried on its own, so that `doctor` can name what is missing; then a whole run of a
//! harmless program must succeed, with everything that a real one gets. Only that opens the door.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{getegid, geteuid};

use super::cgroup::Cgroups;
use super::run::{Demand, Ground, Prepared, Progress};
use super::template::{self, Privilege};
use super::zygote;
use crate::inside::{Common, Identity, Stage};
use crate::options::LauncherOptions;
use crate::probe::{Capability, CellCapabilities};
use crate::seccomp;
use crate::seccomp::bpf::Instruction;
use crate::spec::{Isolation, Limits, Profile, RunSpec};
use crate::sys;
use crate::wire::message::{Exit, KillCause, Outcome};
use crate::wire::runfile;

const TRIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Programs that do nothing, one of which exists.
const HARMLESS: &[&str] = &["/usr/bin/true", "/bin/true"];

const REMEDY_USERNS: &str = "allow user namespaces: sysctl user.max_user_namespaces=10000, \
    kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a \
    container: --security-opt seccomp=unconfined or CAP_SYS_ADMIN";
const REMEDY_CGROUP: &str = "run as root, or under systemd with Delegate=yes, or mount the cgroup \
    file system writable";

/// Which host uids runs get.
#[derive(Debug, Clone, Copy)]
pub(super) enum Identities {
    /// Two per slot, from this one on.
    Slots { base: u32 },
    /// Our own, for all.
    Own,
}

impl Identities {
    pub(super) fn of(self, slot: u16) -> Identity {
        match self {
            Self::Slots { base } => {
                let init = base + 2 * u32::from(slot);
                Identity::Slot { init, payload: init + 1 }
            }
            Self::Own => Identity::Own { uid: geteuid().as_raw(), gid: getegid().as_raw() },
        }
    }
}

/// What was tried, and what came out of it.
pub(super) struct Trial {
    pub(super) ground: Option<Ground>,
    /// What zygotes load, when they are wanted and possible.
    pub(super) library: Option<OwnedFd>,
    zygote: Option<PathBuf>,
    pub(super) identities: Identities,
    items: Vec<Capability>,
    slots: u16,
}

/// Leaves the host's file system behind and opens everything that runs will need.
pub(super) fn prepare(options: &LauncherOptions) -> Trial {
    let cgroups = if options.without_cgroups { Cgroups::none() } else { Cgroups::open() };
    let mut items = namespaces();
    items.extend(seccomp_items());
    let landlock = landlock_item();
    let has_landlock = landlock.available;
    items.push(landlock);
    let tools = options.tools_dir.as_ref().filter(|path| path.is_dir());
    if let Some(path) = &options.tools_dir {
        let detail = path.display().to_string();
        let remedy = "make the directory (deploy/setup.sh run) or leave cell.tools_dir empty";
        items.push(item("operator tools", tools.is_some(), false, &detail, remedy));
    }
    let library = zygote::library(options.zygote.as_ref());
    let mut identities = Identities::Own;
    let root = template::separate().and_then(|privilege| {
        if let (Privilege::Host, Some(base)) = (privilege, uid_range(options)) {
            identities = Identities::Slots { base };
        }
        template::enter(tools.map(PathBuf::as_path))
    });
    let detail = root.as_ref().map_or_else(ToString::to_string, |_| "prepared".to_owned());
    items.push(item("read-only root", root.is_ok(), true, &detail, REMEDY_USERNS));
    let ground = root.ok().map(|masks| {
        let memory_by_rlimit = !cgroups.limits_memory();
        let filters = filters(memory_by_rlimit);
        let common = Common { masks, landlock: has_landlock, memory_by_rlimit, filters };
        Ground { cgroups, common, ticks: sys::clock_ticks() }
    });
    let zygote = options.zygote.as_ref().map(|zygote| zygote.library.clone());
    Trial { ground, library, zygote, identities, items, slots: slots(options) }
}

/// The filter of each profile. Memory files are refused where nothing would account for them.
fn filters(memory_by_rlimit: bool) -> HashMap<Profile, Vec<Instruction>> {
    let profiles = [Profile::Python, Profile::Node, Profile::Shell, Profile::Native];
    profiles.map(|profile| (profile, seccomp::program(profile, !memory_by_rlimit))).into()
}

/// Slots for the runs in hand, as many that have ended and are being cleared away, and the spares.
pub(super) fn slots(options: &LauncherOptions) -> u16 {
    let born = options.zygote.as_ref().map_or(0, |zygote| zygote.spares);
    options.runs_max.saturating_mul(2).saturating_add(options.spares).saturating_add(born)
}

impl Trial {
    /// Carries out one whole run of a program that does nothing.
    pub(super) fn self_test(&mut self, null: &OwnedFd) {
        let mut result = self.trial_run(null);
        if result.is_err() && matches!(self.identities, Identities::Slots { .. }) && not_host_root()
        {
            self.identities = Identities::Own;
            result = self.trial_run(null);
        }
        let mut cgroup_detail = "no control group grants it".to_owned();
        if let Err(why) = &result
            && self.give_up_cgroups()
        {
            cgroup_detail = format!("not usable: {why}");
            result = self.trial_run(null);
        }
        if let Some(ground) = &self.ground {
            self.items.extend(cgroup_items(&ground.cgroups, &cgroup_detail));
        }
        let own = matches!(self.identities, Identities::Own);
        let host_root = own && !not_host_root();
        let detail = match self.identities {
            Identities::Slots { base } => format!("from {base}, two for each of {}", self.slots),
            Identities::Own => "the payload has the server's own uid on the host".to_owned(),
        };
        if let Some(wanted) = self.zygote.take() {
            let (slots, bounded) = (!own, self.bounds_memory());
            let there = self.library.is_some();
            let detail = match (there, slots && bounded) {
                (true, true) => "interpreters are forked from one that has started".to_owned(),
                (true, false) => "runs have no uid or no memory group of their own".to_owned(),
                (false, _) => format!("no library at {:?}", wanted.display().to_string()),
            };
            let remedy = "put libultimate_mcp_sandbox.so beside the server's binary, and grant what hard \
                limits need; or set cell.zygote.enabled = false";
            let available = there && slots && bounded;
            self.items.push(item("Python zygote", available, false, &detail, remedy));
        }
        let remedy = "run as root, or give the server CAP_SETUID and CAP_SETGID";
        self.items.push(item("uid per run", !own, host_root, &detail, remedy));
        let detail = result.as_ref().err().cloned().unwrap_or_else(|| "passed".to_owned());
        self.items.push(item("trial run", result.is_ok(), true, &detail, REMEDY_USERNS));
    }

    /// Directories that can be made but not joined are no use; false when there are none anyway.
    fn give_up_cgroups(&mut self) -> bool {
        let Some(ground) = self.ground.as_mut().filter(|ground| ground.cgroups.any()) else {
            return false;
        };
        ground.cgroups.leave();
        ground.cgroups = Cgroups::none();
        ground.common.memory_by_rlimit = true;
        ground.common.filters = filters(true);
        true
    }

    fn trial_run(&self, null: &OwnedFd) -> Result<(), String> {
        let ground = self.ground.as_ref().ok_or("there is no root to run in")?;
        let program = HARMLESS.iter().find(|path| Path::new("/cell").join(&path[1..]).exists());
        let spec = trial_spec(program.unwrap_or(&HARMLESS[0]));
        let runfile = File::from(runfile::write(&spec, false).map_err(|error| error.to_string())?);
        let stdin = null.try_clone().map_err(|error| error.to_string())?;
        let sandbox = Prepared::new(0, 0, self.identities.of(0), ground, None)
            .map_err(|unprepared| unprepared.message)?;
        let demand =
            Demand { id: 0, limits: spec.limits, runfile, stdin, steps: false, again: false };
        let mut run = sandbox.order(demand, ground).map_err(|failure| {
            let (sandbox, _, message) = *failure;
            sandbox.abandon(&ground.cgroups);
            message
        })?;
        let mut poll = [rustix::event::PollFd::new(&run.pidfd, rustix::event::PollFlags::IN)];
        let span = super::timespec(TRIAL_TIMEOUT);
        if rustix::event::poll(&mut poll, Some(&span)) != Ok(1) {
            run.kill(KillCause::Wall, &ground.cgroups);
        }
        while let Some(Progress::Started(_)) = run.hear() {}
        let reaped = run.reap();
        let outcome = run.outcome(ground, reaped);
        ground.cgroups.remove_soon(&run.into_group());
        judge(&outcome)
    }

    /// The zygotes' library, where sandboxes have uids of their own and groups that bound memory: elsewhere
    /// the limits of a run must stand before its interpreter starts.
    pub(super) fn take_library(&mut self) -> Option<OwnedFd> {
        let slots = matches!(self.identities, Identities::Slots { .. });
        let usable = slots && self.bounds_memory();
        self.library.take().filter(|_| usable)
    }

    fn bounds_memory(&self) -> bool {
        self.ground.as_ref().is_some_and(|ground| ground.cgroups.limits_memory())
    }

    /// The answer for the server.
    pub(super) fn capabilities(&self) -> CellCapabilities {
        let can_isolate = self.items.iter().all(|item| item.available || !item.needed);
        let cgroups = self.ground.as_ref().map(|ground| &ground.cgroups);
        let hard = |has: fn(&Cgroups) -> bool| cgroups.is_some_and(has);
        let (memory, pids, cpu) =
            (hard(Cgroups::limits_memory), hard(Cgroups::limits_pids), hard(Cgroups::limits_cpu));
        let mut degraded = Vec::new();
        let mut say = |missing: bool, line: &str| {
            if missing {
                degraded.push(line.to_owned());
            }
        };
        say(
            !memory,
            "memory is bounded per process and by polling the tree, not by the kernel for the whole tree",
        );
        say(!pids, "processes are bounded by RLIMIT_NPROC, not by a control group");
        say(!cpu, "the processor share is not bounded; processor time is polled");
        say(
            matches!(self.identities, Identities::Own),
            "the payload shares the server's uid on the host",
        );
        let landlock = self.ground.as_ref().is_some_and(|ground| ground.common.landlock);
        say(!landlock, "Landlock is missing; mounts and namespaces alone confine files");
        let hard_limits = memory && pids && cpu;
        let isolation = Isolation { class: "native".to_owned(), hard_limits, degraded };
        CellCapabilities { items: self.items.clone(), hard_limits, can_isolate, isolation }
    }
}

fn judge(outcome: &Outcome) -> Result<(), String> {
    match outcome.exit {
        Exit::Code(0) => Ok(()),
        Exit::Setup { stage, errno } => {
            let error = std::io::Error::from_raw_os_error(errno);
            Err(format!("{}: {error}", Stage::describe(stage)))
        }
        other => Err(format!("a program that does nothing ended with {other:?}")),
    }
}

fn trial_spec(program: &str) -> RunSpec {
    RunSpec {
        execution_id: "trial".to_owned(),
        argv: vec![program.to_owned()],
        env: Vec::new(),
        profile: Profile::Native,
        files: Vec::new(),
        stdin: Vec::new(),
        compile_signal: false,
        limits: Limits {
            wall: TRIAL_TIMEOUT,
            cpu: TRIAL_TIMEOUT,
            memory_bytes: 64 << 20,
            pids: 4,
            output_bytes: 4096,
            disk_bytes: 1 << 20,
            cpu_milli: 1000,
        },
    }
}

/// A range of uids for payloads that exists here and leaves host root alone.
fn uid_range(options: &LauncherOptions) -> Option<u32> {
    let needed = 2 * u64::from(slots(options));
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let ranges: Vec<(u64, u64)> = map.lines().filter_map(parse_range).collect();
    let base = u64::from(options.uid_base);
    let holds = |(first, count): &(u64, u64)| base >= *first && base + needed <= first + count;
    if base > 0 && ranges.iter().any(holds) {
        return Some(options.uid_base);
    }
    // A container's map is shorter than the host's: take its upper end, above its people.
    let (first, count) = ranges.into_iter().max_by_key(|(_, count)| *count)?;
    let base = (first + count).checked_sub(needed)?;
    u32::try_from(base).ok().filter(|base| *base >= 1000)
}

fn parse_range(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace().map(str::parse::<u64>);
    let (inside, _, count) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
    Some((inside, count))
}

/// Sharing our own uid is acceptable only when it is not the host's root.
fn not_host_root() -> bool {
    let whole = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        map.lines().filter_map(parse_range).any(|(first, count)| first == 0 && count >= 0xffff_fff0)
    });
    !(geteuid().is_root() && whole)
}

// === single things ===

fn item(name: &str, available: bool, needed: bool, detail: &str, remedy: &str) -> Capability {
    let remedy = if available { String::new() } else { remedy.to_owned() };
    Capability { name: name.to_owned(), available, needed, detail: detail.to_owned(), remedy }
}

fn namespaces() -> Vec<Capability> {
    let kinds = [
        ("user namespace", 0),
        ("mount namespace", libc::CLONE_NEWNS),
        ("process namespace", libc::CLONE_NEWPID),
        ("network namespace", libc::CLONE_NEWNET),
        ("IPC namespace", libc::CLONE_NEWIPC),
        ("host name namespace", libc::CLONE_NEWUTS),
        ("control group namespace", libc::CLONE_NEWCGROUP),
    ];
    let try_one = |(name, flag): (&str, i32)| {
        let flags = (libc::CLONE_NEWUSER | flag) as u64;
        let result = sys::clone_child(flags, None, || sys::exit_now(0))
            .and_then(|child| sys::reap(&child.pidfd));
        let detail = result.as_ref().map_or_else(ToString::to_string, |_| "works".to_owned());
        item(name, result.is_ok(), true, &detail, REMEDY_USERNS)
    };
    kinds.into_iter().map(try_one).collect()
}

fn seccomp_items() -> Vec<Capability> {
    let actions = [
        ("seccomp", libc::SECCOMP_RET_ERRNO, "errno"),
        ("seccomp kill", libc::SECCOMP_RET_KILL_PROCESS, "kill process"),
    ];
    let remedy = "use a kernel built with CONFIG_SECCOMP_FILTER, version 4.14 or later";
    let try_one = |(name, action, detail): (&str, u32, &str)| {
        item(name, sys::seccomp_action_known(action), true, detail, remedy)
    };
    actions.into_iter().map(try_one).collect()
}

fn landlock_item() -> Capability {
    use landlock::{Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    // ABI 1 is enough to be of use; higher ones are used as far as they exist.
    let made = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(landlock::ABI::V1))
        .and_then(Ruleset::create);
    let detail = made.as_ref().map_or_else(ToString::to_string, |_| "works".to_owned());
    let remedy = "boot a kernel 5.13 or later with landlock in its lsm= list";
    item("Landlock", made.is_ok(), false, &detail, remedy)
}

fn cgroup_items(cgroups: &Cgroups, missing: &str) -> Vec<Capability> {
    let things = [
        ("memory limit", cgroups.limits_memory()),
        ("process limit", cgroups.limits_pids()),
        ("processor share", cgroups.limits_cpu()),
        ("processor account", cgroups.counts_cpu()),
        ("atomic kill", cgroups.kills_atomically()),
    ];
    let line = |(name, has): (&str, bool)| {
        let detail = if has { "control group" } else { missing };
        item(name, has, false, detail, REMEDY_CGROUP)
    };
    things.into_iter().map(line).collect()
}
