//! How one partition's log behaves: the topic's configuration, under Kafka's names.

use ottla_records::validate::DECOMPRESSED_BYTES_MAX;
use ottla_records::{Codec, Origin, Rules, TimestampType};
use ottla_types::Timestamp;

/// `cleanup.policy`. Both may be set; neither keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments are deleted by time and size.
    pub delete: bool,
    /// Only the latest record of a key is kept: every record needs a key.
    pub compact: bool,
}

/// The configuration of a log. Field names are Kafka's topic configs with `.` as `_`, defaults are Kafka's;
/// sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment's largest size.
    pub segment_bytes: u64,
    /// `segment.ms`: after how long a segment is rolled though it is not full.
    pub segment_ms: i64,
    /// How much earlier than `segment.ms` this log rolls: the partition's share of `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: an index's largest size.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`: how much of the log one index entry stands for.
    pub index_interval_bytes: u64,
    /// `max.message.bytes`: the largest batch, compressed.
    pub max_message_bytes: usize,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `retention.ms`; negative keeps for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative is no limit.
    pub retention_bytes: i64,
    /// `flush.messages`: after how many records the log is synced. With 1 a record counts only once it is on the disk.
    pub flush_messages: i64,
    /// `flush.ms`: after how long the log is synced.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted segment's files outlive it, for readers that hold them.
    pub file_delete_delay_ms: u64,
    /// `delete.retention.ms`: how long compaction keeps a tombstone that it has met.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: how long a record stays as it is.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: after how long a record is compacted, though little of the log is dirty.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: from which share of dirty bytes on the log is compacted.
    pub min_cleanable_dirty_ratio: f64,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `compression.type` and its level; `None` is `producer`.
    pub compression: Option<Codec>,
    /// `producer.id.expiration.ms`: how long a silent producer is remembered.
    pub producer_id_expiration_ms: i64,
    /// How much of the log a start reads at most, above what was flushed, to know its producers: so many bytes after the last
    /// snapshot of them there is another one, at a flush.
    pub producer_snapshot_bytes: u64,
    /// Whether producers' sequences and transactions are kept. The metadata log has no producers.
    pub producer_state: bool,
    /// `transaction.partition.verification.enable`: whether a transaction begins only by a guard.
    pub transaction_verification: bool,
    /// How much a batch's records may be when decompressed.
    pub decompressed_bytes_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            retention_ms: 604_800_000,
            retention_bytes: -1,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            message_timestamp_type: TimestampType::Create,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            compression: None,
            producer_id_expiration_ms: 86_400_000,
            producer_snapshot_bytes: 1 << 20,
            producer_state: true,
            transaction_verification: false,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        }
    }
}

impl LogConfig {
    /// The metadata log's: no producers, and nothing is deleted but what a snapshot replaces
    /// (`metadata.log.segment.bytes`, `metadata.log.segment.ms`).
    pub fn metadata() -> LogConfig {
        LogConfig {
            cleanup_policy: CleanupPolicy { delete: false, compact: false },
            max_message_bytes: 8 << 20,
            // The quorum syncs it by itself, and answers for what is on its disk.
            flush_messages: 1,
            producer_state: false,
            ..LogConfig::default()
        }
    }

    /// Whether a record counts only once it is on disk (`flush.messages=1`).
    pub fn counts_on_disk(&self) -> bool {
        self.flush_messages <= 1
    }

    /// What a batch must fulfil to be appended now, for [`ottla_records::validate`].
    pub fn rules(&self, origin: Origin, now: Timestamp) -> Rules {
        Rules {
            origin,
            now,
            max_message_bytes: self.max_message_bytes,
            compacted: self.cleanup_policy.compact,
            timestamp_type: self.message_timestamp_type,
            timestamp_before_max_ms: self.message_timestamp_before_max_ms,
            timestamp_after_max_ms: self.message_timestamp_after_max_ms,
            compression: self.compression,
            decompressed_bytes_max: self.decompressed_bytes_max,
        }
    }
}
