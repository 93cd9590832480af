//! What an operator can set about shipping. Read by the face from `audit.shipping`.

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Settings of the way from the trail to Neo4j.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShippingOptions {
    /// Ships whenever `neo4j.uri` names a server.
    pub enabled: bool,
    /// Most events in one transaction; the size in use adapts to how long one takes.
    pub batch_events_max: usize,
    /// How long a transaction should take at most, in milliseconds: slower ones make batches smaller.
    pub batch_target_ms: u64,
    /// How often it is looked for new events, in milliseconds.
    pub poll_ms: u64,
    /// Longest pause between attempts while Neo4j is away, in milliseconds.
    pub backoff_max_ms: u64,
    /// Age of the oldest event still to be shipped beyond which `/ready` says `degraded`, in seconds.
    pub lag_degraded_seconds: u64,
    /// Seconds between two sweeps that remove from Neo4j what retention no longer keeps.
    pub tidy_period_seconds: u64,
}

impl Default for ShippingOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            batch_events_max: 4000,
            batch_target_ms: 1000,
            poll_ms: 200,
            backoff_max_ms: 5000,
            lag_degraded_seconds: 300,
            tidy_period_seconds: 60,
        }
    }
}

impl ShippingOptions {
    /// Every value out of range, with its key below `audit.shipping`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        mistakes([
            ("batch_events_max", self.batch_events_max as u64, 1..=20_000),
            ("batch_target_ms", self.batch_target_ms, 10..=20_000),
            ("poll_ms", self.poll_ms, 10..=60_000),
            ("backoff_max_ms", self.backoff_max_ms, 100..=600_000),
            ("lag_degraded_seconds", self.lag_degraded_seconds, 1..=604_800),
            ("tidy_period_seconds", self.tidy_period_seconds, 1..=86_400),
        ])
    }
}
