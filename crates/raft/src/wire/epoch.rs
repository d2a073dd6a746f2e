//! BeginQuorumEpoch (key 53) and EndQuorumEpoch (key 54), whose responses are alike.

use super::{METADATA_PARTITION, METADATA_TOPIC_NAME, Refusal, WireContext};
use super::{check_partition, leader_and_epoch, leader_id, only};
use crate::error::ErrorCode;
use crate::message::{BeginQuorumEpochRequest, EndQuorumEpochRequest, EpochResponse, LeaderAndEpoch};
use crate::voters::{Endpoint, ReplicaKey};
use ottla_protocol::messages::{begin_quorum_epoch_request as begin, end_quorum_epoch_request as end};
use ottla_protocol::messages::{begin_quorum_epoch_response, end_quorum_epoch_response};
use ottla_types::{LeaderEpoch, NodeId, Uuid};

/// Wraps a request.
pub fn begin_request_to_wire(
    request: &BeginQuorumEpochRequest,
    context: &WireContext,
) -> begin::BeginQuorumEpochRequest {
    let partition = begin::PartitionData {
        partition_index: METADATA_PARTITION,
        voter_directory_id: request.voter.directory_id,
        leader_id: request.leader.0,
        leader_epoch: request.epoch.0,
    };
    let endpoint = request.leader_endpoint.as_ref().map(|endpoint| begin::LeaderEndpoint {
        name: context.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    begin::BeginQuorumEpochRequest {
        cluster_id: Some(context.cluster_id.clone()),
        voter_id: request.voter.id.0,
        topics: vec![begin::TopicData {
            topic_name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![partition],
        }],
        leader_endpoints: endpoint.into_iter().collect(),
    }
}

/// Unwraps a request.
///
/// # Errors
/// When it is of another cluster, or not about the metadata log alone.
pub fn begin_request_from_wire(
    wire: begin::BeginQuorumEpochRequest,
    context: &WireContext,
) -> Result<BeginQuorumEpochRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.topic_name, partition.partition_index)?;
    let endpoint = wire.leader_endpoints.into_iter().find(|endpoint| endpoint.name == context.listener);
    Ok(BeginQuorumEpochRequest {
        voter: ReplicaKey::new(NodeId(wire.voter_id), partition.voter_directory_id),
        leader: NodeId(partition.leader_id),
        epoch: LeaderEpoch(partition.leader_epoch),
        leader_endpoint: endpoint.map(|endpoint| Endpoint { host: endpoint.host, port: endpoint.port }),
    })
}

/// Wraps a request.
pub fn end_request_to_wire(
    request: &EndQuorumEpochRequest,
    context: &WireContext,
) -> end::EndQuorumEpochRequest {
    let candidates = &request.preferred_candidates;
    let partition = end::PartitionData {
        partition_index: METADATA_PARTITION,
        leader_id: request.leader.0,
        leader_epoch: request.epoch.0,
        preferred_successors: candidates.iter().map(|candidate| candidate.id.0).collect(),
        preferred_candidates: candidates
            .iter()
            .map(|candidate| end::ReplicaInfo {
                candidate_id: candidate.id.0,
                candidate_directory_id: candidate.directory_id,
            })
            .collect(),
    };
    let endpoint = request.leader_endpoint.as_ref().map(|endpoint| end::LeaderEndpoint {
        name: context.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    end::EndQuorumEpochRequest {
        cluster_id: Some(context.cluster_id.clone()),
        topics: vec![end::TopicData {
            topic_name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![partition],
        }],
        leader_endpoints: endpoint.into_iter().collect(),
    }
}

/// Unwraps a request.
///
/// # Errors
/// When it is of another cluster, or not about the metadata log alone.
pub fn end_request_from_wire(
    wire: end::EndQuorumEpochRequest,
    context: &WireContext,
) -> Result<EndQuorumEpochRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.topic_name, partition.partition_index)?;
    let endpoint = wire.leader_endpoints.into_iter().find(|endpoint| endpoint.name == context.listener);
    let preferred_candidates = if partition.preferred_candidates.is_empty() {
        let key = |&id: &i32| ReplicaKey::new(NodeId(id), Uuid::ZERO);
        partition.preferred_successors.iter().map(key).collect()
    } else {
        let key =
            |info: &end::ReplicaInfo| ReplicaKey::new(NodeId(info.candidate_id), info.candidate_directory_id);
        partition.preferred_candidates.iter().map(key).collect()
    };
    Ok(EndQuorumEpochRequest {
        leader: NodeId(partition.leader_id),
        epoch: LeaderEpoch(partition.leader_epoch),
        preferred_candidates,
        leader_endpoint: endpoint.map(|endpoint| Endpoint { host: endpoint.host, port: endpoint.port }),
    })
}

/// A response that names only what is wrong.
fn failed(error_code: i16) -> EpochResponse {
    EpochResponse {
        error: ErrorCode::from_code(error_code),
        leader: LeaderAndEpoch::UNKNOWN,
        leader_endpoint: None,
    }
}

/// Wraps a response.
pub fn begin_response_to_wire(
    response: &EpochResponse,
) -> begin_quorum_epoch_response::BeginQuorumEpochResponse {
    use begin_quorum_epoch_response as wire;
    let partition = wire::PartitionData {
        partition_index: METADATA_PARTITION,
        error_code: response.error.code(),
        leader_id: leader_id(response.leader),
        leader_epoch: response.leader.epoch.0,
    };
    let endpoint = response.leader_endpoint.as_ref().map(|endpoint| wire::NodeEndpoint {
        node_id: leader_id(response.leader),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    wire::BeginQuorumEpochResponse {
        error_code: 0,
        topics: vec![wire::TopicData {
            topic_name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![partition],
        }],
        node_endpoints: endpoint.into_iter().collect(),
    }
}

/// The response to a request that the machine does not get to see.
pub fn begin_response_to_wire_refused(
    refusal: Refusal,
) -> begin_quorum_epoch_response::BeginQuorumEpochResponse {
    let error_code = refusal.error_code().code();
    begin_quorum_epoch_response::BeginQuorumEpochResponse { error_code, ..Default::default() }
}

/// Unwraps a response.
///
/// # Errors
/// When it is not about the metadata log alone.
pub fn begin_response_from_wire(
    wire: begin_quorum_epoch_response::BeginQuorumEpochResponse,
) -> Result<EpochResponse, Refusal> {
    if wire.error_code != 0 {
        return Ok(failed(wire.error_code));
    }
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.topic_name, partition.partition_index)?;
    let endpoint = wire.node_endpoints.into_iter().find(|node| node.node_id == partition.leader_id);
    Ok(EpochResponse {
        error: ErrorCode::from_code(partition.error_code),
        leader: leader_and_epoch(partition.leader_id, partition.leader_epoch),
        leader_endpoint: endpoint.map(|node| Endpoint { host: node.host, port: node.port }),
    })
}

/// Wraps a response.
pub fn end_response_to_wire(response: &EpochResponse) -> end_quorum_epoch_response::EndQuorumEpochResponse {
    use end_quorum_epoch_response as wire;
    let partition = wire::PartitionData {
        partition_index: METADATA_PARTITION,
        error_code: response.error.code(),
        leader_id: leader_id(response.leader),
        leader_epoch: response.leader.epoch.0,
    };
    let endpoint = response.leader_endpoint.as_ref().map(|endpoint| wire::NodeEndpoint {
        node_id: leader_id(response.leader),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    wire::EndQuorumEpochResponse {
        error_code: 0,
        topics: vec![wire::TopicData {
            topic_name: METADATA_TOPIC_NAME.to_owned(),
            partitions: vec![partition],
        }],
        node_endpoints: endpoint.into_iter().collect(),
    }
}

/// The response to a request that the machine does not get to see.
pub fn end_response_to_wire_refused(refusal: Refusal) -> end_quorum_epoch_response::EndQuorumEpochResponse {
    let error_code = refusal.error_code().code();
    end_quorum_epoch_response::EndQuorumEpochResponse { error_code, ..Default::default() }
}

/// Unwraps a response.
///
/// # Errors
/// When it is not about the metadata log alone.
pub fn end_response_from_wire(
    wire: end_quorum_epoch_response::EndQuorumEpochResponse,
) -> Result<EpochResponse, Refusal> {
    if wire.error_code != 0 {
        return Ok(failed(wire.error_code));
    }
    let topic = only(wire.topics)?;
    let partition = only(topic.partitions)?;
    check_partition(&topic.topic_name, partition.partition_index)?;
    let endpoint = wire.node_endpoints.into_iter().find(|node| node.node_id == partition.leader_id);
    Ok(EpochResponse {
        error: ErrorCode::from_code(partition.error_code),
        leader: leader_and_epoch(partition.leader_id, partition.leader_epoch),
        leader_endpoint: endpoint.map(|node| Endpoint { host: node.host, port: node.port }),
    })
}
