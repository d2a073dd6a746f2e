//! How a cluster is, and how many nodes it can lose: computed from what the metadata log says and from which
//! processes live.

use ottla_metadata::{ConfigResource, MetadataImage, PartitionRegistration, TopicImage};
use ottla_types::NodeId;
use std::collections::BTreeSet;
use std::fmt;

/// The setting that says how many in-sync replicas a partition needs.
pub(super) const MIN_ISR: &str = "min.insync.replicas";

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// Processes that run, of all there are.
    pub(crate) nodes: (usize, usize),
    /// Voters that run, of all there are.
    pub(crate) quorum: (usize, usize),
    /// Partitions without a leader that runs.
    pub(crate) offline: usize,
    /// Partitions of which not every replica is in sync.
    pub(crate) under_replicated: usize,
    /// How many nodes, whichever they are, can be lost at once with `acks=all` going on everywhere; `None` when it
    /// does not go on everywhere as it is.
    pub(crate) can_lose: Option<usize>,
}

impl Health {
    /// The health of a cluster whose nodes, each of them a voter, are `all`, and of which `live` run. A topic that does
    /// not say itself how many in-sync replicas it needs needs `min_isr`.
    pub(crate) fn of(
        image: &MetadataImage,
        all: &BTreeSet<NodeId>,
        live: &BTreeSet<NodeId>,
        min_isr: usize,
    ) -> Health {
        let running = all.intersection(live).count();
        let serves = |id: NodeId| live.contains(&id) && image.cluster.is_active(id);
        let majority = all.len() / 2 + 1;
        let mut spare = running.checked_sub(majority);
        let (mut offline, mut under_replicated) = (0, 0);
        for topic in image.topics.iter() {
            let wanted = min_isr_of(image, topic).unwrap_or(min_isr);
            for partition in topic.partitions.values() {
                let in_sync = partition.isr.iter().filter(|&&id| serves(id)).count();
                offline += usize::from(!partition.leader.is_some_and(serves));
                under_replicated += usize::from(in_sync < partition.replicas.len());
                spare = lesser(spare, spare_replicas(partition, in_sync, wanted));
            }
        }
        if offline > 0 {
            spare = None;
        }
        Health {
            nodes: (running, all.len()),
            quorum: (running, all.len()),
            offline,
            under_replicated,
            can_lose: spare,
        }
    }

    /// Returns whether everything is as it should be.
    pub(crate) fn is_healthy(&self) -> bool {
        self.nodes.0 == self.nodes.1 && self.offline == 0 && self.under_replicated == 0
    }
}

/// How many in-sync replicas a partition has more than it needs; `None` when it has fewer. It never needs more than
/// it has replicas.
fn spare_replicas(partition: &PartitionRegistration, in_sync: usize, min_isr: usize) -> Option<usize> {
    in_sync.checked_sub(min_isr.min(partition.replicas.len()))
}

fn lesser(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    a.zip(b).map(|(a, b)| a.min(b))
}

fn min_isr_of(image: &MetadataImage, topic: &TopicImage) -> Option<usize> {
    let own = image.configs.value(&ConfigResource::topic(&topic.name), MIN_ISR);
    own.or_else(|| image.configs.value(&ConfigResource::cluster(), MIN_ISR))?.trim().parse().ok()
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_healthy() { "HEALTHY" } else { "DEGRADED" };
        let Health { nodes, quorum, offline, under_replicated, can_lose } = self;
        write!(f, "{state}  {}/{} nodes, quorum {}/{}, ", nodes.0, nodes.1, quorum.0, quorum.1)?;
        if *under_replicated > 0 || *offline > 0 {
            write!(f, "{under_replicated} partitions not in sync, {offline} offline, ")?;
        }
        match can_lose {
            None => write!(f, "acks=all does not go on everywhere"),
            Some(0) if nodes.1 > 1 => write!(f, "can lose: 0 (the next loss stops acks=all)"),
            Some(count) => write!(f, "can lose: {count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::MetadataDelta;
    use ottla_protocol::records::metadata::MetadataRecord;
    use ottla_protocol::records::metadata::{
        config_record::ConfigRecord, partition_record::PartitionRecord,
        register_broker_record::RegisterBrokerRecord, topic_record::TopicRecord,
    };
    use ottla_types::Uuid;

    fn image(isr: &[i32], min_isr: Option<&str>) -> MetadataImage {
        let topic_id = Uuid::from_u128(7);
        let mut records: Vec<MetadataRecord> = (1..=3)
            .map(|id| {
                let record = RegisterBrokerRecord { broker_id: id, fenced: false, ..Default::default() };
                MetadataRecord::RegisterBroker(record)
            })
            .collect();
        records.push(MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id }));
        records.push(MetadataRecord::Partition(PartitionRecord {
            topic_id,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            leader: isr.first().copied().unwrap_or(-1),
            ..Default::default()
        }));
        records.extend(min_isr.map(|value| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: 2,
                resource_name: "t".to_owned(),
                name: MIN_ISR.to_owned(),
                value: Some(value.to_owned()),
            })
        }));
        let mut image = MetadataImage::default();
        for record in &records {
            image.replay(record, &mut MetadataDelta::default()).unwrap();
        }
        image
    }

    fn nodes(ids: &[i32]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn what_can_be_lost_is_the_least_of_quorum_and_in_sync_sets() {
        let can_lose = |isr: &[i32], min_isr, all: &[i32], live: &[i32]| {
            Health::of(&image(isr, min_isr), &nodes(all), &nodes(live), 2).can_lose
        };

        assert_eq!(can_lose(&[1, 2, 3], None, &[1, 2, 3], &[1, 2, 3]), Some(1));
        assert_eq!(can_lose(&[1, 2], None, &[1, 2, 3], &[1, 2, 3]), Some(0));
        assert_eq!(can_lose(&[1], None, &[1, 2, 3], &[1, 2, 3]), None, "acks=all is refused");
        assert_eq!(can_lose(&[1], Some("1"), &[1, 2, 3], &[1, 2, 3]), Some(0));
        assert_eq!(can_lose(&[1, 2, 3], Some("1"), &[1, 2, 3], &[1, 2, 3]), Some(1), "the quorum decides");
        assert_eq!(can_lose(&[1, 2, 3], Some("1"), &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]), Some(2));
        assert_eq!(can_lose(&[1, 2, 3], None, &[1, 2, 3], &[1, 2]), Some(0));
        assert_eq!(can_lose(&[1, 2, 3], None, &[1, 2, 3], &[2, 3]), None, "the leader is gone");
        assert_eq!(can_lose(&[1, 2, 3], Some("9"), &[1, 2, 3], &[1, 2, 3]), Some(0), "3 of 3 are needed");
    }

    #[test]
    fn health_is_told_in_a_line() {
        let health = |isr: &[i32], live: &[i32]| {
            Health::of(&image(isr, None), &nodes(&[1, 2, 3]), &nodes(live), 2).to_string()
        };

        assert_eq!(health(&[1, 2, 3], &[1, 2, 3]), "HEALTHY  3/3 nodes, quorum 3/3, can lose: 1");
        assert_eq!(
            health(&[1, 3], &[1, 3]),
            "DEGRADED  2/3 nodes, quorum 2/3, 1 partitions not in sync, 0 offline, can lose: 0 (the next loss \
             stops acks=all)"
        );
        assert!(health(&[1, 2, 3], &[2, 3]).ends_with("1 offline, acks=all does not go on everywhere"));
    }
}
