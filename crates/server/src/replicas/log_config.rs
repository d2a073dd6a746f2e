//! A topic's configuration as its logs understand it.

use crate::broker::is_internal_topic;
use ottla_metadata::TopicConfig;
use ottla_metadata::topic_config::{self, Owner};
use ottla_records::TimestampType;
use ottla_storage::{CleanupPolicy, LogConfig};
use std::collections::BTreeMap;

/// The settings of a log of a topic with this configuration.
pub fn log_config(topic: &TopicConfig, producer_id_expiration_ms: i64) -> LogConfig {
    let bytes = |name| u64::try_from(topic.number(name)).unwrap_or(u64::MAX);
    let policies: Vec<&str> = topic.value("cleanup.policy").split(',').map(str::trim).collect();
    let compact = policies.contains(&"compact");
    let max_compaction_lag_ms = topic.number("max.compaction.lag.ms");
    let segment_ms = topic.number("segment.ms");
    LogConfig {
        segment_bytes: bytes("segment.bytes"),
        // What is in the active segment is not compacted: it must end in time.
        segment_ms: if compact { segment_ms.min(max_compaction_lag_ms) } else { segment_ms },
        segment_jitter_ms: topic.number("segment.jitter.ms"),
        segment_index_bytes: bytes("segment.index.bytes"),
        index_interval_bytes: bytes("index.interval.bytes"),
        max_message_bytes: usize::try_from(topic.number("max.message.bytes")).unwrap_or(usize::MAX),
        cleanup_policy: CleanupPolicy { delete: policies.contains(&"delete"), compact },
        flush_messages: topic.number("flush.messages"),
        flush_ms: topic.number("flush.ms"),
        delete_retention_ms: topic.number("delete.retention.ms"),
        min_compaction_lag_ms: topic.number("min.compaction.lag.ms"),
        max_compaction_lag_ms,
        min_cleanable_dirty_ratio: topic.fraction("min.cleanable.dirty.ratio"),
        retention_ms: topic.number("retention.ms"),
        retention_bytes: topic.number("retention.bytes"),
        file_delete_delay_ms: bytes("file.delete.delay.ms"),
        message_timestamp_type: match topic.value("message.timestamp.type") {
            "LogAppendTime" => TimestampType::LogAppend,
            _ => TimestampType::Create,
        },
        message_timestamp_before_max_ms: topic.number("message.timestamp.before.max.ms"),
        message_timestamp_after_max_ms: topic.number("message.timestamp.after.max.ms"),
        producer_id_expiration_ms,
        ..LogConfig::default()
    }
}

/// What a topic sets and nothing comes of here: another program's controller let it in, or a disk was taken over from there.
pub fn without_effect<'a>(
    topic: &str,
    set: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let owner = if is_internal_topic(topic) { Owner::Internal } else { Owner::User };
    let set = set.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    set.filter(move |(name, value)| topic_config::validate(name, value, owner).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_enforced_is_told_of() {
        let set = [
            ("compression.type", "zstd"),
            ("retention.ms", "1000"),
            ("preallocate", "false"),
            ("of.tomorrow", "1"),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();

        let told: Vec<(&str, &str)> = without_effect("t", &set).collect();

        assert_eq!(told, [("compression.type", "zstd"), ("of.tomorrow", "1")]);
    }
}
