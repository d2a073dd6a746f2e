//! Topics: made, deleted, enlarged, described.

use super::Admin;
use crate::client::Topics;
use crate::error::ClientError;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_types::{NodeId, TopicPartition, Uuid};
use std::collections::BTreeMap;

/// A topic to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the cluster's default if `None`.
    pub partitions: Option<i32>,
    /// How many replicas each has; the cluster's default if `None`.
    pub replication_factor: Option<i16>,
    /// The brokers of each partition, if the cluster is not to choose; then the numbers above are `None`.
    pub assignment: Vec<Vec<NodeId>>,
    /// Its configuration.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// The request that makes this topic.
    pub fn request(&self, timeout_ms: i32) -> CreateTopicsRequest {
        let assignments = self.assignment.iter().zip(0..).map(|(brokers, partition_index)| {
            CreatableReplicaAssignment { partition_index, broker_ids: brokers.iter().map(|b| b.0).collect() }
        });
        let config = |(name, value): &(String, String)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
        };
        CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: self.name.clone(),
                num_partitions: self.partitions.unwrap_or(-1),
                replication_factor: self.replication_factor.unwrap_or(-1),
                assignments: assignments.collect(),
                configs: self.configs.iter().map(config).collect(),
            }],
            timeout_ms,
            validate_only: false,
        }
    }
}

/// A topic as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Whether Kafka made it for itself.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: BTreeMap<i32, PartitionDescription>,
}

/// A partition as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// The broker that leads it, if one does.
    pub leader: Option<NodeId>,
    /// The brokers that hold it; the preferred leader is the first.
    pub replicas: Vec<NodeId>,
    /// Those that have everything committed.
    pub isr: Vec<NodeId>,
    /// Those that may lead although they left the in-sync set (KIP-966); `None` where that is not told.
    pub elr: Option<Vec<NodeId>>,
    /// Those that were eligible last; `None` where that is not told.
    pub last_known_elr: Option<Vec<NodeId>>,
}

/// Replicas on their way to other brokers (KIP-455).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reassignment {
    /// All that hold the partition meanwhile.
    pub replicas: Vec<NodeId>,
    /// Those to come.
    pub adding: Vec<NodeId>,
    /// Those to go.
    pub removing: Vec<NodeId>,
}

/// Partitions described in one answer, at most (`--partition-size-limit-per-response`).
pub const PARTITIONS_PER_ANSWER_MAX: i32 = 2000;

impl Admin {
    /// Makes a topic; returns its id.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Uuid, ClientError> {
        let request = topic.request(self.timeout_ms());
        self.client
            .retry("createTopics", || async {
                let response = self.client.call_any(&request).await?;
                let result =
                    response.topics.into_iter().next().ok_or(ClientError::Incomplete("CreateTopics"))?;
                ClientError::check(result.error_code, result.error_message)?;
                Ok(result.topic_id)
            })
            .await
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest {
            // By name in both ways: which one counts depends on the version.
            topics: vec![DeleteTopicState { name: Some(name.to_owned()), ..Default::default() }],
            topic_names: vec![name.to_owned()],
            timeout_ms: self.timeout_ms(),
        };
        self.client
            .retry("deleteTopics", || async {
                let response = self.client.call_any(&request).await?;
                let result =
                    response.responses.into_iter().next().ok_or(ClientError::Incomplete("DeleteTopics"))?;
                match ClientError::check(result.error_code, result.error_message) {
                    // The controller knows: that there is no such topic is no reason to ask again.
                    Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(Err(error)),
                    other => other.map(Ok),
                }
            })
            .await?
    }

    /// Gives a topic more partitions: `count` in all. `assignment` says where the new ones go, if the cluster
    /// is not to choose.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn create_partitions(
        &self,
        name: &str,
        count: i32,
        assignment: Option<Vec<Vec<NodeId>>>,
    ) -> Result<(), ClientError> {
        let brokers = |brokers: Vec<NodeId>| CreatePartitionsAssignment {
            broker_ids: brokers.iter().map(|broker| broker.0).collect(),
        };
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.to_owned(),
                count,
                assignments: assignment.map(|all| all.into_iter().map(brokers).collect()),
            }],
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        self.client
            .retry("createPartitions", || async {
                let response = self.client.call_any(&request).await?;
                let result =
                    response.results.into_iter().next().ok_or(ClientError::Incomplete("CreatePartitions"))?;
                ClientError::check(result.error_code, result.error_message)
            })
            .await
    }

    /// The names of all topics, and whether Kafka made them for itself; sorted.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn list_topics(&self) -> Result<BTreeMap<String, bool>, ClientError> {
        let metadata =
            self.client.retry("listTopics", || async { self.client.refresh(Topics::All).await }).await?;
        Ok(metadata.topics.values().map(|topic| (topic.name.clone(), topic.is_internal)).collect())
    }

    /// Describes topics, in their order. Those that are deleted meanwhile are left out.
    ///
    /// # Errors
    /// When no broker answers, or one refuses.
    pub async fn describe_topics(&self, names: &[String]) -> Result<Vec<TopicDescription>, ClientError> {
        self.describe_topics_by(PARTITIONS_PER_ANSWER_MAX, names).await
    }

    /// As [`Admin::describe_topics`], at most so many partitions an answer.
    ///
    /// # Errors
    /// As [`Admin::describe_topics`].
    pub async fn describe_topics_by(
        &self,
        partitions_max: i32,
        names: &[String],
    ) -> Result<Vec<TopicDescription>, ClientError> {
        match self.describe_topic_partitions(partitions_max, names).await? {
            Some(described) => Ok(described),
            None => self.describe_by_metadata(names).await,
        }
    }

    /// By DescribeTopicPartitions (KIP-966), page by page; `None` when the broker does not have it.
    async fn describe_topic_partitions(
        &self,
        partitions_max: i32,
        names: &[String],
    ) -> Result<Option<Vec<TopicDescription>>, ClientError> {
        let mut sorted = names.to_vec();
        sorted.sort();
        let mut request = DescribeTopicPartitionsRequest {
            topics: sorted.into_iter().map(|name| TopicRequest { name }).collect(),
            response_partition_limit: partitions_max,
            cursor: None,
        };
        let mut found: BTreeMap<String, TopicDescription> = BTreeMap::new();
        loop {
            let Some(response) = self.ask_if_served("describeTopics", &request).await? else {
                return Ok(None);
            };
            for topic in response.topics {
                let Some(name) = topic.name else { continue };
                match ErrorCode::from(topic.error_code) {
                    ErrorCode::None => {}
                    ErrorCode::UnknownTopicOrPartition => continue,
                    code => return Err(ClientError::refused(code, None)),
                }
                let description = found.entry(name.clone()).or_insert_with(|| TopicDescription {
                    name,
                    id: topic.topic_id,
                    is_internal: topic.is_internal,
                    partitions: BTreeMap::new(),
                });
                description.partitions.extend(topic.partitions.into_iter().map(|partition| {
                    let described = PartitionDescription {
                        leader: NodeId(partition.leader_id).some(),
                        replicas: nodes(&partition.replica_nodes),
                        isr: nodes(&partition.isr_nodes),
                        elr: Some(nodes(partition.eligible_leader_replicas.as_deref().unwrap_or_default())),
                        last_known_elr: Some(nodes(partition.last_known_elr.as_deref().unwrap_or_default())),
                    };
                    (partition.partition_index, described)
                }));
            }
            let Some(next) = response.next_cursor else { break };
            let cursor = Cursor { topic_name: next.topic_name, partition_index: next.partition_index };
            if request.cursor.as_ref() == Some(&cursor) {
                return Err(ClientError::Incomplete("DescribeTopicPartitions"));
            }
            request.topics.retain(|topic| topic.name >= cursor.topic_name);
            request.cursor = Some(cursor);
        }
        Ok(Some(names.iter().filter_map(|name| found.remove(name)).collect()))
    }

    async fn describe_by_metadata(&self, names: &[String]) -> Result<Vec<TopicDescription>, ClientError> {
        let metadata = self
            .client
            .retry("describeTopics", || async { self.client.refresh(Topics::Named(names)).await })
            .await?;
        let describe = |name: &String| {
            let topic = metadata.topics.get(name)?;
            let partitions = topic.partitions.iter().map(|(&index, partition)| {
                let described = PartitionDescription {
                    leader: partition.leader,
                    replicas: partition.replicas.clone(),
                    isr: partition.isr.clone(),
                    elr: None,
                    last_known_elr: None,
                };
                (index, described)
            });
            Some(TopicDescription {
                name: topic.name.clone(),
                id: topic.id,
                is_internal: topic.is_internal,
                partitions: partitions.collect(),
            })
        };
        Ok(names.iter().filter_map(describe).collect())
    }

    /// The replicas on their way; none where the cluster does not know of such.
    ///
    /// # Errors
    /// When no broker answers, or one refuses.
    pub async fn list_reassignments(&self) -> Result<BTreeMap<TopicPartition, Reassignment>, ClientError> {
        let request = ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), topics: None };
        let Some(response) = self.ask_if_served("listPartitionReassignments", &request).await? else {
            return Ok(BTreeMap::new());
        };
        ClientError::check(response.error_code, response.error_message)?;
        let mut found = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                found.insert(
                    TopicPartition::new(topic.name.clone(), partition.partition_index),
                    Reassignment {
                        replicas: nodes(&partition.replicas),
                        adding: nodes(&partition.adding_replicas),
                        removing: nodes(&partition.removing_replicas),
                    },
                );
            }
        }
        Ok(found)
    }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|&id| NodeId(id)).collect()
}
