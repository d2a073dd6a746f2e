//! Durations, counted in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds; a last bucket has no bound.
pub const BOUNDS_MICROS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The buckets, the one without a bound included.
const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// How many durations fell between which bounds.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Histogram {
    /// One more.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.iter().position(|&bound| micros <= bound).unwrap_or(BUCKETS - 1);
        // Whoever reads may see one of the two without the other: next time it will see both.
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What each bucket has, without those before it.
    pub fn buckets(&self) -> [u64; BUCKETS] {
        self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed))
    }

    /// All durations together, in microseconds.
    pub fn micros(&self) -> u64 {
        self.micros.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let cases =
            [(0, 0), (50, 0), (51, 1), (1_000, 4), (10_000_000, 16), (10_000_001, 17), (u64::MAX >> 1, 17)];
        for (micros, bucket) in cases {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(micros));
            let mut expected = [0; BUCKETS];
            expected[bucket] = 1;
            assert_eq!(histogram.buckets(), expected, "{micros} us");
            assert_eq!(histogram.micros(), micros);
        }
    }
}
