//! A map whose copies share what did not change: a change copies one shard, not a hundred thousand
//! entries. For snapshots that are published whole.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Shards; at 100,000 entries a change copies about 400.
const SHARDS: usize = 256;

/// Text to value.
#[derive(Clone, Debug)]
pub(crate) struct ShardedMap<V> {
    shards: Vec<Arc<HashMap<Arc<str>, V>>>,
    hasher: RandomState,
    len: usize,
}

impl<V: Clone> Default for ShardedMap<V> {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], hasher: RandomState::new(), len: 0 }
    }
}

impl<V: Clone> ShardedMap<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.shards[self.shard_of(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: &str, value: V) {
        let shard = self.shard_of(key);
        let before = Arc::make_mut(&mut self.shards[shard]).insert(key.into(), value);
        self.len += usize::from(before.is_none());
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let shard = self.shard_of(key);
        let before = Arc::make_mut(&mut self.shards[shard]).remove(key);
        self.len -= usize::from(before.is_some());
    }

    fn shard_of(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) as usize) % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut map = ShardedMap::default();
        for n in 0..1000 {
            map.insert(&n.to_string(), n);
        }
        let copy = map.clone();
        map.insert("7", 70);
        map.remove("8");
        map.remove("8");
        map.insert("new", 1);
        assert_eq!(
            (copy.get("7"), copy.get("8"), copy.get("new"), copy.len()),
            (Some(&7), Some(&8), None, 1000)
        );
        assert_eq!(
            (map.get("7"), map.get("8"), map.get("new"), map.len()),
            (Some(&70), None, Some(&1), 1000)
        );
    }
}
