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
    /// A leader of a topic with `flush.messages=1` counts what it has, on disk or not.
    LeaderCountsBeforeSync,
    /// A follower of such a topic fetches on, which acknowledges, before its disk has what it fetched.
    FollowerFetchesBeforeSync,
    /// A member that is to leave counts no more, before the controller has agreed.
    LeavingMemberNotCounted,
    /// Whoever waits for `acks=all` is answered as soon as the leader has the records.
    AcknowledgementBeforeInSync,
    /// A leader that a newer epoch has fenced acknowledges what waits.
    DeposedLeaderAcknowledges,
    /// The high watermark follows a slow replica back.
    HighWatermarkGoesBack,
    /// A new leader knows no producers: what is sent again is appended again.
    ProducersForgottenByNewLeader,
    /// A term goes on although a replica goes: the controller's mistake.
    #[cfg(test)]
    TermOutlivesReplica,
}
