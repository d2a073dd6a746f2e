//! Offsets of consumer groups: who may commit and ask for them, and which are kept.

use super::admission::unknown_member;
use super::group::ConsumerGroup;
use super::member::Member;
use super::records;
use super::subscription;
use crate::coordinator::GroupCoordinator;
use crate::records as classic_records;
use ottla_protocol::ErrorCode;
use ottla_protocol::records::group::GroupRecord;
use ottla_types::{Now, TopicIdPartition};

/// The first version of OffsetCommit that can tell a member that its epoch is an old one.
const STALE_MEMBER_EPOCH_VERSION: i16 = 9;

/// Who commits offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committer<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) epoch: i32,
}

impl ConsumerGroup {
    /// Checks a commit. A member that has not heard of its present epoch may commit what it has owned since the one it knows
    /// (KIP-1251).
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, UNSUPPORTED_VERSION, STALE_MEMBER_EPOCH; ILLEGAL_GENERATION for members of the classic protocol.
    pub(crate) fn validate_commit(
        &self,
        committer: Committer<'_>,
        version: i16,
        partitions: impl Iterator<Item = TopicIdPartition>,
    ) -> Result<(), ErrorCode> {
        if committer.epoch < 0 && self.members().len() == 0 {
            return Ok(());
        }
        self.validate_epoch_of_commit(committer, partitions, Some(version))
    }

    /// Checks a commit within a transaction, which may come from a producer that does not know the member.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION.
    pub(crate) fn validate_txn_commit(
        &self,
        committer: Committer<'_>,
        partitions: impl Iterator<Item = TopicIdPartition>,
    ) -> Result<(), ErrorCode> {
        let is_nobody = committer.member_id.is_empty() && committer.instance_id.is_none();
        if committer.epoch < 0 && (self.members().len() == 0 || is_nobody) {
            return Ok(());
        }
        let outcome = self.validate_epoch_of_commit(committer, partitions, None);
        // Producers do not know of member epochs.
        outcome.map_err(|error| match error {
            ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
            other => other,
        })
    }

    fn validate_epoch_of_commit(
        &self,
        committer: Committer<'_>,
        mut partitions: impl Iterator<Item = TopicIdPartition>,
        version: Option<i16>,
    ) -> Result<(), ErrorCode> {
        let Member { subscription, current } =
            self.member(committer.member_id).ok_or(unknown_member().error)?;
        let stale = match subscription.classic {
            Some(_) => ErrorCode::IllegalGeneration,
            None if version.is_some_and(|version| version < STALE_MEMBER_EPOCH_VERSION) => {
                return Err(ErrorCode::UnsupportedVersion);
            }
            None => ErrorCode::StaleMemberEpoch,
        };
        if committer.epoch == current.epoch {
            return Ok(());
        }
        let owned_since = |at| current.assigned.get(&at).or_else(|| current.revoking.get(&at));
        let has_owned = |at| owned_since(at).is_some_and(|since| *since <= committer.epoch);
        let is_behind = committer.epoch >= 0 && committer.epoch < current.epoch;
        if is_behind && partitions.all(has_owned) { Ok(()) } else { Err(stale) }
    }

    /// Checks who asks for offsets. Administrators, and clients of before KIP-848, do not say who they are.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH; ILLEGAL_GENERATION for members of the classic protocol.
    pub(crate) fn validate_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.member(id)).ok_or(ErrorCode::UnknownMemberId)?;
        match &member.subscription.classic {
            _ if member.current.epoch == epoch => Ok(()),
            Some(_) => Err(ErrorCode::IllegalGeneration),
            None => Err(ErrorCode::StaleMemberEpoch),
        }
    }
}

impl GroupCoordinator {
    /// Ends of offsets that are too old, and of groups that have neither members nor offsets. Offsets in topics that somebody
    /// is subscribed to are kept, others for the retention after their commit.
    pub(crate) fn expired_consumer_offsets(&self, now: Now) -> Vec<GroupRecord> {
        let retention = self.settings.offsets_retention;
        let mut expired = Vec::new();
        for (group_id, group) in &self.consumer_groups {
            let subscribed = subscription::names_of_group(group);
            let mut all_expired = true;
            for (topic, partition, offset) in self.offsets.iter_group(group_id) {
                let is_kept = subscribed.contains(topic) || self.pending.contains(group_id, topic, partition);
                if !is_kept && offset.is_expired(offset.committed_at, retention, now.wall) {
                    expired.push(classic_records::offset_tombstone(group_id, topic, partition));
                } else {
                    all_expired = false;
                }
            }
            if all_expired && group.members().len() == 0 && !self.pending.has_group(group_id) {
                expired.extend(tombstones(group));
            }
        }
        expired
    }
}

/// The end of a group, but for its offsets.
pub(crate) fn tombstones(group: &ConsumerGroup) -> Vec<GroupRecord> {
    let group_id = &*group.id;
    let mut ended = Vec::new();
    for (member_id, _) in group.members() {
        ended.push(records::current(group_id, member_id, None));
        ended.push(records::target(group_id, member_id, None));
        ended.push(records::member(group_id, member_id, None));
    }
    ended.push(records::target_epoch(group_id, None));
    ended.extend(group.regexes.keys().map(|regex| records::regex(group_id, regex, None)));
    ended.push(records::group_epoch(group_id, None));
    ended
}
