//! What an operator can set about legacy sessions. Read by the face from `sessions.*`.

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

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

impl SessionsOptions {
    /// Every value out of range, with its key below `sessions`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        mistakes([
            ("shards", self.shards as u64, 1..=64),
            ("mailbox", self.mailbox as u64, 1..=65_536),
            ("idle_seconds", self.idle_seconds, 1..=86_400),
            ("lifetime_seconds", self.lifetime_seconds, 1..=2_592_000),
            ("per_owner_max", self.per_owner_max as u64, 1..=100_000),
            ("total_max", self.total_max as u64, 1..=10_000_000),
            ("sweep_period_seconds", self.sweep_period_seconds, 1..=3600),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_unknown_keys_are_refused() {
        assert_eq!(SessionsOptions::default().mistakes(), []);
        let unknown = serde_json::from_str::<SessionsOptions>(r#"{ "mailboxes": 1 }"#);
        assert!(unknown.unwrap_err().to_string().contains("mailboxes"));
        let zero: SessionsOptions = serde_json::from_str(r#"{ "mailbox": 0 }"#).unwrap();
        let mistakes = zero.mistakes();
        assert_eq!((mistakes.len(), mistakes[0].key.as_str()), (1, "mailbox"));
    }
}
