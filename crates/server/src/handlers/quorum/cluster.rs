//! DescribeQuorum (key 55, versions 0–2) and DescribeCluster (60, 0–2), controller listener; and what the
//! controller's other APIs answer on a node that is not the active controller.
//!
//! - Differs from Kafka: nothing known.

use crate::handlers::authorized_operations;
use crate::quorum::QuorumHandle;
use crate::request::Answer;
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages as m;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_raft::ReplicaStatus;
use ottla_raft::wire::{METADATA_PARTITION, METADATA_TOPIC_NAME, WireContext};
use ottla_types::NodeId;
use std::sync::Arc;
use tokio::sync::watch;

const NOT_CONTROLLER: ErrorCode = ErrorCode::NotController;

/// The quorum as its leader sees it.
pub fn describe_quorum(
    quorum: &QuorumHandle,
    image: &watch::Receiver<Arc<MetadataImage>>,
    request: m::DescribeQuorumRequest,
) -> Answer<m::DescribeQuorumResponse> {
    let about_metadata = request.topics.len() == 1
        && request.topics[0].topic_name == METADATA_TOPIC_NAME
        && request.topics[0].partitions.iter().all(|p| p.partition_index == METADATA_PARTITION);
    if !about_metadata {
        return Answer::Now(no_quorum(&request));
    }
    let (quorum, image) = (quorum.clone(), image.borrow().clone());
    Answer::later(async move {
        let Some(description) = quorum.describe().await else {
            return m::DescribeQuorumResponse {
                error_code: ErrorCode::NotLeaderOrFollower.code(),
                error_message: Some("this node does not lead the quorum".to_owned()),
                ..Default::default()
            };
        };
        let nodes = match &description.listed {
            Some(voters) => voters
                .iter()
                .map(|voter| Node {
                    node_id: voter.key.id.0,
                    listeners: voter
                        .listeners
                        .iter()
                        .map(|listener| Listener {
                            name: listener.name.clone(),
                            host: listener.endpoint.host.clone(),
                            port: listener.endpoint.port,
                        })
                        .collect(),
                })
                .collect(),
            None => image
                .cluster
                .controllers
                .values()
                .map(|controller| Node {
                    node_id: controller.id.0,
                    listeners: controller
                        .endpoints
                        .iter()
                        .map(|e| Listener { name: e.name.clone(), host: e.host.clone(), port: e.port })
                        .collect(),
                })
                .collect(),
        };
        m::DescribeQuorumResponse {
            topics: vec![TopicData {
                topic_name: METADATA_TOPIC_NAME.to_owned(),
                partitions: vec![PartitionData {
                    partition_index: METADATA_PARTITION,
                    leader_id: description.leader.leader.unwrap_or(NodeId::NONE).0,
                    leader_epoch: description.leader.epoch.0,
                    high_watermark: description.high_watermark.0,
                    current_voters: description.voters.iter().map(replica_state).collect(),
                    observers: description.observers.iter().map(replica_state).collect(),
                    ..Default::default()
                }],
            }],
            nodes,
            ..Default::default()
        }
    })
}

/// Only `__cluster_metadata-0` has a quorum; each partition is told so.
fn no_quorum(request: &m::DescribeQuorumRequest) -> m::DescribeQuorumResponse {
    let error = ErrorCode::UnknownTopicOrPartition;
    let refused = |partition_index| PartitionData {
        partition_index,
        error_code: error.code(),
        error_message: Some(error.message().to_owned()),
        ..Default::default()
    };
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic.partitions.iter().map(|partition| refused(partition.partition_index)).collect(),
    });
    m::DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }
}

fn replica_state(status: &ReplicaStatus) -> ReplicaState {
    ReplicaState {
        replica_id: status.key.id.0,
        replica_directory_id: status.key.directory_id,
        log_end_offset: status.log_end_offset.0,
        last_fetch_timestamp: status.last_fetch.0,
        last_caught_up_timestamp: status.last_caught_up.0,
    }
}

/// `EndpointType` of brokers.
pub(in crate::handlers) const BROKERS: i8 = 1;

/// `EndpointType` of controllers.
pub(in crate::handlers) const CONTROLLERS: i8 = 2;

/// The controllers, for an administrator who came straight here (KIP-919).
pub fn describe_cluster(
    quorum: &QuorumHandle,
    image: &watch::Receiver<Arc<MetadataImage>>,
    context: &WireContext,
    request: m::DescribeClusterRequest,
    version: i16,
) -> Answer<m::DescribeClusterResponse> {
    if request.endpoint_type != CONTROLLERS {
        let error = match request.endpoint_type {
            // Whoever asks in version 0 has not said whom they mean.
            BROKERS if version == 0 => ErrorCode::InvalidRequest,
            BROKERS => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        return Answer::Now(m::DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(error.message().to_owned()),
            endpoint_type: CONTROLLERS,
            ..Default::default()
        });
    }
    let image = image.borrow().clone();
    let leader = quorum.leadership().borrow().leader.as_ref().map(|(id, _)| *id);
    let brokers: Vec<DescribeClusterBroker> = image
        .cluster
        .controllers
        .values()
        .filter_map(|controller| {
            let endpoint = controller.endpoints.iter().find(|e| e.name == context.listener)?;
            Some(DescribeClusterBroker {
                broker_id: controller.id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                ..Default::default()
            })
        })
        .collect();
    Answer::Now(m::DescribeClusterResponse {
        endpoint_type: CONTROLLERS,
        cluster_id: context.cluster_id.clone(),
        // An id without an address is of no use.
        controller_id: leader
            .filter(|leader| brokers.iter().any(|known| known.broker_id == leader.0))
            .unwrap_or(NodeId::NONE)
            .0,
        cluster_authorized_operations: authorized_operations::told(
            request.include_cluster_authorized_operations,
            authorized_operations::ON_CLUSTER,
        ),
        brokers,
        ..Default::default()
    })
}

/// No topic is created here.
pub fn topics_not_created(request: &m::CreateTopicsRequest) -> m::CreateTopicsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| m::create_topics_response::CreatableTopicResult {
            name: topic.name.clone(),
            error_code: NOT_CONTROLLER.code(),
            error_message: Some(NOT_CONTROLLER.message().to_owned()),
            configs: Some(Vec::new()),
            ..Default::default()
        })
        .collect();
    m::CreateTopicsResponse { topics, ..Default::default() }
}

/// No topic is deleted here.
pub fn topics_not_deleted(request: &m::DeleteTopicsRequest) -> m::DeleteTopicsResponse {
    let names = request.topic_names.iter().map(|name| (Some(name.clone()), Default::default()));
    let states = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
    let responses = names
        .chain(states)
        .map(|(name, topic_id)| m::delete_topics_response::DeletableTopicResult {
            name,
            topic_id,
            error_code: NOT_CONTROLLER.code(),
            error_message: Some(NOT_CONTROLLER.message().to_owned()),
        })
        .collect();
    m::DeleteTopicsResponse { responses, ..Default::default() }
}

/// No partition is created here.
pub fn partitions_not_created(request: &m::CreatePartitionsRequest) -> m::CreatePartitionsResponse {
    let results = request
        .topics
        .iter()
        .map(|topic| m::create_partitions_response::CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: NOT_CONTROLLER.code(),
            error_message: Some(NOT_CONTROLLER.message().to_owned()),
        })
        .collect();
    m::CreatePartitionsResponse { results, ..Default::default() }
}
