//! OffsetCommit: a member, or a client without a group, stores how far it has read.

use crate::consumer_group::offsets::Committer;
use crate::coordinator::{GroupCoordinator, reply};
use crate::group::{Group, GroupState};
use crate::records;
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition};
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::records::group::{GroupRecord, OffsetCommitValue};
use ottla_types::{Now, TopicIdPartition, Uuid};

/// From this version on, a group that does not exist is told from a generation that is over.
const GROUP_ID_NOT_FOUND_VERSION: i16 = 9;

impl GroupCoordinator {
    /// Handles an OffsetCommit whose topics have names; their ids are kept where they are given.
    ///
    /// A commit without a generation is that of a client which assigns partitions to itself: it is right
    /// while the group has no members, and makes the group if there is none.
    pub fn handle_offset_commit(
        &mut self,
        request: &OffsetCommitRequest,
        context: &RequestContext,
        now: Now,
    ) -> GroupDecision {
        if let Err(error) = self.validate_commit(request, context.version) {
            let response = answer(request, |_| error);
            return reply(context.token, GroupReply::OffsetCommit(response));
        }
        self.decide(|machine, decision| {
            if let Some(mut turn) = machine.turn(&request.group_id, now, decision)
                && turn.group.member(&request.member_id).is_some()
            {
                turn.hear(&request.member_id, context.connection);
                turn.renew_session(&request.member_id);
            }
            if let Some(mut turn) = machine.consumer_turn(&request.group_id, now, decision) {
                turn.hear(&request.member_id, context.connection);
            }
            decision.records = machine.commit_records(request, now);
            let response =
                answer(request, |partition| machine.check_metadata(partition.committed_metadata.as_deref()));
            decision.replies.push((context.token, GroupReply::OffsetCommit(response)));
        })
    }

    fn validate_commit(&self, request: &OffsetCommitRequest, version: i16) -> Result<(), ErrorCode> {
        if let Some(group) = self.consumer_groups.get(&request.group_id) {
            let committer = Committer {
                member_id: &request.member_id,
                instance_id: request.group_instance_id.as_deref(),
                epoch: request.generation_id_or_member_epoch,
            };
            let partitions = request.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|one| TopicIdPartition::new(topic.topic_id, one.partition_index))
            });
            return group.validate_commit(committer, version, partitions);
        }
        match self.groups.get(&request.group_id) {
            Some(group) => validate_member_commit(group, request),
            None if request.generation_id_or_member_epoch < 0 => Ok(()),
            None if version >= GROUP_ID_NOT_FOUND_VERSION => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    fn commit_records(&self, request: &OffsetCommitRequest, now: Now) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                if self.check_metadata(partition.committed_metadata.as_deref()) == ErrorCode::None {
                    let value = commit_value(request, topic.topic_id, partition, now);
                    let (group_id, partition) = (&request.group_id, partition.partition_index);
                    records.push(records::offset_commit(group_id, &topic.name, partition, value));
                }
            }
        }
        records
    }

    /// Checks the length, in UTF-16 units, of what a client wants to remember.
    pub(crate) fn check_metadata(&self, metadata: Option<&str>) -> ErrorCode {
        let len_max = self.settings.offset_metadata_len_max;
        // Never more UTF-16 units than bytes, so counting is rarely needed.
        let is_too_large = |text: &str| text.len() > len_max && text.encode_utf16().count() > len_max;
        if metadata.is_some_and(is_too_large) { ErrorCode::OffsetMetadataTooLarge } else { ErrorCode::None }
    }
}

fn validate_member_commit(group: &Group, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    let generation = request.generation_id_or_member_epoch;
    if generation < 0 && group.state == GroupState::Empty {
        return Ok(());
    }
    let instance_id = request.group_instance_id.as_deref();
    if generation < 0 && request.member_id.is_empty() && instance_id.is_none() {
        // A client that assigns partitions to itself would disturb the members.
        return Err(ErrorCode::UnknownMemberId);
    }
    group.validate_member(&request.member_id, instance_id)?;
    if generation != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    if group.state == GroupState::CompletingRebalance {
        // The partitions may be somebody else's in this generation, which nobody has been told yet.
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

fn commit_value(
    request: &OffsetCommitRequest,
    topic_id: Uuid,
    partition: &OffsetCommitRequestPartition,
    now: Now,
) -> OffsetCommitValue {
    let expire_timestamp = match request.retention_time_ms {
        ms if ms < 0 => -1,
        ms => now.wall.0.saturating_add(ms),
    };
    OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.clone().unwrap_or_default(),
        commit_timestamp: now.wall.0,
        expire_timestamp,
        topic_id,
    }
}

fn answer(
    request: &OffsetCommitRequest,
    error: impl Fn(&OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponse {
    let answer_one = |partition: &OffsetCommitRequestPartition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error(partition).code(),
    };
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(answer_one).collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
