//! An image as the records that create it again: what a snapshot holds.

use crate::{ConfigResource, MetadataImage};
use ottla_protocol::records::metadata::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
};

/// The records of `image`, features first, since they say how the rest is read.
pub fn records(image: &MetadataImage) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for (name, level) in image.features.iter() {
        let record = FeatureLevelRecord { name: name.to_owned(), feature_level: level };
        records.push(MetadataRecord::FeatureLevel(record));
    }
    for controller in image.cluster.controllers.values() {
        records.push(MetadataRecord::RegisterController(controller.to_record()));
    }
    for broker in image.cluster.brokers.values() {
        records.push(MetadataRecord::RegisterBroker(broker.to_record()));
    }
    for topic in image.topics.iter() {
        let record = TopicRecord { name: topic.name.clone(), topic_id: topic.id };
        records.push(MetadataRecord::Topic(record));
        for (&number, partition) in &topic.partitions {
            records.push(MetadataRecord::Partition(partition.to_record(topic.id, number)));
        }
    }
    for (resource, values) in image.configs.iter() {
        records.extend(values.iter().map(|(name, value)| config(resource, name, value)));
    }
    records.extend(image.kept.iter().cloned());
    if image.next_producer_id > 0 {
        records.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: -1,
            broker_epoch: -1,
            next_producer_id: image.next_producer_id,
        }));
    }
    records
}

fn config(resource: &ConfigResource, name: &str, value: &str) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: resource.resource_type.to_wire(),
        resource_name: resource.name.clone(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetadataDelta;
    use ottla_protocol::records::metadata::{
        AccessControlEntryRecord, PartitionRecord, RegisterBrokerRecord,
    };
    use ottla_types::Uuid;

    /// META-1: the image depends on the records alone.
    #[test]
    fn an_image_replayed_from_its_own_records_is_the_same_image() {
        let topic_id = Uuid::from_u128(1000);
        let history = [
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: "metadata.version".to_owned(),
                feature_level: 33,
            }),
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id: 1,
                broker_epoch: 3,
                log_dirs: vec![Uuid::from_u128(500)],
                ..Default::default()
            }),
            MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id }),
            MetadataRecord::Partition(PartitionRecord {
                partition_id: 0,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                directories: vec![Uuid::from_u128(500)],
                ..Default::default()
            }),
            MetadataRecord::Config(ConfigRecord {
                resource_type: 2,
                resource_name: "t".to_owned(),
                name: "retention.ms".to_owned(),
                value: Some("1000".to_owned()),
            }),
            MetadataRecord::AccessControlEntry(AccessControlEntryRecord::default()),
        ];
        let mut image = MetadataImage::default();
        let mut delta = MetadataDelta::default();
        for record in &history {
            image.replay(record, &mut delta).unwrap();
        }

        let mut again = MetadataImage::default();
        for record in records(&image) {
            again.replay(&record, &mut delta).unwrap();
        }

        assert_eq!(again, image);
        assert_eq!(records(&image).len(), history.len());
    }
}
