//! Offsets go: because somebody asks for it, because their topic is gone, because they are too old.

use crate::consumer_group::subscription::names_of_group;
use crate::coordinator::{GroupCoordinator, reply};
use crate::group::{Group, GroupState};
use crate::offsets::CommittedOffset;
use crate::records;
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestTopic};
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::records::group::GroupRecord;
use ottla_types::{Now, Timestamp};
use std::collections::BTreeSet;

impl GroupCoordinator {
    /// Handles an OffsetDelete. A group with members keeps the offsets of the topics it is subscribed to.
    pub fn handle_offset_delete(
        &mut self,
        request: &OffsetDeleteRequest,
        context: &RequestContext,
    ) -> GroupDecision {
        let kept = match self.kept_by(&request.group_id) {
            Ok(kept) => kept,
            Err(error) => {
                let response = OffsetDeleteResponse { error_code: error.code(), ..Default::default() };
                return reply(context.token, GroupReply::OffsetDelete(response));
            }
        };
        let mut response = OffsetDeleteResponse::default();
        let mut records = Vec::new();
        for topic in &request.topics {
            let mut error = ErrorCode::GroupSubscribedToTopic;
            if !kept.contains(&topic.name) {
                error = ErrorCode::None;
                records.extend(self.tombstones(&request.group_id, topic));
            }
            response.topics.push(answer(topic, error));
        }
        self.decide(|_, decision| {
            decision.records = records;
            decision.replies.push((context.token, GroupReply::OffsetDelete(response)));
        })
    }

    fn kept_by(&self, group_id: &str) -> Result<KeptTopics, ErrorCode> {
        if group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if let Some(group) = self.consumer_groups.get(group_id) {
            let names = names_of_group(group).into_iter().map(str::to_owned);
            return Ok(KeptTopics::Subscribed(names.collect()));
        }
        let group = self.groups.get(group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state != GroupState::Empty && !group.is_of_consumers() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        Ok(KeptTopics::of(group))
    }

    fn tombstones(&self, group_id: &str, topic: &OffsetDeleteRequestTopic) -> Vec<GroupRecord> {
        let partitions: BTreeSet<i32> = topic.partitions.iter().map(|one| one.partition_index).collect();
        let is_there = |p| {
            self.offsets.get(group_id, &topic.name, p).is_some()
                || self.pending.contains(group_id, &topic.name, p)
        };
        partitions
            .iter()
            .filter(|&&p| is_there(p))
            .map(|&p| records::offset_tombstone(group_id, &topic.name, p))
            .collect()
    }

    /// Topics are gone: so are the offsets in them, also those of open transactions.
    pub fn handle_topic_deleted(&mut self, names: &[String]) -> GroupDecision {
        let names: BTreeSet<&String> = names.iter().collect();
        self.decide(|machine, decision| {
            for topic in names {
                let mut gone = machine.pending.iter_topic(topic);
                gone.extend(machine.offsets.iter_topic(topic));
                let tombstones = gone.iter().map(|&(group, p)| records::offset_tombstone(group, topic, p));
                decision.records.extend(tombstones);
            }
        })
    }

    /// The ends of offsets that are too old, and of groups that have neither members nor offsets left. What an open
    /// transaction is about to change stays, and so does its group.
    pub(crate) fn expired_offsets(&self, now: Now) -> Vec<GroupRecord> {
        let retention = self.settings.offsets_retention;
        let mut records = Vec::new();
        for (group_id, group) in &self.groups {
            let mut all_expired = true;
            let kept = KeptTopics::of(group);
            for (topic, partition, offset) in self.offsets.iter_group(group_id) {
                let is_kept = kept.contains(topic) || self.pending.contains(group_id, topic, partition);
                let since = retained_since(group, &kept, offset).filter(|_| !is_kept);
                if since.is_some_and(|since| offset.is_expired(since, retention, now.wall)) {
                    records.push(records::offset_tombstone(group_id, topic, partition));
                } else {
                    all_expired = false;
                }
            }
            let is_empty = group.state == GroupState::Empty && group.pending_members.is_empty();
            if all_expired && is_empty && !self.pending.has_group(group_id) {
                records.push(records::group_tombstone(group_id));
            }
        }
        records
    }
}

/// From when on offsets of a group are kept for the retention; `None` while they are kept for good.
///
/// Offsets of a group with members last as long as it does, but those in topics that its consumers are not
/// subscribed to any more. The time of others begins when the last member goes, or, where there was none, with
/// the commit (KIP-211).
fn retained_since(group: &Group, kept: &KeptTopics, offset: &CommittedOffset) -> Option<Timestamp> {
    match (group.state, &group.protocol_type, kept) {
        (_, None, _) => Some(offset.committed_at),
        (GroupState::Empty, Some(_), _) => Some(group.state_since.unwrap_or(offset.committed_at)),
        (GroupState::Stable, Some(_), KeptTopics::Subscribed(_)) => Some(offset.committed_at),
        _ => None,
    }
}

/// The topics whose offsets a group needs.
enum KeptTopics {
    /// Its members' subscriptions.
    Subscribed(BTreeSet<String>),
    /// Consumers whose subscriptions cannot be read.
    All,
    /// Nobody is subscribed to anything.
    None,
}

impl KeptTopics {
    fn of(group: &Group) -> KeptTopics {
        match group.subscribed_topics() {
            Some(topics) => KeptTopics::Subscribed(topics),
            None if group.is_of_consumers() => KeptTopics::All,
            None => KeptTopics::None,
        }
    }

    fn contains(&self, topic: &str) -> bool {
        match self {
            KeptTopics::Subscribed(topics) => topics.contains(topic),
            KeptTopics::All => true,
            KeptTopics::None => false,
        }
    }
}

fn answer(topic: &OffsetDeleteRequestTopic, error: ErrorCode) -> OffsetDeleteResponseTopic {
    let answer_one =
        |partition_index| OffsetDeleteResponsePartition { partition_index, error_code: error.code() };
    OffsetDeleteResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|one| answer_one(one.partition_index)).collect(),
    }
}
