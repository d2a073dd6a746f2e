//! AddPartitionsToTxn (key 24, versions 0–5), AddOffsetsToTxn (25, 0–4), broker listener.
//!
//! Lets partitions, or the one with a group's offsets, take part in a transaction.
//!
//! - v2 PRODUCER_FENCED; before it INVALID_PRODUCER_EPOCH. AddPartitionsToTxn v4 several transactions, from leaders: each may
//!   ask only whether its partitions take part (KIP-890). v5 is as v4.
//! - A partition that is named twice is answered once where each has an error of its own, and twice where all have the same.
//! - Differs from Kafka: nothing known.

use super::fenced::error_for;
use crate::broker::{Broker, OFFSETS_TOPIC, is_internal_topic};
use crate::groups::GroupCoordinators;
use crate::handlers::groups::find_coordinator::create_topic_if_missing;
use crate::request::{Answer, RequestContext};
use ottla_coordinator::transactions::{PartitionErrors, Producer, TransactionReply};
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_offsets_to_txn_response::AddOffsetsToTxnResponse;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};
use ottla_types::{ProducerEpoch, ProducerId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first version that knows PRODUCER_FENCED.
const FENCED_VERSION_MIN: i16 = 2;

/// The first version of leaders, with several transactions.
const LEADERS_VERSION_MIN: i16 = 4;

/// Lets partitions take part, or says whether they do.
pub fn add_partitions(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> Answer<AddPartitionsToTxnResponse> {
    let (broker, version) = (broker.clone(), context.version);
    Answer::later(async move {
        if version < LEADERS_VERSION_MIN {
            let only = AddPartitionsToTxnTransaction {
                transactional_id: request.v3_and_below_transactional_id,
                producer_id: request.v3_and_below_producer_id,
                producer_epoch: request.v3_and_below_producer_epoch,
                verify_only: false,
                topics: request.v3_and_below_topics,
            };
            let errors = one(&broker, version, &only).await;
            let results_by_topic_v3_and_below = by_topic(&errors);
            return AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() };
        }
        let mut results_by_transaction = Vec::new();
        for transaction in request.transactions {
            let errors = one(&broker, version, &transaction).await;
            results_by_transaction.push(AddPartitionsToTxnResult {
                topic_results: by_topic(&errors),
                transactional_id: transaction.transactional_id,
            });
        }
        AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() }
    })
}

async fn one(broker: &Broker, version: i16, transaction: &AddPartitionsToTxnTransaction) -> PartitionErrors {
    let partitions: BTreeSet<TopicPartition> = named(&transaction.topics).collect();
    let image = broker.image();
    if let Some(errors) = refused(&image, version, &partitions) {
        return errors;
    }
    let producer = Producer {
        id: ProducerId(transaction.producer_id),
        epoch: ProducerEpoch(transaction.producer_epoch),
    };
    let transactional_id = &transaction.transactional_id;
    if !transaction.verify_only {
        let added = add(broker, version, transactional_id, producer, &partitions).await;
        return all(&transaction.topics, added);
    }
    let handled = broker.transactions.handle(&image, transactional_id, |machine, token, _| {
        machine.coordinator().handle_verify_partitions(transactional_id, producer, &partitions, token)
    });
    match handled.await {
        Ok(TransactionReply::Verified(errors)) => errors,
        Ok(_) => unreachable!("asked for"),
        Err(error) => all(&transaction.topics, error),
    }
}

/// Lets partitions take part.
async fn add(
    broker: &Broker,
    version: i16,
    transactional_id: &str,
    producer: Producer,
    partitions: &BTreeSet<TopicPartition>,
) -> ErrorCode {
    if transactional_id.is_empty() {
        return ErrorCode::InvalidRequest;
    }
    let image = broker.image();
    let handled = broker.transactions.handle(&image, transactional_id, |machine, token, now| {
        machine.coordinator().handle_add_partitions(transactional_id, producer, partitions, token, now)
    });
    let added = handled.await.and_then(|reply| match reply {
        TransactionReply::Added(ErrorCode::None) => Ok(()),
        TransactionReply::Added(error) => Err(error),
        _ => unreachable!("asked for"),
    });
    error_for(version, FENCED_VERSION_MIN, added).err().unwrap_or(ErrorCode::None)
}

/// The errors if a partition is not there, or no client's to write to: then none is added.
fn refused(
    image: &MetadataImage,
    version: i16,
    partitions: &BTreeSet<TopicPartition>,
) -> Option<PartitionErrors> {
    let is_there = |at: &TopicPartition| {
        image.topics.by_name(&at.topic).is_some_and(|topic| topic.partitions.contains_key(&at.partition))
    };
    let wrong = |at: &TopicPartition| match () {
        () if version < LEADERS_VERSION_MIN && is_internal_topic(&at.topic) => {
            Some(ErrorCode::TopicAuthorizationFailed)
        }
        () if !is_there(at) => Some(ErrorCode::UnknownTopicOrPartition),
        () => None,
    };
    if partitions.iter().all(|at| wrong(at).is_none()) {
        return None;
    }
    let error = |at: &TopicPartition| wrong(at).unwrap_or(ErrorCode::OperationNotAttempted);
    Some(partitions.iter().map(|at| (at.clone(), error(at))).collect())
}

fn named(topics: &[AddPartitionsToTxnTopic]) -> impl Iterator<Item = TopicPartition> {
    topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|&index| TopicPartition::new(&topic.name, index)))
}

/// The same error for all, as often as each is named.
fn all(topics: &[AddPartitionsToTxnTopic], error: ErrorCode) -> PartitionErrors {
    named(topics).map(|at| (at, error)).collect()
}

/// The errors in the shape of an answer.
fn by_topic(errors: &PartitionErrors) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut results: BTreeMap<&str, Vec<AddPartitionsToTxnPartitionResult>> = BTreeMap::new();
    for (at, error) in errors {
        results.entry(&at.topic).or_default().push(AddPartitionsToTxnPartitionResult {
            partition_index: at.partition,
            partition_error_code: error.code(),
        });
    }
    let result = |(name, results_by_partition): (&str, _)| AddPartitionsToTxnTopicResult {
        name: name.to_owned(),
        results_by_partition,
    };
    results.into_iter().map(result).collect()
}

/// Lets a group's offsets take part.
pub fn add_offsets(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AddOffsetsToTxnRequest,
) -> Answer<AddOffsetsToTxnResponse> {
    let (broker, version) = (broker.clone(), context.version);
    Answer::later(async move {
        let error = match offsets_partition(&broker, &request.group_id).await {
            Some(partition) => {
                let producer = Producer {
                    id: ProducerId(request.producer_id),
                    epoch: ProducerEpoch(request.producer_epoch),
                };
                let partitions = BTreeSet::from([partition]);
                add(&broker, version, &request.transactional_id, producer, &partitions).await
            }
            None => ErrorCode::CoordinatorNotAvailable,
        };
        AddOffsetsToTxnResponse { error_code: error.code(), ..Default::default() }
    })
}

/// The partition with a group's offsets.
async fn offsets_partition(broker: &Broker, group_id: &str) -> Option<TopicPartition> {
    create_topic_if_missing(broker, OFFSETS_TOPIC).await;
    let partition = GroupCoordinators::partition_of(&broker.image(), group_id)?;
    Some(TopicPartition::new(OFFSETS_TOPIC, partition))
}
