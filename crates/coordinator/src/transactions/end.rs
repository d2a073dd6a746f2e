//! EndTxn: a transaction is decided; its markers are written; it is over (TXN-2).

use super::TransactionCoordinator;
use super::effect::{Producer, TransactionDecision, TransactionEffect, TransactionReply, reply};
use super::transaction::{ClientVersion, Transaction, TransactionState, is_exhausted, next};
use crate::reply::ReplyToken;
use ottla_protocol::ErrorCode;
use ottla_types::{Now, ProducerEpoch, ProducerId};

/// What an EndTxn asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    /// The transactional id.
    pub transactional_id: String,
    /// Who asks.
    pub producer: Producer,
    /// Commit, or abort.
    pub committed: bool,
    /// By the version of the request.
    pub client_version: ClientVersion,
}

/// What the state says to an EndTxn.
enum Answer {
    /// It is decided now.
    Decide,
    /// It was decided so before.
    Repeat,
}

impl TransactionCoordinator {
    /// Handles an EndTxn. The answer comes when the decision is committed; markers are written after it.
    pub fn handle_end_txn(
        &mut self,
        request: &EndTransaction,
        token: ReplyToken,
        now: Now,
    ) -> TransactionDecision {
        self.end_txn(request, token, now)
            .unwrap_or_else(|error| reply(token, TransactionReply::EndTxn(Err(error))))
    }

    fn end_txn(
        &mut self,
        request: &EndTransaction,
        token: ReplyToken,
        now: Now,
    ) -> Result<TransactionDecision, ErrorCode> {
        let EndTransaction { transactional_id, committed, client_version, .. } = request;
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let known = self.transactions.get(transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        match judge(known, request)? {
            Answer::Repeat => Ok(reply(token, TransactionReply::EndTxn(Ok(known.producer)))),
            Answer::Decide => {
                let mut ending = known.clone();
                if ending.state != TransactionState::Ongoing {
                    // A transaction without partitions: it begins and ends at once, and the epoch is bumped.
                    ending.begin(now);
                    ending.partitions.clear();
                }
                ending.state =
                    if *committed { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
                ending.client_version = *client_version;
                ending.updated_at = now.wall;
                if client_version.bumps() {
                    if ending.is_exhausted() {
                        ending.next_producer_id = self.take_producer_id()?;
                    }
                    ending.last_epoch = ending.producer.epoch;
                    ending.producer.epoch = next(ending.producer.epoch);
                }
                let answer = TransactionReply::EndTxn(Ok(ending.next_producer()));
                Ok(self.end_with(transactional_id, &ending, token, answer))
            }
        }
    }

    /// A transaction's markers are in the logs of all its partitions, or the partitions are gone: it is over. What is said of
    /// another incarnation than the one that is ending is old.
    pub fn handle_markers_written(
        &mut self,
        transactional_id: &str,
        producer: Producer,
        now: Now,
    ) -> TransactionDecision {
        let Some(known) = self.transactions.get(transactional_id) else { return TransactionDecision::none() };
        if !known.state.is_ending() || known.producer != producer {
            return TransactionDecision::none();
        }
        let mut over = known.clone();
        over.state = match known.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        over.partitions.clear();
        over.updated_at = now.wall;
        over.due = None;
        if known.client_version.bumps() {
            over.previous_producer_id = known.producer.id;
            over.producer = known.next_producer();
            over.next_producer_id = ProducerId::NONE;
            over.last_epoch = known.producer.epoch;
        }
        self.become_and(transactional_id, &over, None)
    }

    /// Writes a decision down; markers follow when it is committed.
    pub(super) fn end_with(
        &mut self,
        transactional_id: &str,
        ending: &Transaction,
        token: ReplyToken,
        answer: TransactionReply,
    ) -> TransactionDecision {
        let answer = TransactionEffect::Reply(token, answer);
        let mut decision = self.become_and(transactional_id, ending, Some(answer));
        decision.replies.push(TransactionEffect::WriteMarkers(ending.markers(transactional_id)));
        decision
    }
}

/// Kafka's rules, in its order (KIP-890 has the table of what is a repetition).
fn judge(known: &Transaction, request: &EndTransaction) -> Result<Answer, ErrorCode> {
    let EndTransaction { producer: asking, committed, client_version, .. } = request;
    let bumped = known.client_version.bumps();
    // The request was carried out, and its answer lost.
    let repeats_rotation = bumped
        && known.previous_producer_id == asking.id
        && is_exhausted(asking.epoch)
        && known.producer.epoch == ProducerEpoch(0);
    let repeats = repeats_rotation || (bumped && next(asking.epoch) == known.producer.epoch);
    if known.producer.id != asking.id && !repeats_rotation {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_current = known.producer.epoch == asking.epoch;
    let is_valid = match known.state {
        TransactionState::Empty | TransactionState::Ongoing => is_current,
        TransactionState::PrepareCommit | TransactionState::PrepareAbort if bumped => repeats,
        TransactionState::CompleteCommit | TransactionState::CompleteAbort if bumped => repeats || is_current,
        _ => is_current,
    };
    if !is_valid {
        return Err(ErrorCode::ProducerFenced);
    }
    let aborts_nothing = !committed && client_version.bumps();
    match known.state {
        TransactionState::Ongoing => Ok(Answer::Decide),
        TransactionState::PrepareCommit if *committed => Err(ErrorCode::ConcurrentTransactions),
        TransactionState::PrepareAbort if !committed => Err(ErrorCode::ConcurrentTransactions),
        TransactionState::CompleteCommit if *committed && (repeats || !bumped) => Ok(Answer::Repeat),
        TransactionState::CompleteAbort if !committed && (repeats || !client_version.bumps()) => {
            Ok(Answer::Repeat)
        }
        TransactionState::Empty => {
            if aborts_nothing {
                Ok(Answer::Decide)
            } else {
                Err(ErrorCode::InvalidTxnState)
            }
        }
        TransactionState::CompleteCommit | TransactionState::CompleteAbort if aborts_nothing && !repeats => {
            Ok(Answer::Decide)
        }
        _ => Err(ErrorCode::InvalidTxnState),
    }
}
