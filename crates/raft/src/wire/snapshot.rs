//! FetchSnapshot (key 59) of the metadata log.

use super::{METADATA_PARTITION, METADATA_TOPIC_NAME, Refusal, WireContext};
use super::{check_partition, leader_and_epoch, leader_id, only};
use crate::error::ErrorCode;
use crate::message::{FetchSnapshotRequest, FetchSnapshotResponse, LeaderAndEpoch};
use crate::voters::{Endpoint, ReplicaKey};
use ottla_protocol::Records;
use ottla_protocol::messages::{fetch_snapshot_request as request, fetch_snapshot_response as response};
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch};

/// Wraps a request.
pub fn fetch_snapshot_request_to_wire(
    asked: &FetchSnapshotRequest,
    context: &WireContext,
) -> request::FetchSnapshotRequest {
    request::FetchSnapshotRequest {
        cluster_id: Some(context.cluster_id.clone()),
        replica_id: asked.replica.id.0,
        max_bytes: i32::try_from(asked.bytes_max).unwrap_or(i32::MAX),
        topics: vec![request::TopicSnapshot {
            name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![request::PartitionSnapshot {
                partition: METADATA_PARTITION,
                current_leader_epoch: asked.epoch.0,
                snapshot_id: request::SnapshotId { end_offset: asked.id.offset.0, epoch: asked.id.epoch.0 },
                position: asked.position,
                replica_directory_id: asked.replica.directory_id,
            }],
        }],
    }
}

/// Unwraps a request. A limit below zero is taken for zero.
///
/// # Errors
/// When it is of another cluster, or not about the metadata log alone.
pub fn fetch_snapshot_request_from_wire(
    wire: request::FetchSnapshotRequest,
    context: &WireContext,
) -> Result<FetchSnapshotRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.name, partition.partition)?;
    Ok(FetchSnapshotRequest {
        replica: ReplicaKey::new(NodeId(wire.replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.current_leader_epoch),
        id: OffsetAndEpoch {
            offset: Offset(partition.snapshot_id.end_offset),
            epoch: LeaderEpoch(partition.snapshot_id.epoch),
        },
        position: partition.position,
        bytes_max: usize::try_from(wire.max_bytes).unwrap_or(0),
    })
}

/// Wraps a response.
pub fn fetch_snapshot_response_to_wire(answer: &FetchSnapshotResponse) -> response::FetchSnapshotResponse {
    let endpoint = answer.leader_endpoint.as_ref().map(|endpoint| response::NodeEndpoint {
        node_id: leader_id(answer.leader),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    response::FetchSnapshotResponse {
        topics: vec![response::TopicSnapshot {
            name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![response::PartitionSnapshot {
                index: METADATA_PARTITION,
                error_code: answer.error.code(),
                snapshot_id: response::SnapshotId {
                    end_offset: answer.id.offset.0,
                    epoch: answer.id.epoch.0,
                },
                current_leader: response::LeaderIdAndEpoch {
                    leader_id: leader_id(answer.leader),
                    leader_epoch: answer.leader.epoch.0,
                },
                size: answer.size,
                position: answer.position,
                unaligned_records: Some(Records::Memory(answer.bytes.clone())),
            }],
        }],
        node_endpoints: endpoint.into_iter().collect(),
        ..response::FetchSnapshotResponse::default()
    }
}

/// The response to a request that is not looked at further.
pub fn fetch_snapshot_response_to_wire_refused(refusal: Refusal) -> response::FetchSnapshotResponse {
    response::FetchSnapshotResponse { error_code: refusal.error_code().code(), ..Default::default() }
}

/// Unwraps a response.
///
/// # Errors
/// When it is not about the metadata log alone.
pub fn fetch_snapshot_response_from_wire(
    wire: response::FetchSnapshotResponse,
) -> Result<FetchSnapshotResponse, Refusal> {
    if wire.error_code != 0 {
        return Ok(FetchSnapshotResponse::failed(
            ErrorCode::from_code(wire.error_code),
            LeaderAndEpoch::UNKNOWN,
            None,
        ));
    }
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.name, partition.index)?;
    let leader = partition.current_leader;
    let endpoint = wire.node_endpoints.into_iter().find(|node| node.node_id == leader.leader_id);
    let bytes = partition.unaligned_records.map(|records| records.to_bytes());
    Ok(FetchSnapshotResponse {
        error: ErrorCode::from_code(partition.error_code),
        leader: leader_and_epoch(leader.leader_id, leader.leader_epoch),
        leader_endpoint: endpoint.map(|node| Endpoint { host: node.host, port: node.port }),
        id: OffsetAndEpoch {
            offset: Offset(partition.snapshot_id.end_offset),
            epoch: LeaderEpoch(partition.snapshot_id.epoch),
        },
        size: partition.size,
        position: partition.position,
        // What decoding yields is in memory; nothing else can fail.
        bytes: bytes.and_then(Result::ok).unwrap_or_default(),
    })
}

impl FetchSnapshotResponse {
    /// A response that brings nothing.
    pub fn failed(
        error: ErrorCode,
        leader: LeaderAndEpoch,
        leader_endpoint: Option<Endpoint>,
    ) -> FetchSnapshotResponse {
        FetchSnapshotResponse {
            error,
            leader,
            leader_endpoint,
            id: OffsetAndEpoch { offset: Offset::UNKNOWN, epoch: LeaderEpoch::NONE },
            size: 0,
            position: 0,
            bytes: bytes::Bytes::new(),
        }
    }
}
