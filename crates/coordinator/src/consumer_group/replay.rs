//! The log's records of consumer groups, among those of others: a group id has one type at a time.

use super::group::ConsumerGroup;
use super::records::{group_of, is_tombstone};
use crate::coordinator::GroupCoordinator;
use crate::group::{Group, GroupState};
use crate::reply::GroupDecision;
use ottla_protocol::records::group::GroupRecord;

impl GroupCoordinator {
    /// Writes a record that is true from here on, though its driver will replay it: what is decided next depends on it.
    pub(crate) fn write(&mut self, record: GroupRecord, decision: &mut GroupDecision) {
        self.apply(&record);
        decision.records.push(record);
    }

    /// Applies a record of a consumer group; others are skipped.
    pub(crate) fn replay_consumer_group(&mut self, record: &GroupRecord) {
        let Some(group_id) = group_of(record) else { return };
        if let GroupRecord::ConsumerGroupMetadata(_, None) = record {
            self.forget_consumer_group(group_id);
        } else if is_tombstone(record) {
            if let Some(group) = self.consumer_groups.get_mut(group_id) {
                group.replay(record);
            }
        } else {
            if self.groups.get(group_id).is_some_and(keeps_offsets_only) {
                self.forget(group_id);
            }
            let group = self.consumer_groups.entry(group_id.to_owned());
            group.or_insert_with(|| ConsumerGroup::new(group_id)).replay(record);
        }
    }

    /// Offsets that are left belong to a group without a type again.
    fn forget_consumer_group(&mut self, group_id: &str) {
        if self.consumer_groups.remove(group_id).is_none() {
            return;
        }
        self.alarms.disarm(group_id);
        if self.offsets.of_group(group_id).is_some() || self.pending.has_group(group_id) {
            self.materialise(group_id);
        }
    }
}

/// Returns whether nothing is known of a group but offsets, which any type of group can have.
fn keeps_offsets_only(group: &Group) -> bool {
    group.state == GroupState::Empty && group.protocol_type.is_none() && group.pending_members.is_empty()
}
