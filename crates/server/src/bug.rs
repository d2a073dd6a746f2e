//! Mistakes that only the wiring of a server can make, made when a simulation asks for it, to prove that its judges notice them.
//!
//! Only builds with the feature `testing` can ask: elsewhere every question is answered at compile time. A simulation runs
//! all of its servers in one thread, and asks for them there.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A producer with `acks=all` is answered when the leader has its records, and the in-sync set may not.
    ProducerAnsweredBeforeCommit,
    /// A member's commit is answered when the coordinator has it, and the in-sync set may not.
    CommitAnsweredBeforeReplicated,
    /// Every end of a process counts as an orderly one: what was damaged by a loss of power is not looked for.
    EveryEndTakenForOrderly,
    /// What a follower says about the end of its log does not come through: nobody tells it where the logs part.
    DivergenceUnchecked,
    /// A broker begins with the first image that it knows, though it has not come to its own registration in the metadata
    /// log: what it holds of topics that come later in it is set aside.
    FirstImageTaken,
    /// Of changes to the metadata that have piled up, only what the last of them touched is applied.
    EarlierChangesForgotten,
    /// A recovery point is written down for what was appended, and not for what was synced.
    RecoveryPointUnsynced,
}

#[cfg(feature = "testing")]
thread_local! {
    static MADE: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Lets the servers of this thread make a mistake from now on, or none.
#[cfg(feature = "testing")]
pub fn make(bug: Option<Bug>) {
    MADE.set(bug);
}

/// Returns whether a simulation asked for this mistake.
pub(crate) fn is_made(bug: Bug) -> bool {
    #[cfg(feature = "testing")]
    return MADE.get() == Some(bug);
    #[cfg(not(feature = "testing"))]
    {
        let _ = bug;
        false
    }
}
