//! Asks the controller for changes of in-sync sets: one request at a time, as many partitions in it as wait.

use super::ReplicaManager;
use crate::broker::controller_channel::ControllerChannel;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_replication::{Effects, IsrChange};
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, TopicIdPartition, Uuid};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Changes that may wait: more than a broker has partitions in any sensible cluster.
pub const QUEUE_MAX: usize = 16_384;

/// How long to wait before asking again.
const BACKOFF: Duration = Duration::from_millis(50);

/// Asks until the broker stops.
pub async fn run(
    replicas: Arc<ReplicaManager>,
    controller: ControllerChannel,
    node_id: NodeId,
    epoch: watch::Receiver<BrokerEpoch>,
    mut changes: mpsc::Receiver<IsrChange>,
) {
    let mut waiting: BTreeMap<TopicIdPartition, IsrChange> = BTreeMap::new();
    loop {
        if waiting.is_empty() {
            let Some(change) = changes.recv().await else { return };
            waiting.insert(change.partition, change);
        }
        while let Ok(change) = changes.try_recv() {
            waiting.insert(change.partition, change);
        }
        let request = request(node_id, *epoch.borrow(), &waiting);
        match controller.call(&request).await {
            Ok(response) if response.error_code == ErrorCode::None.code() => {
                take_answers(&replicas, &response, &mut waiting);
                if !waiting.is_empty() {
                    tokio::time::sleep(BACKOFF).await;
                }
            }
            Ok(response) => {
                tracing::debug!(error = response.error_code, "in-sync sets refused");
                tokio::time::sleep(BACKOFF).await;
            }
            Err(error) => {
                tracing::debug!(%error, "in-sync sets not asked for");
                tokio::time::sleep(BACKOFF).await;
            }
        }
        waiting.retain(|at, change| is_current(&replicas, *at, change));
    }
}

/// Returns whether a change is still the one that its partition waits for.
fn is_current(replicas: &ReplicaManager, at: TopicIdPartition, change: &IsrChange) -> bool {
    replicas.get(at).is_some_and(|replica| {
        let partition = replica.lock();
        partition.leader_epoch() == change.leader_epoch
            && partition.partition_epoch() == change.partition_epoch
    })
}

fn request(
    node_id: NodeId,
    epoch: BrokerEpoch,
    waiting: &BTreeMap<TopicIdPartition, IsrChange>,
) -> AlterPartitionRequest {
    let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
    for (at, change) in waiting {
        topics.entry(at.topic_id).or_default().push(PartitionData {
            partition_index: at.partition,
            leader_epoch: change.leader_epoch.0,
            new_isr: change.isr.iter().map(|member| member.node.0).collect(),
            new_isr_with_epochs: change
                .isr
                .iter()
                .map(|member| BrokerState { broker_id: member.node.0, broker_epoch: member.epoch.0 })
                .collect(),
            leader_recovery_state: 0,
            partition_epoch: change.partition_epoch.0,
        });
    }
    AlterPartitionRequest {
        broker_id: node_id.0,
        broker_epoch: epoch.0,
        topics: topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions }).collect(),
    }
}

/// Hands each partition its answer. What stays in `waiting` is asked for again.
fn take_answers(
    replicas: &ReplicaManager,
    response: &AlterPartitionResponse,
    waiting: &mut BTreeMap<TopicIdPartition, IsrChange>,
) {
    for topic in &response.topics {
        for answer in &topic.partitions {
            let at = TopicIdPartition::new(topic.topic_id, answer.partition_index);
            let Some(replica) = replicas.get(at) else { continue };
            let Some(change) = waiting.get(&at) else { continue };
            let mut effects = Effects::default();
            match ErrorCode::from(answer.error_code) {
                ErrorCode::None => {
                    let isr = answer.isr.iter().copied().map(NodeId).collect();
                    let now = replicas.clock().monotonic();
                    replica.lock().handle_isr_committed(
                        isr,
                        LeaderEpoch(answer.leader_epoch),
                        PartitionEpoch(answer.partition_epoch),
                        now,
                        &mut effects,
                    );
                    waiting.remove(&at);
                }
                ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted => {
                    replica.lock().handle_isr_refused(change.partition_epoch);
                    waiting.remove(&at);
                }
                ErrorCode::UnknownTopicId
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::NewLeaderElected
                | ErrorCode::InvalidRequest => {
                    // The image will say what holds; until then the maximal set stays.
                    waiting.remove(&at);
                }
                // Ask again, of another controller perhaps.
                _ => {}
            }
            replicas.carry_out(effects);
        }
    }
}
