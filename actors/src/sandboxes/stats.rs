//! What happened to sandboxes, counted for metrics and for operators.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use ultimate_mcp_sandbox::step::End;

/// A snapshot of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SandboxesStats {
    /// Open now; those that ended and were not swept yet count.
    pub open: usize,
    /// Opened since the server started.
    pub created: u64,
    /// Steps taken since the server started.
    pub steps: u64,
    /// Ended since the server started, by why.
    pub ended: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
pub(super) struct Counters {
    created: AtomicU64,
    steps: AtomicU64,
    ended: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    pub(super) fn created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stepped(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, ends: &[End]) {
        let mut counts = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        for end in ends {
            *counts.entry(end.slug()).or_default() += 1;
        }
    }

    pub(super) fn snapshot(&self, open: usize) -> SandboxesStats {
        SandboxesStats {
            open,
            created: self.created.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            ended: self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
