//! Log directories of brokers: which replica is in which, and what follows when one fails or is replaced (KIP-858).

use crate::brokers::registration_change;
use crate::controller::Controller;
use ottla_metadata::BrokerRegistration;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs_response::{
    AssignReplicasToDirsResponse, DirectoryData, PartitionData, TopicData,
};
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_types::{Decision, TopicIdPartition, Uuid};
use std::collections::BTreeSet;

impl Controller {
    /// A broker says in which of its directories replicas are.
    pub fn handle_assign_replicas_to_dirs(
        &self,
        request: &AssignReplicasToDirsRequest,
    ) -> Decision<MetadataRecord, AssignReplicasToDirsResponse> {
        let refuse = |error: ErrorCode| {
            Decision::reply(AssignReplicasToDirsResponse { error_code: error.code(), ..Default::default() })
        };
        let broker = match self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            Ok(broker) => broker,
            Err(error) => return refuse(error),
        };
        let mut records = Vec::new();
        let mut response = AssignReplicasToDirsResponse::default();
        let mut seen = BTreeSet::new();
        for directory in &request.directories {
            let mut answered = DirectoryData { id: directory.id, topics: Vec::new() };
            for topic in &directory.topics {
                let mut partitions = Vec::new();
                for partition in &topic.partitions {
                    let at = TopicIdPartition::new(topic.topic_id, partition.partition_index);
                    // Two changes of one partition, both worked out from what is there now, would not both hold.
                    let decided = match seen.insert(at) {
                        true => self.assign(broker, at, directory.id),
                        false => Err(ErrorCode::InvalidRequest),
                    };
                    let error = decided.as_ref().err().copied().unwrap_or(ErrorCode::None);
                    records.extend(decided.ok().flatten().map(MetadataRecord::PartitionChange));
                    partitions
                        .push(PartitionData { partition_index: at.partition, error_code: error.code() });
                }
                answered.topics.push(TopicData { topic_id: topic.topic_id, partitions });
            }
            response.directories.push(answered);
        }
        Decision::write(records, response)
    }

    fn assign(
        &self,
        broker: &BrokerRegistration,
        at: TopicIdPartition,
        directory: Uuid,
    ) -> Result<Option<PartitionChangeRecord>, ErrorCode> {
        let topic = self.image.topics.by_id(at.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partitions.get(&at.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !partition.has_replica(broker.id) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let was_in = partition.directory(broker.id);
        let works = |directory: Uuid| broker.directories.contains(&directory);
        let is_new = matches!(was_in, Uuid::UNASSIGNED_DIR | Uuid::MIGRATING_DIR);
        let mut election = self.election(at, partition).with_directory(broker.id, directory);
        if !works(directory) {
            election = election.without_lost(broker.id);
        } else if !is_new && !works(was_in) {
            // It begins anew there: what it had is in a directory that failed, or is gone.
            election = election.without_replaced(broker.id);
        }
        Ok(election.elect(&self.candidates(partition)))
    }

    /// A broker's directories failed: what it held there goes offline, the rest stays.
    pub(crate) fn lose_directories(&self, broker: &BrokerRegistration, lost: &[Uuid]) -> Vec<MetadataRecord> {
        let works = |directory: &&Uuid| !lost.contains(directory);
        let working: Vec<Uuid> = broker.directories.iter().filter(works).copied().collect();
        let mut records = Vec::new();
        if working.len() < broker.directories.len() {
            records.push(registration_change(broker.id, broker.epoch, |change| change.log_dirs = working));
        }
        // Even if they were not registered any more: who registers anew does not name them.
        for (at, partition) in self.partitions() {
            if !lost.contains(&partition.directory(broker.id)) {
                continue;
            }
            // What was not synced there is gone, or may as well be.
            let election = self.election(at, partition).without_lost(broker.id);
            let change = election.elect(&self.candidates(partition));
            records.extend(change.map(MetadataRecord::PartitionChange));
        }
        records
    }
}

#[cfg(test)]
mod tests;
