//! The cluster itself.

use super::Admin;
use crate::error::ClientError;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use ottla_protocol::messages::describe_quorum_response;
use ottla_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

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

impl Admin {
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
