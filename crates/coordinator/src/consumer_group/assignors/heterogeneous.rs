//! The uniform assignor where members are subscribed to different topics
//! (`org.apache.kafka.coordinator.group.assignor.UniformHeterogeneousAssignmentBuilder`).

use super::GroupSpec;
use crate::consumer_group::member::Partitions;
use ottla_types::{TopicIdPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Members keep what they had; the rest goes to those with the least. Then partitions move, over several members if need be,
/// until nobody has two more than somebody who could have one of them.
pub(super) fn assign(group: &GroupSpec<'_>) -> BTreeMap<String, Partitions> {
    let mut unassigned = group.partitions();
    let given = group.kept(&mut unassigned);
    let mut balancing = Balancing { given, subscribers: subscribers(group) };
    // The topics that the fewest can have first, as the others can still make up for them.
    let mut rest: Vec<TopicIdPartition> = unassigned.into_iter().collect();
    rest.sort_by_key(|partition| (balancing.subscribers[&partition.topic_id].len(), *partition));
    for partition in rest {
        balancing.give(partition);
    }
    while balancing.improve() {}
    balancing.given
}

fn subscribers<'a>(group: &GroupSpec<'a>) -> BTreeMap<Uuid, Vec<&'a str>> {
    let mut subscribers: BTreeMap<Uuid, Vec<&str>> = BTreeMap::new();
    for (member_id, member) in &group.members {
        for topic in &member.topics {
            subscribers.entry(*topic).or_default().push(member_id);
        }
    }
    subscribers
}

struct Balancing<'a> {
    given: BTreeMap<String, Partitions>,
    subscribers: BTreeMap<Uuid, Vec<&'a str>>,
}

impl Balancing<'_> {
    /// Gives a partition to the subscriber with the least.
    fn give(&mut self, partition: TopicIdPartition) {
        let subscribers = &self.subscribers[&partition.topic_id];
        let least = subscribers.iter().min_by_key(|member| self.given[**member].len());
        let member = *least.expect("somebody is subscribed to it");
        self.given.get_mut(member).expect("all members are in it").insert(partition);
    }

    /// Makes one member with too many have one fewer, and another with at least two fewer one more. Returns false when there
    /// are no such two. Every such step brings the group nearer to balance, so they come to an end.
    fn improve(&mut self) -> bool {
        let mut by_load: Vec<(usize, String)> =
            self.given.iter().map(|(member, partitions)| (partitions.len(), member.clone())).collect();
        by_load.sort_by(|a, b| b.cmp(a));
        let least = by_load.last().map_or(0, |(load, _)| *load);
        for (load, member) in by_load {
            if load < least + 2 {
                return false;
            }
            if let Some(path) = self.path_to_less(&member, load - 2) {
                for (from, partition, to) in path {
                    self.given.get_mut(&from).expect("it is a member").remove(&partition);
                    self.given.get_mut(&to).expect("it is a member").insert(partition);
                }
                return true;
            }
        }
        false
    }

    /// The shortest chain of moves from a member to one with at most `load_max`: each gives a partition to the next, which is
    /// subscribed to it.
    fn path_to_less(&self, start: &str, load_max: usize) -> Option<Vec<(String, TopicIdPartition, String)>> {
        let mut came_from: BTreeMap<&str, (&str, TopicIdPartition)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        let mut topics_done: BTreeSet<Uuid> = BTreeSet::new();
        while let Some(member) = queue.pop_front() {
            if self.given[member].len() <= load_max {
                return Some(trace(&came_from, start, member));
            }
            let mut last = None;
            for partition in &self.given[member] {
                // One of each topic: all of its subscribers are as near by one as by another.
                if last.replace(partition.topic_id) == Some(partition.topic_id)
                    || !topics_done.insert(partition.topic_id)
                {
                    continue;
                }
                for &next in &self.subscribers[&partition.topic_id] {
                    if next != start && !came_from.contains_key(next) {
                        came_from.insert(next, (member, *partition));
                        queue.push_back(next);
                    }
                }
            }
        }
        None
    }
}

fn trace(
    came_from: &BTreeMap<&str, (&str, TopicIdPartition)>,
    start: &str,
    end: &str,
) -> Vec<(String, TopicIdPartition, String)> {
    let mut path = Vec::new();
    let mut to = end;
    while to != start {
        let (from, partition) = came_from[to];
        path.push((from.to_owned(), partition, to.to_owned()));
        to = from;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::super::{GroupSpec, MemberSpec};
    use super::*;

    #[test]
    fn a_partition_too_many_is_handed_on_over_others() {
        let (x, y) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let of = |topic, numbers: &[i32]| -> Partitions {
            numbers.iter().map(|&p| TopicIdPartition::new(topic, p)).collect()
        };
        let (a, b) = (of(x, &[0, 1]), of(y, &[0]));
        let spec = |topics: &[Uuid], target| MemberSpec {
            instance_id: None,
            topics: topics.iter().copied().collect(),
            target,
        };
        let group = GroupSpec {
            members: [("a", spec(&[x], Some(&a))), ("b", spec(&[x, y], Some(&b))), ("c", spec(&[y], None))]
                .into(),
            topics: [(x, 2), (y, 1)].into(),
        };

        let given = assign(&group);

        assert!(given.values().all(|partitions| partitions.len() == 1), "{given:?}");
    }
}
