//! What an operator can set about running code. Read by the face from `cell.*`.

use std::path::PathBuf;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};
use ultimate_mcp_sandbox::LauncherOptions;
use ultimate_mcp_sandbox::options::{SPARES_DEFAULT, UID_BASE_DEFAULT};

use super::zygote::ZygoteSettings;
use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Runs per processor when nothing is set. A run computes for about half of its life (it starts,
/// reads, waits for children); with two per processor the machine is busy and none waits long.
const RUNS_PER_PROCESSOR: usize = 2;
/// Most runs at once; beyond it processors are shared too thinly for any deadline.
const CONCURRENCY_MAX: usize = 512;

/// Settings of the cell and of the queue before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionOptions {
    /// Runs at once. 0 = two per processor.
    pub concurrency: usize,
    /// Runs of one caller at once, so that one never holds all places. 0 = three quarters of them.
    pub running_per_caller_max: usize,
    /// Runs that may wait for a place; more are refused at once with the time to come back.
    pub queue_max: usize,
    /// Runs of one caller that may wait for a place.
    pub queued_per_caller_max: usize,
    /// Of the places and of the queue, in percent, what jobs may hold; at least one.
    pub background_percent: u32,
    /// Run code where limits are best effort only (no rights over control groups); every result then
    /// says so. Where namespaces are missing nothing runs in any case.
    pub allow_degraded: bool,
    /// Directory of operator tools (`deploy/setup.sh`), seen read-only as `/opt/tools`. "" = none.
    pub tools_dir: PathBuf,
    /// First uid on the host for payloads, two for each place; must be free of people and services.
    pub uid_base: u32,
    /// Sandboxes kept prepared, about half a megabyte each. 0 = prepare on demand, 3 to 15 ms later.
    pub spares: u16,
    /// Python interpreters forked from one that has started.
    pub zygote: ZygoteSettings,
    /// Sandboxes that stay, which the launcher must have room for beside the runs; `[sandboxes]` says.
    #[serde(skip)]
    pub sandboxes_max: usize,
    /// The launcher, when it is not the server's own binary: tests start another.
    #[serde(skip)]
    pub launcher: Option<(PathBuf, Vec<String>)>,
}

impl Default for ExecutionOptions {
    fn default() -> Self {
        Self {
            concurrency: 0,
            running_per_caller_max: 0,
            queue_max: 256,
            queued_per_caller_max: 64,
            background_percent: 75,
            allow_degraded: false,
            tools_dir: PathBuf::new(),
            uid_base: UID_BASE_DEFAULT,
            spares: SPARES_DEFAULT,
            zygote: ZygoteSettings::default(),
            sandboxes_max: 0,
            launcher: None,
        }
    }
}

impl ExecutionOptions {
    /// Every value out of range, with its key below `cell`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let own = mistakes([
            ("concurrency", self.concurrency as u64, 0..=CONCURRENCY_MAX as u64),
            ("running_per_caller_max", self.running_per_caller_max as u64, 0..=512),
            ("queue_max", self.queue_max as u64, 0..=65_536),
            ("queued_per_caller_max", self.queued_per_caller_max as u64, 0..=65_536),
            ("background_percent", u64::from(self.background_percent), 1..=100),
            ("uid_base", u64::from(self.uid_base), 1000..=4_000_000_000),
            ("spares", u64::from(self.spares), 0..=64),
        ]);
        own.into_iter().chain(self.zygote.mistakes()).collect()
    }

    /// Runs at once.
    pub fn places(&self) -> usize {
        let processors = available_parallelism().map_or(1, usize::from);
        let wanted = match self.concurrency {
            0 => RUNS_PER_PROCESSOR * processors,
            set => set,
        };
        wanted.clamp(1, CONCURRENCY_MAX)
    }

    /// Runs of one caller at once.
    pub fn places_per_caller(&self) -> usize {
        let places = self.places();
        match self.running_per_caller_max {
            0 => (places - places / 4).max(1),
            set => set.min(places),
        }
    }

    /// Messages of the actor: every run that may run or wait, and a few questions.
    pub(super) fn mailbox(&self) -> usize {
        self.places() + self.queue_max + 16
    }

    /// How launchers are started under these options.
    pub fn launcher_options(&self) -> LauncherOptions {
        let default = LauncherOptions::default();
        let (program, args) = self.launcher.clone().unwrap_or((default.program, default.args));
        let tools_dir = Some(self.tools_dir.clone()).filter(|path| !path.as_os_str().is_empty());
        LauncherOptions {
            program,
            args,
            allow_degraded: self.allow_degraded,
            tools_dir,
            uid_base: self.uid_base,
            // Runs of an actor that crashed may still be ending while new ones begin.
            runs_max: u16::try_from(2 * self.places() + self.sandboxes_max).unwrap_or(u16::MAX),
            spares: self.spares,
            zygote: self.zygote.launcher_options(),
            without_cgroups: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_unknown_keys_are_refused() {
        let defaults = ExecutionOptions::default();
        assert_eq!(defaults.mistakes(), []);
        assert!(defaults.places() >= 2 && defaults.places_per_caller() <= defaults.places());
        let unknown = serde_json::from_str::<ExecutionOptions>(r#"{ "threads": 1 }"#);
        assert!(unknown.unwrap_err().to_string().contains("threads"));
        let root: ExecutionOptions = serde_json::from_str(r#"{ "uid_base": 0 }"#).unwrap();
        assert_eq!(root.mistakes()[0].key, "uid_base");
    }

    #[test]
    fn one_caller_never_holds_all_places_unless_there_is_one() {
        for (places, own) in [(1, 1), (2, 2), (4, 3), (16, 12)] {
            let options = ExecutionOptions { concurrency: places, ..Default::default() };
            assert_eq!(options.places_per_caller(), own);
        }
    }
}
