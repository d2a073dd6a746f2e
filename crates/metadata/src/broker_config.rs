//! The broker configurations that change while the cluster runs (KIP-226): which they are, and which value counts.
//!
//! What is set for one broker beats what is set for all, which beats the broker's file, which beats Kafka's default.
//! Those that stand in for a topic's own configuration are dynamic under the first of their names, as in Kafka
//! (`DynamicLogConfig`): `log.retention.ms` is, `log.retention.hours` is not. The others are [`THROTTLES`].

use crate::topic_config::{
    self, InvalidConfig, Kind, LONG, LONG_MAX, Owner, Support, TOPIC_CONFIGS, TopicConfigDef, def,
};
use crate::{ConfigResource, ConfigsImage};
use ottla_types::NodeId;
use std::collections::BTreeMap;

/// The rates of the throttles of replication (KIP-73, KIP-113), in bytes a second. They are not in any file: only a running
/// broker has them.
#[rustfmt::skip]
pub const THROTTLES: &[TopicConfigDef] = &[
    def(LEADER_RATE, Kind::Long(0, LONG), LONG_MAX, &[], Support::Enforced,
        "Bytes a second that followers out of sync get of replicas in leader.replication.throttled.replicas."),
    def(FOLLOWER_RATE, Kind::Long(0, LONG), LONG_MAX, &[], Support::Enforced,
        "Bytes a second that replicas in follower.replication.throttled.replicas fetch while they are behind."),
    def(DIRECTORIES_RATE, Kind::Long(0, LONG), LONG_MAX, &[], Support::Enforced,
        "Bytes a second that are copied between the log directories of a broker."),
];

/// The rate of what leaders serve.
pub const LEADER_RATE: &str = "leader.replication.throttled.rate";
/// The rate of what followers fetch.
pub const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
/// The rate of what moves between directories.
pub const DIRECTORIES_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// The dynamic broker configuration called `name`: a throttle's rate, or the topic configuration that it stands in for;
/// `None` when no dynamic one is called so.
pub fn dynamic(name: &str) -> Option<&'static TopicConfigDef> {
    THROTTLES.iter().find(|def| def.name == name).or_else(|| stand_in(name))
}

/// The topic configuration that the dynamic broker configuration called `name` stands in for.
fn stand_in(name: &str) -> Option<&'static TopicConfigDef> {
    TOPIC_CONFIGS.iter().find(|def| {
        def.support == Support::Enforced && def.synonyms.first().is_some_and(|first| *first == name)
    })
}

/// Checks one value of a broker.
///
/// # Errors
/// When no dynamic configuration is called `name`, or the value is not one of its type or out of its range.
pub fn validate(name: &str, value: &str) -> Result<(), InvalidConfig> {
    let def = dynamic(name)
        .ok_or_else(|| InvalidConfig(format!("Cannot update these configs dynamically: [{name}]")))?;
    topic_config::check(def, name, value, Owner::User)
}

/// The value that is set for a broker, or for all, while the cluster runs. One that is not valid counts as none: another
/// program's controller may have let it in.
pub fn value<'a>(configs: &'a ConfigsImage, resource: &ConfigResource, name: &str) -> Option<&'a str> {
    configs.value(resource, name).map(str::trim).filter(|value| validate(name, value).is_ok())
}

/// What topics get on a broker where they set nothing, by the topic configuration's name. `written` is what the broker's
/// file says.
pub fn topic_defaults(
    configs: &ConfigsImage,
    broker: NodeId,
    written: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut defaults = written.clone();
    for resource in [ConfigResource::cluster(), ConfigResource::broker(broker)] {
        for name in configs.get(&resource).into_iter().flat_map(BTreeMap::keys) {
            if let (Some(def), Some(value)) = (stand_in(name), value(configs, &resource, name)) {
                defaults.insert(def.name.to_owned(), value.to_owned());
            }
        }
    }
    defaults
}

/// The rate of a throttle of a broker in bytes a second; `None` when it is not throttled.
pub fn rate(configs: &ConfigsImage, broker: NodeId, name: &str) -> Option<u64> {
    let resources = [ConfigResource::broker(broker), ConfigResource::cluster()];
    let set = resources.iter().find_map(|resource| value(configs, resource, name))?;
    set.parse().ok().filter(|rate| *rate < LONG.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_applied_is_dynamic() {
        for (name, value) in [
            ("log.retention.ms", "1000"),
            ("log.cleanup.policy", "compact,delete"),
            ("message.max.bytes", "1000"),
            ("min.insync.replicas", "2"),
            (LEADER_RATE, "0"),
            (FOLLOWER_RATE, "1000"),
        ] {
            assert_eq!(validate(name, value), Ok(()), "{name}={value}");
        }
        for name in ["log.retention.hours", "retention.ms", "node.id", "log.preallocate", "no.such.setting"] {
            let why = validate(name, "1").unwrap_err().to_string();
            assert_eq!(why, format!("Cannot update these configs dynamically: [{name}]"));
        }
        assert_eq!(
            validate("log.retention.ms", "soon").unwrap_err().to_string(),
            "Invalid value soon for configuration log.retention.ms: Not a number of type LONG"
        );
        assert!(validate("min.insync.replicas", "0").is_err());
    }

    #[test]
    fn one_brokers_value_beats_that_of_all_which_beats_its_file() {
        let written = BTreeMap::from([
            ("retention.ms".to_owned(), "1".to_owned()),
            ("segment.ms".to_owned(), "2".to_owned()),
            ("flush.ms".to_owned(), "3".to_owned()),
        ]);
        let mut configs = ConfigsImage::default();
        let one = ConfigResource::broker(NodeId(1));
        configs.set(ConfigResource::cluster(), "log.retention.ms", Some("10"));
        configs.set(ConfigResource::cluster(), "log.roll.ms", Some(" 20 "));
        configs.set(one.clone(), "log.retention.ms", Some("100"));
        configs.set(one.clone(), "log.flush.interval.ms", Some("never"));
        configs.set(one, LEADER_RATE, Some("1000"));
        configs.set(ConfigResource::cluster(), LEADER_RATE, Some("2000"));
        let defaults = |broker| topic_defaults(&configs, NodeId(broker), &written);
        let of = |broker, name: &str| defaults(broker)[name].clone();

        assert_eq!(of(1, "retention.ms"), "100");
        assert_eq!(of(2, "retention.ms"), "10");
        assert_eq!(of(1, "segment.ms"), "20");
        assert_eq!(of(1, "flush.ms"), "3", "what is not valid does not count");
        assert!(!defaults(1).contains_key(LEADER_RATE), "a throttle stands in for nothing");
        assert_eq!(rate(&configs, NodeId(1), LEADER_RATE), Some(1000));
        assert_eq!(rate(&configs, NodeId(2), LEADER_RATE), Some(2000));
        assert_eq!(rate(&configs, NodeId(2), FOLLOWER_RATE), None);
        configs.set(ConfigResource::cluster(), FOLLOWER_RATE, Some(LONG_MAX));
        assert_eq!(rate(&configs, NodeId(2), FOLLOWER_RATE), None);
    }
}
