//! What configuration says to a coordinator of transactions.

use std::time::Duration;

/// Settings of a [`super::TransactionCoordinator`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`: the longest time-out that a producer may ask for.
    pub timeout_max: Duration,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often is looked for transactions that take too long.
    pub abort_interval: Duration,
    /// `transactional.id.expiration.ms`: how long an id is kept with which nothing is done.
    pub id_expiration: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often is looked for such ids.
    pub id_expiration_interval: Duration,
}

impl Default for TransactionSettings {
    /// Kafka's.
    fn default() -> TransactionSettings {
        TransactionSettings {
            timeout_max: Duration::from_secs(15 * 60),
            abort_interval: Duration::from_secs(10),
            id_expiration: Duration::from_secs(7 * 24 * 3600),
            id_expiration_interval: Duration::from_secs(3600),
        }
    }
}
