//! Fetch (key 1) of the metadata log.

use super::{METADATA_PARTITION, METADATA_TOPIC_NAME, Refusal, WireContext};
use super::{leader_and_epoch, leader_id, only};
use crate::error::ErrorCode;
use crate::message::{FetchRequest, FetchResponse, LeaderAndEpoch};
use crate::voters::{Endpoint, ReplicaKey};
use bytes::Bytes;
use ottla_protocol::messages::{fetch_request, fetch_response};
use ottla_protocol::{EncodeError, Records};
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch, Uuid};
use std::time::Duration;

/// Versions before this name topics, later ones give their ids.
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// Versions before this have the replica's id in a field of its own.
const REPLICA_STATE_VERSION_MIN: i16 = 15;

/// Wraps a request, for whatever version it is sent in.
pub fn fetch_request_to_wire(request: &FetchRequest, context: &WireContext) -> fetch_request::FetchRequest {
    let bytes_max = i32::try_from(request.bytes_max).unwrap_or(i32::MAX);
    let partition = fetch_request::FetchPartition {
        partition: METADATA_PARTITION,
        current_leader_epoch: request.epoch.0,
        fetch_offset: request.fetch_offset.0,
        last_fetched_epoch: request.last_fetched_epoch.0,
        partition_max_bytes: bytes_max,
        replica_directory_id: request.replica.directory_id,
        high_watermark: request.high_watermark.0,
        ..fetch_request::FetchPartition::default()
    };
    fetch_request::FetchRequest {
        cluster_id: Some(context.cluster_id.clone()),
        replica_id: request.replica.id.0,
        replica_state: fetch_request::ReplicaState { replica_id: request.replica.id.0, replica_epoch: -1 },
        max_wait_ms: i32::try_from(request.max_wait.as_millis()).unwrap_or(i32::MAX),
        max_bytes: bytes_max,
        topics: vec![fetch_request::FetchTopic {
            topic: METADATA_TOPIC_NAME.to_owned(),
            topic_id: Uuid::METADATA_TOPIC,
            partitions: vec![partition],
        }],
        ..fetch_request::FetchRequest::default()
    }
}

/// Unwraps a request that came in this version. Limits below zero are taken for zero.
///
/// # Errors
/// When it is of another cluster, or not about the metadata log alone.
pub fn fetch_request_from_wire(
    wire: fetch_request::FetchRequest,
    version: i16,
    context: &WireContext,
) -> Result<FetchRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    let topic = only(wire.topics)?;
    check_topic(&topic.topic, topic.topic_id, version)?;
    let partition = only(topic.partitions)?;
    if partition.partition != METADATA_PARTITION {
        return Err(Refusal::NotTheMetadataLog);
    }
    let replica_id =
        if version < REPLICA_STATE_VERSION_MIN { wire.replica_id } else { wire.replica_state.replica_id };
    // Kafka's own members of the quorum leave the partition's limit at 0 and mean the request's.
    let limit = match partition.partition_max_bytes {
        0 => wire.max_bytes,
        limit => limit.min(wire.max_bytes),
    };
    Ok(FetchRequest {
        replica: ReplicaKey::new(NodeId(replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.current_leader_epoch),
        fetch_offset: Offset(partition.fetch_offset),
        last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
        high_watermark: Offset(partition.high_watermark),
        max_wait: Duration::from_millis(u64::try_from(wire.max_wait_ms).unwrap_or(0)),
        bytes_max: usize::try_from(limit).unwrap_or(0),
    })
}

fn check_topic(name: &str, id: Uuid, version: i16) -> Result<(), Refusal> {
    let is_metadata =
        if version < TOPIC_ID_VERSION_MIN { name == METADATA_TOPIC_NAME } else { id == Uuid::METADATA_TOPIC };
    if is_metadata { Ok(()) } else { Err(Refusal::NotTheMetadataLog) }
}

/// Wraps a response.
pub fn fetch_response_to_wire(response: &FetchResponse) -> fetch_response::FetchResponse {
    let diverging = response
        .diverging
        .map(|end| fetch_response::EpochEndOffset { epoch: end.epoch.0, end_offset: end.offset.0 });
    let snapshot = response.snapshot.map(|snapshot| fetch_response::SnapshotId {
        end_offset: snapshot.offset.0,
        epoch: snapshot.epoch.0,
    });
    let partition = fetch_response::PartitionData {
        partition_index: METADATA_PARTITION,
        error_code: response.error.code(),
        high_watermark: response.high_watermark.0,
        log_start_offset: response.log_start_offset.0,
        diverging_epoch: diverging.unwrap_or_default(),
        current_leader: fetch_response::LeaderIdAndEpoch {
            leader_id: leader_id(response.leader),
            leader_epoch: response.leader.epoch.0,
        },
        snapshot_id: snapshot.unwrap_or_default(),
        records: Some(Records::Memory(response.records.clone())),
        ..fetch_response::PartitionData::default()
    };
    let endpoint = response.leader_endpoint.as_ref().map(|endpoint| fetch_response::NodeEndpoint {
        node_id: leader_id(response.leader),
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        rack: None,
    });
    fetch_response::FetchResponse {
        responses: vec![fetch_response::FetchableTopicResponse {
            topic: METADATA_TOPIC_NAME.to_owned(),
            topic_id: Uuid::METADATA_TOPIC,
            partitions: vec![partition],
        }],
        node_endpoints: endpoint.into_iter().collect(),
        ..fetch_response::FetchResponse::default()
    }
}

/// The response to a request that the machine does not get to see.
pub fn fetch_response_to_wire_refused(refusal: Refusal) -> fetch_response::FetchResponse {
    let error_code = refusal.error_code().code();
    fetch_response::FetchResponse { error_code, ..fetch_response::FetchResponse::default() }
}

/// Unwraps a response that came in this version.
///
/// # Errors
/// When it is not about the metadata log alone.
pub fn fetch_response_from_wire(
    wire: fetch_response::FetchResponse,
    version: i16,
) -> Result<FetchResponse, Refusal> {
    if wire.error_code != 0 {
        return Ok(failed(wire.error_code));
    }
    let topic = only(wire.responses)?;
    check_topic(&topic.topic, topic.topic_id, version)?;
    let partition = only(topic.partitions)?;
    if partition.partition_index != METADATA_PARTITION {
        return Err(Refusal::NotTheMetadataLog);
    }
    let leader_id = partition.current_leader.leader_id;
    let endpoint = wire.node_endpoints.into_iter().find(|node| node.node_id == leader_id).and_then(|node| {
        let port = u16::try_from(node.port).ok()?;
        Some(Endpoint { host: node.host, port })
    });
    let (diverging, snapshot) = (partition.diverging_epoch, partition.snapshot_id);
    Ok(FetchResponse {
        error: ErrorCode::from_code(partition.error_code),
        leader: leader_and_epoch(leader_id, partition.current_leader.leader_epoch),
        leader_endpoint: endpoint,
        high_watermark: Offset(partition.high_watermark),
        log_start_offset: Offset(partition.log_start_offset),
        diverging: place(diverging.epoch, diverging.end_offset),
        snapshot: place(snapshot.epoch, snapshot.end_offset),
        records: bytes_of(partition.records).unwrap_or_default(),
    })
}

/// What decoding yields is in memory; nothing else can fail.
fn bytes_of(records: Option<Records>) -> Result<Bytes, EncodeError> {
    records.map_or(Ok(Bytes::new()), |records| records.to_bytes())
}

fn place(epoch: i32, offset: i64) -> Option<OffsetAndEpoch> {
    let place = OffsetAndEpoch { epoch: LeaderEpoch(epoch), offset: Offset(offset) };
    (place.epoch.is_some() && place.offset.is_some()).then_some(place)
}

fn failed(error_code: i16) -> FetchResponse {
    FetchResponse {
        error: ErrorCode::from_code(error_code),
        leader: LeaderAndEpoch::UNKNOWN,
        leader_endpoint: None,
        high_watermark: Offset::UNKNOWN,
        log_start_offset: Offset::UNKNOWN,
        diverging: None,
        snapshot: None,
        records: Bytes::new(),
    }
}
