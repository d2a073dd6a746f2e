//! Vote (key 52).

use super::{METADATA_PARTITION, METADATA_TOPIC_NAME, Refusal, WireContext};
use super::{check_partition, leader_and_epoch, leader_id, only};
use crate::error::ErrorCode;
use crate::message::{LeaderAndEpoch, VoteRequest, VoteResponse};
use crate::voters::{Endpoint, ReplicaKey};
use ottla_protocol::messages::{vote_request, vote_response};
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch};

/// Wraps a request.
pub fn vote_request_to_wire(request: &VoteRequest, context: &WireContext) -> vote_request::VoteRequest {
    let partition = vote_request::PartitionData {
        partition_index: METADATA_PARTITION,
        replica_epoch: request.epoch.0,
        replica_id: request.candidate.id.0,
        replica_directory_id: request.candidate.directory_id,
        voter_directory_id: request.voter.directory_id,
        last_offset_epoch: request.last.epoch.0,
        last_offset: request.last.offset.0,
        pre_vote: request.pre_vote,
    };
    vote_request::VoteRequest {
        cluster_id: Some(context.cluster_id.clone()),
        voter_id: request.voter.id.0,
        topics: vec![vote_request::TopicData {
            topic_name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![partition],
        }],
    }
}

/// Unwraps a request.
///
/// # Errors
/// When it is of another cluster, or not about the metadata log alone.
pub fn vote_request_from_wire(
    wire: vote_request::VoteRequest,
    context: &WireContext,
) -> Result<VoteRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.topic_name, partition.partition_index)?;
    Ok(VoteRequest {
        voter: ReplicaKey::new(NodeId(wire.voter_id), partition.voter_directory_id),
        candidate: ReplicaKey::new(NodeId(partition.replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.replica_epoch),
        last: OffsetAndEpoch {
            epoch: LeaderEpoch(partition.last_offset_epoch),
            offset: Offset(partition.last_offset),
        },
        pre_vote: partition.pre_vote,
    })
}

/// Wraps a response.
pub fn vote_response_to_wire(response: &VoteResponse) -> vote_response::VoteResponse {
    let partition = vote_response::PartitionData {
        partition_index: METADATA_PARTITION,
        error_code: response.error.code(),
        leader_id: leader_id(response.leader),
        leader_epoch: response.leader.epoch.0,
        vote_granted: response.vote_granted,
    };
    let endpoint = response.leader_endpoint.as_ref().map(|endpoint| vote_response::NodeEndpoint {
        node_id: leader_id(response.leader),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    vote_response::VoteResponse {
        error_code: 0,
        topics: vec![vote_response::TopicData {
            topic_name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![partition],
        }],
        node_endpoints: endpoint.into_iter().collect(),
    }
}

/// The response to a request that the machine does not get to see.
pub fn vote_response_to_wire_refused(refusal: Refusal) -> vote_response::VoteResponse {
    let error_code = refusal.error_code().code();
    vote_response::VoteResponse { error_code, ..vote_response::VoteResponse::default() }
}

/// Unwraps a response.
///
/// # Errors
/// When it is not about the metadata log alone.
pub fn vote_response_from_wire(wire: vote_response::VoteResponse) -> Result<VoteResponse, Refusal> {
    if wire.error_code != 0 {
        return Ok(VoteResponse {
            error: ErrorCode::from_code(wire.error_code),
            leader: LeaderAndEpoch::UNKNOWN,
            leader_endpoint: None,
            vote_granted: false,
        });
    }
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.topic_name, partition.partition_index)?;
    let endpoint = wire.node_endpoints.into_iter().find(|node| node.node_id == partition.leader_id);
    Ok(VoteResponse {
        error: ErrorCode::from_code(partition.error_code),
        leader: leader_and_epoch(partition.leader_id, partition.leader_epoch),
        leader_endpoint: endpoint.map(|node| Endpoint { host: node.host, port: node.port }),
        vote_granted: partition.vote_granted,
    })
}
