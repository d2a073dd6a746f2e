//! Which brokers hold a new partition.
//!
//! Striped, as in Kafka's `StripedReplicaPlacer` without racks: the brokers are shuffled once, each
//! partition starts one further than the last, so that leaders and replicas spread evenly.

use ottla_metadata::ClusterImage;
use ottla_types::{NodeId, Random};
use thiserror::Error;

/// There are not enough brokers for a partition's replicas.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlacementError {
    /// Fewer brokers than replicas.
    #[error(
        "The target replication factor of {factor} cannot be reached because only {brokers} broker(s) are registered or some brokers have all their log directories cordoned."
    )]
    TooFewBrokers {
        /// The replication factor asked for.
        factor: usize,
        /// How many brokers could take a replica.
        brokers: usize,
    },
    /// No broker could lead.
    #[error("All brokers are currently fenced.")]
    AllFenced,
}

/// Chooses `factor` brokers for each of `count` partitions, the first of each to be its preferred leader.
///
/// Fenced brokers take replicas only where there are not enough others, and never come first. Brokers on
/// their way out take none.
///
/// # Errors
/// When there are fewer brokers than `factor`, or all are fenced.
pub fn place(
    cluster: &ClusterImage,
    count: usize,
    factor: usize,
    random: &mut Random,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    let usable = || cluster.brokers.values().filter(|broker| !broker.in_controlled_shutdown);
    let mut active: Vec<NodeId> = usable().filter(|b| !b.fenced).map(|b| b.id).collect();
    let mut fenced: Vec<NodeId> = usable().filter(|b| b.fenced).map(|b| b.id).collect();
    let brokers = active.len() + fenced.len();
    if factor > brokers {
        return Err(PlacementError::TooFewBrokers { factor, brokers });
    }
    if active.is_empty() {
        return Err(PlacementError::AllFenced);
    }
    random.shuffle(&mut active);
    random.shuffle(&mut fenced);
    let mut placements = Vec::with_capacity(count);
    for number in 0..count {
        if number > 0 && number % active.len() == 0 {
            // Another order of the followers with the next round, lest the same pairs always meet.
            random.shuffle(&mut active[1..]);
        }
        let from_active = active.iter().cycle().skip(number % active.len()).take(active.len());
        placements.push(from_active.chain(&fenced).take(factor).copied().collect());
    }
    Ok(placements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::BrokerRegistration;
    use ottla_protocol::records::metadata::RegisterBrokerRecord;
    use std::collections::{BTreeMap, BTreeSet};

    fn cluster(ids: impl IntoIterator<Item = (i32, bool)>) -> ClusterImage {
        let mut cluster = ClusterImage::default();
        for (broker_id, fenced) in ids {
            let record = RegisterBrokerRecord { broker_id, fenced, ..Default::default() };
            cluster.brokers.insert(NodeId(broker_id), BrokerRegistration::from_record(&record));
        }
        cluster
    }

    #[test]
    fn eight_partitions_on_three_brokers_are_led_3_3_2_whatever_the_seed() {
        let cluster = cluster([(1, false), (2, false), (3, false)]);
        for seed in 0..200 {
            let placed = place(&cluster, 8, 3, &mut Random::new(seed)).unwrap();

            let mut leaders: BTreeMap<NodeId, u32> = BTreeMap::new();
            for replicas in &placed {
                *leaders.entry(replicas[0]).or_default() += 1;
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3, "seed {seed}: {replicas:?}");
            }
            let mut counts: Vec<u32> = leaders.into_values().collect();
            counts.sort_unstable();
            assert_eq!(counts, [2, 3, 3], "seed {seed}");
        }
    }

    #[test]
    fn fenced_brokers_follow_only_where_others_are_too_few() {
        let cluster = cluster([(1, false), (2, true), (3, false)]);
        let mut random = Random::new(1);

        for replicas in place(&cluster, 10, 2, &mut random).unwrap() {
            assert!(!replicas.contains(&NodeId(2)), "{replicas:?}");
        }
        for replicas in place(&cluster, 10, 3, &mut random).unwrap() {
            assert_eq!(replicas[2], NodeId(2), "{replicas:?}");
        }
    }

    #[test]
    fn says_in_kafkas_words_why_it_cannot() {
        let error = place(&cluster([(1, false)]), 1, 3, &mut Random::new(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The target replication factor of 3 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
        );
        let error = place(&cluster([(1, true)]), 1, 1, &mut Random::new(1)).unwrap_err();
        assert_eq!(error, PlacementError::AllFenced);
    }
}
