//! The image as a tree: which directories there are, and what is in them (`MetadataImageNode` and its children).
//!
//! Only what a directory lists is in it. Kafka's finds some under other names, too: partition 0 as `00`, and features that are
//! not finalized.

use super::node::{Node, directory, leaf};
use super::{registrations, security};
use crate::output;
use crate::tools::KAFKA_VERSION;
use ottla_metadata::{
    ClusterImage, ConfigResource, ConfigsImage, FeaturesImage, METADATA_VERSION, MetadataImage, ResourceType,
    TopicImage, TopicsImage,
};
use std::rc::Rc;

/// The tree's root.
pub(super) fn root(image: &MetadataImage) -> Rc<Node> {
    directory([("image", of_image(image)), ("local", local())])
}

/// What this shell is. No build of ours knows its commit; Kafka's say `unknown` then.
fn local() -> Rc<Node> {
    let version = format!("{KAFKA_VERSION} (Ottla {})", env!("CARGO_PKG_VERSION"));
    directory([("version", leaf(version)), ("commitId", leaf("unknown"))])
}

fn of_image(image: &MetadataImage) -> Rc<Node> {
    // Before the first block of producer ids Kafka has none, and we have one that begins with 0.
    let next_producer_id = if image.next_producer_id == 0 { -1 } else { image.next_producer_id };
    directory([
        ("acls", security::acls(&image.kept)),
        ("clientQuotas", security::client_quotas(&image.kept)),
        ("cluster", cluster(&image.cluster)),
        ("configs", configs(&image.configs)),
        ("delegationToken", security::delegation_tokens(&image.kept)),
        ("features", features(&image.features)),
        ("producerIds", directory([("nextProducerId", leaf(next_producer_id))])),
        ("provenance", leaf(provenance(image))),
        ("scram", security::scram(&image.kept)),
        ("topics", topics(&image.topics)),
    ])
}

fn cluster(cluster: &ClusterImage) -> Rc<Node> {
    let brokers =
        cluster.brokers.iter().map(|(id, broker)| (id.to_string(), leaf(registrations::broker(broker))));
    let controllers = cluster.controllers.iter();
    let controllers =
        controllers.map(|(id, controller)| (id.to_string(), leaf(registrations::controller(controller))));
    directory([("brokers", directory(brokers)), ("controllers", directory(controllers))])
}

fn configs(configs: &ConfigsImage) -> Rc<Node> {
    directory(configs.iter().map(|(resource, values)| {
        let values = values.iter().map(|(name, value)| (name.as_str(), leaf(value)));
        (resource_name(resource), directory(values))
    }))
}

/// The type, and which of them, unless it is all.
fn resource_name(resource: &ConfigResource) -> String {
    let resource_type = match resource.resource_type {
        ResourceType::Topic => "TOPIC",
        ResourceType::Broker => "BROKER",
        ResourceType::ClientMetrics => "CLIENT_METRICS",
        ResourceType::Group => "GROUP",
    };
    match resource.name.as_str() {
        "" => resource_type.to_owned(),
        name => format!("{resource_type}:{name}"),
    }
}

fn features(features: &FeaturesImage) -> Rc<Node> {
    let metadata_version = registrations::optional(features.metadata_version());
    let finalized = features.iter().filter(|(name, _)| *name != METADATA_VERSION);
    let finalized = finalized.map(|(name, level)| (format!("finalized_{name}"), leaf(level)));
    directory(finalized.chain([("metadataVersion".to_owned(), leaf(metadata_version))]))
}

/// The last record that is in the image, and when it was appended.
fn provenance(image: &MetadataImage) -> String {
    let time = output::date_and_time(image.end_time).replace(' ', "T");
    // As ISO_ZONED_DATE_TIME shows it: no fraction that is 0, and no zeros at its end.
    let time = match time.split_once('.') {
        Some((seconds, millis)) => {
            format!("{seconds}.{millis}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        None => time,
    };
    format!("offset {}, epoch {}, time {time}Z[UTC]", image.end.offset.0 - 1, image.end.epoch)
}

fn topics(topics: &TopicsImage) -> Rc<Node> {
    let nodes: Vec<_> = topics.iter().map(|image| (image, topic(image))).collect();
    let by_id = nodes.iter().map(|(image, node)| (image.id.to_string(), node.clone()));
    let by_name = nodes.iter().map(|(image, node)| (image.name.as_str(), node.clone()));
    directory([("byId", directory(by_id)), ("byName", directory(by_name))])
}

fn topic(image: &TopicImage) -> Rc<Node> {
    let partitions = image.partitions.iter();
    let partitions =
        partitions.map(|(number, partition)| (number.to_string(), leaf(registrations::partition(partition))));
    let whole = [("id".to_owned(), leaf(image.id)), ("name".to_owned(), leaf(&image.name))];
    directory(partitions.chain(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::MetadataDelta;
    use ottla_protocol::records::metadata::{
        ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
    };
    use ottla_types::{LeaderEpoch, Offset, OffsetAndEpoch, Timestamp, Uuid};

    fn feature(name: &str, feature_level: i16) -> MetadataRecord {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level })
    }

    fn config(resource_type: i8, resource_name: &str) -> MetadataRecord {
        MetadataRecord::Config(ConfigRecord {
            resource_type,
            resource_name: resource_name.to_owned(),
            name: "a.b".to_owned(),
            value: Some("1, 2".to_owned()),
        })
    }

    fn printed(image: &MetadataImage) -> String {
        let mut out = String::new();
        root(image).child("image").unwrap().print(&mut out);
        out
    }

    /// As Apache Kafka's tool prints an image of which nothing is known.
    #[test]
    fn an_empty_image_has_all_directories() {
        let expected = "acls:\n  byId:\nclientQuotas:\ncluster:\n  brokers:\n  controllers:\nconfigs:\ndelegationToken:\n\
                        features:\n  metadataVersion:\n    Optional.empty\nproducerIds:\n  nextProducerId:\n    -1\n\
                        provenance:\n  offset -1, epoch -1, time 1969-12-31T23:59:59.999Z[UTC]\n\
                        scram:\n  SCRAM-SHA-256:\n  SCRAM-SHA-512:\ntopics:\n  byId:\n  byName:\n";
        assert_eq!(printed(&MetadataImage::default()), expected);
    }

    #[test]
    fn what_is_known_is_in_its_directory() {
        let mut image = MetadataImage::default();
        let records = [
            feature(METADATA_VERSION, 33),
            feature("group.version", 1),
            config(4, ""),
            config(4, "1"),
            config(2, "t"),
            config(16, "m"),
            config(32, "g"),
            MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: Uuid::from_u128(100) }),
            MetadataRecord::ProducerIds(ProducerIdsRecord { next_producer_id: 1000, ..Default::default() }),
        ];
        for record in &records {
            image.replay(record, &mut MetadataDelta::default()).unwrap();
        }

        let out = printed(&image);

        for expected in [
            "configs:\n  BROKER:\n    a.b:\n      1, 2\n  BROKER:1:\n    a.b:\n      1, 2\n  CLIENT_METRICS:m:\n",
            "  GROUP:g:\n    a.b:\n      1, 2\n  TOPIC:t:\n    a.b:\n      1, 2\ndelegationToken:\n",
            "features:\n  finalized_group.version:\n    1\n  metadataVersion:\n    Optional[4.4-IV2]\n",
            "  nextProducerId:\n    1000\n",
            "topics:\n  byId:\n    AAAAAAAAAAAAAAAAAAAAZA:\n      id:\n        AAAAAAAAAAAAAAAAAAAAZA\n      name:\n        t\n\
             \x20 byName:\n    t:\n      id:\n        AAAAAAAAAAAAAAAAAAAAZA\n      name:\n        t\n",
        ] {
            assert!(out.contains(expected), "{expected}\n{out}");
        }
    }

    #[test]
    fn the_time_has_no_zeros_at_its_end() {
        let cases = [
            (1_763_842_502_120, "20:15:02.12Z"),
            (1_763_842_500_000, "20:15:00Z"),
            (1_763_842_500_001, "20:15:00.001Z"),
        ];
        for (time, expected) in cases {
            let end = OffsetAndEpoch { epoch: LeaderEpoch(2), offset: Offset(8) };
            let mut image = MetadataImage::default();
            (image.end, image.end_time) = (end, Timestamp(time));

            assert_eq!(provenance(&image), format!("offset 7, epoch 2, time 2025-11-22T{expected}[UTC]"));
        }
    }
}
