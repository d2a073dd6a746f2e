//! What has passed through this broker since its start.

use prometheus_client::metrics::counter::Counter;

/// Counters, each counted where it happens.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Records appended for producers; what is appended again is not counted.
    pub messages_in: Counter,
    /// Bytes of their batches.
    pub bytes_in: Counter,
    /// Bytes of batches that were refused.
    pub bytes_rejected: Counter,
    /// Bytes of records sent to consumers.
    pub bytes_out: Counter,
    /// Bytes of records sent to followers.
    pub replication_bytes_out: Counter,
    /// Partitions that produce requests named.
    pub produce_requests: Counter,
    /// Those of them that were refused.
    pub failed_produce_requests: Counter,
    /// Fetches answered.
    pub fetch_requests: Counter,
}
