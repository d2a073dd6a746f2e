//! Leaders ask for changes of their in-sync sets; administrators ask for elections.

use crate::controller::Controller;
use crate::elections;
use ottla_metadata::partition::{NO_LEADER_CHANGE, ids, nodes};
use ottla_metadata::{LeaderRecoveryState, PartitionRegistration};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_request::{self, AlterPartitionRequest};
use ottla_protocol::messages::alter_partition_response::{self, AlterPartitionResponse};
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_types::{BrokerEpoch, Decision, LeaderEpoch, NodeId, PartitionEpoch, TopicIdPartition, Uuid};
use std::collections::BTreeMap;

impl Controller {
    /// Changes in-sync sets as their leaders ask (KIP-497), with Kafka's checks in Kafka's order: the
    /// leader reacts to each error differently.
    pub fn handle_alter_partition(
        &mut self,
        request: &AlterPartitionRequest,
    ) -> Decision<MetadataRecord, AlterPartitionResponse> {
        let sender = NodeId(request.broker_id);
        let known = self.image.cluster.broker(sender);
        if known.is_none_or(|broker| broker.epoch != BrokerEpoch(request.broker_epoch)) {
            return Decision::reply(AlterPartitionResponse {
                error_code: ErrorCode::StaleBrokerEpoch.code(),
                ..Default::default()
            });
        }
        let mut records = Vec::new();
        let mut response = AlterPartitionResponse::default();
        for topic in &request.topics {
            let mut answered =
                alter_partition_response::TopicData { topic_id: topic.topic_id, ..Default::default() };
            for partition in &topic.partitions {
                answered.partitions.push(
                    match self.alter_partition(sender, topic.topic_id, partition, &mut records) {
                        Ok(result) => result,
                        Err(error) => alter_partition_response::PartitionData {
                            partition_index: partition.partition_index,
                            error_code: error.code(),
                            ..Default::default()
                        },
                    },
                );
            }
            response.topics.push(answered);
        }
        Decision::write(records, response)
    }

    fn alter_partition(
        &self,
        sender: NodeId,
        topic_id: Uuid,
        asked: &alter_partition_request::PartitionData,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<alter_partition_response::PartitionData, ErrorCode> {
        let topic = self.image.topics.by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let current =
            topic.partitions.get(&asked.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.check_alteration(sender, asked, current)?;

        let at = TopicIdPartition::new(topic_id, asked.partition_index);
        let isr = asked_isr(asked);
        let asked_state = LeaderRecoveryState::from_wire(asked.leader_recovery_state);
        let mut change = PartitionChangeRecord {
            partition_id: at.partition,
            topic_id,
            leader: NO_LEADER_CHANGE,
            ..Default::default()
        };
        if isr != current.isr {
            change.isr = Some(ids(&isr));
        }
        if asked_state != current.leader_recovery_state {
            change.leader_recovery_state = asked_state.to_wire();
        }
        let changes = change.isr.is_some() || asked_state != current.leader_recovery_state;
        let after = if changes { current.merge(&change) } else { current.clone() };
        if changes {
            records.push(MetadataRecord::PartitionChange(change));
        }
        Ok(alter_partition_response::PartitionData {
            partition_index: asked.partition_index,
            error_code: ErrorCode::None.code(),
            leader_id: after.leader.unwrap_or(NodeId::NONE).0,
            leader_epoch: after.leader_epoch.0,
            isr: ids(&after.isr),
            leader_recovery_state: after.leader_recovery_state.to_wire(),
            partition_epoch: after.partition_epoch.0,
        })
    }

    fn check_alteration(
        &self,
        sender: NodeId,
        asked: &alter_partition_request::PartitionData,
        current: &PartitionRegistration,
    ) -> Result<(), ErrorCode> {
        let leader_epoch = LeaderEpoch(asked.leader_epoch);
        let partition_epoch = PartitionEpoch(asked.partition_epoch);
        if leader_epoch > current.leader_epoch || partition_epoch > current.partition_epoch {
            // It knows more than we do: we are not the controller any more.
            return Err(ErrorCode::NotController);
        }
        if leader_epoch < current.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if current.leader != Some(sender) {
            return Err(ErrorCode::InvalidRequest);
        }
        if partition_epoch < current.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let isr = asked_isr(asked);
        let is_subset = isr.iter().all(|&node| current.has_replica(node));
        let has_duplicates = isr.iter().enumerate().any(|(i, node)| isr[..i].contains(node));
        if !is_subset || has_duplicates || !isr.contains(&sender) {
            return Err(ErrorCode::InvalidRequest);
        }
        let asked_state = LeaderRecoveryState::from_wire(asked.leader_recovery_state);
        if asked_state == LeaderRecoveryState::Recovering
            && (isr.len() > 1 || current.leader_recovery_state == LeaderRecoveryState::Recovered)
        {
            return Err(ErrorCode::InvalidRequest);
        }
        for (node, epoch) in asked_isr_with_epochs(asked) {
            let eligible = self.image.cluster.broker(node).is_some_and(|broker| {
                broker.is_active() && (epoch == BrokerEpoch::NONE || epoch == broker.epoch)
            });
            if !eligible {
                return Err(ErrorCode::IneligibleReplica);
            }
        }
        Ok(())
    }

    /// Moves leadership to the preferred replicas (KIP-183), or elects where there is no leader.
    ///
    /// Unclean election (type 1) is refused: it would lose acknowledged records.
    pub fn handle_elect_leaders(
        &mut self,
        request: &ElectLeadersRequest,
    ) -> Decision<MetadataRecord, ElectLeadersResponse> {
        if request.election_type != 0 {
            return Decision::reply(ElectLeadersResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..Default::default()
            });
        }
        let mut records = Vec::new();
        let mut results: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
        match &request.topic_partitions {
            Some(topics) => {
                for topic in topics {
                    for &number in &topic.partitions {
                        let result = self.elect_preferred(&topic.topic, number, &mut records);
                        results.entry(topic.topic.clone()).or_default().push(result);
                    }
                }
            }
            None => {
                for topic in self.image.topics.iter() {
                    for &number in topic.partitions.keys() {
                        let result = self.elect_preferred(&topic.name, number, &mut records);
                        if result.error_code != ErrorCode::ElectionNotNeeded.code() {
                            results.entry(topic.name.clone()).or_default().push(result);
                        }
                    }
                }
            }
        }
        let replica_election_results = results
            .into_iter()
            .map(|(topic, partition_result)| ReplicaElectionResult { topic, partition_result })
            .collect();
        Decision::write(records, ElectLeadersResponse { replica_election_results, ..Default::default() })
    }

    fn elect_preferred(
        &self,
        topic: &str,
        number: i32,
        records: &mut Vec<MetadataRecord>,
    ) -> PartitionResult {
        let answer = |error: ErrorCode| PartitionResult {
            partition_id: number,
            error_code: error.code(),
            error_message: (error != ErrorCode::None).then(|| error.message().to_owned()),
        };
        let Some((topic_id, partition)) = self
            .image
            .topics
            .by_name(topic)
            .and_then(|topic| Some((topic.id, topic.partitions.get(&number)?)))
        else {
            return answer(ErrorCode::UnknownTopicOrPartition);
        };
        if partition.leader == partition.replicas.first().copied() {
            return answer(ErrorCode::ElectionNotNeeded);
        }
        let at = TopicIdPartition::new(topic_id, number);
        let acceptable = |node| elections::is_acceptable(&self.image.cluster, partition, node);
        let Some(change) = elections::prefer(at, partition, acceptable) else {
            return answer(ErrorCode::PreferredLeaderNotAvailable);
        };
        records.push(MetadataRecord::PartitionChange(change));
        answer(ErrorCode::None)
    }
}

/// The in-sync set asked for, whichever version of the request carries it.
fn asked_isr(asked: &alter_partition_request::PartitionData) -> Vec<NodeId> {
    asked_isr_with_epochs(asked).into_iter().map(|(node, _)| node).collect()
}

fn asked_isr_with_epochs(asked: &alter_partition_request::PartitionData) -> Vec<(NodeId, BrokerEpoch)> {
    if asked.new_isr_with_epochs.is_empty() {
        return nodes(&asked.new_isr).into_iter().map(|node| (node, BrokerEpoch::NONE)).collect();
    }
    asked
        .new_isr_with_epochs
        .iter()
        .map(|member| (NodeId(member.broker_id), BrokerEpoch(member.broker_epoch)))
        .collect()
}
