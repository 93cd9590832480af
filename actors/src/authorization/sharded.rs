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

    /// Keys whose value differs from that of an earlier state, or is new, or gone; cheap when most shards
    /// are still shared.
    pub(crate) fn changed_since(&self, earlier: &Self) -> Vec<Arc<str>>
    where
        V: PartialEq,
    {
        let mut changed = Vec::new();
        let pairs = || self.shards.iter().zip(&earlier.shards).filter(|(a, b)| !Arc::ptr_eq(a, b));
        for (ours, _) in pairs() {
            let differs = |(key, value): &(&Arc<str>, &V)| earlier.get(key) != Some(*value);
            changed.extend(ours.iter().filter(differs).map(|(key, _)| Arc::clone(key)));
        }
        for (_, theirs) in pairs() {
            let gone = theirs.keys().filter(|key| self.get(key).is_none());
            changed.extend(gone.map(Arc::clone));
        }
        changed
    }

    fn shard_of(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) as usize) % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_what_differs_is_new_or_is_gone_also_between_maps_made_apart() {
        let mut map = ShardedMap::default();
        let mut apart = ShardedMap::default();
        for n in 0..1000 {
            map.insert(&n.to_string(), n);
            apart.insert(&n.to_string(), n);
        }
        let copy = map.clone();
        assert!(map.changed_since(&copy).is_empty() && map.changed_since(&apart).is_empty());
        map.insert("7", 70);
        map.remove("8");
        map.insert("new", 1);
        for earlier in [&copy, &apart] {
            let mut changed = map.changed_since(earlier);
            changed.sort_unstable();
            let changed: Vec<&str> = changed.iter().map(|key| &**key).collect();
            assert_eq!(changed, ["7", "8", "new"]);
        }
    }

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
