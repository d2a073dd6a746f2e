//! Which incarnation: of a leader, of a partition's state, of a broker.

use std::fmt;

/// The term of a partition's leader, also of the metadata quorum's. Grows by one with each election.
/// −1 is "unknown" on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// The wire's "unknown", and the epoch of an empty log.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);

    /// Returns the epoch of the next election.
    ///
    /// # Panics
    /// When the epoch is `i32::MAX`: two thousand million elections.
    pub fn next(self) -> LeaderEpoch {
        LeaderEpoch(self.0.checked_add(1).expect("fewer than 2^31 elections"))
    }

    /// Returns whether this is an epoch, that is: is not negative.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

/// Grows by one with every change the controller makes to a partition (KIP-497): the optimistic lock of
/// `AlterPartition`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionEpoch(pub i32);

/// The incarnation of a broker: the metadata offset of its registration record (KIP-631). −1 is
/// "not registered".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerEpoch(pub i64);

impl BrokerEpoch {
    /// The wire's "not registered" or "not known".
    pub const NONE: BrokerEpoch = BrokerEpoch(-1);
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Display for PartitionEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PartitionEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pe{}", self.0)
    }
}

impl fmt::Display for BrokerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BrokerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "be{}", self.0)
    }
}
