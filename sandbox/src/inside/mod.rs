//! What happens inside a run, from the fork to the payload's exec.
//!
//! [`init::run`] is the life of PID 1: wait for the launcher, build the root ([`rootfs`]), start the
//! payload ([`payload`]), reap, report. Each failure names its [`Stage`]; nothing continues past one.

pub(crate) mod init;
mod payload;
mod report;
mod rootfs;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

pub(crate) use self::report::Report;
use crate::seccomp::bpf::Instruction;
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
    Identity = 1,
    Root = 2,
    Network = 3,
    Files = 4,
    Fork = 5,
    Limits = 6,
    Privileges = 7,
    Landlock = 8,
    Seccomp = 9,
    Exec = 10,
}

impl Stage {
    /// What was being done, for messages.
    pub(crate) fn describe(number: u8) -> &'static str {
        match number {
            0 => "creating its process",
            1 => "setting its user ids",
            2 => "building its root",
            3 => "preparing its network",
            4 => "placing its files",
            5 => "forking the program",
            6 => "setting resource limits",
            7 => "dropping privileges",
            8 => "applying Landlock",
            9 => "applying seccomp",
            10 => "executing the program",
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

/// Everything the child needs; prepared by the launcher before the fork.
pub(crate) struct Inside {
    pub(crate) head: RunHead,
    pub(crate) runfile: File,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) identity: Identity,
    /// No control group bounds memory: per-process limits must do.
    pub(crate) memory_by_rlimit: bool,
    pub(crate) landlock: bool,
}

/// What is the same for all runs of a launcher.
pub(crate) struct Template {
    /// Paths beneath `/proc` to cover: name, and whether it is a directory.
    pub(crate) masks: Vec<(CString, bool)>,
}

/// The filter for a run, made by the launcher once per profile.
pub(crate) type Filter = [Instruction];
