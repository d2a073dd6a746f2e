//! The records that the coordinator writes, with Kafka's bytes.

use super::transaction::{Transaction, TransactionState};
use ottla_protocol::EncodeError;
use ottla_protocol::records::transaction::transaction_log::PartitionsSchema;
use ottla_protocol::records::transaction::{TransactionLogKey, TransactionLogValue, TransactionRecord};
use ottla_types::TopicPartition;
use std::collections::BTreeSet;

/// The version of the value that is written at a level of `transaction.version`: 1 is flexible, and has the ids before and after
/// this one (`TransactionLog.valueToBytes`).
pub fn value_version(transaction_version: i16) -> i16 {
    i16::from(transaction_version >= 1)
}

/// Encodes a record: its key, and its value unless it is a tombstone.
///
/// # Errors
/// When a text is longer than a key's 16-bit length can say.
pub fn encode(
    record: &TransactionRecord,
    transaction_version: i16,
) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
    let version = value_version(transaction_version);
    let TransactionRecord::TransactionLog(key, Some(value)) = record else {
        return Ok((record.encode_key()?, record.encode_value(version)?));
    };
    if version > 0 {
        return Ok((record.encode_key()?, record.encode_value(version)?));
    }
    // Version 0 has no room for what later ones have beside it.
    let value = TransactionLogValue {
        previous_producer_id: -1,
        next_producer_id: -1,
        next_producer_epoch: -1,
        client_transaction_version: 0,
        ..value.clone()
    };
    let record = TransactionRecord::TransactionLog(key.clone(), Some(value));
    Ok((record.encode_key()?, record.encode_value(version)?))
}

/// What the log is to hold of a transactional id.
pub(super) fn state(transactional_id: &str, transaction: &Transaction) -> TransactionRecord {
    let partitions = TopicPartition::by_topic(&transaction.partitions)
        .into_iter()
        .map(|(topic, partition_ids)| PartitionsSchema { topic: topic.to_owned(), partition_ids })
        .collect();
    let value = TransactionLogValue {
        producer_id: transaction.producer.id.0,
        previous_producer_id: transaction.previous_producer_id.0,
        next_producer_id: transaction.next_producer_id.0,
        producer_epoch: transaction.producer.epoch.0,
        next_producer_epoch: -1,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.code(),
        transaction_partitions: (transaction.state != TransactionState::Empty).then_some(partitions),
        transaction_last_update_timestamp_ms: transaction.updated_at.0,
        transaction_start_timestamp_ms: transaction.started_at.0,
        client_transaction_version: transaction.client_version.level(),
    };
    TransactionRecord::TransactionLog(key(transactional_id), Some(value))
}

/// The end of a transactional id.
pub(super) fn tombstone(transactional_id: &str) -> TransactionRecord {
    TransactionRecord::TransactionLog(key(transactional_id), None)
}

/// The partitions of a record.
pub(super) fn partitions(value: &TransactionLogValue) -> BTreeSet<TopicPartition> {
    let topics = value.transaction_partitions.iter().flatten();
    topics
        .flat_map(|topic| topic.partition_ids.iter().map(|&id| TopicPartition::new(&topic.topic, id)))
        .collect()
}

fn key(transactional_id: &str) -> TransactionLogKey {
    TransactionLogKey { transactional_id: transactional_id.to_owned() }
}
