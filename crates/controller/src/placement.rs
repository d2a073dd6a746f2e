//! Which brokers hold a new partition.
//!
//! Striped over the racks, as by Kafka's `StripedReplicaPlacer`. Each partition begins one rack further than the last,
//! and takes a broker of each rack in turn before it takes a second of any; within a rack it begins one broker further.
//! Where both begin is left to chance, and after as many partitions as there are brokers that work, all orders are drawn
//! anew, lest the same brokers always meet. Brokers without a rack are a rack of their own.
//!
//! With each round of the racks we go one broker further still. Kafka does not: of three racks with three brokers each
//! the same three brokers lead, until the orders are drawn anew.

use ottla_metadata::ClusterImage;
use ottla_types::{NodeId, Random};
use std::collections::BTreeMap;
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
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    AllFenced,
}

/// Chooses `factor` brokers for each of `count` partitions, the first of each to be its preferred leader.
///
/// Fenced brokers take replicas only where their rack's turn has come and it has no others left, and never come first.
/// Brokers on their way out take none.
///
/// # Errors
/// When there are fewer brokers than `factor`, or all are fenced.
pub fn place(
    cluster: &ClusterImage,
    count: usize,
    factor: usize,
    random: &mut Random,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    let mut racks = Racks::new(cluster, random);
    if racks.active == 0 {
        return Err(PlacementError::AllFenced);
    }
    if factor > racks.brokers {
        return Err(PlacementError::TooFewBrokers { factor, brokers: racks.brokers });
    }
    Ok((0..count).map(|_| racks.place(factor, random)).collect())
}

/// Brokers that are taken in turn.
#[derive(Debug, Default)]
struct Turns {
    brokers: Vec<NodeId>,
    /// Where the first partition begins.
    first: usize,
    /// How much further the partition begins that is being placed.
    shift: usize,
    /// How many of them it has.
    taken: usize,
}

impl Turns {
    fn begin_anywhere(&mut self, random: &mut Random) {
        if !self.brokers.is_empty() {
            self.first = random.index(self.brokers.len());
        }
    }

    fn begin(&mut self, shift: usize) {
        (self.shift, self.taken) = (shift, 0);
    }

    fn take(&mut self) -> Option<NodeId> {
        if self.taken == self.brokers.len() {
            return None;
        }
        let next = self.brokers[(self.first + self.shift + self.taken) % self.brokers.len()];
        self.taken += 1;
        Some(next)
    }
}

/// The brokers of one rack.
#[derive(Debug, Default)]
struct Rack {
    active: Turns,
    fenced: Turns,
}

/// All racks, in the order in which their turn comes.
struct Racks {
    racks: Vec<Rack>,
    /// The rack with which the first partition begins.
    first: usize,
    brokers: usize,
    active: usize,
    /// How many partitions were placed since the orders were drawn.
    placed: usize,
}

impl Racks {
    fn new(cluster: &ClusterImage, random: &mut Random) -> Racks {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let (mut brokers, mut active) = (0, 0);
        for broker in cluster.brokers.values().filter(|broker| !broker.in_controlled_shutdown) {
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            let turns = if broker.fenced { &mut rack.fenced } else { &mut rack.active };
            turns.brokers.push(broker.id);
            brokers += 1;
            active += usize::from(!broker.fenced);
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for rack in &mut racks {
            rack.active.begin_anywhere(random);
            rack.fenced.begin_anywhere(random);
        }
        let first = if racks.is_empty() { 0 } else { random.index(racks.len()) };
        Racks { racks, first, brokers, active, placed: 0 }
    }

    /// The brokers of the next partition. There are at least `factor`, and one that is not fenced.
    fn place(&mut self, factor: usize, random: &mut Random) -> Vec<NodeId> {
        if self.placed == self.active && self.active > 1 {
            self.draw(random);
        }
        let count = self.racks.len();
        let (round, place) = (self.placed / count, self.placed % count);
        for rack in &mut self.racks {
            rack.active.begin(round + place);
            rack.fenced.begin(round + place);
        }
        let first = self.first + place;
        let turns = || (0..count).map(move |step| (first + step) % count);
        let mut replicas = Vec::with_capacity(factor);
        let mut leads = None;
        for rack in turns() {
            if let Some(leader) = self.racks[rack].active.take() {
                replicas.push(leader);
                leads = Some(rack);
                break;
            }
        }
        while replicas.len() < factor {
            for rack in turns() {
                // In the first round the leader's rack has had its turn.
                let had_its_turn = leads.take_if(|leads| *leads == rack).is_some();
                if !had_its_turn && replicas.len() < factor {
                    let Rack { active, fenced } = &mut self.racks[rack];
                    replicas.extend(active.take().or_else(|| fenced.take()));
                }
            }
        }
        self.placed += 1;
        replicas
    }

    /// Draws the orders anew.
    fn draw(&mut self, random: &mut Random) {
        self.first += self.placed;
        random.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            random.shuffle(&mut rack.active.brokers);
            random.shuffle(&mut rack.fenced.brokers);
        }
        self.placed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::BrokerRegistration;
    use ottla_protocol::records::metadata::RegisterBrokerRecord;
    use std::collections::BTreeSet;

    fn cluster(ids: impl IntoIterator<Item = (i32, bool)>) -> ClusterImage {
        racked(ids.into_iter().map(|(id, fenced)| (id, None, fenced)))
    }

    fn racked(brokers: impl IntoIterator<Item = (i32, Option<&'static str>, bool)>) -> ClusterImage {
        let mut cluster = ClusterImage::default();
        for (broker_id, rack, fenced) in brokers {
            let rack = rack.map(str::to_owned);
            let record = RegisterBrokerRecord { broker_id, fenced, rack, ..Default::default() };
            cluster.brokers.insert(NodeId(broker_id), BrokerRegistration::from_record(&record));
        }
        cluster
    }

    /// How many partitions each broker leads, or holds.
    fn counts(placed: &[Vec<NodeId>], take: usize) -> Vec<usize> {
        let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
        for node in placed.iter().flat_map(|replicas| replicas.iter().take(take)) {
            *counts.entry(*node).or_default() += 1;
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn eight_partitions_on_three_brokers_are_led_3_3_2_whatever_the_seed() {
        let cluster = cluster([(1, false), (2, false), (3, false)]);
        for seed in 0..200 {
            let placed = place(&cluster, 8, 3, &mut Random::new(seed)).unwrap();

            for replicas in &placed {
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3, "seed {seed}: {replicas:?}");
            }
            assert_eq!(counts(&placed, 1), [2, 3, 3], "seed {seed}");
        }
    }

    const NINE: [(i32, Option<&str>, bool); 9] = [
        (1, Some("a"), false),
        (2, Some("a"), false),
        (3, Some("a"), false),
        (4, Some("b"), false),
        (5, Some("b"), false),
        (6, Some("b"), false),
        (7, Some("c"), false),
        (8, Some("c"), false),
        (9, Some("c"), false),
    ];

    fn rack_of(node: NodeId) -> i32 {
        (node.0 - 1) / 3
    }

    #[test]
    fn every_partition_is_in_as_many_racks_as_it_can_be() {
        let cluster = racked(NINE);
        for seed in 0..100 {
            for (factor, in_each) in [(2, 1), (3, 1), (5, 2), (7, 3)] {
                for replicas in place(&cluster, 30, factor, &mut Random::new(seed)).unwrap() {
                    let mut racks: BTreeMap<i32, usize> = BTreeMap::new();
                    for &node in &replicas {
                        *racks.entry(rack_of(node)).or_default() += 1;
                    }
                    assert_eq!(racks.len(), factor.min(3), "seed {seed}: {replicas:?}");
                    assert!(racks.values().all(|&count| count <= in_each), "seed {seed}: {replicas:?}");
                    assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor);
                }
            }
        }
    }

    #[test]
    fn over_racks_of_one_size_leaders_and_replicas_are_spread_evenly() {
        let cluster = racked(NINE);
        for seed in 0..100 {
            let placed = place(&cluster, 18, 3, &mut Random::new(seed)).unwrap();

            assert_eq!(counts(&placed, 1), [2; 9], "seed {seed}");
            assert_eq!(counts(&placed, 3), [6; 9], "seed {seed}");
        }
    }

    /// The first partitions of a cluster of three racks with three brokers each, as Kafka's documentation draws them.
    #[test]
    fn the_stripes_are_kafkas() {
        let mut racks = Racks::new(&racked(NINE), &mut Random::new(1));
        racks.first = 0;
        for rack in &mut racks.racks {
            rack.active.first = 0;
        }

        let placed: Vec<Vec<i32>> =
            (0..3).map(|_| racks.place(3, &mut Random::new(1)).iter().map(|node| node.0).collect()).collect();

        assert_eq!(placed, [[1, 4, 7], [5, 8, 2], [9, 3, 6]]);
    }

    #[test]
    fn one_broker_that_works_leads_everything() {
        let cluster = racked([(1, Some("a"), false), (2, Some("b"), true), (3, Some("b"), true)]);
        for seed in 0..20 {
            for replicas in place(&cluster, 10, 3, &mut Random::new(seed)).unwrap() {
                assert_eq!(replicas[0], NodeId(1));
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
            }
        }
    }

    #[test]
    fn another_rack_is_worth_more_than_a_broker_that_works() {
        let cluster = racked([(1, Some("a"), false), (2, Some("a"), false), (3, Some("b"), true)]);
        for replicas in place(&cluster, 10, 2, &mut Random::new(3)).unwrap() {
            assert_eq!(replicas[1], NodeId(3), "{replicas:?}");
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
