//! The cluster itself.

use super::Admin;
use crate::error::ClientError;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use ottla_protocol::messages::{AddRaftVoterRequest, RemoveRaftVoterRequest};
use ottla_protocol::messages::{add_raft_voter_request, describe_quorum_response};
use ottla_types::{NodeId, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The metadata quorum's only topic.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// The cluster's identity and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The brokers alive.
    pub brokers: BTreeSet<NodeId>,
    /// The racks of those that have one.
    pub racks: BTreeMap<NodeId, String>,
}

/// The quorum as its leader sees it.
#[derive(Clone, Debug)]
pub struct QuorumDescription {
    /// The metadata partition.
    pub partition: describe_quorum_response::PartitionData,
    /// Where the voters are, as far as it is told (v2).
    pub nodes: Vec<describe_quorum_response::Node>,
}

/// The question about the metadata quorum.
pub fn describe_quorum_request() -> DescribeQuorumRequest {
    let partitions = vec![PartitionData { partition_index: 0 }];
    DescribeQuorumRequest { topics: vec![TopicData { topic_name: METADATA_TOPIC.to_owned(), partitions }] }
}

/// The answer to [`describe_quorum_request`].
///
/// # Errors
/// When it is a refusal, or about something else.
pub fn quorum_description(
    response: describe_quorum_response::DescribeQuorumResponse,
) -> Result<QuorumDescription, ClientError> {
    ClientError::check(response.error_code, response.error_message)?;
    let topic = response.topics.into_iter().next();
    let partition = topic.and_then(|topic| topic.partitions.into_iter().next());
    let mut partition = partition.ok_or(ClientError::Incomplete("DescribeQuorum"))?;
    ClientError::check(partition.error_code, partition.error_message.take())?;
    Ok(QuorumDescription { partition, nodes: response.nodes })
}

/// A request to make an observer a voter, answered when that is committed.
pub fn add_voter_request(
    cluster_id: Option<String>,
    voter_id: NodeId,
    voter_directory_id: Uuid,
    listeners: Vec<add_raft_voter_request::Listener>,
    timeout: Duration,
) -> AddRaftVoterRequest {
    AddRaftVoterRequest {
        cluster_id,
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        voter_id: voter_id.0,
        voter_directory_id,
        listeners,
        ack_when_committed: true,
    }
}

impl Admin {
    /// Makes an observer a voter of the metadata quorum (KIP-853). What may be done in a while is asked again.
    ///
    /// # Errors
    /// When no broker answers, or the quorum's leader refuses.
    pub async fn add_raft_voter(&self, request: &AddRaftVoterRequest) -> Result<(), ClientError> {
        self.client
            .retry("addRaftVoter", || async {
                let response = self.client.call_any(request).await?;
                ClientError::check(response.error_code, response.error_message)
            })
            .await
    }

    /// Takes a voter out of the metadata quorum (KIP-853).
    ///
    /// # Errors
    /// As [`Admin::add_raft_voter`].
    pub async fn remove_raft_voter(&self, request: &RemoveRaftVoterRequest) -> Result<(), ClientError> {
        self.client
            .retry("removeRaftVoter", || async {
                let response = self.client.call_any(request).await?;
                ClientError::check(response.error_code, response.error_message)
            })
            .await
    }

    /// Describes the cluster.
    ///
    /// # Errors
    /// When no broker answers, or one refuses.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let response = self.ask("describeCluster", &DescribeClusterRequest::default()).await?;
        ClientError::check(response.error_code, response.error_message)?;
        Ok(ClusterDescription {
            cluster_id: response.cluster_id,
            brokers: response.brokers.iter().map(|broker| NodeId(broker.broker_id)).collect(),
            racks: response
                .brokers
                .into_iter()
                .filter_map(|broker| Some((NodeId(broker.broker_id), broker.rack?)))
                .collect(),
        })
    }

    /// Describes the metadata quorum.
    ///
    /// # Errors
    /// When no broker answers, or the quorum has no leader.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ClientError> {
        self.client
            .retry("describeMetadataQuorum", || async {
                quorum_description(self.client.call_any(&describe_quorum_request()).await?)
            })
            .await
    }
}
