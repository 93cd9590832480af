//! What an operator can set about legacy sessions. Read by the face from `sessions.*`.

use serde::{Deserialize, Serialize};

/// Settings of the sessions of the 2025 revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsOptions {
    /// Actors that share the sessions, by a hash of the id, 1 to 64.
    pub shards: usize,
    /// Messages in flight per shard before callers are told `Overloaded`.
    pub mailbox: usize,
    /// A session nobody used for this long ends, in seconds.
    pub idle_seconds: u64,
    /// A session ends after this long however busy it is, in seconds.
    pub lifetime_seconds: u64,
    /// Most sessions of one caller.
    pub per_owner_max: usize,
    /// Most sessions.
    pub total_max: usize,
    /// How often ended sessions are dropped, in seconds. They read as absent before that.
    pub sweep_period_seconds: u64,
}

impl Default for SessionsOptions {
    fn default() -> Self {
        Self {
            shards: 4,
            mailbox: 1024,
            idle_seconds: 30 * 60,
            lifetime_seconds: 24 * 60 * 60,
            per_owner_max: 100,
            total_max: 10_000,
            sweep_period_seconds: 10,
        }
    }
}
