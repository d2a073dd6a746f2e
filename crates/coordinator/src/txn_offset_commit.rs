//! TxnOffsetCommit: a producer stores how far its transaction has read. It counts when the transaction is committed.

use crate::consumer_group::offsets::Committer;
use crate::coordinator::{GroupCoordinator, reply};
use crate::group::{Group, GroupState};
use crate::records;
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition,
};
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::records::group::{GroupRecord, OffsetCommitValue};
use ottla_types::{Now, ProducerId, TopicIdPartition};

impl GroupCoordinator {
    /// Handles a TxnOffsetCommit. The driver appends the records in one transactional batch of the request's producer, and
    /// replays them with [`GroupCoordinator::replay_transactional`].
    ///
    /// Nothing changes before that: where the log refuses the producer, the decision is dropped as if it had not been made.
    pub fn handle_txn_offset_commit(
        &self,
        request: &TxnOffsetCommitRequest,
        context: &RequestContext,
        now: Now,
    ) -> GroupDecision {
        self.assert_replayed();
        if let Err(error) = self.validate_txn_commit(request) {
            return reply(context.token, GroupReply::TxnOffsetCommit(txn_answer(request, |_| error)));
        }
        let check = |partition: &TxnOffsetCommitRequestPartition| {
            self.check_metadata(partition.committed_metadata.as_deref())
        };
        let mut decision = reply(context.token, GroupReply::TxnOffsetCommit(txn_answer(request, check)));
        for topic in &request.topics {
            for partition in topic.partitions.iter().filter(|partition| check(partition) == ErrorCode::None) {
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.clone().unwrap_or_default(),
                    commit_timestamp: now.wall.0,
                    expire_timestamp: -1,
                    topic_id: topic.topic_id,
                };
                let (group_id, index) = (&request.group_id, partition.partition_index);
                decision.records.push(records::offset_commit(group_id, &topic.name, index, value));
            }
        }
        decision
    }

    pub(crate) fn validate_txn_commit(&self, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if let Some(group) = self.consumer_groups.get(&request.group_id) {
            let committer = Committer {
                member_id: &request.member_id,
                instance_id: request.group_instance_id.as_deref(),
                epoch: request.generation_id_or_member_epoch,
            };
            let partitions = request.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|one| TopicIdPartition::new(topic.topic_id, one.partition_index))
            });
            return group.validate_txn_commit(committer, partitions);
        }
        match self.groups.get(&request.group_id) {
            Some(group) => validate_member_txn_commit(group, request),
            None if request.generation_id_or_member_epoch < 0 => Ok(()),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Applies a record of a transactional batch: of the log, while loading, or of a decision. An offset waits for the
    /// producer's marker; the end of one counts at once, as in any batch.
    pub fn replay_transactional(&mut self, producer_id: ProducerId, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetCommit(key, Some(value)) => {
                let offset = self.place(value.into());
                self.materialise_for_offsets(&key.group);
                self.pending.put(producer_id, &key.group, &key.topic, key.partition, offset);
            }
            GroupRecord::LegacyOffsetCommit(key, Some(value)) => {
                let offset = self.place(value.into());
                self.materialise_for_offsets(&key.group);
                self.pending.put(producer_id, &key.group, &key.topic, key.partition, offset);
            }
            record => self.replay(record),
        }
    }

    /// Applies a marker: a producer's transaction has ended. What it had committed counts from now on, or never existed
    /// (TXN-4).
    ///
    /// Of two commits for a partition the one that stands later in the log counts: what came outside of the transaction
    /// after its own is kept (`OffsetMetadataManager.replayEndTransactionMarker`).
    pub fn replay_marker(&mut self, producer_id: ProducerId, committed: bool) {
        let Some(ended) = self.pending.end(producer_id) else { return };
        if !committed {
            return;
        }
        for (group_id, topic, partition, offset) in ended.iter() {
            let known = self.offsets.get(group_id, topic, partition);
            if known.is_none_or(|known| known.place < offset.place) {
                self.offsets.put(group_id, topic, partition, offset.clone());
            }
        }
    }
}

/// Unlike others, a commit in a transaction is right in whatever state a group is, and older versions name no member.
fn validate_member_txn_commit(group: &Group, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    let (generation, member_id) = (request.generation_id_or_member_epoch, &request.member_id);
    let instance_id = request.group_instance_id.as_deref();
    if generation < 0 && group.state == GroupState::Empty {
        return Ok(());
    }
    if generation < 0 && member_id.is_empty() && instance_id.is_none() {
        return Ok(());
    }
    group.validate_member(member_id, instance_id)?;
    if generation == group.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
}

/// The answer to a TxnOffsetCommit, with an error for each partition.
pub fn txn_answer(
    request: &TxnOffsetCommitRequest,
    error: impl Fn(&TxnOffsetCommitRequestPartition) -> ErrorCode,
) -> TxnOffsetCommitResponse {
    let answer_one = |partition: &TxnOffsetCommitRequestPartition| TxnOffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error(partition).code(),
    };
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(answer_one).collect(),
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
