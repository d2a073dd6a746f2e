//! Replicas are moved, between brokers and between directories.

use super::Admin;
use crate::error::ClientError;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_types::{NodeId, TopicPartition};
use std::collections::BTreeMap;

/// One replica: a partition, and the broker that holds it.
pub type ReplicaAt = (NodeId, TopicPartition);

/// Where a replica's log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaDirectories {
    /// The directory in which it is.
    pub current: Option<String>,
    /// The one into which it is being moved.
    pub future: Option<String>,
}

/// Who is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first of the replicas, if it is in sync.
    Preferred = 0,
    /// Any replica, where none in sync is left: records may be lost.
    Unclean = 1,
}

impl Admin {
    /// Elects leaders (KIP-460) of these partitions, or, with `None`, of all that may need one. Returns what became of
    /// each; of all, those that need none are left out.
    ///
    /// # Errors
    /// When the cluster refuses altogether.
    pub async fn elect_leaders(
        &self,
        election_type: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), ClientError>>, ClientError> {
        let topics = |partitions: &[TopicPartition]| {
            let by_topic = TopicPartition::by_topic(partitions).into_iter();
            by_topic
                .map(|(topic, partitions)| TopicPartitions { topic: topic.to_owned(), partitions })
                .collect()
        };
        let request = ElectLeadersRequest {
            election_type: election_type as i8,
            topic_partitions: partitions.map(topics),
            timeout_ms: self.timeout_ms(),
        };
        let attempt = || async {
            let response = self.client.call_any(&request).await?;
            ClientError::check(response.error_code, None)?;
            Ok(response)
        };
        let response = self.client.retry("electLeaders", attempt).await?;
        let mut elected = BTreeMap::new();
        for topic in response.replica_election_results {
            for partition in topic.partition_result {
                let at = TopicPartition::new(&topic.topic, partition.partition_id);
                elected.insert(at, ClientError::check(partition.error_code, partition.error_message));
            }
        }
        Ok(elected)
    }

    /// Asks for these replicas of partitions, or, with `None`, takes back what is under way (KIP-455). Returns what was
    /// refused, and why.
    ///
    /// # Errors
    /// When the cluster refuses altogether.
    pub async fn reassign(
        &self,
        targets: &BTreeMap<TopicPartition, Option<Vec<NodeId>>>,
        may_change_factor: bool,
    ) -> Result<BTreeMap<TopicPartition, ClientError>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for (at, target) in targets {
            let replicas = target.as_ref().map(|target| target.iter().map(|node| node.0).collect());
            let partition = ReassignablePartition { partition_index: at.partition, replicas };
            topics.entry(at.topic.as_str()).or_default().push(partition);
        }
        let topic = |(name, partitions): (&str, _)| ReassignableTopic { name: name.to_owned(), partitions };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            allow_replication_factor_change: may_change_factor,
            topics: topics.into_iter().map(topic).collect(),
        };
        let response = self
            .client
            .retry("alterPartitionReassignments", || async {
                let response = self.client.call_any(&request).await?;
                ClientError::check(response.error_code, response.error_message.clone())?;
                Ok(response)
            })
            .await?;
        let mut refused = BTreeMap::new();
        for topic in response.responses {
            for partition in topic.partitions {
                if let Err(error) = ClientError::check(partition.error_code, partition.error_message) {
                    refused.insert(TopicPartition::new(&topic.name, partition.partition_index), error);
                }
            }
        }
        Ok(refused)
    }

    /// Where these brokers have their replicas.
    ///
    /// # Errors
    /// When one does not answer, or refuses.
    pub async fn replica_directories(
        &self,
        brokers: &[NodeId],
    ) -> Result<BTreeMap<ReplicaAt, ReplicaDirectories>, ClientError> {
        let mut found: BTreeMap<ReplicaAt, ReplicaDirectories> = BTreeMap::new();
        for &broker in brokers {
            for directory in self.describe_log_dirs(broker).await? {
                for topic in directory.topics {
                    for partition in topic.partitions {
                        let at = TopicPartition::new(&topic.name, partition.partition_index);
                        let known = found.entry((broker, at)).or_default();
                        let slot =
                            if partition.is_future_key { &mut known.future } else { &mut known.current };
                        *slot = Some(directory.log_dir.clone());
                    }
                }
            }
        }
        Ok(found)
    }

    /// The directories of one broker, with the replicas in each.
    ///
    /// # Errors
    /// When it does not answer, or refuses altogether.
    pub async fn describe_log_dirs(&self, broker: NodeId) -> Result<Vec<DescribeLogDirsResult>, ClientError> {
        let request = DescribeLogDirsRequest { topics: None };
        let response = self.ask_broker("describeLogDirs", broker, &request).await?;
        ClientError::check(response.error_code, None)?;
        Ok(response.results)
    }

    /// Puts replicas of one broker into directories. Returns what the broker says of each.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn move_to_directories(
        &self,
        broker: NodeId,
        moves: &BTreeMap<TopicPartition, String>,
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>, ClientError> {
        let mut directories: BTreeMap<&str, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for (at, directory) in moves {
            let topics = directories.entry(directory).or_default();
            topics.entry(at.topic.as_str()).or_default().push(at.partition);
        }
        let topic = |(name, partitions): (&str, Vec<i32>)| AlterReplicaLogDirTopic {
            name: name.to_owned(),
            partitions,
        };
        let directory = |(path, topics): (&str, BTreeMap<&str, Vec<i32>>)| AlterReplicaLogDir {
            path: path.to_owned(),
            topics: topics.into_iter().map(topic).collect(),
        };
        let request = AlterReplicaLogDirsRequest { dirs: directories.into_iter().map(directory).collect() };
        let response = self.ask_broker("alterReplicaLogDirs", broker, &request).await?;
        let mut answers = BTreeMap::new();
        for topic in response.results {
            for partition in topic.partitions {
                let at = TopicPartition::new(&topic.topic_name, partition.partition_index);
                answers.insert(at, ErrorCode::from(partition.error_code));
            }
        }
        Ok(answers)
    }
}
