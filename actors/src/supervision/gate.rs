//! The gate of a mailbox: the only real bound.
//!
//! actix' own mailbox capacity does not bound `Addr::send` (every clone of a sender has a slot of its
//! own), so a place is taken here before a message is enqueued and given back when it is answered.
//! Owns: the count of messages accepted and not yet answered. Called by: `ChildRef` (entering),
//! letters (leaving), the drain (closing). Refuses: message number capacity + 1, everything once closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// How far a gate is open; it only ever closes further.
const OPEN: u8 = 0;
/// The tree drains: only references that may pass the drain still enter.
const DRAINING: u8 = 1;
const CLOSED: u8 = 2;

pub(super) struct Gate {
    capacity: usize,
    in_flight: AtomicUsize,
    door: AtomicU8,
    /// Accepted messages that were never answered, over the life of the child.
    lost: AtomicU64,
    /// The same when the drain began.
    lost_before_drain: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl Gate {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            in_flight: AtomicUsize::new(0),
            door: AtomicU8::new(OPEN),
            lost: AtomicU64::new(0),
            lost_before_drain: AtomicU64::new(0),
        })
    }

    /// Takes a place, or says why there is none.
    pub(super) fn enter(self: &Arc<Self>, through_drain: bool) -> Result<Place, Refused> {
        let door = self.door.load(Ordering::Acquire);
        if door == CLOSED || (door == DRAINING && !through_drain) {
            return Err(Refused::Closed);
        }
        self.in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < self.capacity).then_some(taken + 1)
            })
            .map_err(|_| Refused::Full)?;
        Ok(Place { gate: Arc::clone(self) })
    }

    pub(super) fn begin_drain(&self) {
        if self.door.fetch_max(DRAINING, Ordering::AcqRel) == OPEN {
            self.lost_before_drain.store(self.lost(), Ordering::Release);
        }
    }

    pub(super) fn close(&self) {
        self.door.store(CLOSED, Ordering::Release);
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn lost_in_drain(&self) -> u64 {
        self.lost() - self.lost_before_drain.load(Ordering::Acquire)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }
}

/// One place in a mailbox. Follows the work, not the caller: given back when the message is answered
/// or lost, even if its caller left long ago.
pub(super) struct Place {
    gate: Arc<Gate>,
}

impl Place {
    /// The message in this place will never be answered.
    pub(super) fn count_lost(&self) {
        self.gate.count_lost();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
