//! What an operator can set about the audit. Read by the face from `audit.*`.

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::shipping::ShippingOptions;
use crate::supervision::InvalidOption;

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
    /// Days an event is kept; 0 = for ever. An event that is still to be shipped is kept in any case.
    pub retention_days: u32,
    /// `[audit.shipping]`: the way to Neo4j.
    pub shipping: ShippingOptions,
    /// Somebody copies the trail elsewhere: retention and erasure wait for the copy. Set by the engine.
    #[serde(skip)]
    pub copied_elsewhere: bool,
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
            retention_days: 90,
            shipping: ShippingOptions::default(),
            copied_elsewhere: false,
        }
    }
}

impl AuditOptions {
    /// Every value out of range, with its key below `audit`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut found = mistakes([
            ("batch_events_max", self.batch_events_max as u64, 1..=4096),
            ("batch_bytes_max", self.batch_bytes_max as u64, 65_536..=67_108_864),
            ("defer_ms", self.defer_ms, 0..=1000),
            ("mailbox", self.mailbox as u64, 1..=65_536),
            ("readers", self.readers as u64, 1..=16),
            ("readers_waiting_max", self.readers_waiting_max as u64, 0..=4096),
            ("outcome_overdue_seconds", self.outcome_overdue_seconds, 60..=86_400),
            ("open_calls_max", self.open_calls_max as u64, 100..=1_000_000),
            ("wal_pages", u64::from(self.wal_pages), 100..=100_000),
            ("retention_days", u64::from(self.retention_days), 0..=36_500),
        ]);
        found.extend(
            self.shipping.mistakes().into_iter().map(|mistake| InvalidOption {
                key: format!("shipping.{}", mistake.key),
                ..mistake
            }),
        );
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_every_mistake_is_reported() {
        assert_eq!(AuditOptions::default().mistakes(), []);
        let text = r#"{ "stdout": "all", "mailbox": 0, "defer_ms": 1001 }"#;
        let options: AuditOptions = serde_json::from_str(text).unwrap();
        assert_eq!(options.stdout, Lines::All);
        let keys: Vec<_> = options.mistakes().into_iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["defer_ms", "mailbox"]);
        assert!(serde_json::from_str::<AuditOptions>(r#"{ "std_out": "all" }"#).is_err());
    }
}
