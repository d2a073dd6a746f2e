//! What changed between two images.

use crate::{ConfigResource, MetadataImage};
use ottla_types::{NodeId, TopicIdPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// The names of what a run of records touched; the values are in the image.
///
/// Following a leader's election costs what changed, not what exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataDelta {
    /// Partitions created or changed.
    pub partitions: BTreeSet<TopicIdPartition>,
    /// Topics removed, with their names.
    pub removed_topics: BTreeSet<(Uuid, String)>,
    /// Brokers registered, changed or unregistered.
    pub brokers: BTreeSet<NodeId>,
    /// Resources whose configuration changed.
    pub configs: BTreeSet<ConfigResource>,
    /// Whether a feature level changed.
    pub features: bool,
}

impl MetadataDelta {
    /// Returns whether nothing changed that anyone acts on.
    pub fn is_empty(&self) -> bool {
        *self == MetadataDelta::default()
    }

    /// What differs between two images, however the second came about: for one that was loaded from a snapshot.
    pub fn between(before: &MetadataImage, after: &MetadataImage) -> MetadataDelta {
        let mut delta = MetadataDelta {
            brokers: differing(&before.cluster.brokers, &after.cluster.brokers),
            features: before.features != after.features,
            ..MetadataDelta::default()
        };
        for topic in before.topics.iter().filter(|topic| after.topics.by_id(topic.id).is_none()) {
            delta.removed_topics.insert((topic.id, topic.name.clone()));
        }
        let none = BTreeMap::new();
        for topic in after.topics.iter() {
            let known = before.topics.by_id(topic.id).map_or(&none, |known| &known.partitions);
            let changed = differing(known, &topic.partitions).into_iter();
            delta.partitions.extend(changed.map(|number| TopicIdPartition::new(topic.id, number)));
        }
        let configs = |image: &MetadataImage| -> BTreeMap<_, _> {
            image.configs.iter().map(|(resource, values)| (resource.clone(), values.clone())).collect()
        };
        delta.configs = differing(&configs(before), &configs(after));
        delta
    }

    /// Adds what a later run of records touched.
    pub fn merge(&mut self, later: MetadataDelta) {
        self.partitions.retain(|at| !later.removed_topics.iter().any(|(id, _)| *id == at.topic_id));
        self.partitions.extend(later.partitions);
        self.removed_topics.extend(later.removed_topics);
        self.brokers.extend(later.brokers);
        self.configs.extend(later.configs);
        self.features |= later.features;
    }
}

/// The keys that only one of the two has, or that have another value in the second.
fn differing<K: Ord + Clone, V: PartialEq>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> BTreeSet<K> {
    let gone = before.keys().filter(|key| !after.contains_key(key));
    let changed = after.iter().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key);
    gone.chain(changed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::metadata::{
        ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
        RegisterBrokerRecord, RemoveTopicRecord, TopicRecord, UnregisterBrokerRecord,
    };

    fn topic(id: u128) -> [MetadataRecord; 3] {
        let topic_id = Uuid::from_u128(id);
        let partition = |partition_id| {
            let record = PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                ..Default::default()
            };
            MetadataRecord::Partition(record)
        };
        let name = format!("topic-{id}");
        [MetadataRecord::Topic(TopicRecord { name, topic_id }), partition(0), partition(1)]
    }

    fn broker(broker_id: i32, broker_epoch: i64) -> MetadataRecord {
        MetadataRecord::RegisterBroker(RegisterBrokerRecord { broker_id, broker_epoch, ..Default::default() })
    }

    fn config(name: &str, value: Option<&str>) -> MetadataRecord {
        MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: name.to_owned(),
            name: "retention.ms".to_owned(),
            value: value.map(str::to_owned),
        })
    }

    /// The delta of two images is what replaying the records between them notes.
    #[test]
    fn the_difference_is_what_the_records_in_between_touched() {
        let begin: Vec<MetadataRecord> =
            [topic(1), topic(2), topic(3)].concat().into_iter().chain([broker(1, 1), broker(2, 2)]).collect();
        let change = PartitionChangeRecord {
            topic_id: Uuid::from_u128(1),
            partition_id: 1,
            leader: 2,
            ..Default::default()
        };
        let later = [
            vec![MetadataRecord::PartitionChange(change)],
            vec![MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: Uuid::from_u128(2) })],
            topic(4).to_vec(),
            vec![broker(2, 7), broker(3, 8)],
            vec![MetadataRecord::UnregisterBroker(UnregisterBrokerRecord { broker_id: 1, broker_epoch: 1 })],
            vec![config("topic-3", Some("5"))],
            vec![MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: "metadata.version".to_owned(),
                feature_level: 30,
            })],
        ];
        for records in later {
            let mut before = MetadataImage::default();
            for record in &begin {
                before.replay(record, &mut MetadataDelta::default()).unwrap();
            }
            let mut after = before.clone();
            let mut touched = MetadataDelta::default();
            for record in &records {
                after.replay(record, &mut touched).unwrap();
            }

            assert_eq!(MetadataDelta::between(&before, &after), touched, "{records:?}");
            assert!(MetadataDelta::between(&after, &after).is_empty());
        }
    }
}
