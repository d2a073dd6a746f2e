//! Mistakes that the machine makes when its simulation asks for it, to prove that the judge notices them.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A partition is given to its next owner before the last one has given it up.
    ReleaseNotAwaited,
    /// A member that does not say what it owns is believed to have given up what it was asked to.
    SilenceTakenForRevocation,
    /// A new coordinator does not expect anything of the members that it finds.
    SessionsForgotten,
    /// The growth of a topic is not noticed.
    GrowthUnnoticed,
    /// What members of a classic group were assigned is not theirs any more once it is a consumer group.
    UpgradeForgetsOwners,
}

#[cfg(test)]
thread_local! {
    static MADE: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Lets the machines of this thread make a mistake from now on, or none.
#[cfg(test)]
pub(crate) fn make(bug: Option<Bug>) {
    MADE.set(bug);
}

/// Returns whether the simulation asked for this mistake; never outside of tests.
pub(crate) fn is_made(bug: Bug) -> bool {
    #[cfg(test)]
    return MADE.get() == Some(bug);
    #[cfg(not(test))]
    {
        let _ = bug;
        false
    }
}
