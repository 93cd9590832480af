//! What an operator can set about the audit. Read by the face from `audit.*`.

use serde::{Deserialize, Serialize};

/// Which events are also written to standard output, one line each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lines {
    /// Every event.
    All,
    /// Outcomes and single events, no intents.
    #[default]
    Outcomes,
    /// None.
    Off,
}

/// Settings of the audit; every default is stated with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditOptions {
    /// Which events go to standard output. A line costs 7–10 µs of CPU, so intents stay out.
    pub stdout: Lines,
    /// Most events in one transaction, 1 to 4096. 512: beyond that a commit's cost is already spread.
    pub batch_events_max: usize,
    /// Most bytes of events in one transaction. 4 MiB: a commit stays in the low milliseconds.
    pub batch_bytes_max: usize,
    /// How long an event that nobody waits for yet may wait for company, in milliseconds.
    pub defer_ms: u64,
    /// Appends in flight before callers are told `Overloaded`.
    pub mailbox: usize,
    /// Queries running at once, each on a connection and thread of its own.
    pub readers: usize,
    /// Queries waiting for a reader before callers are told `Overloaded`.
    pub readers_waiting_max: usize,
    /// An intent without outcome for this long gets one that says so, in seconds. Longer than any call.
    pub outcome_overdue_seconds: u64,
    /// Intents without outcome held in memory before the oldest are given up.
    pub open_calls_max: usize,
    /// Pages of 4 KiB in the write-ahead log before it is folded into the database. 4000 (16 MiB):
    /// a hot index page is folded once for many commits.
    pub wal_pages: u32,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            stdout: Lines::Outcomes,
            batch_events_max: 512,
            batch_bytes_max: 4 * 1024 * 1024,
            defer_ms: 5,
            mailbox: 4096,
            readers: 2,
            readers_waiting_max: 64,
            outcome_overdue_seconds: 900,
            open_calls_max: 100_000,
            wal_pages: 4000,
        }
    }
}

impl AuditOptions {
    /// Everything that is out of range, as `(key, what is allowed)`; empty when all is well.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let checks = [
            ("batch_events_max", (1..=4096).contains(&self.batch_events_max), "1 to 4096"),
            (
                "batch_bytes_max",
                (65_536..=67_108_864).contains(&self.batch_bytes_max),
                "65536 to 67108864",
            ),
            ("defer_ms", self.defer_ms <= 1000, "0 to 1000"),
            ("mailbox", (1..=65_536).contains(&self.mailbox), "1 to 65536"),
            ("readers", (1..=16).contains(&self.readers), "1 to 16"),
            ("readers_waiting_max", self.readers_waiting_max <= 4096, "0 to 4096"),
            (
                "outcome_overdue_seconds",
                (60..=86_400).contains(&self.outcome_overdue_seconds),
                "60 to 86400",
            ),
            ("open_calls_max", (100..=1_000_000).contains(&self.open_calls_max), "100 to 1000000"),
            ("wal_pages", (100..=100_000).contains(&self.wal_pages), "100 to 100000"),
        ];
        checks.into_iter().filter(|(_, good, _)| !good).map(|(key, _, says)| (key, says)).collect()
    }
}
