//! The messages in hand: given to a handler, not answered yet.
//!
//! Owns: one entry per such message. Called by: the pump (taking up, putting down), the cell and the
//! supervisor (dropping everything after a crash or a stall). Whatever thread a handler is stuck on,
//! its callers hear at once.

use std::sync::{Arc, Mutex};

use super::node::{ChildState, lock};

/// Why a message will not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It was in hand when its actor went down: effects unknown.
    Crashed,
    /// Its deadline passed in the queue: nothing was done.
    Expired,
    /// It was still queued when the child ended for good: nothing was done.
    Ended(ChildState),
}

/// A message that can be told that its answer will never come.
pub(super) trait Lose: Send + Sync {
    fn lose(&self, loss: Loss);
}

#[derive(Default)]
pub(super) struct Hand {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    slots: Vec<Option<Arc<dyn Lose>>>,
    free: Vec<usize>,
}

/// Names one message in the hand.
#[derive(Clone, Copy)]
pub(super) struct Grip(usize);

impl Hand {
    pub(super) fn take_up(&self, message: Arc<dyn Lose>) -> Grip {
        let mut held = lock(&self.held);
        match held.free.pop() {
            Some(index) => {
                held.slots[index] = Some(message);
                Grip(index)
            }
            None => {
                held.slots.push(Some(message));
                Grip(held.slots.len() - 1)
            }
        }
    }

    pub(super) fn put_down(&self, grip: Grip) {
        let mut held = lock(&self.held);
        // Empty after `drop_all`: the slot is no longer ours to free.
        if held.slots.get_mut(grip.0).and_then(Option::take).is_some() {
            held.free.push(grip.0);
        }
    }

    /// Every message in hand is lost; their callers hear `Crashed`. Returns how many.
    pub(super) fn drop_all(&self) -> usize {
        let slots = std::mem::take(&mut *lock(&self.held)).slots;
        let lost: Vec<_> = slots.into_iter().flatten().collect();
        lost.iter().for_each(|message| message.lose(Loss::Crashed));
        lost.len()
    }
}
