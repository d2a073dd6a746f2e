//! Where in a log.

use crate::LeaderEpoch;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A place in a log, counted in records from 0. Adding a number of records to an offset gives an offset;
/// the difference of two offsets is a number of records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub i64);

impl Offset {
    /// The first place of every log.
    pub const ZERO: Offset = Offset(0);
    /// The wire's "unknown".
    pub const UNKNOWN: Offset = Offset(-1);
    /// Later than every offset of every log.
    pub const MAX: Offset = Offset(i64::MAX);

    /// Returns whether this is a place in a log, that is: is not negative.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl Add<i64> for Offset {
    type Output = Offset;

    fn add(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, count: i64) {
        self.0 += count;
    }
}

impl Sub<i64> for Offset {
    type Output = Offset;

    fn sub(self, count: i64) -> Offset {
        Offset(self.0 - count)
    }
}

impl Sub for Offset {
    type Output = i64;

    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// An end of a log, or of an epoch within it: the next offset, and the epoch of the record before it.
///
/// Ordered by epoch first, as the quorum compares logs (KIP-595).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetAndEpoch {
    /// The epoch of the last record before `offset`; [`LeaderEpoch::NONE`] when there is none.
    pub epoch: LeaderEpoch,
    /// The offset one past the last record.
    pub offset: Offset,
}

impl fmt::Display for OffsetAndEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (epoch {})", self.offset, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_epoch_beats_a_longer_log() {
        let longer = OffsetAndEpoch { epoch: LeaderEpoch(3), offset: Offset(900) };
        let later = OffsetAndEpoch { epoch: LeaderEpoch(4), offset: Offset(1) };

        assert!(later > longer);
        assert!(longer > OffsetAndEpoch { epoch: LeaderEpoch(3), offset: Offset(899) });
    }
}
