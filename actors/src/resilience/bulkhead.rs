//! A bounded number of calls in flight to one dependency: one that hangs takes no more than that with
//! it. Owned by a dependency.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub(super) struct Bulkhead {
    places: Semaphore,
    most: usize,
    wait: Duration,
}

impl Bulkhead {
    pub(super) fn new(most: usize, wait: Duration) -> Self {
        Self { places: Semaphore::new(most), most, wait }
    }

    /// A place, now or within the time a call may wait; `None` when none came free.
    pub(super) async fn enter(&self, left: Duration) -> Option<SemaphorePermit<'_>> {
        // The usual case sets no timer.
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let wait = self.wait.min(left);
        tokio::time::timeout(wait, self.places.acquire()).await.ok()?.ok()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }
}
