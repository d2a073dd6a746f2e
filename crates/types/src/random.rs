//! Chance as a value, so that a run can be repeated from its seed.

use crate::Uuid;
use std::time::Duration;

/// A small deterministic generator (SplitMix64). Not for secrets.
///
/// A library generator would do as well; this one is here because its whole state is one number that a
/// failing simulation can print, and because its sequence must never change under a recorded seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a 128-bit product: no division, and a bias below 2^-32 for small bounds.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into a collection of `len` elements; 0 when it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A duration in `[min, max)`, to the microsecond; `min` when the range is empty.
    pub fn duration(&mut self, min: Duration, max: Duration) -> Duration {
        let span = max.saturating_sub(min);
        min + Duration::from_micros(self.below(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }

    /// A version-4 UUID that Kafka accepts as a topic, directory or cluster id: not one of the reserved
    /// ones, and its text does not start with `-`, which command-line tools would take for an option.
    pub fn uuid(&mut self) -> Uuid {
        loop {
            let high = (self.next_u64() & !0xf000) | 0x4000;
            let low = (self.next_u64() & !(0b11 << 62)) | (0b10 << 62);
            let uuid = Uuid::from_u128(u128::from(high) << 64 | u128::from(low));
            if !uuid.is_reserved() && !uuid.to_string().starts_with('-') {
                return uuid;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_for_ever() {
        let mut random = Random::new(0);

        assert_eq!(random.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn below_reaches_every_value_and_no_other() {
        let mut random = Random::new(7);
        let mut seen = [0; 5];

        for _ in 0..1000 {
            seen[random.index(5)] += 1;
        }

        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
    }
}
