//! Tokens that were verified already, so that the next call of a client checks no signature.
//!
//! Keyed by the token's SHA-256: the map holds no token anybody could steal from a memory dump, and
//! only tokens with a good signature get in, so that nobody can fill it who has none. Bounded by two
//! generations: when the young one is full it becomes the old one, and the old one is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

/// SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// Locks: callers on different threads rarely meet.
const SHARDS: usize = 16;

/// A bounded map from token to what verification found.
pub(super) struct Remembered<V> {
    shards: [Mutex<Generations<V>>; SHARDS],
    /// Per shard and generation.
    entries_max: usize,
}

struct Generations<V> {
    young: HashMap<TokenHash, Arc<V>>,
    old: HashMap<TokenHash, Arc<V>>,
}

/// The key of a token.
pub(super) fn hash(token: &str) -> TokenHash {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl<V> Remembered<V> {
    /// At most about `entries` tokens (rounded up to the shards); 0 remembers none.
    pub(super) fn new(entries: usize) -> Self {
        let generations = || Generations { young: HashMap::new(), old: HashMap::new() };
        Self {
            shards: std::array::from_fn(|_| Mutex::new(generations())),
            entries_max: entries.div_ceil(2 * SHARDS),
        }
    }

    /// What is known of the token.
    pub(super) fn get(&self, key: &TokenHash) -> Option<Arc<V>> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = shard.young.get(key) {
            return Some(Arc::clone(value));
        }
        let value = shard.old.remove(key)?;
        self.put(&mut shard, *key, Arc::clone(&value));
        Some(value)
    }

    /// Remembers a verified token.
    pub(super) fn insert(&self, key: TokenHash, value: Arc<V>) {
        if self.entries_max > 0 {
            let mut shard = self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner);
            self.put(&mut shard, key, value);
        }
    }

    fn put(&self, shard: &mut Generations<V>, key: TokenHash, value: Arc<V>) {
        if shard.young.len() >= self.entries_max {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(key, value);
    }

    fn shard(&self, key: &TokenHash) -> &Mutex<Generations<V>> {
        &self.shards[usize::from(key[0]) % SHARDS]
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let size = |shard: &Mutex<Generations<V>>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_never_grows_beyond_its_bound_and_keeps_what_is_used() {
        let map = Remembered::new(320);
        let used = hash("used");
        map.insert(used, Arc::new(0));
        for n in 1..10_000 {
            map.insert(hash(&n.to_string()), Arc::new(n));
            assert!(map.get(&used).is_some(), "after {n} others");
        }
        assert!(map.len() <= 320, "{}", map.len());
        assert!(map.get(&hash("1")).is_none());
    }

    #[test]
    fn zero_entries_remember_nothing() {
        let map = Remembered::new(0);
        map.insert(hash("a"), Arc::new(1));
        assert!(map.get(&hash("a")).is_none());
    }
}
