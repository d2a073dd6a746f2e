//! Leaderships go back to the replicas that are preferred for them, without being asked.
//!
//! When a broker goes, others take over what it led, and keep it when it comes back. Left alone, all leaderships
//! gather on those that were restarted longest ago.

use crate::controller::Controller;
use crate::elections::{self, Preference};
use ottla_metadata::PartitionRegistration;
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_types::{Decision, TopicIdPartition};

/// Elections in one decision, at most (Kafka: `MAX_ELECTIONS_PER_IMBALANCE`).
pub const ELECTIONS_MAX: usize = 1000;

/// What balancing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balanced {
    /// How many partitions are led by their preferred replica now, that were not.
    pub moved: usize,
    /// There may be more: [`ELECTIONS_MAX`] was reached.
    pub has_more: bool,
}

impl Controller {
    /// Moves leaderships to the preferred replicas that are in sync, as ElectLeaders does, all of them: Kafka has
    /// known no tolerated share since 4.0. A broker that came back a moment ago is left for the next time, see
    /// [`Controller::set_newcomers`].
    pub fn balance_leaders(&self) -> Decision<MetadataRecord, Balanced> {
        let partitions = self.image.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|(&number, partition)| {
                (TopicIdPartition { topic_id: topic.id, partition: number }, partition)
            })
        });
        let records: Vec<MetadataRecord> = partitions
            .filter_map(|(at, partition)| self.return_to_preferred(at, partition))
            .take(ELECTIONS_MAX)
            .map(MetadataRecord::PartitionChange)
            .collect();
        let moved = records.len();
        Decision::write(records, Balanced { moved, has_more: moved == ELECTIONS_MAX })
    }

    fn return_to_preferred(
        &self,
        at: TopicIdPartition,
        partition: &PartitionRegistration,
    ) -> Option<PartitionChangeRecord> {
        let preferred = *partition.replicas.first()?;
        if partition.leader == Some(preferred) || self.newcomers.contains(&preferred) {
            return None;
        }
        let acceptable = |node| elections::is_acceptable(&self.image.cluster, partition, node);
        let elected = elections::elect(partition, &partition.isr, Preference::Preferred, acceptable);
        if elected != Some(preferred) {
            return None;
        }
        elections::reelect(at, partition, Preference::Preferred, acceptable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use ottla_metadata::{MetadataDelta, MetadataImage};
    use ottla_protocol::records::metadata::{PartitionRecord, RegisterBrokerRecord, TopicRecord};
    use ottla_types::{NodeId, Offset, Uuid};
    use std::collections::BTreeSet;

    const TOPIC: Uuid = Uuid::from_u128(7);

    /// Brokers 1 to 3, the third fenced, and partitions of these replicas, in-sync sets and leaders.
    fn controller(partitions: &[(&[i32], &[i32], i32)]) -> Controller {
        let mut records = vec![MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC })];
        records.extend((1..=3).map(|id| {
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id: id,
                broker_epoch: i64::from(id),
                fenced: id == 3,
                ..Default::default()
            })
        }));
        records.extend((0..).zip(partitions).map(|(partition_id, (replicas, isr, leader))| {
            MetadataRecord::Partition(PartitionRecord {
                topic_id: TOPIC,
                partition_id,
                replicas: replicas.to_vec(),
                isr: isr.to_vec(),
                leader: *leader,
                ..Default::default()
            })
        }));
        let mut image = MetadataImage::default();
        for record in &records {
            image.replay(record, &mut MetadataDelta::default()).unwrap();
        }
        image.end.offset = Offset(10);
        let settings = Settings {
            cluster_id: "c".to_owned(),
            num_partitions: 1,
            default_replication_factor: 1,
            min_insync_replicas: 1,
            delete_topic_enable: true,
        };
        Controller::new(settings, image, 7)
    }

    /// Balances, replays what was decided, and returns the leaders then.
    fn balance(controller: &mut Controller) -> (Balanced, Vec<Option<i32>>) {
        let mut decision = controller.balance_leaders();
        for record in &decision.records {
            let end = controller.image.end.offset;
            controller.replay(record, end).unwrap();
        }
        let topic = controller.image.topics.by_name("t").unwrap();
        let leaders =
            topic.partitions.values().map(|partition| partition.leader.map(|node| node.0)).collect();
        (decision.replies.pop().unwrap(), leaders)
    }

    #[test]
    fn leaderships_return_to_preferred_replicas_that_are_in_sync_and_active() {
        let mut controller = controller(&[
            (&[1, 2, 3], &[1, 2], 2),
            (&[2, 1, 3], &[1, 2], 2),
            (&[1, 2, 3], &[2], 2),
            (&[3, 2, 1], &[1, 2, 3], 2),
        ]);

        let (balanced, leaders) = balance(&mut controller);

        assert_eq!(balanced, Balanced { moved: 1, has_more: false });
        assert_eq!(leaders, [Some(1), Some(2), Some(2), Some(2)], "moved, right, lagging, fenced");
        let (balanced, _) = balance(&mut controller);
        assert_eq!(balanced.moved, 0, "nothing is left to do");
    }

    #[test]
    fn who_came_back_a_moment_ago_gets_its_leaderships_later() {
        let mut controller = controller(&[(&[1, 2], &[1, 2], 2)]);

        controller.set_newcomers(BTreeSet::from([NodeId(1)]));
        assert_eq!(balance(&mut controller).1, [Some(2)]);
        controller.set_newcomers(BTreeSet::new());

        assert_eq!(balance(&mut controller).1, [Some(1)]);
    }

    #[test]
    fn one_decision_moves_no_more_than_the_bound() {
        let mut controller = controller(&vec![(&[1, 2][..], &[1, 2][..], 2); ELECTIONS_MAX + 1]);

        let (first, _) = balance(&mut controller);
        let (second, leaders) = balance(&mut controller);

        assert_eq!(first, Balanced { moved: ELECTIONS_MAX, has_more: true });
        assert_eq!(second, Balanced { moved: 1, has_more: false });
        assert!(leaders.iter().all(|&leader| leader == Some(1)));
    }
}
