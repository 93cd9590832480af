//! How many sessions there are, in all and per caller, over all shards.
//!
//! A place is taken before a session is made and given back when the session is dropped, however that
//! happens; so a shard that crashes with its sessions leaves no phantom behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::SessionsError;
use crate::ids::CallerId;

#[derive(Debug)]
pub(super) struct Census {
    counts: Mutex<Counts>,
    per_owner_max: usize,
    total_max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_owner: HashMap<CallerId, usize>,
}

/// One session's place; given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    owner: CallerId,
}

impl Census {
    pub(super) fn new(per_owner_max: usize, total_max: usize) -> Self {
        Self { counts: Mutex::default(), per_owner_max, total_max }
    }

    pub(super) fn take(self: &Arc<Self>, owner: &CallerId) -> Result<Place, SessionsError> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_owner = counts.by_owner.get(owner).copied().unwrap_or(0);
        if of_owner >= self.per_owner_max {
            return Err(SessionsError::TooManyOfOwner(self.per_owner_max));
        }
        if counts.total >= self.total_max {
            return Err(SessionsError::TooMany(self.total_max));
        }
        counts.total += 1;
        counts.by_owner.insert(owner.clone(), of_owner + 1);
        Ok(Place { census: self.clone(), owner: owner.clone() })
    }

    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        match counts.by_owner.get_mut(&self.owner) {
            Some(1) => drop(counts.by_owner.remove(&self.owner)),
            Some(count) => *count -= 1,
            None => {}
        }
    }
}
