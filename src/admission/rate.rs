//! Rate limits: one bucket per caller, tool and rate, decided by GCRA (crate governor).
//!
//! Called by admission for every call. Bounded: buckets that are full again say nothing and are
//! dropped; when all are in use, new callers are refused rather than unlimited. A caller with several
//! tokens of different rates has one bucket per rate, so that alternating between them resets none.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use ultimate_mcp_actors::ids::CallerId;

/// Locks: callers on different threads rarely meet.
const SHARDS: usize = 16;

/// The window of every limit. A bucket unused for this long is full again, whatever its rate.
const WINDOW: Duration = Duration::from_secs(60);

/// A full shard is searched for unused buckets at most this often, so that a flood costs no scans.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Why a call has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limited {
    /// The bucket is empty; it has room for one more call after this long.
    Until(Duration),
    /// Too many callers at once.
    Full,
}

/// What is limited: the calls of one caller to one tool (or, with an empty name, to all).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    caller: CallerId,
    tool: &'static str,
    per_minute: NonZeroU32,
}

type Bucket<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

struct Shard<C: Clock> {
    buckets: HashMap<Key, (Bucket<C>, C::Instant)>,
    swept: C::Instant,
}

/// All buckets.
pub(super) struct Rates<C: Clock> {
    shards: Vec<Mutex<Shard<C>>>,
    hasher: RandomState,
    clock: C,
    buckets_max: usize,
}

impl<C: Clock + Clone> Rates<C> {
    /// At most about `buckets_max` buckets, rounded up to the shards.
    pub(super) fn new(buckets_max: usize, clock: C) -> Self {
        let shard = || Mutex::new(Shard { buckets: HashMap::new(), swept: clock.now() });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            buckets_max: buckets_max.div_ceil(SHARDS),
            clock,
        }
    }

    /// Takes one call out of the bucket. A rate of n per minute lets n calls through at once, then
    /// one every 60/n seconds.
    pub(super) fn take(
        &self,
        caller: &CallerId,
        tool: &'static str,
        per_minute: NonZeroU32,
    ) -> Result<(), Limited> {
        let key = Key { caller: caller.clone(), tool, per_minute };
        let now = self.clock.now();
        let index = self.hasher.hash_one(&key) as usize % SHARDS;
        let mut shard = self.shards[index].lock().unwrap_or_else(PoisonError::into_inner);
        if !shard.buckets.contains_key(&key) && shard.buckets.len() >= self.buckets_max {
            shard.sweep(now);
            if shard.buckets.len() >= self.buckets_max {
                return Err(Limited::Full);
            }
        }
        let fresh = || {
            let quota = Quota::per_minute(per_minute);
            (RateLimiter::direct_with_clock(quota, self.clock.clone()), now)
        };
        let (bucket, used) = shard.buckets.entry(key).or_insert_with(fresh);
        *used = now;
        bucket.check().map_err(|until| Limited::Until(until.wait_time_from(now)))
    }

    /// Buckets held now.
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).buckets.len())
            .sum()
    }
}

impl<C: Clock> Shard<C> {
    fn sweep(&mut self, now: C::Instant) {
        let since = |then: C::Instant| Duration::from(now.duration_since(then));
        if since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        self.buckets.retain(|_, (_, used)| since(*used) < WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rate(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    fn caller(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    #[test]
    fn a_full_bucket_lets_its_rate_through_and_refills_evenly() {
        let clock = FakeRelativeClock::default();
        let rates = Rates::new(1000, clock.clone());
        let take = || rates.take(&caller("ada"), "t", rate(6));
        for _ in 0..6 {
            take().unwrap();
        }
        assert_eq!(take(), Err(Limited::Until(Duration::from_secs(10))));
        clock.advance(Duration::from_secs(9));
        assert_eq!(take(), Err(Limited::Until(Duration::from_secs(1))));
        clock.advance(Duration::from_secs(1));
        take().unwrap();
        assert!(take().is_err());
        clock.advance(Duration::from_secs(60));
        for _ in 0..6 {
            take().unwrap();
        }
        assert!(take().is_err());
    }

    #[test]
    fn callers_and_tools_do_not_share_buckets_and_alternating_rates_resets_none() {
        let rates = Rates::new(1000, FakeRelativeClock::default());
        rates.take(&caller("ada"), "t", rate(1)).unwrap();
        rates.take(&caller("bob"), "t", rate(1)).unwrap();
        rates.take(&caller("ada"), "u", rate(1)).unwrap();
        rates.take(&caller("ada"), "t", rate(2)).unwrap();
        assert!(rates.take(&caller("ada"), "t", rate(1)).is_err());
    }

    #[test]
    fn buckets_are_bounded_unused_ones_make_room_and_a_flood_is_refused() {
        let clock = FakeRelativeClock::default();
        let rates = Rates::new(160, clock.clone());
        let flood = |round: u32| {
            (0..2000)
                .filter(|n| {
                    rates.take(&caller(&format!("c{round}-{n}")), "t", rate(5))
                        == Err(Limited::Full)
                })
                .count()
        };
        assert!(flood(1) >= 2000 - 160);
        assert!(rates.len() <= 160, "{}", rates.len());
        // Those that got in are still served and still limited.
        clock.advance(Duration::from_secs(59));
        assert!(flood(2) == 2000);
        clock.advance(Duration::from_secs(2));
        assert!(flood(3) < 2000, "buckets unused for a minute made no room");
        assert!(rates.len() <= 160);
    }
}
