//! What an operator can set about idempotency keys. Read by the face from `idempotency.*`.

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Settings of remembered answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdempotencyOptions {
    /// How long a key is remembered, in seconds.
    pub ttl_seconds: u64,
    /// Keys of one caller.
    pub entries_per_caller_max: usize,
    /// Keys of all callers, in the node's own store.
    pub entries_max: usize,
    /// Answers larger than this are not kept, in KiB; a repetition then hears that it was done.
    pub answer_kb_max: usize,
    /// Messages in flight to the actor.
    pub mailbox: usize,
}

impl Default for IdempotencyOptions {
    fn default() -> Self {
        Self {
            ttl_seconds: 24 * 60 * 60,
            entries_per_caller_max: 1000,
            entries_max: 100_000,
            answer_kb_max: 1024,
            mailbox: 256,
        }
    }
}

impl IdempotencyOptions {
    /// Every value out of range, with its key below `idempotency`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        mistakes([
            ("ttl_seconds", self.ttl_seconds, 60..=2_592_000),
            ("entries_per_caller_max", self.entries_per_caller_max as u64, 1..=1_000_000),
            ("entries_max", self.entries_max as u64, 1..=10_000_000),
            ("answer_kb_max", self.answer_kb_max as u64, 1..=65_536),
            ("mailbox", self.mailbox as u64, 1..=65_536),
        ])
    }
}
