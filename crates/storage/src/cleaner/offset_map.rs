//! The latest offset of each key, in memory that is bounded beforehand (`SkimpyOffsetMap`).
//!
//! Of a key only a hash of 128 bits is kept, for keys may be long. Two keys of one hash would take each other for
//! the same, and the earlier record would be lost. Kafka hashes by MD5, for which anybody can make such pairs;
//! this is SipHash under a key that nobody outside knows, and among 2⁴⁰ keys the chance that any two meet is
//! 2⁻⁴⁹.

use ottla_types::Offset;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// A slot's size: the memory a key takes.
const SLOT_BYTES: usize = size_of::<Slot>();
/// How many of 100 slots may be taken: searches stay short (`log.cleaner.io.buffer.load.factor`).
const LOAD_PERCENT: usize = 90;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: (u64, u64),
    offset: Offset,
}

impl Slot {
    const FREE: Slot = Slot { hash: (0, 0), offset: Offset(-1) };

    fn is_free(&self) -> bool {
        self.offset == Slot::FREE.offset
    }
}

/// Keys, by their hashes, and their latest offsets. Linear probing.
pub(crate) struct OffsetMap {
    secret: [u8; 16],
    slots: Vec<Slot>,
    len: usize,
}

impl std::fmt::Debug for OffsetMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the secret nor millions of slots.
        f.debug_struct("OffsetMap").field("slots", &self.slots.len()).field("len", &self.len).finish()
    }
}

impl OffsetMap {
    /// Room for `records` keys, as far as that takes no more than `bytes_max`.
    pub(crate) fn new(secret: [u8; 16], records: u64, bytes_max: usize) -> OffsetMap {
        let wanted = usize::try_from(records).unwrap_or(usize::MAX).saturating_mul(100) / LOAD_PERCENT;
        let count = wanted.saturating_add(2).min(bytes_max / SLOT_BYTES);
        OffsetMap { secret, slots: vec![Slot::FREE; count], len: 0 }
    }

    /// Returns whether so many more keys may be put.
    pub(crate) fn has_room_for(&self, keys: i32) -> bool {
        let most = (self.slots.len() as u64 * LOAD_PERCENT as u64 / 100) as usize;
        self.len.saturating_add(keys.unsigned_abs() as usize) <= most
    }

    /// Notes that the key's latest record is at `offset`. Offsets come in increasing order.
    ///
    /// # Panics
    /// When the map is full: ask [`OffsetMap::has_room_for`].
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) {
        assert!(self.has_room_for(0) && self.len < self.slots.len(), "the map is full");
        let hash = self.hash(key);
        let at = self.find(hash).expect("there is a free slot");
        self.len += usize::from(self.slots[at].is_free());
        self.slots[at] = Slot { hash, offset };
    }

    /// The offset of the key's latest record.
    pub(crate) fn latest(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots[self.find(self.hash(key))?];
        (!slot.is_free()).then_some(slot.offset)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot that has this hash, else the free one where it would be; `None` when there is no slot at all.
    fn find(&self, hash: (u64, u64)) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        // The high half of a product spreads a hash over any number of slots without a division.
        let mut at = ((u128::from(hash.0) * self.slots.len() as u128) >> 64) as usize;
        while !self.slots[at].is_free() && self.slots[at].hash != hash {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        Some(at)
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Random;
    use std::collections::HashMap;

    #[test]
    fn the_latest_offset_of_each_key_is_found() {
        let mut random = Random::new(1);
        let mut map = OffsetMap::new([7; 16], 900, usize::MAX);
        let mut model = HashMap::new();
        for offset in 0..5000 {
            let key = random.below(900).to_be_bytes();
            map.put(&key, Offset(offset));
            model.insert(key, Offset(offset));
        }
        assert_eq!(map.len(), model.len());
        for key in 0..2000u64 {
            let key = key.to_be_bytes();
            assert_eq!(map.latest(&key), model.get(&key).copied());
        }
    }

    #[test]
    fn memory_is_bounded_and_nine_tenths_of_it_are_used() {
        let mut map = OffsetMap::new([0; 16], u64::MAX, 24 * 1000);
        assert_eq!(SLOT_BYTES, 24);
        assert!(map.has_room_for(900) && !map.has_room_for(901));
        for key in 0..900u64 {
            map.put(&key.to_be_bytes(), Offset(0));
        }
        assert!(!map.has_room_for(1));
        assert_eq!(map.latest(b"another"), None);
    }

    #[test]
    fn a_map_without_memory_holds_nothing() {
        let map = OffsetMap::new([0; 16], 10, 0);
        assert!(!map.has_room_for(1));
        assert_eq!(map.latest(b"key"), None);
        assert!(OffsetMap::new([0; 16], 1, 1 << 20).has_room_for(1));
    }
}
