//! Shares partitions out among members (`RangeAssignor`).

use ottla_types::TopicPartition;
use std::collections::BTreeMap;

/// A member of a group, and the topics it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its id, or its instance's id if it has one: members are ordered by that.
    pub order: String,
    /// Its id.
    pub member_id: String,
    /// The topics it wants.
    pub topics: Vec<String>,
}

/// Gives every subscriber of a topic a run of its partitions; those first in order get one more when they
/// do not come out even. `partitions` says how many each topic has.
pub fn range(
    subscribers: &[Subscriber],
    partitions: &BTreeMap<String, i32>,
) -> BTreeMap<String, Vec<TopicPartition>> {
    let mut sorted: Vec<&Subscriber> = subscribers.iter().collect();
    sorted.sort_by(|a, b| a.order.cmp(&b.order));
    let mut shares: BTreeMap<String, Vec<TopicPartition>> =
        sorted.iter().map(|subscriber| (subscriber.member_id.clone(), Vec::new())).collect();
    for (topic, &count) in partitions {
        let wanting: Vec<&&Subscriber> = sorted.iter().filter(|s| s.topics.contains(topic)).collect();
        let Ok(members) = i32::try_from(wanting.len()) else { continue };
        if members == 0 {
            continue;
        }
        let (each, more) = (count / members, count % members);
        let mut next = 0;
        for (subscriber, index) in wanting.iter().zip(0..) {
            let run = next..next + each + i32::from(index < more);
            next = run.end;
            let share = shares.get_mut(&subscriber.member_id).expect("every subscriber has a share");
            share.extend(run.map(|partition| TopicPartition::new(topic.clone(), partition)));
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subscriber(id: &str, topics: &[&str]) -> Subscriber {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Subscriber { order: id.into(), member_id: id.into(), topics }
    }

    #[test]
    fn runs_are_shared_out_in_order() {
        let members = [subscriber("b", &["t"]), subscriber("a", &["t", "u"])];
        let partitions = BTreeMap::from([("t".to_owned(), 3), ("u".to_owned(), 2)]);

        let shares = range(&members, &partitions);

        let shown = |id: &str| shares[id].iter().map(TopicPartition::to_string).collect::<Vec<_>>();
        assert_eq!(shown("a"), ["t-0", "t-1", "u-0", "u-1"]);
        assert_eq!(shown("b"), ["t-2"]);
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner(count in 0..50i32, members in 1..10usize) {
            let members: Vec<_> = (0..members).map(|i| subscriber(&i.to_string(), &["t"])).collect();

            let shares = range(&members, &BTreeMap::from([("t".to_owned(), count)]));

            let mut owned: Vec<i32> = shares.values().flatten().map(|at| at.partition).collect();
            owned.sort_unstable();
            prop_assert_eq!(owned, (0..count).collect::<Vec<_>>());
        }
    }
}
