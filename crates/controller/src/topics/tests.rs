//! What new topics may set, and what they are told to have.

use super::*;
use crate::Settings;
use crate::configs::record;
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::create_topics_request::CreatableTopicConfig;
use ottla_types::Offset;

/// A controller whose file sets these.
fn controller(topic_defaults: &[(&str, &str)]) -> Controller {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let topic_defaults = topic_defaults.iter().map(owned).collect();
    Controller::new(Settings { topic_defaults, ..Settings::for_tests() }, MetadataImage::default(), 7)
}

fn topic(configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |&(name, value): &(&str, &str)| CreatableTopicConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    }
}

/// The answer to who creates it: there are no brokers to put it on.
fn create(controller: &mut Controller, configs: &[(&str, &str)]) -> ErrorCode {
    let planned = controller.plan_topic(&topic(configs), Owner::User, &BTreeSet::new(), &mut 0);
    planned.map_or_else(|(error, _)| error, |_| ErrorCode::None)
}

#[test]
fn what_a_topic_does_not_set_is_told_of_whoever_sets_it_nearest_to_the_node() {
    let mut controller = controller(&[("retention.ms", "4")]);
    let told = |controller: &Controller, configs: &[(&str, &str)]| {
        let described = controller.described_configs(&topic(configs));
        let found = described.into_iter().find(|config| config.name == "retention.ms").unwrap();
        (found.value.unwrap(), found.config_source)
    };
    assert_eq!(told(&controller, &[]), ("4".to_owned(), STATIC_BROKER_CONFIG));

    for (resource, value, source) in [
        (ConfigResource::cluster(), "3", DYNAMIC_DEFAULT_BROKER_CONFIG),
        (ConfigResource::broker(NodeId(1)), "2", DYNAMIC_BROKER_CONFIG),
        (ConfigResource::broker(NodeId(2)), "9", DYNAMIC_BROKER_CONFIG),
    ] {
        let set = record(&resource, "log.retention.ms", Some(value.to_owned()));
        controller.replay(&set, Offset(0)).unwrap();
        let expected = if value == "9" { "2" } else { value };
        assert_eq!(told(&controller, &[]), (expected.to_owned(), source));
    }
    let twice = [("retention.ms", "0"), ("retention.ms", "1")];
    assert_eq!(told(&controller, &twice), ("1".to_owned(), DYNAMIC_TOPIC_CONFIG), "the last is stored");
}

#[test]
fn what_a_topic_sets_is_checked_together_with_what_the_file_says() {
    let (min, max) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
    let fine = ErrorCode::InvalidReplicationFactor;
    let mut plain = controller(&[]);
    assert_eq!(create(&mut plain, &[(min, "120000")]), fine);
    assert_eq!(create(&mut plain, &[(min, "5"), (max, "100"), (min, "500")]), ErrorCode::InvalidConfig);
    assert_eq!(create(&mut plain, &[(min, "500"), (max, "100"), (min, "5")]), fine);

    let mut bounded = controller(&[(max, "60000")]);
    assert_eq!(create(&mut bounded, &[(min, "120000")]), ErrorCode::InvalidConfig);
    assert_eq!(create(&mut bounded, &[(min, "120000"), (max, "120000")]), fine);
}
