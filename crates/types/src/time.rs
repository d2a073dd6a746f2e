//! When: time as a value, handed to machines by their drivers.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A reading of a clock that never goes back, in microseconds since an arbitrary start.
///
/// Comparable only with readings of the same node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The time between `earlier` and this, or zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Monotonic) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The reading `duration` before this one, or the clock's first.
    pub fn earlier_by(self, duration: Duration) -> Monotonic {
        Monotonic(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Monotonic;

    /// Saturates: a deadline too far away to be expressed never comes.
    fn add(self, duration: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Monotonic {
    type Output = Duration;

    /// Zero when `other` is later.
    fn sub(self, other: Monotonic) -> Duration {
        self.saturating_since(other)
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Wall-clock time in milliseconds since 1970-01-01 UTC, as Kafka's records carry it. −1 is "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wire's "no timestamp".
    pub const NONE: Timestamp = Timestamp(-1);
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The present, as the driver of a machine read it: once for each event it hands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For durations and deadlines.
    pub monotonic: Monotonic,
    /// For what is written into records.
    pub wall: Timestamp,
}

impl Now {
    /// Returns this present moved `duration` into the future, on both clocks.
    pub fn after(self, duration: Duration) -> Now {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Now { monotonic: self.monotonic + duration, wall: Timestamp(self.wall.0.saturating_add(millis)) }
    }
}
