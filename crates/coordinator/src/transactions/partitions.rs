//! AddPartitionsToTxn: partitions begin to take part, or are asked for whether they do.

use super::TransactionCoordinator;
use super::effect::{Producer, TransactionDecision, TransactionEffect, TransactionReply, reply};
use super::transaction::{Transaction, TransactionState};
use crate::reply::ReplyToken;
use ottla_protocol::ErrorCode;
use ottla_types::{Now, TopicPartition};
use std::collections::BTreeSet;
use std::time::Duration;

impl TransactionCoordinator {
    /// Lets partitions take part in the producer's transaction, which begins with the first of them: AddPartitionsToTxn,
    /// AddOffsetsToTxn.
    pub fn handle_add_partitions(
        &mut self,
        transactional_id: &str,
        producer: Producer,
        partitions: &BTreeSet<TopicPartition>,
        token: ReplyToken,
        now: Now,
    ) -> TransactionDecision {
        let mut transaction = match self.find(transactional_id, producer) {
            Ok(known) if known.state.is_ending() => {
                return reply(token, TransactionReply::Added(ErrorCode::ConcurrentTransactions));
            }
            Ok(known)
                if known.state == TransactionState::Ongoing && partitions.is_subset(&known.partitions) =>
            {
                return reply(token, TransactionReply::Added(ErrorCode::None));
            }
            Ok(known) => known.clone(),
            Err(error) => return reply(token, TransactionReply::Added(error)),
        };
        if transaction.state != TransactionState::Ongoing {
            transaction.begin(now);
        }
        transaction.state = TransactionState::Ongoing;
        transaction.partitions.extend(partitions.iter().cloned());
        transaction.updated_at = now.wall;
        let answer = TransactionEffect::Reply(token, TransactionReply::Added(ErrorCode::None));
        self.become_and(transactional_id, &transaction, Some(answer))
    }

    /// Says whether partitions take part: a leader asks before it appends (KIP-890).
    pub fn handle_verify_partitions(
        &self,
        transactional_id: &str,
        producer: Producer,
        partitions: &BTreeSet<TopicPartition>,
        token: ReplyToken,
    ) -> TransactionDecision {
        let found = self.find(transactional_id, producer).and_then(|known| match known.state.is_ending() {
            true => Err(ErrorCode::ConcurrentTransactions),
            false => Ok(known),
        });
        let error_of = |partition: &TopicPartition| match &found {
            Ok(known) if known.partitions.contains(partition) => ErrorCode::None,
            Ok(_) => ErrorCode::TransactionAbortable,
            Err(error) => *error,
        };
        let errors = partitions.iter().map(|partition| (partition.clone(), error_of(partition))).collect();
        reply(token, TransactionReply::Verified(errors))
    }

    /// The transaction of a producer that is not fenced.
    fn find(&self, transactional_id: &str, producer: Producer) -> Result<&Transaction, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let known = self.transactions.get(transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        if known.producer.id != producer.id {
            Err(ErrorCode::InvalidProducerIdMapping)
        } else if known.producer.epoch != producer.epoch {
            Err(ErrorCode::ProducerFenced)
        } else {
            Ok(known)
        }
    }
}

impl Transaction {
    /// A transaction begins.
    pub(super) fn begin(&mut self, now: Now) {
        self.started_at = now.wall;
        self.due = Some(now.monotonic + Duration::from_millis(self.timeout_ms.max(0).unsigned_abs().into()));
    }
}
