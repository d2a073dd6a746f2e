//! Mistakes that the machine makes when a test asks for it, to prove that the simulator notices them.
//!
//! Only builds for tests can ask: elsewhere every question is answered at compile time.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A vote is given and not written down.
    VoteNotPersisted,
    /// A leader counts an entry of an earlier epoch as committed when a majority has it (Raft, 5.4.2).
    CommitOfEarlierEpoch,
    /// A follower acknowledges what it has not synced.
    AcknowledgementBeforeSync,
    /// A follower whose log diverges truncates further than the logs part, and looks at no high watermark.
    TruncationBelowHighWatermark,
    /// A leader changes the voter set although the change before is not committed.
    TwoChangesAtOnce,
    /// A leader changes the voter set before it has committed anything in its epoch.
    ChangeBeforeFirstCommit,
    /// A leader counts the voters of the last committed set, not those of the last one in its log.
    OldSetCommits,
    /// A leader counts what a replica fetched before that replica knew that it votes, and synced.
    ObserverAcknowledges,
}
