//! What an operator can set about the cache. Read by the face from `cache.*`.

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Settings of the cache of tool results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheOptions {
    /// Most memory of cached lint results, in MiB.
    pub lint_mb_max: u64,
    /// How long a lint result is kept, in seconds. An hour: it depends on nothing but the code.
    pub lint_ttl_seconds: u64,
    /// Most memory of cached graph results, in MiB.
    pub graph_mb_max: u64,
    /// How long a graph result is kept, in seconds. Writes invalidate all of them at once.
    pub graph_ttl_seconds: u64,
    /// How long a graph result without rows is kept, in seconds: somebody may wait for it to have some.
    pub graph_negative_ttl_seconds: u64,
    /// How long a graph result past its life is kept for when the graph is down, in seconds; 0 = not.
    pub graph_stale_seconds: u64,
    /// Results larger than this are not kept, in KiB.
    pub entry_kb_max: u64,
    /// Messages in flight to the actor; reads and writes do not pass through it.
    pub mailbox: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            lint_mb_max: 32,
            lint_ttl_seconds: 60 * 60,
            graph_mb_max: 32,
            graph_ttl_seconds: 5 * 60,
            graph_negative_ttl_seconds: 15,
            graph_stale_seconds: 60 * 60,
            entry_kb_max: 1024,
            mailbox: 64,
        }
    }
}

impl CacheOptions {
    /// Every value out of range, with its key below `cache`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        mistakes([
            ("lint_mb_max", self.lint_mb_max, 0..=65_536),
            ("lint_ttl_seconds", self.lint_ttl_seconds, 1..=2_592_000),
            ("graph_mb_max", self.graph_mb_max, 0..=65_536),
            ("graph_ttl_seconds", self.graph_ttl_seconds, 1..=2_592_000),
            ("graph_negative_ttl_seconds", self.graph_negative_ttl_seconds, 1..=2_592_000),
            ("graph_stale_seconds", self.graph_stale_seconds, 0..=2_592_000),
            ("entry_kb_max", self.entry_kb_max, 1..=65_536),
            ("mailbox", self.mailbox as u64, 1..=65_536),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_unknown_keys_are_refused() {
        assert_eq!(CacheOptions::default().mistakes(), []);
        let unknown = serde_json::from_str::<CacheOptions>(r#"{ "mailboxes": 1 }"#);
        assert!(unknown.unwrap_err().to_string().contains("mailboxes"));
        let zero: CacheOptions = serde_json::from_str(r#"{ "mailbox": 0 }"#).unwrap();
        let mistakes = zero.mistakes();
        assert_eq!((mistakes.len(), mistakes[0].key.as_str()), (1, "mailbox"));
    }
}
