//! `[mcp]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[mcp]` of the configuration; every key has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McpOptions {
    /// Longest time a client waits for a call, in seconds; the hard maximum of every deadline.
    pub call_seconds_max: u64,
    /// Entries per page of a list.
    pub page_entries_max: usize,
    /// Most messages in one batch (2025-03-26 only).
    pub batch_messages_max: usize,
    /// How long clients may keep lists and fixed resources, in milliseconds.
    pub tools_ttl_ms: u64,
    /// How long clients may keep `server/discover`, in milliseconds.
    pub discover_ttl_ms: u64,
    /// Open streams and sockets of all callers.
    pub streams_max: usize,
    /// Open streams and sockets of one caller.
    pub streams_per_caller_max: usize,
}

impl Default for McpOptions {
    fn default() -> Self {
        Self {
            // A run may take 60 s; queueing and collecting artifacts come on top.
            call_seconds_max: 90,
            page_entries_max: 50,
            batch_messages_max: 32,
            tools_ttl_ms: 60_000,
            discover_ttl_ms: 300_000,
            streams_max: 1024,
            streams_per_caller_max: 64,
        }
    }
}

impl McpOptions {
    /// Everything that is wrong, each with its key; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut within = |key: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                problems.push(format!("mcp.{key} is {value}, must be {low} to {high}"));
            }
        };
        within("call_seconds_max", self.call_seconds_max, 1, 3600);
        within("page_entries_max", self.page_entries_max as u64, 1, 1000);
        within("batch_messages_max", self.batch_messages_max as u64, 1, 1000);
        within("tools_ttl_ms", self.tools_ttl_ms, 0, 86_400_000);
        within("discover_ttl_ms", self.discover_ttl_ms, 0, 86_400_000);
        within("streams_max", self.streams_max as u64, 1, 1_000_000);
        within("streams_per_caller_max", self.streams_per_caller_max as u64, 1, 1_000_000);
        problems
    }

    /// The longest a call may take.
    pub fn call_timeout(&self) -> Duration {
        Duration::from_secs(self.call_seconds_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_zero_page_is_not() {
        assert!(McpOptions::default().problems().is_empty());
        let options = McpOptions { page_entries_max: 0, ..Default::default() };
        assert_eq!(options.problems(), ["mcp.page_entries_max is 0, must be 1 to 1000"]);
    }
}
