//! How partitions are shared among members, by name (`group.consumer.assignors`).

mod heterogeneous;
mod homogeneous;
mod range;

use super::member::Partitions;
use ottla_types::{TopicIdPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// An assignor that runs here. Clients choose one by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// As evenly as can be, over all topics together, and with as few changes as that allows.
    Uniform,
    /// Each topic for itself, in ranges: equal numbers of different topics go to the same member.
    Range,
}

impl Assignor {
    /// All there are.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of a name.
    pub fn from_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Shares all partitions of all subscribed topics among the members. Each is given to one member that is subscribed to
    /// its topic.
    pub(crate) fn assign(self, group: &GroupSpec<'_>) -> BTreeMap<String, Partitions> {
        match self {
            Assignor::Range => range::assign(group),
            Assignor::Uniform if group.is_homogeneous() => homogeneous::assign(group),
            Assignor::Uniform => heterogeneous::assign(group),
        }
    }
}

/// A member as an assignor sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberSpec<'a> {
    pub(crate) instance_id: Option<&'a str>,
    /// The topics that it is subscribed to and that exist.
    pub(crate) topics: BTreeSet<Uuid>,
    /// What it was to have so far.
    pub(crate) target: Option<&'a Partitions>,
}

/// A group as an assignor sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupSpec<'a> {
    pub(crate) members: BTreeMap<&'a str, MemberSpec<'a>>,
    /// How many partitions each topic has that somebody is subscribed to.
    pub(crate) topics: BTreeMap<Uuid, i32>,
}

impl GroupSpec<'_> {
    /// Returns whether all members are subscribed to the same topics.
    fn is_homogeneous(&self) -> bool {
        let mut topics = self.members.values().map(|member| &member.topics);
        topics.next().is_none_or(|first| topics.all(|other| other == first))
    }

    /// All that is to be shared.
    fn partitions(&self) -> Partitions {
        let of_topic = |(&id, &count): (&Uuid, &i32)| (0..count).map(move |p| TopicIdPartition::new(id, p));
        self.topics.iter().flat_map(of_topic).collect()
    }

    /// What members can keep of what they had: it exists, and they are subscribed to it. Nobody else has it, even where the
    /// old targets gave it to two.
    fn kept(&self, unassigned: &mut Partitions) -> BTreeMap<String, Partitions> {
        let mut kept = BTreeMap::new();
        for (member_id, member) in &self.members {
            let had = member.target.into_iter().flatten();
            let is_kept = |partition: &&TopicIdPartition| {
                member.topics.contains(&partition.topic_id) && unassigned.remove(*partition)
            };
            kept.insert((*member_id).to_owned(), had.filter(is_kept).copied().collect());
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Random;

    /// A group of `count` members; what each is subscribed to by a rule, what each had by name.
    fn check(random: &mut Random, same: bool, rounds: usize) {
        let topic = |number: usize| Uuid::from_u128(number as u128 + 1);
        let names: Vec<String> = (0..12).map(|number| format!("m{number}")).collect();
        let mut had: BTreeMap<String, Partitions> = BTreeMap::new();
        for _ in 0..rounds {
            let counts: BTreeMap<Uuid, i32> =
                (0..4).map(|number| (topic(number), random.below(9) as i32 + 1)).collect();
            let shared: BTreeSet<Uuid> = counts.keys().copied().filter(|_| random.below(3) > 0).collect();
            let mut group = GroupSpec::default();
            for name in &names {
                if random.below(2) == 0 {
                    continue;
                }
                let own = counts.keys().copied().filter(|_| random.below(2) == 0).collect();
                let topics = if same { shared.clone() } else { own };
                group.topics.extend(topics.iter().map(|id| (*id, counts[id])));
                let instance_id = (random.below(3) == 0).then_some(name.as_str());
                group.members.insert(name, MemberSpec { instance_id, topics, target: had.get(name) });
            }
            for assignor in Assignor::ALL {
                let given = assignor.assign(&group);
                let all: Vec<_> = given.values().flatten().copied().collect();
                assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "given twice: {given:?}");
                let expected = if group.members.is_empty() { Partitions::new() } else { group.partitions() };
                assert_eq!(all.into_iter().collect::<Partitions>(), expected, "left over");
                for (name, partitions) in &given {
                    let topics = &group.members[name.as_str()].topics;
                    assert!(partitions.iter().all(|p| topics.contains(&p.topic_id)), "not subscribed");
                }
                if assignor == Assignor::Uniform {
                    judge_balance(&group, &given);
                    let again: BTreeMap<&str, MemberSpec<'_>> = group
                        .members
                        .iter()
                        .map(|(name, m)| (*name, MemberSpec { target: given.get(*name), ..m.clone() }))
                        .collect();
                    let again = GroupSpec { members: again, topics: group.topics.clone() };
                    assert_eq!(assignor.assign(&again), given, "what is balanced stays");
                }
            }
            had = Assignor::Uniform.assign(&group);
        }
    }

    /// No partition could go to a member that has two fewer.
    fn judge_balance(group: &GroupSpec<'_>, given: &BTreeMap<String, Partitions>) {
        for (from, partitions) in given {
            for (to, member) in &group.members {
                let movable = partitions.iter().any(|p| member.topics.contains(&p.topic_id));
                assert!(
                    !movable || partitions.len() <= given[*to].len() + 1,
                    "{from} has too many: {given:?}"
                );
            }
        }
    }

    #[test]
    fn every_partition_goes_to_one_subscriber_and_evenly() {
        let mut random = Random::new(1);
        for _ in 0..200 {
            check(&mut random, true, 10);
            check(&mut random, false, 10);
        }
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(Assignor::from_name("uniform"), Some(Assignor::Uniform));
        assert_eq!(Assignor::from_name("range"), Some(Assignor::Range));
        assert_eq!(Assignor::from_name("Range"), None);
    }
}
