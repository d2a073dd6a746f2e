//! Mistakes that the controller makes when a test asks for it, to prove that the simulation notices them.
//!
//! Only builds for tests can ask: elsewhere every question is answered at compile time.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Where no member of the in-sync set can lead, any replica that works does, though nobody asked for that.
    LeaderOutsideInSync,
    /// A leader may name any incarnation of a member, the one before the last too (against KIP-903).
    StaleBrokerEpochJoins,
    /// A broker that may have lost records is treated like one that has them all (against KIP-966).
    LostReplicaStaysEligible,
}
