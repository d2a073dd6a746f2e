//! Mistakes that a replica makes when a test asks for it, to prove that the simulation notices them.
//!
//! Only builds for tests can ask: elsewhere every question is answered at compile time.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The leader calls committed what it alone has.
    HighWatermarkPastInSync,
    /// A follower of a new leader cuts its log at its high watermark, as Kafka did before KIP-101.
    TruncationToHighWatermark,
    /// A member that was asked for counts only when the controller has answered (against KIP-497).
    JoiningMemberNotCounted,
    /// A term goes on although a replica goes: the controller's mistake.
    TermOutlivesReplica,
}
