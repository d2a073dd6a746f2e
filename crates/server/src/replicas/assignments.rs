//! Tells the controller in which directory each replica is, wherever it does not know (KIP-858): one request at a time,
//! with as many replicas in it as there are to tell of, until its answers are in this broker's image.

use crate::broker::Broker;
use crate::broker::controller_channel::ControllerChannel;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use ottla_protocol::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use ottla_types::{BrokerEpoch, NodeId, TopicIdPartition, Uuid};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many replicas a request may tell of, as in Kafka.
const ASSIGNMENTS_MAX: usize = 2250;

/// How long to wait before telling again.
const BACKOFF: Duration = Duration::from_millis(50);

/// How long the image may take to say what the controller has answered.
const IMAGE_PATIENCE: Duration = Duration::from_secs(5);

/// Tells until the broker stops.
pub async fn run(broker: Arc<Broker>, controller: ControllerChannel) {
    loop {
        broker.replicas.misplaced().await;
        tell(&broker, &controller).await;
    }
}

/// Tells until there is nothing to tell.
async fn tell(broker: &Broker, controller: &ControllerChannel) {
    loop {
        let misplaced = broker.replicas.misplacements(&broker.image());
        if misplaced.is_empty() {
            return;
        }
        let request = request(broker.node_id, *broker.epoch.borrow(), misplaced);
        match controller.call(&request).await {
            Ok(response) if response.error_code == ErrorCode::None.code() => {
                let accepted = accepted(&response);
                let node = broker.node_id;
                broker
                    .wait_for_image(
                        |image| {
                            accepted.iter().all(|(at, directory)| {
                                let known = image.topics.partition(*at).map(|found| found.directory(node));
                                known.is_none_or(|known| known == *directory)
                            })
                        },
                        IMAGE_PATIENCE,
                    )
                    .await;
                if accepted.is_empty() {
                    tokio::time::sleep(BACKOFF).await;
                }
            }
            Ok(response) => {
                let error = ErrorCode::from(response.error_code).name();
                tracing::debug!(error, "not told where replicas are");
                tokio::time::sleep(BACKOFF).await;
            }
            Err(error) => {
                tracing::debug!(%error, "not told where replicas are");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

fn request(
    node_id: NodeId,
    epoch: BrokerEpoch,
    misplaced: BTreeMap<Uuid, Vec<TopicIdPartition>>,
) -> AssignReplicasToDirsRequest {
    let mut left = ASSIGNMENTS_MAX;
    let mut directories = Vec::new();
    for (id, replicas) in misplaced {
        let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
        for at in replicas.into_iter().take(left) {
            left -= 1;
            let partition = PartitionData { partition_index: at.partition };
            topics.entry(at.topic_id).or_default().push(partition);
        }
        let topics: Vec<TopicData> =
            topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions }).collect();
        if !topics.is_empty() {
            directories.push(DirectoryData { id, topics });
        }
    }
    AssignReplicasToDirsRequest { broker_id: node_id.0, broker_epoch: epoch.0, directories }
}

/// What the controller has written down.
fn accepted(response: &AssignReplicasToDirsResponse) -> Vec<(TopicIdPartition, Uuid)> {
    let mut accepted = Vec::new();
    for directory in &response.directories {
        for topic in &directory.topics {
            for partition in &topic.partitions {
                let at = TopicIdPartition::new(topic.topic_id, partition.partition_index);
                match ErrorCode::from(partition.error_code) {
                    ErrorCode::None => accepted.push((at, directory.id)),
                    error => tracing::debug!(partition = %at, error = error.name(), "not told where it is"),
                }
            }
        }
    }
    accepted
}
