//! The broker configurations that change while the cluster runs (KIP-226): which they are, and which value counts.
//!
//! What is set for one broker beats what is set for all, which beats the broker's file, which beats Kafka's default.
//! Those that stand in for a topic's own configuration are dynamic under the first of their names, as in Kafka
//! (`DynamicLogConfig`): `log.retention.ms` is, `log.retention.hours` is not.

use crate::topic_config::{self, InvalidConfig, Owner, Support, TOPIC_CONFIGS, TopicConfigDef};
use crate::{ConfigResource, ConfigsImage};
use ottla_types::NodeId;
use std::collections::BTreeMap;

/// The topic configuration that the dynamic broker configuration called `name` stands in for; `None` when no dynamic one
/// is called so.
pub fn dynamic(name: &str) -> Option<&'static TopicConfigDef> {
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
            if let (Some(def), Some(value)) = (dynamic(name), value(configs, &resource, name)) {
                defaults.insert(def.name.to_owned(), value.to_owned());
            }
        }
    }
    defaults
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
        configs.set(one, "log.flush.interval.ms", Some("never"));
        let of = |broker, name: &str| topic_defaults(&configs, NodeId(broker), &written)[name].clone();

        assert_eq!(of(1, "retention.ms"), "100");
        assert_eq!(of(2, "retention.ms"), "10");
        assert_eq!(of(1, "segment.ms"), "20");
        assert_eq!(of(1, "flush.ms"), "3", "what is not valid does not count");
    }
}
