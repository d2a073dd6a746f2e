//! What comes of an event: records, and what is done once they are committed.

use super::describe::TransactionDescription;
use crate::reply::ReplyToken;
use ottla_protocol::ErrorCode;
use ottla_protocol::records::transaction::TransactionRecord;
use ottla_types::{Decision, ProducerEpoch, ProducerId, TopicPartition};
use std::collections::BTreeSet;

/// An id and its epoch: one incarnation of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    /// The id.
    pub id: ProducerId,
    /// The epoch.
    pub epoch: ProducerEpoch,
}

impl Producer {
    /// The wire's "none".
    pub const NONE: Producer = Producer { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
}

/// Each partition's error.
pub type PartitionErrors = Vec<(TopicPartition, ErrorCode)>;

/// An answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionReply {
    /// To InitProducerId: who the producer is from now on.
    InitProducerId(Result<Producer, ErrorCode>),
    /// To AddPartitionsToTxn and AddOffsetsToTxn: one error for all partitions.
    Added(ErrorCode),
    /// To AddPartitionsToTxn that only verifies.
    Verified(PartitionErrors),
    /// To EndTxn: who the producer is from now on.
    EndTxn(Result<Producer, ErrorCode>),
    /// To DescribeTransactions.
    Described(Result<TransactionDescription, ErrorCode>),
    /// To ListTransactions: those of this partition.
    Listed(Result<Vec<TransactionDescription>, ErrorCode>),
}

impl TransactionReply {
    /// The answer to send in place of this one when what it waits for will never be committed here.
    pub fn into_error(self, error: ErrorCode) -> TransactionReply {
        match self {
            TransactionReply::InitProducerId(_) => TransactionReply::InitProducerId(Err(error)),
            TransactionReply::Added(_) => TransactionReply::Added(error),
            TransactionReply::Verified(partitions) => TransactionReply::Verified(
                partitions.into_iter().map(|(partition, _)| (partition, error)).collect(),
            ),
            TransactionReply::EndTxn(_) => TransactionReply::EndTxn(Err(error)),
            TransactionReply::Described(_) => TransactionReply::Described(Err(error)),
            TransactionReply::Listed(_) => TransactionReply::Listed(Err(error)),
        }
    }
}

/// The markers of a transaction that ends. Whoever writes them says so with
/// [`super::TransactionCoordinator::handle_markers_written`]; until then they are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Whose transaction it is.
    pub transactional_id: String,
    /// The producer in the markers. Its epoch fences the one that wrote, where the transaction was ended so.
    pub producer: Producer,
    /// Commit, or abort.
    pub committed: bool,
    /// Where they go. None, when an empty transaction is aborted: then they are written already.
    pub partitions: BTreeSet<TopicPartition>,
    /// `TransactionVersion` of WriteTxnMarkers v2 (KIP-1228): from 2 on the markers' epoch is above the records'.
    pub transaction_version: i8,
}

/// What is done when a decision's records are committed.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionEffect {
    /// Answer.
    Reply(ReplyToken, TransactionReply),
    /// Write markers.
    WriteMarkers(Markers),
}

/// What the coordinator answers to an event.
pub type TransactionDecision = Decision<TransactionRecord, TransactionEffect>;

pub(super) fn reply(token: ReplyToken, reply: TransactionReply) -> TransactionDecision {
    TransactionDecision::reply(TransactionEffect::Reply(token, reply))
}
