//! Which offset has the last record of each key. Keys are remembered by a digest of 128 bits, so a
//! key costs the same whatever its length; the digest is keyed at random, so that nobody can choose
//! two keys that collide.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

/// Memory per key, about: 24 bytes in a table that is between 44 and 88 percent full, and twice
/// that for a moment while it grows.
pub(super) const BYTES_PER_KEY: usize = 40;

/// See the module.
pub(super) struct OffsetMap {
    latest: HashMap<Digest, i64, BuildHasherDefault<Prehashed>>,
    keys: [RandomState; 2],
    keys_max: usize,
}

impl OffsetMap {
    /// Takes no more than `keys_max` keys, and always one.
    pub(super) fn new(keys_max: usize) -> OffsetMap {
        OffsetMap {
            latest: HashMap::default(),
            keys: [RandomState::new(), RandomState::new()],
            keys_max: keys_max.max(1),
        }
    }

    /// Notes a record; those that come later have higher offsets. False: the map is full and the
    /// key is not in it.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let digest = self.digest(key);
        if self.latest.len() == self.keys_max && !self.latest.contains_key(&digest) {
            return false;
        }
        self.latest.insert(digest, offset);
        true
    }

    /// The offset of the key's last record, of those that were noted.
    pub(super) fn latest(&self, key: &[u8]) -> Option<i64> {
        self.latest.get(&self.digest(key)).copied()
    }

    fn digest(&self, key: &[u8]) -> Digest {
        let [first, second] = &self.keys;
        Digest(first.hash_one(key), second.hash_one(key))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Digest(u64, u64);

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Takes what it is given for the hash.
#[derive(Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_a_key_counts_and_a_full_map_takes_known_keys_only() {
        let mut map = OffsetMap::new(2);
        assert!(map.put(b"a", 1) && map.put(b"b", 2) && map.put(b"a", 3));
        assert!(!map.put(b"c", 4), "a third key");
        assert!(map.put(b"b", 5));
        assert_eq!([b"a", b"b", b"c"].map(|key| map.latest(key)), [Some(3), Some(5), None]);
        assert!(OffsetMap::new(0).put(b"a", 1), "else a pass would never get anywhere");
    }
}
