//! How many calls of one caller run at once, so that one caller cannot hold every place in the cell.
//!
//! Bounded by itself: a caller without running calls takes no memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ultimate_mcp_actors::ids::CallerId;

/// Running calls by caller. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<CallerId, usize>>>);

/// One running call; the place is free again when this is dropped, however the call ended.
#[derive(Debug)]
pub(super) struct Slot {
    running: Running,
    caller: CallerId,
}

impl Running {
    /// A place for one more call, unless `max` are running.
    pub(super) fn enter(&self, caller: &CallerId, max: usize) -> Option<Slot> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(caller) {
            Some(count) if *count >= max => return None,
            Some(count) => *count += 1,
            None if max == 0 => return None,
            None => drop(counts.insert(caller.clone(), 1)),
        }
        Some(Slot { running: self.clone(), caller: caller.clone() })
    }

    /// Running calls, callers they belong to, and the most of one caller.
    pub(super) fn usage(&self) -> (usize, usize, usize) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.values().sum(), counts.len(), counts.values().copied().max().unwrap_or(0))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_call_ends_even_by_a_panic() {
        let running = Running::default();
        let ada = CallerId::parse("ada").unwrap();
        let first = running.enter(&ada, 2).unwrap();
        let held = running.enter(&ada, 2);
        assert!(held.is_some() && running.enter(&ada, 2).is_none());
        assert!(running.enter(&CallerId::parse("bob").unwrap(), 2).is_some());
        drop(first);
        let third = running.enter(&ada, 2).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _place = third;
            panic!("the tool crashed");
        }));
        assert!(panicked.is_err());
        drop(held);
        assert!(running.0.lock().unwrap().is_empty(), "an idle caller takes memory");
    }
}
