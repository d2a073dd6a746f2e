//! DescribeTransactions and ListTransactions (KIP-664).

use super::TransactionCoordinator;
use super::effect::{Producer, TransactionDecision, TransactionReply, reply};
use super::transaction::{Transaction, TransactionState};
use crate::reply::ReplyToken;
use ottla_protocol::ErrorCode;
use ottla_types::{Now, ProducerId, Timestamp, TopicPartition};
use std::collections::BTreeSet;

/// What administrators see of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The transactional id.
    pub transactional_id: String,
    /// What it has come to.
    pub state: TransactionState,
    /// Its producer.
    pub producer: Producer,
    /// How long a transaction may take, in ms.
    pub timeout_ms: i32,
    /// When the last one began; none before the first.
    pub started_at: Timestamp,
    /// Who takes part.
    pub partitions: BTreeSet<TopicPartition>,
}

/// Which transactional ids are listed: those that all of it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Their states; all when empty.
    pub states: BTreeSet<TransactionState>,
    /// Their producers' ids; all when empty.
    pub producer_ids: BTreeSet<ProducerId>,
    /// Their last transaction began longer ago than this, in ms, or none has begun; negative: all.
    pub duration_ms: i64,
}

impl TransactionCoordinator {
    /// Handles one transactional id of a DescribeTransactions.
    pub fn handle_describe(&self, transactional_id: &str, token: ReplyToken) -> TransactionDecision {
        let described = if transactional_id.is_empty() {
            Err(ErrorCode::InvalidRequest)
        } else {
            match self.transactions.get(transactional_id) {
                Some(transaction) => Ok(describe(transactional_id, transaction)),
                None => Err(ErrorCode::TransactionalIdNotFound),
            }
        };
        reply(token, TransactionReply::Described(described))
    }

    /// Handles a ListTransactions.
    pub fn handle_list(
        &self,
        filter: &TransactionFilter,
        token: ReplyToken,
        now: Now,
    ) -> TransactionDecision {
        let fits = |transaction: &Transaction| {
            let duration = now.wall.0.saturating_sub(transaction.started_at.0);
            (filter.states.is_empty() || filter.states.contains(&transaction.state))
                && (filter.producer_ids.is_empty() || filter.producer_ids.contains(&transaction.producer.id))
                && (filter.duration_ms < 0 || duration > filter.duration_ms)
        };
        let listed = self.transactions.iter().filter(|(_, transaction)| fits(transaction));
        let listed = listed.map(|(id, transaction)| describe(id, transaction)).collect();
        reply(token, TransactionReply::Listed(Ok(listed)))
    }
}

fn describe(transactional_id: &str, transaction: &Transaction) -> TransactionDescription {
    TransactionDescription {
        transactional_id: transactional_id.to_owned(),
        state: transaction.state,
        producer: transaction.producer,
        timeout_ms: transaction.timeout_ms,
        started_at: transaction.started_at,
        partitions: transaction.partitions.clone(),
    }
}
