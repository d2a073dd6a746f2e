//! A consumer group whose members all speak the classic protocol becomes a classic group
//! (`GroupMetadataManager.convertToClassicGroup`).

use super::embedded;
use crate::consumer_group::group::ConsumerGroup;
use crate::consumer_group::offsets::tombstones;
use crate::consumer_group::topics::Topics;
use crate::coordinator::GroupCoordinator;
use crate::group::{Group, GroupState};
use crate::member::Member;
use crate::records as classic_records;
use crate::reply::GroupDecision;
use ottla_protocol::records::group::GroupRecord;
use ottla_types::Now;

impl GroupCoordinator {
    /// Makes a consumer group a classic one if nobody in it needs it to be one, and the policy allows it. Returns whether it
    /// did: all members are to join again then.
    pub(crate) fn downgrade_if_all_classic(
        &mut self,
        group_id: &str,
        topics: &dyn Topics,
        now: Now,
        decision: &mut GroupDecision,
    ) -> bool {
        let Some(group) = self.consumer_groups.get(group_id) else { return false };
        let is_allowed = self.settings.consumer_groups.migration.allows_downgrade()
            && group.members().len() <= self.settings.group_size_max;
        if !is_allowed || !group.is_all_classic() {
            return false;
        }
        let ended = tombstones(group);
        let record = downgraded(group, topics, now);
        for record in ended {
            self.write(record, decision);
        }
        self.write(record, decision);
        // What is written is replayed before anything else happens, and then they are asked to join.
        let group = self.groups.get(group_id).expect("it was just written");
        self.alarms.arm(&group.id, now.monotonic);
        true
    }
}

/// The group as a classic one: stable in a generation that is the epoch of most members, so that these can commit what they
/// have read before they join again. It has no leader, which tells a new coordinator that they have yet to do so.
///
/// Each is assigned what it owns, and not, as Kafka has it, what it was to have: it may not have heard of that, and if the group
/// is upgraded again before all have joined, what is not assigned to it would be given to others.
fn downgraded(group: &ConsumerGroup, topics: &dyn Topics, now: Now) -> GroupRecord {
    let mut classic = Group::new(&group.id);
    classic.protocol_type = Some(embedded::CONSUMER.to_owned());
    classic.generation = group.members().map(|(_, member)| member.current.epoch).max().unwrap_or(0);
    for (id, member, said) in group.classic_members() {
        classic.add(Member::from_consumer_group(id, &member.subscription, said));
    }
    let protocol = classic.select_protocol();
    classic.protocol = Some(protocol.clone());
    classic.leader = None;
    classic.transition(GroupState::Stable, now.wall);
    classic_records::group_metadata(&classic, |member| {
        let current = &group.member(&member.id).expect("it was taken from there").current;
        let metadata = member.metadata(&protocol).expect("the chosen protocol is everybody's");
        embedded::encode_assignment(current.owned(), metadata, topics)
    })
}
