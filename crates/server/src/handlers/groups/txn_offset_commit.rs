//! TxnOffsetCommit (key 28), versions 0–6, broker listener.
//!
//! Keeps how far a transaction has read; the group is told of it when the transaction is committed.
//!
//! - v3 names the member, which is checked then; v4 TRANSACTION_ABORTABLE; from v5 on the partition with the group's offsets
//!   begins to take part (KIP-890); v6 topic ids.
//! - Differs from Kafka: nothing known.

use super::membership::group_context;
use super::merge;
use crate::broker::Broker;
use crate::coordination::shard::Writer;
use crate::request::{Answer, RequestContext};
use crate::transactions::verifier::{Support, TransactionalProducer};
use ottla_coordinator::GroupReply;
use ottla_coordinator::txn_offset_commit::txn_answer;
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponseTopic,
};
use ottla_storage::VerificationGuard;
use ottla_types::{ProducerEpoch, ProducerId};
use std::sync::Arc;

/// The first version with topic ids instead of names.
const TOPIC_ID_VERSION_MIN: i16 = 6;

/// Stores offsets of a transaction.
pub fn handle(
    broker: &Arc<Broker>,
    context: RequestContext,
    mut request: TxnOffsetCommitRequest,
) -> Answer<TxnOffsetCommitResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let unknown = take_unknown(&image, context.version, &mut request);
        let mut response = if request.topics.is_empty() && !unknown.is_empty() {
            TxnOffsetCommitResponse::default()
        } else {
            match commit(&broker, &context, &image, &request).await {
                Ok(response) => response,
                Err(error) => txn_answer(&request, |_| error),
            }
        };
        let topic = |topic: &TxnOffsetCommitResponseTopic| (topic.name.clone(), topic.topic_id);
        merge(&mut response.topics, unknown, topic, |known, more| known.partitions.extend(more.partitions));
        response
    })
}

async fn commit(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    request: &TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let producer = TransactionalProducer {
        transactional_id: request.transactional_id.clone(),
        id: ProducerId(request.producer_id),
        epoch: ProducerEpoch(request.producer_epoch),
    };
    let support = Support::of_txn_offset_commit(context.version);
    let shard = broker.groups.loaded(image, &request.group_id).await?;
    let guard = verify(broker, &shard, &producer, support).await?;
    let writer = Writer { producer_id: producer.id, epoch: producer.epoch, guard };
    let handled = shard.handle_for(Some(writer), |machine, token, now| {
        machine.handle_txn_offset_commit(request, &group_context(context, token), now)
    });
    let GroupReply::TxnOffsetCommit(response) = handled.await? else { unreachable!("asked for") };
    Ok(response)
}

/// Has the partition with the group's offsets take part in the transaction, or sees that it does.
async fn verify(
    broker: &Broker,
    shard: &GroupShard,
    producer: &TransactionalProducer,
    support: Support,
) -> Result<Option<VerificationGuard>, ErrorCode> {
    if !support.bumps_epoch() && !broker.verifies_transactions() {
        return Ok(None);
    }
    let started = shard.start_verification((producer.id, producer.epoch), support.bumps_epoch())?;
    let Some(guard) = started else { return Ok(None) };
    let partition = shard.partition().clone();
    let unverified = broker.verify(producer, [partition.clone()].into(), support).await;
    match unverified.get(&partition) {
        None => Ok(Some(guard)),
        // Older clients would not send it again otherwise.
        Some(ErrorCode::NetworkException) => Err(ErrorCode::CoordinatorLoadInProgress),
        Some(error) => Err(*error),
    }
}

type GroupShard = Arc<crate::coordination::Shard<ottla_coordinator::GroupCoordinator>>;

/// Takes out topics and partitions that do not exist, which are answered at once; the known ones get their names.
fn take_unknown(
    image: &MetadataImage,
    version: i16,
    request: &mut TxnOffsetCommitRequest,
) -> Vec<TxnOffsetCommitResponseTopic> {
    let by_id = version >= TOPIC_ID_VERSION_MIN;
    let (mut known, mut unknown, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for mut topic in std::mem::take(&mut request.topics) {
        let found =
            if by_id { image.topics.by_id(topic.topic_id) } else { image.topics.by_name(&topic.name) };
        match found {
            Some(found) => {
                topic.name.clone_from(&found.name);
                topic.topic_id = found.id;
                let (there, not) = std::mem::take(&mut topic.partitions).into_iter().partition(
                    |p: &TxnOffsetCommitRequestPartition| found.partitions.contains_key(&p.partition_index),
                );
                let not = TxnOffsetCommitRequestTopic { partitions: not, ..topic.clone() };
                topic.partitions = there;
                if !topic.partitions.is_empty() || not.partitions.is_empty() {
                    known.push(topic);
                }
                if !not.partitions.is_empty() {
                    absent.push(not);
                }
            }
            None => unknown.push(topic),
        }
    }
    let missing = TxnOffsetCommitRequest { topics: unknown, ..Default::default() };
    request.topics = known;
    let error = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let mut answered = txn_answer(&missing, |_| error).topics;
    let missing = TxnOffsetCommitRequest { topics: absent, ..Default::default() };
    answered.extend(txn_answer(&missing, |_| ErrorCode::UnknownTopicOrPartition).topics);
    answered
}
