//! Replicas are moved, between brokers and between directories.

use super::Admin;
use crate::client::Topics;
use crate::error::ClientError;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
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

impl Admin {
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
        let request = DescribeLogDirsRequest { topics: None };
        let mut found: BTreeMap<ReplicaAt, ReplicaDirectories> = BTreeMap::new();
        for &broker in brokers {
            let response = self.ask_broker("describeLogDirs", broker, &request).await?;
            ClientError::check(response.error_code, None)?;
            for directory in response.results {
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

    /// Asks one broker, again if it does not answer.
    async fn ask_broker<R: ottla_protocol::Request>(
        &self,
        what: &'static str,
        broker: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.client
            .retry(what, || async {
                if !self.client.metadata().brokers.contains_key(&broker) {
                    self.client.refresh(Topics::Named(&[])).await?;
                }
                self.client.call(broker, request).await
            })
            .await
    }
}
