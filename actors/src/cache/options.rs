//! What an operator can set about the cache. Read by the face from `cache.*`.

use serde::{Deserialize, Serialize};

/// Settings of the in-process cache of tool results.
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
            entry_kb_max: 1024,
            mailbox: 64,
        }
    }
}
