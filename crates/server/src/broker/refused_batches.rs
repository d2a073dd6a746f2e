//! Batches that were refused while the ones behind them were on their way already.
//!
//! An idempotent producer keeps five requests in flight. When the first is refused because the broker does not lead yet, and the
//! second arrives a moment later, when it does, the second is ahead of the log: OUT_OF_ORDER_SEQUENCE_NUMBER, says Kafka. The
//! Java client sends both again. librdkafka takes a new epoch, *for all its partitions*, and sends again what it has no
//! answer for: records that were appended and whose answer was lost are there twice then. So a batch that follows one that was
//! refused is refused like it, which is true: it has no place as long as the one before it has none.

use ottla_net::ConnectionId;
use ottla_protocol::ErrorCode;
use ottla_records::BatchHeader;
use ottla_records::batch::add_sequence;
use ottla_types::{ProducerEpoch, ProducerId, TopicIdPartition};
use parking_lot::Mutex;
use std::collections::HashMap;

/// What was refused last, by connection and partition. At most one each, and gone with the connection.
#[derive(Debug, Default)]
pub struct RefusedBatches {
    last: Mutex<HashMap<ConnectionId, HashMap<TopicIdPartition, Refused>>>,
}

/// A batch that was refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    /// Where the batch behind it starts.
    next_sequence: i32,
    error: ErrorCode,
}

impl RefusedBatches {
    /// Returns the error to answer for an idempotent producer's batch that was refused with `error`.
    pub fn refuse(
        &self,
        connection: ConnectionId,
        at: TopicIdPartition,
        batch: &BatchHeader,
        error: ErrorCode,
    ) -> ErrorCode {
        let mut last = self.last.lock();
        let error = match error {
            ErrorCode::OutOfOrderSequenceNumber => {
                // What is used is replaced, so that nobody who sends only this batch again is held off for ever.
                match last.get(&connection).and_then(|partitions| partitions.get(&at)) {
                    Some(refused) if refused.is_followed_by(batch) => refused.error,
                    _ => return error,
                }
            }
            error if is_passing(error) => error,
            error => return error,
        };
        let refused = Refused {
            producer_id: batch.producer_id,
            producer_epoch: batch.producer_epoch,
            next_sequence: add_sequence(batch.last_sequence(), 1),
            error,
        };
        last.entry(connection).or_default().insert(at, refused);
        error
    }

    /// Forgets a connection that has ended.
    pub fn connection_closed(&self, connection: ConnectionId) {
        self.last.lock().remove(&connection);
    }
}

impl Refused {
    fn is_followed_by(&self, batch: &BatchHeader) -> bool {
        self.producer_id == batch.producer_id
            && self.producer_epoch == batch.producer_epoch
            && self.next_sequence == batch.base_sequence
    }
}

/// Whether a batch that was refused so may be appended a moment later.
fn is_passing(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::{Attributes, Compression};
    use ottla_types::{LeaderEpoch, Offset, Timestamp, Uuid};

    const HERE: ConnectionId = ConnectionId(7);
    const AHEAD: ErrorCode = ErrorCode::OutOfOrderSequenceNumber;
    const NOT_LEADER: ErrorCode = ErrorCode::NotLeaderOrFollower;

    fn at() -> TopicIdPartition {
        TopicIdPartition::new(Uuid::from_u128(1), 4)
    }

    /// Two records of a producer, from this sequence number.
    fn batch(base_sequence: i32) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0),
            size_in_bytes: 80,
            leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: Attributes::default(),
            compression: Compression::None,
            last_offset_delta: 1,
            base_timestamp: Timestamp(0),
            max_timestamp: Timestamp(0),
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(0),
            base_sequence,
            records_count: 2,
        }
    }

    #[test]
    fn what_follows_a_refused_batch_is_refused_like_it() {
        let refused = RefusedBatches::default();
        assert_eq!(refused.refuse(HERE, at(), &batch(10), NOT_LEADER), NOT_LEADER);

        assert_eq!(refused.refuse(HERE, at(), &batch(12), AHEAD), NOT_LEADER);
        assert_eq!(refused.refuse(HERE, at(), &batch(14), AHEAD), NOT_LEADER);
    }

    #[test]
    fn who_sends_only_the_later_batch_again_is_told_that_one_is_missing() {
        let refused = RefusedBatches::default();
        refused.refuse(HERE, at(), &batch(10), NOT_LEADER);
        refused.refuse(HERE, at(), &batch(12), AHEAD);

        assert_eq!(refused.refuse(HERE, at(), &batch(12), AHEAD), AHEAD);
    }

    #[test]
    fn a_gap_is_a_gap() {
        let refused = RefusedBatches::default();
        assert_eq!(refused.refuse(HERE, at(), &batch(12), AHEAD), AHEAD, "nothing was refused before");
        refused.refuse(HERE, at(), &batch(10), NOT_LEADER);

        let elsewhere = TopicIdPartition::new(Uuid::from_u128(1), 5);
        let newer = BatchHeader { producer_epoch: ProducerEpoch(1), ..batch(12) };
        assert_eq!(refused.refuse(HERE, at(), &batch(13), AHEAD), AHEAD, "one is missing between");
        assert_eq!(refused.refuse(HERE, elsewhere, &batch(12), AHEAD), AHEAD);
        assert_eq!(refused.refuse(HERE, at(), &newer, AHEAD), AHEAD);
        assert_eq!(refused.refuse(ConnectionId(8), at(), &batch(12), AHEAD), AHEAD);
        refused.connection_closed(HERE);
        assert_eq!(refused.refuse(HERE, at(), &batch(12), AHEAD), AHEAD, "the connection is another");
    }

    #[test]
    fn a_batch_that_will_never_be_appended_lets_the_next_ones_gap_be_seen() {
        let refused = RefusedBatches::default();
        refused.refuse(HERE, at(), &batch(10), ErrorCode::InvalidRecord);

        assert_eq!(refused.refuse(HERE, at(), &batch(12), AHEAD), AHEAD);
    }

    #[test]
    fn after_the_last_sequence_number_comes_the_first() {
        let refused = RefusedBatches::default();
        refused.refuse(HERE, at(), &batch(i32::MAX - 1), NOT_LEADER);

        assert_eq!(refused.refuse(HERE, at(), &batch(0), AHEAD), NOT_LEADER);
    }
}
