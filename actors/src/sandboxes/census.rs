//! How many sandboxes are open and how much memory they may use, by caller and in all.
//!
//! Called when one is created; a [`Share`] is given back when it is dropped, however that happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::SandboxesError;
use super::options::SandboxesOptions;
use crate::ids::CallerId;

const MIB: u64 = 1024 * 1024;

pub(super) struct Census {
    options: SandboxesOptions,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: Load,
    callers: HashMap<CallerId, Load>,
}

#[derive(Clone, Copy, Default)]
struct Load {
    count: usize,
    bytes: u64,
}

/// Room for one sandbox.
pub(super) struct Share {
    census: Arc<Census>,
    owner: CallerId,
    bytes: u64,
}

impl Census {
    pub(super) fn new(options: SandboxesOptions) -> Arc<Self> {
        Arc::new(Self { options, taken: Mutex::default() })
    }

    pub(super) fn open(&self) -> usize {
        self.lock().all.count
    }

    pub(super) fn take(
        self: &Arc<Self>,
        owner: &CallerId,
        bytes: u64,
    ) -> Result<Share, SandboxesError> {
        let options = &self.options;
        let mut taken = self.lock();
        let own = taken.callers.get(owner).copied().unwrap_or_default();
        if own.count >= options.per_caller_max {
            return Err(SandboxesError::TooManyOfCaller(own.count));
        }
        let beyond = |load: Load, most_mb: u64| load.bytes.saturating_add(bytes) > most_mb * MIB;
        if beyond(own, options.caller_memory_mb_max) {
            return Err(SandboxesError::CallerMemory(options.caller_memory_mb_max));
        }
        if taken.all.count >= options.total_max || beyond(taken.all, options.total_memory_mb_max) {
            return Err(SandboxesError::Full);
        }
        let Taken { all, callers } = &mut *taken;
        for load in [all, callers.entry(owner.clone()).or_default()] {
            (load.count, load.bytes) = (load.count + 1, load.bytes + bytes);
        }
        Ok(Share { census: Arc::clone(self), owner: owner.clone(), bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.census.lock();
        let Taken { all, callers } = &mut *taken;
        let own = callers.get_mut(&self.owner);
        for load in [Some(all), own].into_iter().flatten() {
            (load.count, load.bytes) = (load.count - 1, load.bytes - self.bytes);
        }
        if callers.get(&self.owner).is_some_and(|load| load.count == 0) {
            callers.remove(&self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::caller;

    #[test]
    fn number_and_memory_are_bounded_by_caller_and_in_all_and_given_back() {
        let options = SandboxesOptions {
            per_caller_max: 2,
            total_max: 3,
            caller_memory_mb_max: 100,
            total_memory_mb_max: 120,
            ..Default::default()
        };
        let census = Census::new(options);
        let (ada, bob) = (caller("ada"), caller("bob"));
        let first = census.take(&ada, 60 * MIB).unwrap();
        let error = census.take(&ada, 60 * MIB).err().unwrap();
        assert!(matches!(error, SandboxesError::CallerMemory(100)), "{error}");
        let second = census.take(&ada, 20 * MIB).unwrap();
        let error = census.take(&ada, MIB).err().unwrap();
        assert!(matches!(error, SandboxesError::TooManyOfCaller(2)), "{error}");
        assert!(matches!(census.take(&bob, 60 * MIB).err(), Some(SandboxesError::Full)));
        let third = census.take(&bob, MIB).unwrap();
        assert!(matches!(census.take(&caller("eve"), MIB).err(), Some(SandboxesError::Full)));
        drop((first, second, third));
        assert!(census.open() == 0 && census.lock().callers.is_empty());
    }
}
