//! What happens inside a run, from the fork to the payload's exec.
//!
//! [`init::run`] is the life of PID 1: enter its namespaces and build the root ([`rootfs`]), wait for
//! an order, start the payload ([`payload`]), reap, report. Each failure names its [`Stage`]; nothing
//! continues past one. The order comes last so that a sandbox can be prepared before it is needed.

pub(crate) mod init;
pub(crate) mod payload;
mod report;
mod rootfs;
pub(crate) mod waiting;

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

pub(crate) use self::report::Report;
use crate::seccomp::bpf::Instruction;
use crate::spec::Profile;
use crate::wire::runfile::RunHead;

/// The payload's uid and gid as it sees them.
pub(crate) const PAYLOAD_ID: u32 = 1000;
/// The working directory, as the payload sees it.
pub(crate) const WORK_DIR: &str = "/box";
/// Where the launcher keeps the prepared root, in its own mount namespace.
pub(crate) const TEMPLATE: &str = "/cell";
/// Descriptors below this are the payload's; ours stay above until its exec.
const ABOVE: i32 = 16;
/// An empty directory in the template that covers what must not be seen.
pub(crate) const NOTHING: &str = ".nothing";

/// How far a run's preparation came. Its number crosses to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    Process = 0,
    Groups = 1,
    Identity = 2,
    Namespaces = 3,
    Root = 4,
    Network = 5,
    Files = 6,
    Fork = 7,
    Limits = 8,
    Privileges = 9,
    Landlock = 10,
    Seccomp = 11,
    Exec = 12,
}

impl Stage {
    /// The stage of a number that this crate wrote.
    fn from_number(number: u8) -> Self {
        const ALL: [Stage; 13] = [
            Stage::Process,
            Stage::Groups,
            Stage::Identity,
            Stage::Namespaces,
            Stage::Root,
            Stage::Network,
            Stage::Files,
            Stage::Fork,
            Stage::Limits,
            Stage::Privileges,
            Stage::Landlock,
            Stage::Seccomp,
            Stage::Exec,
        ];
        ALL.get(usize::from(number)).copied().unwrap_or(Stage::Process)
    }

    /// What was being done, for messages.
    pub(crate) fn describe(number: u8) -> &'static str {
        match number {
            0 => "creating its process",
            1 => "joining its control groups",
            2 => "setting its user ids",
            3 => "entering its namespaces",
            4 => "building its root",
            5 => "preparing its network",
            6 => "placing its files",
            7 => "forking the program",
            8 => "setting resource limits",
            9 => "dropping privileges",
            10 => "applying Landlock",
            11 => "applying seccomp",
            12 => "executing the program",
            _ => "an unknown stage",
        }
    }
}

/// A step that failed.
pub(crate) type Failure = (Stage, Errno);

/// Tags an error with its stage.
pub(crate) trait At<T> {
    fn at(self, stage: Stage) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.map_err(|errno| (stage, errno))
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.map_err(|error| (stage, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

/// Which host uids stand behind the ids inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Init and payload have a host uid each: `init` is root inside, `payload` is [`PAYLOAD_ID`].
    Slot { init: u32, payload: u32 },
    /// Only our own uid can be mapped: both are [`PAYLOAD_ID`] inside.
    Own { uid: u32, gid: u32 },
}

/// What init is born with. Nothing of any run: it may wait for its order as long as it likes.
pub(crate) struct Seed {
    /// Its socket to the launcher.
    pub(crate) control: OwnedFd,
    pub(crate) identity: Identity,
    /// `cgroup.procs` files of the groups it joins by itself, opened with the launcher's rights.
    pub(crate) join: Vec<OwnedFd>,
}

/// The run it is asked to carry out.
pub(crate) struct Order {
    pub(crate) head: RunHead,
    pub(crate) runfile: File,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Of a sandbox that stays: where requests are read, where replies are written.
    pub(crate) steps: Option<(OwnedFd, OwnedFd)>,
}

/// What is the same for all runs of a launcher.
pub(crate) struct Common {
    /// Paths beneath `/proc` to cover: name, and whether it is a directory.
    pub(crate) masks: Vec<(CString, bool)>,
    /// The kernel knows Landlock.
    pub(crate) landlock: bool,
    /// No control group bounds memory: per-process limits must do.
    pub(crate) memory_by_rlimit: bool,
    /// The filter of each profile.
    pub(crate) filters: HashMap<Profile, Vec<Instruction>>,
}
