//! The range assignor (`org.apache.kafka.coordinator.group.assignor.RangeAssignor`).

use super::{GroupSpec, MemberSpec};
use crate::consumer_group::member::Partitions;
use ottla_types::TopicIdPartition;
use std::collections::BTreeMap;

/// Every topic is cut into as many ranges as it has subscribers, of which the first are longer by one. The order of the
/// members is the same for all topics: static ones first, by their instances, then the others.
pub(super) fn assign(group: &GroupSpec<'_>) -> BTreeMap<String, Partitions> {
    let mut members: Vec<(&str, &MemberSpec<'_>)> = group.members.iter().map(|(id, m)| (*id, m)).collect();
    members.sort_by_key(|(id, member)| (member.instance_id.is_none(), member.instance_id, *id));
    let mut given: BTreeMap<String, Partitions> =
        members.iter().map(|(id, _)| ((*id).to_owned(), Partitions::new())).collect();
    for (&topic, &count) in &group.topics {
        let subscribers: Vec<&str> =
            members.iter().filter(|(_, member)| member.topics.contains(&topic)).map(|(id, _)| *id).collect();
        let count = usize::try_from(count).expect("counts are not negative");
        let (quota, longer) = (count / subscribers.len(), count % subscribers.len());
        let mut next = 0;
        for (position, member) in subscribers.into_iter().enumerate() {
            let end = next
                + i32::try_from(quota + usize::from(position < longer)).expect("it is a part of the count");
            let range = (next..end).map(|partition| TopicIdPartition::new(topic, partition));
            given.get_mut(member).expect("all members are in it").extend(range);
            next = end;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Uuid;

    #[test]
    fn equal_numbers_of_different_topics_go_together_and_static_members_come_first() {
        let topics = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let spec = |instance_id| MemberSpec { instance_id, topics: topics.into(), target: None };
        let group = GroupSpec {
            members: [("a", spec(None)), ("b", spec(Some("i2"))), ("c", spec(Some("i1")))].into(),
            topics: topics.map(|topic| (topic, 4)).into(),
        };

        let given = assign(&group);

        for topic in topics {
            let numbers = |member: &str| {
                let of_topic = given[member].iter().filter(|p| p.topic_id == topic);
                of_topic.map(|p| p.partition).collect::<Vec<_>>()
            };
            assert_eq!((numbers("c"), numbers("b"), numbers("a")), (vec![0, 1], vec![2], vec![3]));
        }
    }
}
