//! InitProducerId: a producer begins, or begins anew, and whoever had its transactional id before is fenced (TXN-3).

use super::TransactionCoordinator;
use super::effect::{Producer, TransactionDecision, TransactionEffect, TransactionReply, reply};
use super::transaction::{Transaction, TransactionState, is_exhausted, next};
use crate::reply::ReplyToken;
use ottla_protocol::ErrorCode;
use ottla_types::{Now, ProducerEpoch, Timestamp};
use std::time::Duration;

/// What an InitProducerId with a transactional id asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitProducerId {
    /// The transactional id.
    pub transactional_id: String,
    /// How long a transaction may take, in ms.
    pub timeout_ms: i32,
    /// Who the producer believes to be (KIP-360); [`Producer::NONE`] when it starts.
    pub expected: Producer,
}

impl TransactionCoordinator {
    /// Handles an InitProducerId.
    ///
    /// An open transaction is aborted first, under an epoch that nobody has; until that is over the answer is
    /// CONCURRENT_TRANSACTIONS, and the client asks again.
    pub fn handle_init_producer_id(
        &mut self,
        request: &InitProducerId,
        token: ReplyToken,
        now: Now,
    ) -> TransactionDecision {
        self.init_producer_id(request, token, now)
            .unwrap_or_else(|error| reply(token, TransactionReply::InitProducerId(Err(error))))
    }

    fn init_producer_id(
        &mut self,
        request: &InitProducerId,
        token: ReplyToken,
        now: Now,
    ) -> Result<TransactionDecision, ErrorCode> {
        let InitProducerId { transactional_id, timeout_ms, expected } = request;
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let timeout = u64::try_from(*timeout_ms).map(Duration::from_millis).unwrap_or_default();
        if timeout.is_zero() || timeout > self.settings.timeout_max {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let Some(known) = self.transactions.get(transactional_id) else {
            // Whoever it believes to be: this id is new, so that nobody else has it.
            let producer = Producer { id: self.take_producer_id()?, epoch: ProducerEpoch(0) };
            let transaction = Transaction::new(producer, *timeout_ms, now.wall);
            return Ok(self.initialised(transactional_id, &transaction, token));
        };
        let is_retry_of_rotation = expected.id == known.previous_producer_id && is_exhausted(expected.epoch);
        if *expected != Producer::NONE && expected.id != known.producer.id && !is_retry_of_rotation {
            return Err(ErrorCode::ProducerFenced);
        }
        match known.state {
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            // Kafka lets whoever was fenced long ago abort the transaction of its successor.
            TransactionState::Ongoing
                if *expected != Producer::NONE
                    && ![known.producer.epoch, known.last_epoch].contains(&expected.epoch) =>
            {
                Err(ErrorCode::ProducerFenced)
            }
            TransactionState::Ongoing => {
                // The client asks again, and is given the epoch after that one.
                let fenced = known.fenced(self.version, now.wall);
                let answer = TransactionReply::InitProducerId(Err(ErrorCode::ConcurrentTransactions));
                Ok(self.end_with(transactional_id, &fenced, token, answer))
            }
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                let renewed = self.renewed(&known.clone(), *expected, *timeout_ms, now.wall)?;
                Ok(self.initialised(transactional_id, &renewed, token))
            }
        }
    }

    /// The producer's next incarnation.
    fn renewed(
        &mut self,
        known: &Transaction,
        expected: Producer,
        timeout_ms: i32,
        now: Timestamp,
    ) -> Result<Transaction, ErrorCode> {
        let mut renewed = Transaction::new(known.producer, timeout_ms, now);
        renewed.previous_producer_id = known.producer.id;
        renewed.client_version = known.client_version;
        let starts = expected == Producer::NONE;
        if known.is_exhausted() && (starts || expected.epoch == known.producer.epoch) {
            renewed.producer = Producer { id: self.take_producer_id()?, epoch: ProducerEpoch(0) };
            renewed.last_epoch = if starts { ProducerEpoch::NONE } else { known.producer.epoch };
            return Ok(renewed);
        }
        if starts {
            renewed.producer.epoch = next(known.producer.epoch);
        } else if expected.epoch == known.producer.epoch {
            renewed.producer.epoch = next(known.producer.epoch);
            renewed.last_epoch = known.producer.epoch;
        } else if expected.epoch == known.last_epoch {
            // It has not heard the answer: it gets the same again.
            renewed.last_epoch = known.last_epoch;
            renewed.previous_producer_id = known.previous_producer_id;
        } else {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(renewed)
    }

    fn initialised(
        &mut self,
        transactional_id: &str,
        transaction: &Transaction,
        token: ReplyToken,
    ) -> TransactionDecision {
        let answer = TransactionReply::InitProducerId(Ok(transaction.producer));
        self.become_and(transactional_id, transaction, Some(TransactionEffect::Reply(token, answer)))
    }
}
