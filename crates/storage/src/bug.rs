//! Mistakes that a log makes when a test asks for it, to prove that the model in `log/crashes.rs` notices them.
//!
//! Only builds for tests can ask: elsewhere every question is answered at compile time.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Producer snapshots from beyond the cut stay, and speak of another history once the log has grown past them.
    SnapshotPastTruncation,
}
