//! What comes next in each replica, of every broker at once.

use bytes::Bytes;
use ottla_client::admin::places::Places;
use ottla_client::client::Topics;
use ottla_client::{Client, ClientError};
use ottla_net::task;
use ottla_protocol::Records;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_types::{NodeId, Offset, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// For a replica's id, what those say that compare replicas: followers answer them too (`FetchRequest.DEBUGGING_CONSUMER_ID`).
const DEBUGGING_CONSUMER: i32 = -2;

/// How much is asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of one partition, at most, but for a batch that is larger.
    pub(super) partition_bytes_max: i32,
    /// How long a broker may wait for records.
    pub(super) wait_max: Duration,
}

/// What a replica has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Consecutive batches; the last may be cut off.
    pub(super) records: Bytes,
    /// How far it may be read.
    pub(super) high_watermark: Offset,
}

impl Answer {
    /// That of a replica that says nothing.
    pub(super) const NOTHING: Answer = Answer { records: Bytes::new(), high_watermark: Offset(-1) };
}

/// The answers, by broker and partition.
pub(super) type Answers = BTreeMap<(NodeId, TopicPartition), Answer>;

/// Asks every broker for what its replicas have next.
pub(super) struct Fetcher {
    client: Client,
    limits: Limits,
    partitions: BTreeMap<NodeId, Vec<TopicPartition>>,
}

impl Fetcher {
    pub(super) fn new(client: Client, limits: Limits, replicas: &[(TopicPartition, Vec<NodeId>)]) -> Fetcher {
        let mut partitions: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        for (at, nodes) in sorted {
            nodes.iter().for_each(|node| partitions.entry(*node).or_default().push(at.clone()));
        }
        Fetcher { client, limits, partitions }
    }

    /// What each replica has from these places on. Of brokers that do not answer, nothing.
    pub(super) async fn fetch(&self, places: &Places) -> Answers {
        let asking = self.partitions.iter().map(|(&node, partitions)| {
            let (client, wait) = (self.client.clone(), self.limits.wait_max);
            let request = self.request(partitions, places);
            let task = task::spawn("replica fetch", async move { ask(client, node, request, wait).await });
            (node, partitions, task)
        });
        let asking: Vec<_> = asking.collect();
        let mut answers = Answers::new();
        for (node, partitions, task) in asking {
            answers.extend(partitions.iter().map(|at| ((node, at.clone()), Answer::NOTHING)));
            if let Some(Some(response)) = task.join().await {
                answers.extend(self.read(response).into_iter().map(|(at, answer)| ((node, at), answer)));
            }
        }
        answers
    }

    fn request(&self, partitions: &[TopicPartition], places: &Places) -> FetchRequest {
        let metadata = self.client.metadata();
        let topics = TopicPartition::by_topic(partitions).into_iter().map(|(topic, numbers)| FetchTopic {
            topic: topic.to_owned(),
            topic_id: metadata.topics.get(topic).map(|topic| topic.id).unwrap_or_default(),
            partitions: numbers.into_iter().map(|number| self.partition(topic, number, places)).collect(),
        });
        FetchRequest {
            replica_id: DEBUGGING_CONSUMER,
            replica_state: ReplicaState { replica_id: DEBUGGING_CONSUMER, ..Default::default() },
            max_wait_ms: i32::try_from(self.limits.wait_max.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: i32::MAX,
            session_epoch: -1,
            topics: topics.collect(),
            ..FetchRequest::default()
        }
    }

    fn partition(&self, topic: &str, number: i32, places: &Places) -> FetchPartition {
        let place = places.get(&TopicPartition::new(topic, number)).copied();
        FetchPartition {
            partition: number,
            current_leader_epoch: -1,
            fetch_offset: place.unwrap_or(Offset::ZERO).0,
            last_fetched_epoch: -1,
            log_start_offset: 0,
            partition_max_bytes: self.limits.partition_bytes_max,
            ..FetchPartition::default()
        }
    }

    /// The answers in a response, which names topics by their ids since v13.
    fn read(&self, response: FetchResponse) -> Vec<(TopicPartition, Answer)> {
        let metadata = self.client.metadata();
        let mut answers = Vec::new();
        for topic in response.responses {
            let Some(name) = metadata.answered_topic(&topic.topic, topic.topic_id) else { continue };
            let told = |data: PartitionData| (TopicPartition::new(name, data.partition_index), answer(data));
            answers.extend(topic.partitions.into_iter().map(told));
        }
        answers
    }
}

fn answer(data: PartitionData) -> Answer {
    let records = data.records.unwrap_or(Records::EMPTY);
    Answer {
        // What came from a connection is in memory.
        records: records.to_bytes().unwrap_or_default(),
        high_watermark: Offset(data.high_watermark),
    }
}

/// What a broker answers. One that does not is not asked again before it could have waited for records: it may be down.
async fn ask(client: Client, node: NodeId, request: FetchRequest, wait: Duration) -> Option<FetchResponse> {
    let again_at = Instant::now() + wait;
    let answered = client.call(node, &request).await;
    let answered = answered.and_then(|answer| {
        ClientError::check(answer.error_code, None)?;
        Ok(answer)
    });
    match answered {
        Ok(response) => Some(response),
        Err(error) => {
            tracing::debug!(node = node.0, %error, "no answer");
            // It may have moved. If nobody knows, what is known is kept.
            let _ = client.refresh(Topics::Named(&[])).await;
            tokio::time::sleep_until(again_at).await;
            None
        }
    }
}
