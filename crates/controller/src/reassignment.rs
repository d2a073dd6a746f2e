//! Administrators move replicas between brokers (KIP-455).
//!
//! What is asked for here only begins, or is taken back: it is over when the leader says that the last new replica is
//! in sync ([`crate::elections`]).

use crate::assignment::{Assignment, without};
use crate::controller::Controller;
use crate::message;
use crate::topics::Refusal;
use ottla_metadata::partition::{ids, nodes};
use ottla_metadata::{PartitionRegistration, TopicImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use ottla_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_types::{Decision, NodeId, TopicIdPartition};
use std::collections::BTreeSet;

impl Controller {
    /// Begins reassignments, or takes back those under way; each partition succeeds or fails on its own.
    pub fn handle_alter_partition_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Decision<MetadataRecord, AlterPartitionReassignmentsResponse> {
        let mut records = Vec::new();
        let mut seen = BTreeSet::new();
        let mut response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            ..Default::default()
        };
        for topic in &request.topics {
            let mut answered = ReassignableTopicResponse { name: topic.name.clone(), ..Default::default() };
            for partition in &topic.partitions {
                let is_first = seen.insert((topic.name.as_str(), partition.partition_index));
                let decided = if is_first {
                    self.reassign(&topic.name, partition, request.allow_replication_factor_change)
                } else {
                    Err((ErrorCode::InvalidRequest, "Duplicate partition.".to_owned()))
                };
                let (error_code, error_message) = match decided {
                    Ok(change) => {
                        records.extend(change.map(MetadataRecord::PartitionChange));
                        (ErrorCode::None.code(), None)
                    }
                    Err((error, message)) => (error.code(), Some(message::cut(message))),
                };
                answered.partitions.push(ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_code,
                    error_message,
                });
            }
            response.responses.push(answered);
        }
        Decision::write(records, response)
    }

    /// Tells which reassignments are under way: all, or those of some partitions. What does not exist is left out.
    pub fn handle_list_partition_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> Decision<MetadataRecord, ListPartitionReassignmentsResponse> {
        let topics = match &request.topics {
            None => {
                let all = self.image.topics.iter();
                all.filter_map(|topic| ongoing(topic, topic.partitions.keys().copied())).collect()
            }
            Some(topics) => topics
                .iter()
                .filter_map(|asked| {
                    let topic = self.image.topics.by_name(&asked.name)?;
                    ongoing(topic, asked.partition_indexes.iter().copied())
                })
                .collect(),
        };
        Decision::reply(ListPartitionReassignmentsResponse { topics, ..Default::default() })
    }

    fn reassign(
        &self,
        topic: &str,
        asked: &ReassignablePartition,
        may_change_factor: bool,
    ) -> Result<Option<PartitionChangeRecord>, Refusal> {
        let unknown = |message: String| (ErrorCode::UnknownTopicOrPartition, message);
        let number = asked.partition_index;
        let image = self.image.topics.by_name(topic);
        let image = image.ok_or_else(|| unknown(format!("Unable to find a topic named {topic}.")))?;
        let partition = image.partitions.get(&number);
        let partition =
            partition.ok_or_else(|| unknown(format!("Unable to find partition {topic}:{number}.")))?;
        let at = TopicIdPartition::new(image.id, number);
        match &asked.replicas {
            Some(target) => self.move_replicas(at, partition, &nodes(target), may_change_factor),
            None => self.take_back(at, topic, partition),
        }
    }

    fn move_replicas(
        &self,
        at: TopicIdPartition,
        partition: &PartitionRegistration,
        target: &[NodeId],
        may_change_factor: bool,
    ) -> Result<Option<PartitionChangeRecord>, Refusal> {
        self.check_replicas(target)?;
        let assignment = Assignment::of(partition);
        let factor = assignment.target().len();
        if !may_change_factor && target.len() != factor {
            return Err((
                ErrorCode::InvalidReplicationFactor,
                format!("The replication factor is changed from {factor} to {}", target.len()),
            ));
        }
        let election = self
            .election(at, partition)
            .with_assignment(assignment.towards(target), |node| self.default_directory(node));
        Ok(election.elect(&self.candidates(partition)))
    }

    /// The replicas that were there when the reassignment began have everything that is committed if they are in sync.
    /// Where none of them is, only those added have, and nothing is taken back. Nor is it where fewer of them are than
    /// `min.insync.replicas` asks for: what was acknowledged since is on the added ones and on those few, whose copy would
    /// be the last. Kafka takes that back.
    fn take_back(
        &self,
        at: TopicIdPartition,
        topic: &str,
        partition: &PartitionRegistration,
    ) -> Result<Option<PartitionChangeRecord>, Refusal> {
        let assignment = Assignment::of(partition);
        if !assignment.is_moving() {
            let error = ErrorCode::NoReassignmentInProgress;
            return Err((error, error.message().to_owned()));
        }
        let isr = without(&partition.isr, &assignment.adding);
        let unable = |why: String| {
            let number = at.partition;
            let message =
                format!("Unable to revert partition assignment for {topic}:{number} because {why}.");
            Err((ErrorCode::InvalidReplicaAssignment, message))
        };
        if isr.is_empty() {
            return unable("it would require an unclean leader election".to_owned());
        }
        let min_isr = self.min_insync_replicas(topic).min(assignment.original().len());
        if isr.len() < partition.isr.len() && isr.len() < min_isr {
            let left = isr.len();
            return unable(format!(
                "{left} replica(s) would be in sync, and min.insync.replicas is {min_isr}"
            ));
        }
        let election = self
            .election(at, partition)
            .with_isr(isr)
            .with_assignment(assignment.reverted(), |node| self.default_directory(node));
        Ok(election.elect(&self.candidates(partition)))
    }
}

/// The reassignments of some partitions of a topic; `None` when there are none.
fn ongoing(topic: &TopicImage, numbers: impl Iterator<Item = i32>) -> Option<OngoingTopicReassignment> {
    let partitions: Vec<OngoingPartitionReassignment> = numbers
        .filter_map(|number| {
            let assignment = Assignment::of(topic.partitions.get(&number)?);
            assignment.is_moving().then(|| OngoingPartitionReassignment {
                partition_index: number,
                replicas: ids(&assignment.replicas),
                adding_replicas: ids(&assignment.adding),
                removing_replicas: ids(&assignment.removing),
            })
        })
        .collect();
    let name = topic.name.clone();
    (!partitions.is_empty()).then_some(OngoingTopicReassignment { name, partitions })
}

#[cfg(test)]
mod tests;
