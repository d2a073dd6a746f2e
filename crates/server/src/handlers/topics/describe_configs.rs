//! DescribeConfigs (key 32), versions 1–4, broker and controller listeners.
//!
//! Tells the configuration of topics, of groups, of subscriptions to clients' metrics, of this node and of all brokers: values, where they come from, what they mean; and
//! the levels of this node's log lines.
//!
//! - Of all brokers (the empty name) it tells what is set for them while they run, as Kafka does.
//! - A topic's value that the node's file sets under another name than the first (`log.retention.hours`) counts as a
//!   default, as in Kafka.
//! - Differs from Kafka: of groups it tells what has an effect here: the times of consumer groups.

use super::broker_loggers::{self, BROKER_LOGGER};
use crate::broker::Broker;
use crate::config::NodeConfig;
use crate::config::properties::unit_ms;
use crate::config::table::{self, SETTINGS, WITHOUT_EFFECT};
use crate::log_levels::LogLevels;
use crate::request::Answer;
use ottla_metadata::client_metrics::CLIENT_METRICS_CONFIGS;
use ottla_metadata::group_config::GROUP_CONFIGS;
use ottla_metadata::topic_config::{TOPIC_CONFIGS, TopicConfigDef};
use ottla_metadata::{ConfigResource, ConfigsImage, MetadataImage, ResourceType, broker_config};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

const DYNAMIC_TOPIC: i8 = 1;
const DYNAMIC_BROKER: i8 = 2;
const DYNAMIC_DEFAULT_BROKER: i8 = 3;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;
const CLIENT_METRICS: i8 = 7;
const DYNAMIC_GROUP: i8 = 8;

/// Answers from the image and this broker's configuration.
pub fn handle(broker: &Broker, request: &DescribeConfigsRequest) -> Answer<DescribeConfigsResponse> {
    on_controller(&broker.config, &broker.image(), &*broker.log_levels, request)
}

/// As [`handle`], where this node is asked as a controller.
pub fn on_controller(
    config: &NodeConfig,
    image: &MetadataImage,
    levels: &dyn LogLevels,
    request: &DescribeConfigsRequest,
) -> Answer<DescribeConfigsResponse> {
    let results = request
        .resources
        .iter()
        .map(|resource| {
            let configs = describe(config, image, levels, request, resource);
            let (error_code, error_message, configs) = match configs {
                Ok(configs) => (ErrorCode::None.code(), None, configs),
                Err((error, message)) => (error.code(), Some(message), Vec::new()),
            };
            DescribeConfigsResult {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs,
            }
        })
        .collect();
    Answer::Now(DescribeConfigsResponse { results, ..Default::default() })
}

fn describe(
    config: &NodeConfig,
    image: &MetadataImage,
    levels: &dyn LogLevels,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    // None at all means every one.
    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
    let wanted = |name: &str| keys.is_empty() || keys.iter().any(|key| key == name);
    let sources = Sources {
        configs: &image.configs,
        broker: config.node_id,
        properties: &config.properties,
        topic_defaults: &config.topic_defaults,
    };
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    let found = match ResourceType::from_wire(resource.resource_type) {
        Some(ResourceType::Topic) => {
            ottla_types::validate_topic_name(&resource.resource_name)
                .map_err(|error| (ErrorCode::InvalidTopicException, error.to_string()))?;
            if image.topics.by_name(&resource.resource_name).is_none() {
                let error = ErrorCode::UnknownTopicOrPartition;
                return Err((error, error.message().to_owned()));
            }
            let defs = TOPIC_CONFIGS.iter().filter(|def| wanted(def.name));
            defs.map(|def| sources.of_topic(&resource.resource_name, def)).collect()
        }
        Some(ResourceType::Broker) if resource.resource_name.is_empty() => {
            let set = image.configs.get(&ConfigResource::cluster()).into_iter().flat_map(BTreeMap::keys);
            set.filter(|name| wanted(name)).map(|name| sources.of_all_brokers(name)).collect()
        }
        Some(ResourceType::Broker) => {
            let (own, name) = (config.node_id.to_string(), &resource.resource_name);
            if *name != own {
                return invalid(format!(
                    "Unexpected broker id, expected {own} or empty string, but received {name}"
                ));
            }
            let mut names = properties();
            // Kafka tells of a throttle when there is one.
            let throttles = broker_config::THROTTLES.iter().map(|def| def.name);
            names.extend(throttles.filter(|name| sources.is_set(name)));
            names.into_iter().filter(|name| wanted(name)).map(|name| sources.of_broker(name)).collect()
        }
        None if resource.resource_type == BROKER_LOGGER => {
            let mut found = broker_loggers::describe(levels, config.node_id, &resource.resource_name)?;
            found.retain(|logger| wanted(&logger.name));
            found
        }
        Some(ResourceType::ClientMetrics) if resource.resource_name.is_empty() => {
            return invalid("Client metrics subscription name must not be empty".to_owned());
        }
        Some(ResourceType::ClientMetrics) => {
            let subscription = ConfigResource::client_metrics(&resource.resource_name);
            let defs = CLIENT_METRICS_CONFIGS.iter().filter(|def| wanted(def.name));
            defs.map(|def| sources.of_subscription(&subscription, def)).collect()
        }
        Some(ResourceType::Group) if resource.resource_name.is_empty() => {
            return invalid("Group name must not be empty".to_owned());
        }
        Some(ResourceType::Group) => {
            let defs = GROUP_CONFIGS.iter().filter(|def| wanted(def.name));
            defs.map(|def| sources.of_group(&resource.resource_name, def)).collect()
        }
        None => return invalid(format!("Unsupported resource type: {}", resource.resource_type)),
    };
    Ok(trimmed(found, request))
}

/// Leaves out what was not asked for.
fn trimmed(
    mut found: Vec<DescribeConfigsResourceResult>,
    request: &DescribeConfigsRequest,
) -> Vec<DescribeConfigsResourceResult> {
    for config in &mut found {
        if !request.include_synonyms {
            config.synonyms.clear();
        }
        if !request.include_documentation {
            config.documentation = None;
        }
    }
    found
}

/// The names of a broker's settings, in order: those of the table, and those that stand in for a topic's own.
fn properties() -> BTreeSet<&'static str> {
    let stand_ins = TOPIC_CONFIGS.iter().flat_map(|def| def.synonyms).copied();
    let stand_ins = stand_ins.filter(|name| WITHOUT_EFFECT.binary_search(name).is_err());
    SETTINGS.iter().map(|setting| setting.name).chain(stand_ins).collect()
}

/// One of a broker's settings, whichever table has it.
struct Property {
    wire_type: i8,
    default: Option<String>,
    documentation: &'static str,
    /// The names under which it may be set, the first beats the others.
    synonyms: &'static [&'static str],
}

impl Property {
    fn find(name: &str) -> Option<Property> {
        let def = TOPIC_CONFIGS.iter().find(|def| def.synonyms.contains(&name));
        if let Some(setting) = table::find(name) {
            let wire_type = match setting.kind {
                table::Kind::Boolean => 1,
                table::Kind::Text => 2,
                table::Kind::Number(_, max) if max <= i64::from(i32::MAX) => 3,
                table::Kind::Number(..) => 5,
                table::Kind::List => 7,
            };
            let default = setting.default.map(str::to_owned);
            return Some(Property {
                wire_type,
                default,
                documentation: setting.documentation,
                synonyms: &[],
            });
        }
        if let Some(throttle) = broker_config::THROTTLES.iter().find(|def| def.name == name) {
            return Some(Property {
                wire_type: throttle.kind.wire_type(),
                default: None,
                documentation: throttle.documentation,
                synonyms: &[],
            });
        }
        let def = def?;
        let unit = unit_ms(name);
        // Of several names the last has the default, in its unit.
        let has_default = def.synonyms.last() == Some(&name);
        let in_unit = || match (unit, def.default.parse::<i64>()) {
            (2.., Ok(number)) => (number / unit).to_string(),
            _ => def.default.to_owned(),
        };
        Some(Property {
            wire_type: if unit > 1 { 3 } else { def.kind.wire_type() },
            default: has_default.then(in_unit),
            documentation: def.documentation,
            synonyms: def.synonyms,
        })
    }
}

/// Where values come from.
struct Sources<'a> {
    configs: &'a ConfigsImage,
    broker: NodeId,
    properties: &'a crate::config::Properties,
    topic_defaults: &'a BTreeMap<String, String>,
}

impl Sources<'_> {
    fn of_topic(&self, topic: &str, def: &TopicConfigDef) -> DescribeConfigsResourceResult {
        let mut result = self.of_resource(&ConfigResource::topic(topic), def, DYNAMIC_TOPIC);
        // What the file says under another name than the first is no synonym, and counts all the same.
        let unnamed = self.topic_defaults.get(def.name).map_or(def.default, String::as_str);
        result.value.get_or_insert_with(|| unnamed.to_owned());
        result
    }

    /// Whether there is such a group or not, as in Kafka.
    fn of_group(&self, group_id: &str, def: &TopicConfigDef) -> DescribeConfigsResourceResult {
        self.of_resource(&ConfigResource::group(group_id), def, DYNAMIC_GROUP)
    }

    /// No broker's setting stands in for a subscription's; Kafka tells its default without a source.
    fn of_subscription(
        &self,
        subscription: &ConfigResource,
        def: &TopicConfigDef,
    ) -> DescribeConfigsResourceResult {
        let mut result = self.of_resource(subscription, def, CLIENT_METRICS);
        result.value.get_or_insert_with(|| def.default.to_owned());
        result
    }

    /// A setting that a resource may have of its own, from this source, and that a broker's stands in for.
    fn of_resource(
        &self,
        resource: &ConfigResource,
        def: &TopicConfigDef,
        source: i8,
    ) -> DescribeConfigsResourceResult {
        let own = self.configs.value(resource, def.name).map(|value| synonym(def.name, value, source));
        let stand_in = def.synonyms.first().map(|first| self.synonyms(first, def.synonyms));
        DescribeConfigsResourceResult {
            name: def.name.to_owned(),
            config_type: def.kind.wire_type(),
            documentation: Some(def.documentation.to_owned()),
            ..described(own.into_iter().chain(stand_in.into_iter().flatten()).collect())
        }
    }

    /// The values of a broker's setting that may be set under these names, the one that counts first. What is set under
    /// another name than `name` and would beat it is left out: it is not this one's, though it may be the one that counts.
    fn synonyms(&self, name: &str, names: &[&str]) -> Vec<DescribeConfigsSynonym> {
        let mut synonyms: Vec<DescribeConfigsSynonym> = Vec::new();
        for source in [DYNAMIC_BROKER, DYNAMIC_DEFAULT_BROKER] {
            synonyms.extend(names.iter().filter_map(|name| self.dynamic(name, source)));
        }
        let written = |name: &&str| Some(synonym(name, self.properties.written(name)?, STATIC_BROKER));
        synonyms.extend(names.iter().filter_map(written));
        let default = |name: &&str| Some(synonym(name, &Property::find(name)?.default?, DEFAULT));
        synonyms.extend(names.iter().filter_map(default));
        let first = synonyms.iter().position(|synonym| synonym.name == name).unwrap_or(synonyms.len());
        synonyms.split_off(first)
    }

    fn of_broker(&self, name: &str) -> DescribeConfigsResourceResult {
        let property = Property::find(name);
        let own = [name];
        let names: &[&str] = match &property {
            Some(property) if !property.synonyms.is_empty() => property.synonyms,
            _ => &own,
        };
        let synonyms = self.synonyms(name, names);
        DescribeConfigsResourceResult {
            name: name.to_owned(),
            read_only: broker_config::dynamic(name).is_none(),
            config_type: property.as_ref().map_or(0, |property| property.wire_type),
            documentation: property.map(|property| property.documentation.to_owned()),
            ..described(synonyms)
        }
    }

    /// What is set for all brokers; what stands for this one does not count.
    fn of_all_brokers(&self, name: &str) -> DescribeConfigsResourceResult {
        let mut described = self.of_broker(name);
        described.synonyms.retain(|synonym| synonym.source == DYNAMIC_DEFAULT_BROKER);
        described.value = self.configs.value(&ConfigResource::cluster(), name).map(str::to_owned);
        described.config_source = DYNAMIC_DEFAULT_BROKER;
        described
    }

    fn is_set(&self, name: &str) -> bool {
        [DYNAMIC_BROKER, DYNAMIC_DEFAULT_BROKER].iter().any(|source| self.dynamic(name, *source).is_some())
    }

    fn dynamic(&self, name: &str, source: i8) -> Option<DescribeConfigsSynonym> {
        let resource = match source {
            DYNAMIC_BROKER => ConfigResource::broker(self.broker),
            _ => ConfigResource::cluster(),
        };
        Some(synonym(name, broker_config::value(self.configs, &resource, name)?, source))
    }
}

fn synonym(name: &str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym { name: name.to_owned(), value: Some(value.to_owned()), source }
}

/// A setting with these values, of which the first counts.
fn described(synonyms: Vec<DescribeConfigsSynonym>) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        value: synonyms.first().and_then(|first| first.value.clone()),
        config_source: synonyms.first().map_or(DEFAULT, |first| first.source),
        synonyms,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Properties;
    use ottla_metadata::MetadataImage;
    use ottla_protocol::records::metadata::{ConfigRecord, MetadataRecord};

    /// What broker 1 says by this file when these are set, as (resource, name, value).
    fn check(
        file: &[(&str, &str)],
        set: &[(ConfigResource, &str, &str)],
        ask: impl Fn(&Sources) -> DescribeConfigsResourceResult,
        expected: &[(&str, &str, i8)],
    ) {
        let mut properties = Properties::default();
        file.iter().for_each(|(name, value)| properties.set(*name, *value));
        let mut image = MetadataImage::default();
        for (resource, name, value) in set {
            let record = ConfigRecord {
                resource_type: resource.resource_type.to_wire(),
                resource_name: resource.name.clone(),
                name: (*name).to_owned(),
                value: Some((*value).to_owned()),
            };
            let record = MetadataRecord::Config(record);
            image.replay(&record, &mut Default::default()).unwrap();
        }
        let sources = Sources {
            configs: &image.configs,
            broker: NodeId(1),
            properties: &properties,
            topic_defaults: &properties.topic_defaults().unwrap(),
        };
        let described = ask(&sources);
        let synonyms = described.synonyms.iter();
        let synonyms: Vec<(&str, &str, i8)> =
            synonyms.map(|s| (s.name.as_str(), s.value.as_deref().unwrap(), s.source)).collect();

        assert_eq!(synonyms, expected);
        let first = expected.first();
        assert_eq!(described.value.as_deref(), first.map(|(_, value, _)| *value));
        assert_eq!(described.config_source, first.map_or(DEFAULT, |(_, _, source)| *source));
    }

    fn where_nothing_is_set(
        ask: impl Fn(&Sources) -> DescribeConfigsResourceResult,
    ) -> DescribeConfigsResourceResult {
        let (configs, properties) = (ConfigsImage::default(), Properties::default());
        ask(&Sources {
            configs: &configs,
            broker: NodeId(1),
            properties: &properties,
            topic_defaults: &BTreeMap::new(),
        })
    }

    fn set<'a>(
        resource: ConfigResource,
        name: &'a str,
        value: &'a str,
    ) -> (ConfigResource, &'a str, &'a str) {
        (resource, name, value)
    }

    #[test]
    fn a_topic_follows_its_own_then_the_brokers_then_all_brokers_then_the_file() {
        let retention = ottla_metadata::topic_config::topic_config("retention.ms").unwrap();
        check(
            &[("log.retention.hours", "1")],
            &[
                set(ConfigResource::topic("t"), "retention.ms", "1"),
                set(ConfigResource::broker(NodeId(1)), "log.retention.ms", "2"),
                set(ConfigResource::broker(NodeId(2)), "log.retention.ms", "9"),
                set(ConfigResource::cluster(), "log.retention.ms", "3"),
            ],
            |sources| sources.of_topic("t", retention),
            &[
                ("retention.ms", "1", DYNAMIC_TOPIC),
                ("log.retention.ms", "2", DYNAMIC_BROKER),
                ("log.retention.ms", "3", DYNAMIC_DEFAULT_BROKER),
                ("log.retention.hours", "1", STATIC_BROKER),
                ("log.retention.hours", "168", DEFAULT),
            ],
        );
        let segment = ottla_metadata::topic_config::topic_config("segment.bytes").unwrap();
        let default = ("log.segment.bytes", "1073741824", DEFAULT);
        check(&[], &[], |s| s.of_topic("t", segment), &[default]);
    }

    #[test]
    fn what_the_file_says_of_a_topic_in_another_unit_counts_and_is_no_synonym() {
        let retention = ottla_metadata::topic_config::topic_config("retention.ms").unwrap();
        let mut properties = Properties::default();
        properties.set("log.retention.hours", "1");
        let configs = ConfigsImage::default();
        let sources = Sources {
            configs: &configs,
            broker: NodeId(1),
            properties: &properties,
            topic_defaults: &properties.topic_defaults().unwrap(),
        };

        let described = sources.of_topic("t", retention);

        assert_eq!(described.value.as_deref(), Some("3600000"));
        assert_eq!((described.config_source, described.synonyms), (DEFAULT, Vec::new()));
    }

    #[test]
    fn a_brokers_setting_has_the_synonyms_that_kafka_gives_it() {
        let all = || set(ConfigResource::cluster(), "log.retention.ms", "3");
        let file = [("log.retention.ms", "4"), ("log.retention.hours", "2")];
        let (ms, hours) = ("log.retention.ms", "log.retention.hours");
        let of_all = (ms, "3", DYNAMIC_DEFAULT_BROKER);
        let written = [(ms, "4", STATIC_BROKER), (hours, "2", STATIC_BROKER)];
        let default = (hours, "168", DEFAULT);

        check(&file, &[all()], |s| s.of_broker(ms), &[of_all, written[0], written[1], default]);
        check(&file, &[all()], |s| s.of_all_brokers(ms), &[of_all]);
        check(&file, &[all()], |s| s.of_broker(hours), &[written[1], default]);
        check(&[], &[], |s| s.of_broker(ms), &[]);
        check(&[], &[], |s| s.of_broker("node.id"), &[]);
        check(&[], &[], |s| s.of_broker("num.partitions"), &[("num.partitions", "1", DEFAULT)]);
    }

    #[test]
    fn a_subscription_to_clients_metrics_has_its_own_and_else_defaults_without_a_source() {
        let own = ConfigResource::client_metrics("s");
        let interval = &CLIENT_METRICS_CONFIGS[0];
        check(
            &[],
            &[set(own.clone(), "interval.ms", "1000")],
            |sources| sources.of_subscription(&own, interval),
            &[("interval.ms", "1000", CLIENT_METRICS)],
        );
        let described = where_nothing_is_set(|sources| sources.of_subscription(&own, interval));
        assert_eq!((described.value.as_deref(), described.synonyms.len()), (Some("300000"), 0));
    }

    #[test]
    fn only_what_can_be_changed_is_not_read_only() {
        for (name, read_only) in [
            ("log.retention.ms", false),
            ("min.insync.replicas", false),
            ("log.retention.hours", true),
            ("node.id", true),
            ("log.preallocate", true),
        ] {
            let described = where_nothing_is_set(|sources| sources.of_broker(name));
            assert_eq!(described.read_only, read_only, "{name}");
            assert!(properties_has(name), "{name}");
        }
    }

    fn properties_has(name: &str) -> bool {
        super::properties().contains(name)
    }
}
