//! Which resources open streams want to hear of, by caller.
//!
//! Owns a bounded table of counts; a stream holds a [`Watched`] for each URI. Who knows when resources
//! change asks for the table ([`crate::mcp::Hub::watched`]) and looks only at what is in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{ApiError, Code};

/// Resources of one caller.
const PER_CALLER_MAX: usize = 1024;
/// Resources of all callers.
const ALL_MAX: usize = 16 * 1024;

/// A resource that somebody wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Who.
    pub caller: Arc<str>,
    /// What.
    pub uri: Arc<str>,
}

/// How many want it, and since when, in milliseconds since 1970.
type Entry = (usize, i64);

/// The table.
#[derive(Default)]
pub struct Wishes(Mutex<HashMap<Wish, Entry>>);

impl Wishes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Wish, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a wish, as long as the answer is held.
    ///
    /// # Errors
    /// `RateLimited` when the caller has as many as one may have, `Overloaded` when all are taken.
    pub fn watch(self: &Arc<Self>, caller: &str, uri: &str) -> Result<Watched, ApiError> {
        let wish = Wish { caller: caller.into(), uri: uri.into() };
        let mut all = self.lock();
        if !all.contains_key(&wish) {
            if all.len() >= ALL_MAX {
                let message = format!("{ALL_MAX} resources are watched, the most at once");
                return Err(ApiError::new(Code::Overloaded, message));
            }
            let own = all.keys().filter(|other| *other.caller == *caller).count();
            if own >= PER_CALLER_MAX {
                let message = format!("you watch {own} resources, the most one caller may");
                return Err(ApiError::new(Code::RateLimited, message));
            }
        }
        let now_ms = chrono::Utc::now().timestamp_millis();
        all.entry(wish.clone()).or_insert((0, now_ms)).0 += 1;
        drop(all);
        Ok(Watched { wishes: Arc::clone(self), wish })
    }

    /// Every wish, and since when it is one.
    pub fn all(&self) -> HashMap<Wish, i64> {
        self.lock().iter().map(|(wish, (_, since_ms))| (wish.clone(), *since_ms)).collect()
    }
}

/// A wish of one stream; gone when it is dropped.
pub struct Watched {
    wishes: Arc<Wishes>,
    wish: Wish,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut all = self.wishes.lock();
        if let Some((count, _)) = all.get_mut(&self.wish) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.wish);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_caller_watches_is_bounded_and_forgotten_with_its_streams() {
        let wishes = Arc::new(Wishes::default());
        let uri = |n: usize| format!("a:{n}");
        let held: Vec<_> = (0..PER_CALLER_MAX).map(|n| wishes.watch("ada", &uri(n)).ok()).collect();
        let again = wishes.watch("ada", &uri(0)).ok();
        assert!(again.is_some(), "a second stream may watch the same");
        let refused = wishes.watch("ada", "b:1").err().map(|error| error.code);
        assert_eq!(refused, Some(Code::RateLimited));
        assert!(wishes.watch("bob", "b:1").is_ok());
        drop(held);
        let left: Vec<_> = wishes.all().into_keys().map(|wish| wish.uri.to_string()).collect();
        assert_eq!(left, ["a:0"]);
    }
}
