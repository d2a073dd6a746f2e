//! The uniform assignor where all members are subscribed to the same topics
//! (`org.apache.kafka.coordinator.group.assignor.UniformHomogeneousAssignmentBuilder`).

use super::GroupSpec;
use crate::consumer_group::member::Partitions;
use std::collections::BTreeMap;

/// Every member has its share, rounded down, and as many as need be have one more. Members keep what they had as far as that
/// goes.
pub(super) fn assign(group: &GroupSpec<'_>) -> BTreeMap<String, Partitions> {
    let mut unassigned = if group.members.is_empty() { Partitions::new() } else { group.partitions() };
    let members = group.members.len().max(1);
    let (quota, mut larger) = (unassigned.len() / members, unassigned.len() % members);
    let mut given = group.kept(&mut unassigned);
    for partitions in given.values_mut() {
        let is_larger = partitions.len() > quota && larger > 0;
        larger -= usize::from(is_larger);
        while partitions.len() > quota + usize::from(is_larger) {
            unassigned.extend(partitions.pop_last());
        }
    }
    for partitions in given.values_mut() {
        while partitions.len() < quota {
            partitions.insert(unassigned.pop_first().expect("the quotas are no more than there is"));
        }
    }
    for partitions in given.values_mut().filter(|partitions| partitions.len() == quota) {
        partitions.extend(unassigned.pop_first());
    }
    assert!(unassigned.is_empty(), "the quotas are all there is");
    given
}

#[cfg(test)]
mod tests {
    use super::super::{GroupSpec, MemberSpec};
    use super::*;
    use ottla_types::{TopicIdPartition, Uuid};

    #[test]
    fn who_joins_is_given_no_more_than_its_share_and_nothing_else_moves() {
        let topic = Uuid::from_u128(1);
        let all: Partitions = (0..6).map(|p| TopicIdPartition::new(topic, p)).collect();
        let spec = |target| MemberSpec { instance_id: None, topics: [topic].into(), target };
        let mut group = GroupSpec { topics: [(topic, 6)].into(), ..GroupSpec::default() };
        group.members = [("a", spec(Some(&all))), ("b", spec(None))].into();

        let given = assign(&group);

        let numbers = |name: &str| given[name].iter().map(|p| p.partition).collect::<Vec<_>>();
        assert_eq!((numbers("a"), numbers("b")), (vec![0, 1, 2], vec![3, 4, 5]));
    }
}
