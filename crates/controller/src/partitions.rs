//! Leaders ask for changes of their in-sync sets; administrators ask for elections.

use crate::bug::Bug;
use crate::controller::Controller;
use crate::message;
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
        if let Err(error) = self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            return Decision::reply(AlterPartitionResponse {
                error_code: error.code(),
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
        let candidates = self.candidates(current);
        let mut change = self.election(at, current).with_isr(isr).elect(&candidates);
        if asked_state != current.leader_recovery_state {
            let change = change.get_or_insert_with(|| PartitionChangeRecord {
                partition_id: at.partition,
                topic_id,
                leader: NO_LEADER_CHANGE,
                ..Default::default()
            });
            change.leader_recovery_state = asked_state.to_wire();
        }
        let after = change.as_ref().map_or_else(|| current.clone(), |change| current.merge(change));
        records.extend(change.map(MetadataRecord::PartitionChange));
        if after.leader != current.leader {
            // The reassignment that this completes takes the leader away: the set is changed all the same.
            return Err(ErrorCode::NewLeaderElected);
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
        let is_any_epoch_right = self.has(Bug::StaleBrokerEpochJoins);
        for (node, epoch) in asked_isr_with_epochs(asked) {
            let eligible = self.image.cluster.broker(node).is_some_and(|broker| {
                broker.is_active()
                    && (epoch == BrokerEpoch::NONE || epoch == broker.epoch || is_any_epoch_right)
            });
            if !eligible {
                return Err(ErrorCode::IneligibleReplica);
            }
        }
        Ok(())
    }

    /// Elects leaders as an administrator asks (KIP-183, KIP-460): the preferred ones (type 0), or, where there is
    /// none, any replica that works (type 1), which may lose acknowledged records.
    pub fn handle_elect_leaders(
        &mut self,
        request: &ElectLeadersRequest,
    ) -> Decision<MetadataRecord, ElectLeadersResponse> {
        let Some(kind) = ElectionType::from_wire(request.election_type) else {
            return Decision::reply(refuse_election(request, ErrorCode::InvalidRequest));
        };
        let mut records = Vec::new();
        let mut results: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
        match &request.topic_partitions {
            Some(topics) => {
                for topic in topics {
                    for &number in &topic.partitions {
                        let result = self.elect_leader(kind, &topic.topic, number, &mut records);
                        results.entry(topic.topic.clone()).or_default().push(result);
                    }
                }
            }
            None => {
                for topic in self.image.topics.iter() {
                    for &number in topic.partitions.keys() {
                        let result = self.elect_leader(kind, &topic.name, number, &mut records);
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

    fn elect_leader(
        &self,
        kind: ElectionType,
        topic: &str,
        number: i32,
        records: &mut Vec<MetadataRecord>,
    ) -> PartitionResult {
        let answer = |error: ErrorCode| PartitionResult {
            partition_id: number,
            error_code: error.code(),
            error_message: (error != ErrorCode::None).then(|| error.message().to_owned()),
        };
        let absent = |message: String| PartitionResult {
            error_message: Some(message::cut(message)),
            ..answer(ErrorCode::UnknownTopicOrPartition)
        };
        let Some(found) = self.image.topics.by_name(topic) else {
            return absent(format!("No such topic as {topic}"));
        };
        let Some(partition) = found.partitions.get(&number) else {
            return absent(format!("No such partition as {topic}-{number}"));
        };
        let election = self.election(TopicIdPartition::new(found.id, number), partition);
        let candidates = self.candidates(partition);
        let (is_needed, change, failure) = match kind {
            ElectionType::Preferred => (
                partition.leader != partition.replicas.first().copied(),
                election.prefer(&candidates),
                ErrorCode::PreferredLeaderNotAvailable,
            ),
            ElectionType::Unclean => (
                partition.leader.is_none(),
                election.elect_uncleanly(&candidates),
                ErrorCode::EligibleLeadersNotAvailable,
            ),
        };
        match change {
            _ if !is_needed => answer(ErrorCode::ElectionNotNeeded),
            None => answer(failure),
            Some(change) => {
                records.push(MetadataRecord::PartitionChange(change));
                answer(ErrorCode::None)
            }
        }
    }
}

/// Which leaders an administrator wants (`ElectionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElectionType {
    Preferred,
    Unclean,
}

impl ElectionType {
    fn from_wire(value: i8) -> Option<ElectionType> {
        match value {
            0 => Some(ElectionType::Preferred),
            1 => Some(ElectionType::Unclean),
            _ => None,
        }
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

/// What refuses a whole request, said of each partition that it names, as Kafka does.
fn refuse_election(request: &ElectLeadersRequest, error: ErrorCode) -> ElectLeadersResponse {
    let refused = |partition_id: &i32| PartitionResult {
        partition_id: *partition_id,
        error_code: error.code(),
        error_message: Some(error.message().to_owned()),
    };
    let results = request.topic_partitions.iter().flatten().map(|topic| ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic.partitions.iter().map(refused).collect(),
    });
    ElectLeadersResponse {
        error_code: error.code(),
        replica_election_results: results.collect(),
        ..Default::default()
    }
}
