//! The quorum's times and sizes.

use std::time::Duration;

/// The quorum's times and sizes. The default is what production runs with.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    /// `controller.quorum.fetch.timeout.ms`: the longest silence of a leader that a follower tolerates,
    /// however irregular it was before; the leader resigns after 1.5 times this without a majority.
    pub fetch_timeout: Duration,
    /// The shortest silence after which a leader counts as dead, however regular it was before.
    pub silence_min: Duration,
    /// `controller.quorum.election.timeout.ms`: the longest time, before chance doubles it, that a round of
    /// votes is waited for. The first round is waited for `first_election_timeout`, each further one of the
    /// same vacancy twice as long as the one before.
    pub election_timeout: Duration,
    /// See `election_timeout`.
    pub first_election_timeout: Duration,
    /// `controller.quorum.election.backoff.max.ms`: the longest pause between two rounds.
    pub election_backoff_max: Duration,
    /// `controller.quorum.request.timeout.ms`: how long whoever changes the voters waits until it is committed.
    pub request_timeout: Duration,
    /// How long the leader may hold a fetch that has nothing to bring.
    pub fetch_max_wait: Duration,
    /// The most bytes of batches to ask for, and to answer with, at once.
    pub fetch_bytes_max: usize,
}

impl Default for QuorumConfig {
    fn default() -> QuorumConfig {
        QuorumConfig {
            fetch_timeout: Duration::from_millis(2000),
            silence_min: Duration::from_millis(700),
            election_timeout: Duration::from_millis(1000),
            first_election_timeout: Duration::from_millis(150),
            election_backoff_max: Duration::from_millis(1000),
            request_timeout: Duration::from_millis(2000),
            fetch_max_wait: Duration::from_millis(150),
            fetch_bytes_max: 8 << 20,
        }
    }
}
