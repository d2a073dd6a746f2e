//! From an answer's bytes to records.

use super::{ConsumerRecord, Isolation};
use crate::error::ClientError;
use bytes::Bytes;
use ottla_protocol::messages::fetch_response::AbortedTransaction;
use ottla_records::{BatchView, ControlType, batches};
use ottla_types::{Offset, TopicPartition};
use std::collections::BTreeSet;

/// What an answer held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The records to be shown.
    pub records: Vec<ConsumerRecord>,
    /// Where to go on.
    pub next: Offset,
}

/// Reads an answer to a fetch from `offset`. Records before it, markers, and with
/// [`Isolation::ReadCommitted`] the records of `aborted` transactions, are left out.
///
/// # Errors
/// When the bytes are no batches, or one is larger than `batch_bytes_max` when decompressed.
pub fn decode(
    at: &TopicPartition,
    offset: Offset,
    bytes: &Bytes,
    aborted: &[AbortedTransaction],
    isolation: Isolation,
    batch_bytes_max: usize,
) -> Result<Fetched, ClientError> {
    let corrupt = |source| ClientError::Corrupt { partition: at.clone(), source };
    let mut fetched = Fetched { records: Vec::new(), next: offset };
    let mut ongoing = Aborted::new(aborted, isolation);
    for batch in batches(bytes) {
        let batch = batch.map_err(corrupt)?;
        batch.check_crc().map_err(corrupt)?;
        if !ongoing.hides(&batch) {
            for record in batch.records(batch_bytes_max).map_err(corrupt)?.iter() {
                let record = record.map_err(corrupt)?;
                if record.offset < offset {
                    continue;
                }
                fetched.records.push(ConsumerRecord {
                    partition: at.clone(),
                    offset: record.offset,
                    leader_epoch: batch.header().leader_epoch,
                    timestamp: record.timestamp,
                    timestamp_type: batch.header().timestamp_type(),
                    key: record.key.map(Bytes::copy_from_slice),
                    value: record.value.map(Bytes::copy_from_slice),
                    headers: record
                        .headers()
                        .map(|header| {
                            (Bytes::copy_from_slice(header.key), header.value.map(Bytes::copy_from_slice))
                        })
                        .collect(),
                });
            }
        }
        fetched.next = fetched.next.max(batch.header().next_offset());
    }
    Ok(fetched)
}

/// The transactions that are aborted later in the log, as the walk goes on.
struct Aborted {
    isolation: Isolation,
    /// By first offset, the earliest last.
    to_come: Vec<AbortedTransaction>,
    producers: BTreeSet<i64>,
}

impl Aborted {
    fn new(aborted: &[AbortedTransaction], isolation: Isolation) -> Aborted {
        let mut to_come = aborted.to_vec();
        to_come.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Aborted { isolation, to_come, producers: BTreeSet::new() }
    }

    /// Whether the batch, the next in the log, has nothing to show.
    fn hides(&mut self, batch: &BatchView<'_>) -> bool {
        let header = batch.header();
        while self.to_come.last().is_some_and(|t| Offset(t.first_offset) <= header.last_offset()) {
            self.producers.extend(self.to_come.pop().map(|transaction| transaction.producer_id));
        }
        if header.is_control() {
            if is_abort(batch) {
                self.producers.remove(&header.producer_id.0);
            }
            return true;
        }
        self.isolation == Isolation::ReadCommitted
            && header.is_transactional()
            && self.producers.contains(&header.producer_id.0)
    }
}

fn is_abort(batch: &BatchView<'_>) -> bool {
    const MARKER_BYTES_MAX: usize = 1024;
    let Ok(records) = batch.records(MARKER_BYTES_MAX) else { return false };
    let first = records.iter().next().and_then(Result::ok);
    first.and_then(|record| ControlType::from_key(record.key?)) == Some(ControlType::Abort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::{BatchBuilder, EndTxnMarker};
    use ottla_types::{LeaderEpoch, ProducerEpoch, ProducerId, Timestamp};

    fn batch(base: i64, producer: i64, transactional: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base));
        if transactional {
            builder = builder.producer(ProducerId(producer), ProducerEpoch(0), 0).transactional();
        }
        for value in [b"a", b"b"] {
            builder.push(Timestamp(1), None, Some(value), &[]);
        }
        builder.build()
    }

    fn abort(base: i64, producer: i64) -> Vec<u8> {
        let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
        let mut bytes = marker.batch(ProducerId(producer), ProducerEpoch(0), Timestamp(1), LeaderEpoch(0));
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    fn offsets(from: i64, bytes: Vec<u8>, isolation: Isolation) -> (Vec<i64>, i64) {
        let aborted = [AbortedTransaction { producer_id: 7, first_offset: 2 }];
        let at = TopicPartition::new("t", 0);
        let fetched = decode(&at, Offset(from), &bytes.into(), &aborted, isolation, 1 << 20).unwrap();
        (fetched.records.iter().map(|record| record.offset.0).collect(), fetched.next.0)
    }

    #[test]
    fn records_before_the_offset_asked_for_are_left_out() {
        assert_eq!(offsets(1, batch(0, 0, false), Isolation::ReadUncommitted), (vec![1], 2));
    }

    #[test]
    fn an_aborted_transaction_is_hidden_and_the_producers_next_one_is_not() {
        let log = [batch(0, 0, false), batch(2, 7, true), abort(4, 7), batch(5, 7, true)].concat();

        assert_eq!(offsets(0, log.clone(), Isolation::ReadCommitted), (vec![0, 1, 5, 6], 7));
        assert_eq!(offsets(0, log, Isolation::ReadUncommitted), (vec![0, 1, 2, 3, 5, 6], 7));
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        let mut bytes = batch(0, 0, false);
        *bytes.last_mut().unwrap() ^= 1;
        let at = TopicPartition::new("t", 0);

        let error = decode(&at, Offset(0), &bytes.into(), &[], Isolation::ReadUncommitted, 1 << 20);

        assert!(matches!(error, Err(ClientError::Corrupt { .. })), "{error:?}");
    }
}
