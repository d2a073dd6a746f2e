//! A consumer group: its state, and the rules that hold between its parts.

use super::member::{Current, Member, Partitions, Subscription};
use super::records::flat;
use super::topics::GroupTimes;
use crate::presence::Presence;
use ottla_protocol::records::group::{
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataValue, GroupRecord,
};
use ottla_types::{Monotonic, Timestamp, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a group stands (`org.apache.kafka.coordinator.group.modern.consumer.ConsumerGroup.ConsumerGroupState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsumerGroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Something has changed since the target was computed.
    Assigning,
    /// Not all members have what the target gives them.
    Reconciling,
    /// All have.
    Stable,
}

impl ConsumerGroupState {
    /// Kafka's name, as ConsumerGroupDescribe and ListGroups show it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            ConsumerGroupState::Empty => "Empty",
            ConsumerGroupState::Assigning => "Assigning",
            ConsumerGroupState::Reconciling => "Reconciling",
            ConsumerGroupState::Stable => "Stable",
        }
    }
}

/// The topics that a regular expression matched when it was last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedRegex {
    pub(crate) topics: BTreeSet<String>,
    /// The version of the metadata that was looked at.
    pub(crate) version: i64,
    /// When.
    pub(crate) at: Timestamp,
}

impl ResolvedRegex {
    /// Whether it cannot be written down as one record.
    pub(crate) fn is_too_long(&self) -> bool {
        self.topics.iter().map(String::len).sum::<usize>() > super::regex::NAMES_BYTES_MAX
    }
}

/// A deadline for a member that has been asked to give partitions up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RevocationDeadline {
    /// The member's epoch then: it is over when the member has another.
    pub(crate) epoch: i32,
    pub(crate) at: Monotonic,
}

/// A group as this coordinator sees it.
///
/// What [`ConsumerGroup::replay`] sets is what the log holds. Deadlines are not in it: a new coordinator gives all members
/// fresh ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: Arc<str>,
    /// Grows by one with every change of members, subscriptions or subscribed topics.
    pub(crate) epoch: i32,
    /// What the subscribed topics looked like at this epoch (KIP-1101).
    pub(crate) metadata_hash: i64,
    /// The group's epoch for which the target was computed.
    pub(crate) target_epoch: i32,
    pub(crate) regexes: BTreeMap<String, ResolvedRegex>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    static_members: BTreeMap<String, String>,
    targets: BTreeMap<String, Partitions>,
    /// Who owns what, until they have given it up.
    owners: BTreeMap<TopicIdPartition, String>,
    /// When members are given up unless they are heard of before.
    pub(crate) sessions: BTreeMap<String, Monotonic>,
    pub(crate) revocations: BTreeMap<String, RevocationDeadline>,
    /// By which connections members were heard of.
    pub(crate) presences: BTreeMap<String, Presence>,
    /// When members whose connections have closed are given up unless they are heard of before.
    pub(crate) gone: BTreeMap<String, Monotonic>,
    /// When members of the classic protocol that were told to join again are given up.
    pub(crate) joins: BTreeMap<String, Monotonic>,
    /// When members of the classic protocol that have joined, and have not asked what they have, are given up.
    pub(crate) syncs: BTreeMap<String, Monotonic>,
    /// The view of the topics that was last compared with the hash.
    pub(crate) topics_seen: Option<i64>,
    /// When regular expressions were last looked up.
    pub(crate) regexes_seen: Option<Monotonic>,
    /// What was configured for this group when a member was last heard of.
    pub(crate) times: GroupTimes,
}

impl ConsumerGroup {
    /// A group without members, at an epoch that no stored group has.
    pub(crate) fn new(id: &str) -> ConsumerGroup {
        ConsumerGroup {
            id: id.into(),
            epoch: 0,
            metadata_hash: 0,
            target_epoch: 0,
            regexes: BTreeMap::new(),
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            targets: BTreeMap::new(),
            owners: BTreeMap::new(),
            sessions: BTreeMap::new(),
            revocations: BTreeMap::new(),
            presences: BTreeMap::new(),
            gone: BTreeMap::new(),
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            topics_seen: None,
            regexes_seen: None,
            times: GroupTimes::default(),
        }
    }

    /// Applies a record of this group, but for the tombstone that ends it. Each says what is, not what changes, so that
    /// those of a decision can be applied twice.
    pub(crate) fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::ConsumerGroupMetadata(_, Some(value)) => {
                let ConsumerGroupMetadataValue { epoch, metadata_hash } = *value;
                (self.epoch, self.metadata_hash) = (epoch, metadata_hash);
            }
            GroupRecord::ConsumerGroupTargetAssignmentMetadata(_, value) => {
                let epoch = |value: &ConsumerGroupTargetAssignmentMetadataValue| value.assignment_epoch;
                self.target_epoch = value.as_ref().map_or(0, epoch);
            }
            GroupRecord::ConsumerGroupMemberMetadata(key, Some(value)) => {
                self.install(&key.member_id, value.into());
            }
            GroupRecord::ConsumerGroupMemberMetadata(key, None) => self.remove(&key.member_id),
            GroupRecord::ConsumerGroupTargetAssignmentMember(key, value) => {
                let target = |value: &ConsumerGroupTargetAssignmentMemberValue| {
                    flat(value.topic_partitions.iter().map(|topic| (topic.topic_id, &topic.partitions)))
                };
                match value.as_ref().map(target) {
                    Some(target) => self.targets.insert(key.member_id.clone(), target),
                    None => self.targets.remove(&key.member_id),
                };
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment(key, Some(value)) => {
                self.members.entry(key.member_id.clone()).or_default();
                self.set_current(&key.member_id, value.into());
            }
            // A member that is not removed as well has not been given anything.
            GroupRecord::ConsumerGroupCurrentMemberAssignment(key, None) => {
                self.set_current(&key.member_id, Current::default());
            }
            GroupRecord::ConsumerGroupRegularExpression(key, value) => {
                match value.as_ref().map(ResolvedRegex::from) {
                    Some(resolved) => self.regexes.insert(key.regular_expression.clone(), resolved),
                    None => self.regexes.remove(&key.regular_expression),
                };
            }
            _ => {}
        }
    }

    fn install(&mut self, member_id: &str, subscription: Subscription) {
        let member = self.members.entry(member_id.to_owned()).or_default();
        let before = std::mem::replace(&mut member.subscription, subscription);
        let instance_id = member.subscription.instance_id.clone();
        self.release_instance(before.instance_id.as_deref(), member_id);
        if let Some(instance_id) = instance_id {
            self.static_members.insert(instance_id, member_id.to_owned());
        }
    }

    fn remove(&mut self, member_id: &str) {
        self.set_current(member_id, Current::default());
        self.targets.remove(member_id);
        if let Some(member) = self.members.remove(member_id) {
            self.release_instance(member.subscription.instance_id.as_deref(), member_id);
        }
    }

    /// The instance may be somebody else's already, who has taken the member's place.
    fn release_instance(&mut self, instance_id: Option<&str>, member_id: &str) {
        if let Some(instance_id) = instance_id
            && self.static_members.get(instance_id).is_some_and(|holder| holder == member_id)
        {
            self.static_members.remove(instance_id);
        }
    }

    fn set_current(&mut self, member_id: &str, current: Current) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.current, current);
        for partition in before.owned() {
            if self.owners.get(partition).is_some_and(|owner| owner == member_id) {
                self.owners.remove(partition);
            }
        }
        for partition in member.current.owned() {
            self.owners.insert(*partition, member_id.to_owned());
        }
    }

    /// Where the group stands.
    pub(crate) fn state(&self) -> ConsumerGroupState {
        let is_reconciled = |member: &Member| member.current.is_reconciled_to(self.target_epoch);
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.target_epoch {
            ConsumerGroupState::Assigning
        } else if self.members.values().all(is_reconciled) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// A member.
    pub(crate) fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    /// All members, with their ids, in the order of these.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = (&str, &Member)> {
        self.members.iter().map(|(id, member)| (id.as_str(), member))
    }

    /// The member that has an instance id.
    pub(crate) fn static_member_id(&self, instance_id: &str) -> Option<&str> {
        self.static_members.get(instance_id).map(String::as_str)
    }

    /// What a member is to have.
    pub(crate) fn target(&self, member_id: &str) -> Option<&Partitions> {
        self.targets.get(member_id)
    }

    /// Whose a partition is until it is given up.
    pub(crate) fn owner(&self, partition: &TopicIdPartition) -> Option<&str> {
        self.owners.get(partition).map(String::as_str)
    }

    /// What most members would rather have; on a tie, the first by name; `None` when none of them says.
    pub(crate) fn preferred_assignor(&self) -> Option<&str> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for assignor in self.members.values().filter_map(|m| m.subscription.server_assignor.as_deref()) {
            *votes.entry(assignor).or_default() += 1;
        }
        votes.into_iter().rev().max_by_key(|&(_, count)| count).map(|(assignor, _)| assignor)
    }

    /// When something is to be done if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        let revocations = self.revocations.values().map(|deadline| deadline.at);
        let others = self.gone.values().chain(self.joins.values()).chain(self.syncs.values());
        self.sessions.values().chain(others).copied().chain(revocations).min()
    }
}

impl From<&ConsumerGroupRegularExpressionValue> for ResolvedRegex {
    fn from(value: &ConsumerGroupRegularExpressionValue) -> ResolvedRegex {
        ResolvedRegex {
            topics: value.topics.iter().cloned().collect(),
            version: value.version,
            at: Timestamp(value.timestamp),
        }
    }
}
