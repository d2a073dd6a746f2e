//! Random messages that fill every field their version has, for tests and tools.

use crate::codec::Records;
use bytes::Bytes;
use ottla_types::{Random, Uuid};

/// A value that can be made up at a version.
pub trait Arbitrary {
    /// Makes up a value.
    fn arbitrary(random: &mut Random, version: i16) -> Self;
}

macro_rules! arbitrary_integers {
    ($($type:ty)*) => {$(
        impl Arbitrary for $type {
            fn arbitrary(random: &mut Random, _version: i16) -> $type {
                match random.below(8) {
                    0 => 0,
                    1 => <$type>::MIN,
                    2 => <$type>::MAX,
                    3 => (-1i64) as $type,
                    4 | 5 => random.below(100) as $type,
                    _ => random.next_u64() as $type,
                }
            }
        }
    )*};
}
arbitrary_integers!(i8 i16 i32 i64 u16 u32);

impl Arbitrary for bool {
    fn arbitrary(random: &mut Random, _version: i16) -> bool {
        random.chance(500)
    }
}

/// A multiple of 1/8, which every decimal notation of a double keeps.
impl Arbitrary for f64 {
    fn arbitrary(random: &mut Random, _version: i16) -> f64 {
        random.below(1_000_000) as f64 / 8.0 - 50_000.0
    }
}

impl Arbitrary for String {
    fn arbitrary(random: &mut Random, _version: i16) -> String {
        const LETTERS: [char; 12] = ['a', 'b', 'Z', '0', '-', '.', ' ', '"', '\n', 'é', '中', '😀'];
        // Now and then one whose length takes two bytes as a varint.
        let len = if random.chance(20) { 150 } else { random.index(12) };
        (0..len).map(|_| LETTERS[random.index(LETTERS.len())]).collect()
    }
}

impl Arbitrary for Uuid {
    fn arbitrary(random: &mut Random, _version: i16) -> Uuid {
        if random.chance(200) { Uuid::ZERO } else { random.uuid() }
    }
}

impl Arbitrary for Bytes {
    fn arbitrary(random: &mut Random, _version: i16) -> Bytes {
        let len = if random.chance(20) { 300 } else { random.index(20) };
        (0..len).map(|_| random.next_u64() as u8).collect()
    }
}

/// Now and then large enough to become a segment of their own.
impl Arbitrary for Records {
    fn arbitrary(random: &mut Random, _version: i16) -> Records {
        let len = if random.chance(100) { 3000 } else { random.index(40) };
        Records::Memory((0..len).map(|_| random.next_u64() as u8).collect())
    }
}

impl<T: Arbitrary> Arbitrary for Option<T> {
    fn arbitrary(random: &mut Random, version: i16) -> Option<T> {
        if random.chance(300) { None } else { Some(T::arbitrary(random, version)) }
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn arbitrary(random: &mut Random, version: i16) -> Vec<T> {
        (0..random.index(4)).map(|_| T::arbitrary(random, version)).collect()
    }
}
