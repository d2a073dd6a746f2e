//! Leaderships return to the replicas that were placed to have them.
//!
//! A broker that was away comes back as a follower of everything. Left at that, leaderships gather on whoever
//! has not failed yet, and so do the clients' connections: a client that knows one broker only is the slowest to
//! notice when that one dies. (Kafka: `auto.leader.rebalance.enable`,
//! `ReplicationControlManager.maybeBalancePartitionLeaders`.)

use crate::Controller;
use ottla_metadata::PartitionRegistration;
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_types::TopicIdPartition;

/// The most elections of one decision, as in Kafka.
pub const ELECTIONS_MAX: usize = 1000;

impl Controller {
    /// Elects the preferred leader of at most [`ELECTIONS_MAX`] partitions that another leads, where it is in
    /// sync and was not away a moment ago ([`Controller::set_newcomers`]).
    pub fn balance_leaders(&self) -> Vec<MetadataRecord> {
        self.partitions()
            .filter_map(|(at, partition)| self.return_of_leadership(at, partition))
            .take(ELECTIONS_MAX)
            .map(MetadataRecord::PartitionChange)
            .collect()
    }

    fn return_of_leadership(
        &self,
        at: TopicIdPartition,
        partition: &PartitionRegistration,
    ) -> Option<PartitionChangeRecord> {
        let preferred = partition.replicas.first()?;
        let election = self.election(at, partition);
        (!self.newcomers.contains(preferred)).then(|| election.prefer(&self.candidates(partition))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use ottla_metadata::{MetadataDelta, MetadataImage};
    use ottla_protocol::records::metadata::{PartitionRecord, RegisterBrokerRecord, TopicRecord};
    use ottla_types::{NodeId, Uuid};
    use std::collections::BTreeSet;

    const TOPIC: Uuid = Uuid::from_u128(7);

    /// Brokers 1, 2 and 3 are active, 4 is fenced; partition `n` has the `n`th leader and in-sync set given. All
    /// prefer 1, but for those whose first in-sync replica is 4.
    fn controller(partitions: &[(i32, &[i32])]) -> Controller {
        let mut records: Vec<MetadataRecord> = (1..=4)
            .map(|id| {
                MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                    broker_id: id,
                    broker_epoch: i64::from(id),
                    fenced: id == 4,
                    ..Default::default()
                })
            })
            .collect();
        let topic = TopicRecord { name: "t".to_owned(), topic_id: TOPIC };
        records.push(MetadataRecord::Topic(topic));
        for (number, &(leader, isr)) in (0..).zip(partitions) {
            let replicas = if isr[0] == 4 { vec![4, 1] } else { vec![1, 2, 3] };
            records.push(MetadataRecord::Partition(PartitionRecord {
                partition_id: number,
                topic_id: TOPIC,
                replicas,
                isr: isr.to_vec(),
                leader,
                ..Default::default()
            }));
        }
        let mut image = MetadataImage::default();
        for record in &records {
            image.replay(record, &mut MetadataDelta::default()).unwrap();
        }
        Controller::new(Settings::for_tests(), image, 7)
    }

    fn moves(controller: &Controller) -> Vec<(i32, i32)> {
        let change = |record| match record {
            MetadataRecord::PartitionChange(change) => (change.partition_id, change.leader),
            other => panic!("{other:?}"),
        };
        controller.balance_leaders().into_iter().map(change).collect()
    }

    #[test]
    fn only_an_active_replica_in_sync_gets_its_leadership_back() {
        let controller =
            controller(&[(2, &[2, 3, 1]), (1, &[1, 2]), (2, &[2, 3]), (1, &[4, 1]), (3, &[3, 1])]);

        assert_eq!(moves(&controller), [(0, 1), (4, 1)]);
    }

    #[test]
    fn one_that_was_away_a_moment_ago_waits() {
        let mut controller = controller(&[(2, &[2, 3, 1])]);
        controller.set_newcomers(BTreeSet::from([NodeId(1)]));
        assert_eq!(moves(&controller), []);

        controller.set_newcomers(BTreeSet::new());
        assert_eq!(moves(&controller), [(0, 1)]);
    }

    #[test]
    fn a_partition_without_a_leader_gets_its_preferred_one() {
        assert_eq!(moves(&controller(&[(-1, &[1])])), [(0, 1)]);
    }

    #[test]
    fn what_is_too_much_for_one_decision_is_left_for_the_next() {
        let many = vec![(2, &[1, 2, 3][..]); ELECTIONS_MAX + 1];

        assert_eq!(moves(&controller(&many)).len(), ELECTIONS_MAX);
    }
}
