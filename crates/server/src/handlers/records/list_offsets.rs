//! ListOffsets (key 2), versions 1–11, broker listener.
//!
//! Finds offsets: the latest, the earliest, the first of a time, the one of the latest timestamp.
//!
//! - −1 latest (last stable for read-committed), −2 earliest, −3 largest timestamp (v7), −4 earliest on local
//!   disk (v8), −5 latest tiered (v9) and −6 earliest not yet tiered (v11): nothing is tiered, so −4 is the
//!   earliest, and −5 and −6 are unknown.
//! - Differs from Kafka: nothing known.

use super::errors;
use crate::broker::Broker;
use crate::request::{Answer, RequestContext};
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_replication::Partition;
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicIdPartition, repeated};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// For a replica's id, what those say that are none.
pub(super) const CONSUMER: i32 = -1;

/// For a replica's id, what a reader says that looks into the replicas: here it is told of the log's end, not of the high watermark.
pub(super) const DEBUGGING_CONSUMER: i32 = -2;

/// How long to wait for a topic that another broker has heard of first: a client asks here because it was told to,
/// and some give up when they are told that there is no such topic.
const NEW_PATIENCE: Duration = Duration::from_secs(1);

/// Answers for the partitions led here.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> Answer<ListOffsetsResponse> {
    let is_known =
        |image: &MetadataImage, topic: &ListOffsetsTopic| image.topics.by_name(&topic.name).is_some();
    let image = broker.image();
    if request.topics.iter().all(|topic| is_known(&image, topic)) {
        return Answer::Now(answer(broker, context, &request));
    }
    let (broker, context) = (broker.clone(), context.clone());
    Answer::later(async move {
        broker
            .wait_for_image(|image| request.topics.iter().all(|topic| is_known(image, topic)), NEW_PATIENCE)
            .await;
        answer(&broker, &context, &request)
    })
}

fn answer(broker: &Broker, context: &RequestContext, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let image = broker.image();
    let isolation_is_known = (0..=1).contains(&request.isolation_level);
    let mut answered = BTreeSet::new();
    let asked = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index))
    });
    let repeated = repeated(asked);
    let mut topics: Vec<ListOffsetsTopicResponse> = request
        .topics
        .iter()
        .map(|topic| {
            let topic_id = image.topics.by_name(&topic.name).map(|topic| topic.id);
            let partitions = topic
                .partitions
                .iter()
                .filter(|asked| answered.insert((topic.name.as_str(), asked.partition_index)))
                .map(|asked| {
                    let index = asked.partition_index;
                    let found = match topic_id {
                        // As Kafka says it; what it cannot tell from others is no mistake of a reader's.
                        _ if !isolation_is_known => Err(ErrorCode::UnknownServerError),
                        _ if !is_of_version(asked.timestamp, context.version) => {
                            Err(ErrorCode::UnsupportedVersion)
                        }
                        _ if repeated.contains(&(topic.name.as_str(), index)) => {
                            Err(ErrorCode::InvalidRequest)
                        }
                        None => Err(ErrorCode::UnknownTopicOrPartition),
                        Some(id) => match broker.replicas.get(TopicIdPartition::new(id, index)) {
                            Some(replica) => find(&replica.lock(), context, request, asked),
                            None => Err(broker.absence(&image, TopicIdPartition::new(id, index))),
                        },
                    };
                    let mut response = ListOffsetsPartitionResponse {
                        partition_index: index,
                        timestamp: -1,
                        offset: -1,
                        leader_epoch: -1,
                        ..Default::default()
                    };
                    match found {
                        Ok(Some(found)) => {
                            response.timestamp = found.timestamp.0;
                            response.offset = found.offset.0;
                            response.leader_epoch = found.leader_epoch.0;
                        }
                        Ok(None) => {}
                        Err(error) => response.error_code = error.code(),
                    }
                    response
                })
                .collect();
            ListOffsetsTopicResponse { name: topic.name.clone(), partitions }
        })
        .collect();
    topics.retain(|topic| !topic.partitions.is_empty());
    ListOffsetsResponse { topics, ..Default::default() }
}

/// Whether a time has a meaning in a version.
fn is_of_version(timestamp: i64, version: i16) -> bool {
    match timestamp {
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        EARLIEST_PENDING_UPLOAD => version >= 11,
        timestamp => timestamp >= EARLIEST,
    }
}

struct Found {
    timestamp: Timestamp,
    offset: Offset,
    leader_epoch: LeaderEpoch,
}

fn find(
    partition: &Partition,
    context: &RequestContext,
    request: &ListOffsetsRequest,
    asked: &ListOffsetsPartition,
) -> Result<Option<Found>, ErrorCode> {
    partition.check_epoch(LeaderEpoch(asked.current_leader_epoch)).map_err(|e| errors::fetch(&e))?;
    let Some(leader) = partition.serving() else { return Err(ErrorCode::NotLeaderOrFollower) };
    let log = partition.log();
    let upper = match (request.replica_id, request.isolation_level) {
        (CONSUMER, 1) => partition.last_stable_offset(),
        (CONSUMER, _) => partition.high_watermark(),
        // A debugging consumer (-2), or a replica, which is to have all that there is.
        _ => log.log_end_offset(),
    };
    let waits_for_epoch = request.replica_id == CONSUMER && partition.high_watermark() < leader.epoch_start;
    if waits_for_epoch && (asked.timestamp == LATEST || asked.timestamp >= 0) {
        // A new leader does not know yet what its predecessor had committed.
        return Err(if context.version >= 5 {
            ErrorCode::OffsetNotAvailable
        } else {
            ErrorCode::LeaderNotAvailable
        });
    }
    let epoch_at = |offset| log.epochs().epoch_of(offset).unwrap_or(LeaderEpoch::NONE);
    match asked.timestamp {
        LATEST => Ok(Some(Found { timestamp: Timestamp::NONE, offset: upper, leader_epoch: leader.epoch })),
        EARLIEST | EARLIEST_LOCAL => {
            let offset = log.log_start_offset();
            Ok(Some(Found { timestamp: Timestamp::NONE, offset, leader_epoch: epoch_at(offset) }))
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(None),
        MAX_TIMESTAMP => {
            let found = log.max_timestamp_offset().map_err(|_| ErrorCode::KafkaStorageError)?;
            Ok(found.filter(|found| found.offset < upper).map(|found| Found {
                timestamp: found.timestamp,
                offset: found.offset,
                leader_epoch: found.leader_epoch,
            }))
        }
        timestamp if timestamp >= 0 => {
            let found =
                log.offset_for_timestamp(Timestamp(timestamp)).map_err(|_| ErrorCode::KafkaStorageError)?;
            Ok(found.filter(|found| found.offset < upper).map(|found| Found {
                timestamp: found.timestamp,
                offset: found.offset,
                leader_epoch: found.leader_epoch,
            }))
        }
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}
