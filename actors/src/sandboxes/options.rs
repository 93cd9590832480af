//! What an operator can set about sandboxes that stay. Read by the face from `sandboxes.*`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Settings of sandboxes that stay between calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxesOptions {
    /// Open sandboxes of one caller.
    pub per_caller_max: usize,
    /// Open sandboxes of all callers.
    pub total_max: usize,
    /// Sum of the memory limits of one caller's open sandboxes, in MiB.
    pub caller_memory_mb_max: u64,
    /// Sum of the memory limits of all open sandboxes, in MiB.
    pub total_memory_mb_max: u64,
    /// A sandbox nobody used for this long ends, in seconds.
    pub idle_seconds: u64,
    /// Life of a sandbox when nothing is asked for, in seconds.
    pub ttl_seconds_default: u64,
    /// Longest life a caller may ask for, in seconds.
    pub ttl_seconds_max: u64,
    /// Processor time of a sandbox in its whole life, in seconds.
    pub cpu_seconds_max: u64,
    /// Share of one processor left to a sandbox between its steps, in percent.
    pub rest_cpu_percent: u32,
    /// How long a call waits while another is at work in the same sandbox, in milliseconds.
    pub turn_wait_ms: u64,
    /// How often sandboxes that ended are cleared away, in seconds.
    pub sweep_period_seconds: u64,
    /// Messages in flight before callers are told to come back.
    pub mailbox: usize,
}

impl Default for SandboxesOptions {
    fn default() -> Self {
        Self {
            per_caller_max: 4,
            total_max: 16,
            caller_memory_mb_max: 2048,
            total_memory_mb_max: 8192,
            idle_seconds: 600,
            ttl_seconds_default: 3600,
            ttl_seconds_max: 14_400,
            cpu_seconds_max: 600,
            rest_cpu_percent: 10,
            turn_wait_ms: 5000,
            sweep_period_seconds: 5,
            mailbox: 256,
        }
    }
}

impl SandboxesOptions {
    /// Every value out of range, with its key below `sandboxes`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut wrong = mistakes([
            ("per_caller_max", self.per_caller_max as u64, 1..=1000),
            ("total_max", self.total_max as u64, 1..=1000),
            ("caller_memory_mb_max", self.caller_memory_mb_max, 16..=1_048_576),
            ("total_memory_mb_max", self.total_memory_mb_max, 16..=16_777_216),
            ("idle_seconds", self.idle_seconds, 1..=86_400),
            ("ttl_seconds_default", self.ttl_seconds_default, 1..=86_400),
            ("ttl_seconds_max", self.ttl_seconds_max, 1..=86_400),
            ("cpu_seconds_max", self.cpu_seconds_max, 1..=86_400),
            ("rest_cpu_percent", u64::from(self.rest_cpu_percent), 1..=100),
            ("turn_wait_ms", self.turn_wait_ms, 0..=60_000),
            ("sweep_period_seconds", self.sweep_period_seconds, 1..=3600),
            ("mailbox", self.mailbox as u64, 1..=65_536),
        ]);
        if self.ttl_seconds_default > self.ttl_seconds_max {
            wrong.push(InvalidOption {
                key: "ttl_seconds_default".to_owned(),
                message: "must not be above sandboxes.ttl_seconds_max".to_owned(),
            });
        }
        wrong
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    pub(super) fn turn_wait(&self) -> Duration {
        Duration::from_millis(self.turn_wait_ms)
    }

    /// Thousandths of a processor between steps.
    pub(super) fn rest_milli(&self) -> u32 {
        self.rest_cpu_percent * 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_unknown_keys_are_refused() {
        assert_eq!(SandboxesOptions::default().mistakes(), []);
        let unknown = serde_json::from_str::<SandboxesOptions>(r#"{ "max": 1 }"#);
        assert!(unknown.unwrap_err().to_string().contains("max"));
        let wrong: SandboxesOptions =
            serde_json::from_str(r#"{ "total_max": 0, "ttl_seconds_default": 20000 }"#).unwrap();
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["total_max", "ttl_seconds_default"]);
    }
}
