//! Dynamic configuration is changed.

use crate::controller::Controller;
use crate::message;
use crate::topics::{Refusal, invalid_config};
use ottla_metadata::client_metrics::{self, InvalidSubscription, Subscription};
use ottla_metadata::topic_config::{self, Owner, TopicConfigDef};
use ottla_metadata::{ConfigResource, ELIGIBLE_LEADER_REPLICAS, ResourceType, broker_config, group_config};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_protocol::messages::{alter_configs_request, alter_configs_response};
use ottla_protocol::records::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord};
use ottla_types::{Decision, NodeId, repeated};
use std::collections::{BTreeMap, BTreeSet};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) const MIN_ISR: &str = "min.insync.replicas";

impl Controller {
    /// Changes single configuration values (KIP-339); each resource succeeds or fails as a whole.
    ///
    /// Of topics, of brokers (KIP-226), of groups and of subscriptions to clients' metrics (KIP-714). To remove a setting that
    /// is not set is no change, whatever its name: tools do it to be sure (`kafka-reassign-partitions --verify`).
    pub fn handle_incremental_alter_configs(
        &mut self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Decision<MetadataRecord, IncrementalAlterConfigsResponse> {
        let (records, outcomes) = self.alter(&request.resources, request.validate_only);
        let response = |(resource, outcome): (&AlterConfigsResource, Outcome)| AlterConfigsResourceResponse {
            error_code: outcome.as_ref().map_or_else(|(error, _)| error.code(), |()| 0),
            error_message: outcome.err().map(|(_, message)| message::cut(message)),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        };
        let responses = request.resources.iter().zip(outcomes).map(response).collect();
        Decision::write(records, IncrementalAlterConfigsResponse { responses, ..Default::default() })
    }

    /// Replaces all configuration values of each resource by those that are given, which succeeds or fails as a whole.
    /// What is not named is removed, and both pass the checks of [`Controller::handle_incremental_alter_configs`].
    pub fn handle_alter_configs(
        &mut self,
        request: &AlterConfigsRequest,
    ) -> Decision<MetadataRecord, AlterConfigsResponse> {
        let resources: Vec<AlterConfigsResource> =
            request.resources.iter().map(|resource| self.as_changes(resource)).collect();
        let (records, outcomes) = self.alter(&resources, request.validate_only);
        let response = |(resource, outcome): (AlterConfigsResource, Outcome)| {
            alter_configs_response::AlterConfigsResourceResponse {
                error_code: outcome.as_ref().map_or_else(|(error, _)| error.code(), |()| 0),
                error_message: outcome.err().map(|(_, message)| message::cut(message)),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
            }
        };
        let responses = resources.into_iter().zip(outcomes).map(response).collect();
        Decision::write(records, AlterConfigsResponse { responses, ..Default::default() })
    }

    /// The single changes that leave a resource with nothing but what is given.
    fn as_changes(&self, resource: &alter_configs_request::AlterConfigsResource) -> AlterConfigsResource {
        let given = resource.configs.iter().map(|config| AlterableConfig {
            name: config.name.clone(),
            config_operation: SET,
            value: config.value.clone(),
        });
        let is_kept = |name: &str| resource.configs.iter().any(|config| config.name == name);
        let had = named(resource.resource_type, &resource.resource_name)
            .and_then(|resource| self.image.configs.get(&resource))
            .into_iter()
            .flatten();
        let removed = had.filter(|(name, _)| !is_kept(name)).map(|(name, _)| AlterableConfig {
            name: name.clone(),
            config_operation: DELETE,
            value: None,
        });
        AlterConfigsResource {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: given.chain(removed).collect(),
        }
    }

    /// What is written when these resources are changed, and what became of each.
    fn alter(
        &self,
        resources: &[AlterConfigsResource],
        validate_only: bool,
    ) -> (Vec<MetadataRecord>, Vec<Outcome>) {
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        let identity =
            |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
        let repeated = repeated(resources.iter().map(identity));
        for resource in resources {
            let planned = if repeated.contains(&identity(resource)) {
                Err((ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned()))
            } else {
                check_form(resource).and_then(|()| self.plan_configs(resource))
            };
            outcomes.push(planned.map(|planned| records.extend(planned)));
        }
        if validate_only {
            records.clear();
        }
        (records, outcomes)
    }

    fn plan_configs(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Refusal> {
        match ResourceType::from_wire(resource.resource_type) {
            Some(ResourceType::Topic) => self.plan_topic_configs(resource),
            Some(ResourceType::Broker) => self.plan_broker_configs(resource),
            Some(ResourceType::Group) => self.plan_group_configs(resource),
            Some(ResourceType::ClientMetrics) => self.plan_client_metrics(resource),
            None => {
                let message = format!("Unknown resource type {}", resource.resource_type);
                Err((ErrorCode::InvalidRequest, message))
            }
        }
    }

    fn plan_topic_configs(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Refusal> {
        let name = &resource.resource_name;
        if name.is_empty() {
            return Err(no_default("topic"));
        }
        ottla_types::validate_topic_name(name)
            .map_err(|error| (ErrorCode::InvalidTopicException, error.to_string()))?;
        let topic = ConfigResource::topic(name);
        let unknown = |name: &str| (ErrorCode::InvalidConfig, format!("Unknown topic config name: {name}"));
        let check = |name: &str, value: &str| {
            topic_config::validate(name, value, Owner::User).map_err(invalid_config)
        };
        let (mut records, set) =
            self.plan_together(&topic, resource, topic_config::topic_config, unknown, check)?;
        self.check_together(|name| set.get(name).map(String::as_str))?;
        if self.image.topics.by_name(name).is_none() {
            let error = ErrorCode::UnknownTopicOrPartition;
            return Err((error, format!("The topic '{name}' does not exist.")));
        }
        let changes_min_isr =
            records.iter().any(|record| matches!(record, MetadataRecord::Config(c) if c.name == MIN_ISR));
        if self.has_elr() && changes_min_isr {
            // Who is eligible was told by the value before (KIP-966).
            records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name: name.clone() }));
        }
        Ok(records)
    }

    fn plan_group_configs(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Refusal> {
        if resource.resource_name.is_empty() {
            return Err(no_default("group"));
        }
        let group = ConfigResource::group(&resource.resource_name);
        let unknown = |name: &str| (ErrorCode::InvalidConfig, format!("Unknown group config name: {name}"));
        let (records, set) =
            self.plan_together(&group, resource, group_config::group_config, unknown, |_, _| Ok(()))?;
        group_config::validate(&set, &self.settings.group_bounds).map_err(invalid_config)?;
        Ok(records)
    }

    fn plan_client_metrics(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Refusal> {
        if resource.resource_name.is_empty() {
            return Err((ErrorCode::InvalidRequest, "Subscription name can't be empty".to_owned()));
        }
        let subscription = ConfigResource::client_metrics(&resource.resource_name);
        let unknown =
            |name: &str| (ErrorCode::InvalidRequest, format!("Unknown client metrics configuration: {name}"));
        let (records, set) = self.plan_together(
            &subscription,
            resource,
            client_metrics::client_metrics_config,
            unknown,
            |_, _| Ok(()),
        )?;
        match Subscription::parse(&set) {
            Ok(_) => Ok(records),
            Err(InvalidSubscription::Request(why)) => Err((ErrorCode::InvalidRequest, why)),
            Err(InvalidSubscription::Config(why)) => Err((ErrorCode::InvalidConfig, why)),
        }
    }

    /// What is written, and all that will be set then: it has a meaning only together. `check` looks at each value by itself.
    fn plan_together(
        &self,
        configured: &ConfigResource,
        requested: &AlterConfigsResource,
        def: impl Fn(&str) -> Option<&'static TopicConfigDef>,
        unknown: impl Fn(&str) -> Refusal,
        check: impl Fn(&str, &str) -> Result<(), Refusal>,
    ) -> Result<(Vec<MetadataRecord>, BTreeMap<String, String>), Refusal> {
        let mut set = self.image.configs.get(configured).cloned().unwrap_or_default();
        // Another program's controller may have let in what is not known here. It stays, and counts for nothing.
        set.retain(|name, _| def(name).is_some());
        let mut records = Vec::new();
        for config in self.changes(configured, requested) {
            let name = &config.name;
            let value = self.altered_value(configured, config, def(name), || unknown(name))?;
            match &value {
                Some(value) => {
                    check(name, value)?;
                    set.insert(name.clone(), value.clone());
                }
                None => {
                    set.remove(name);
                }
            }
            records.push(record(configured, name, value));
        }
        Ok((records, set))
    }

    fn plan_broker_configs(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Refusal> {
        // Where Kafka's brokers find fault with a broker's configuration they say so (KAFKA-13609).
        let invalid = |message: String| (ErrorCode::InvalidRequest, message);
        let name = &resource.resource_name;
        let broker = match name.parse::<i32>() {
            _ if name.is_empty() => ConfigResource::cluster(),
            Ok(id) if id >= 0 => ConfigResource::broker(NodeId(id)),
            _ => {
                let message = format!("Node id must be a non-negative integer, but it is: {name}");
                return Err(invalid(message));
            }
        };
        let mut records = Vec::new();
        for config in self.changes(&broker, resource) {
            let unknown = || invalid(format!("Cannot update these configs dynamically: [{}]", config.name));
            let value = self.altered_value(&broker, config, broker_config::dynamic(&config.name), unknown)?;
            if let Some(value) = &value {
                broker_config::validate(&config.name, value).map_err(|why| invalid(why.to_string()))?;
            }
            if config.name == MIN_ISR && self.has_elr() {
                records.push(self.cleared_elr(&broker, value.as_ref())?);
            }
            records.push(record(&broker, &config.name, value));
        }
        Ok(records)
    }

    /// Who is eligible to lead any topic was told by the cluster's `min.insync.replicas` before. One broker's would not be
    /// the controller's, and without the cluster's each controller would go by its own file (KIP-966).
    fn cleared_elr(
        &self,
        broker: &ConfigResource,
        value: Option<&String>,
    ) -> Result<MetadataRecord, Refusal> {
        let refused = |what: &str| (ErrorCode::InvalidConfig, format!("{what} while ELR is enabled."));
        if *broker != ConfigResource::cluster() {
            return Err(refused("Broker-level min.insync.replicas cannot be altered"));
        }
        if value.is_none() {
            return Err(refused("Cluster-level min.insync.replicas cannot be removed"));
        }
        Ok(MetadataRecord::ClearElr(ClearElrRecord { topic_name: String::new() }))
    }

    fn has_elr(&self) -> bool {
        self.image.features.level(ELIGIBLE_LEADER_REPLICAS) > 0
    }

    /// What a request changes. To remove a setting that is not set is no change, whatever its name.
    fn changes<'a>(
        &self,
        configured: &ConfigResource,
        requested: &'a AlterConfigsResource,
    ) -> impl Iterator<Item = &'a AlterableConfig> {
        let set = self.image.configs.get(configured);
        requested.configs.iter().filter(move |config| {
            config.config_operation != DELETE || set.is_some_and(|set| set.contains_key(&config.name))
        })
    }

    /// The value that a change leads to; `None` removes it. What has no definition can only be removed.
    fn altered_value(
        &self,
        resource: &ConfigResource,
        config: &AlterableConfig,
        def: Option<&TopicConfigDef>,
        unknown: impl FnOnce() -> Refusal,
    ) -> Result<Option<String>, Refusal> {
        let def = match def {
            Some(def) => def,
            None if config.config_operation == DELETE => return Ok(None),
            None => return Err(unknown()),
        };
        let value = config.value.as_deref().unwrap_or_default();
        match config.config_operation {
            SET => Ok(Some(value.to_owned())),
            DELETE => Ok(None),
            operation @ (APPEND | SUBTRACT) => {
                if !def.kind.is_list() {
                    let verb = if operation == APPEND { "APPEND" } else { "SUBTRACT" };
                    let name = &config.name;
                    let message = format!("Can't {verb} to key {name} because its type is not LIST.");
                    return Err((ErrorCode::InvalidConfig, message));
                }
                let old = self.image.configs.value(resource, &config.name);
                let mut words: Vec<&str> =
                    old.unwrap_or(def.default).split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
                for word in value.split(',').map(str::trim) {
                    if operation == SUBTRACT {
                        words.retain(|known| *known != word);
                    } else if !words.contains(&word) {
                        words.push(word);
                    }
                }
                Ok(Some(words.join(",")))
            }
            other => Err((ErrorCode::InvalidRequest, format!("Unknown config operation: {other}"))),
        }
    }
}

/// What became of a resource.
type Outcome = Result<(), Refusal>;

/// The resource of a request, if it is one that has a configuration.
fn named(resource_type: i8, name: &str) -> Option<ConfigResource> {
    let resource_type = ResourceType::from_wire(resource_type)?;
    if resource_type == ResourceType::Broker && !name.is_empty() {
        // `01` is 1, and has its configuration.
        return Some(ConfigResource::broker(NodeId(name.parse().ok()?)));
    }
    Some(ConfigResource { resource_type, name: name.to_owned() })
}

/// Refuses what no resource can mean: a setting that is changed twice, or set to nothing.
fn check_form(resource: &AlterConfigsResource) -> Result<(), Refusal> {
    let names: BTreeSet<&str> = resource.configs.iter().map(|config| config.name.as_str()).collect();
    if names.len() < resource.configs.len() {
        return Err((ErrorCode::InvalidRequest, "Error due to duplicate config keys".to_owned()));
    }
    let lacks_value = |config: &&AlterableConfig| config.config_operation != DELETE && config.value.is_none();
    let lacking: Vec<&str> =
        resource.configs.iter().filter(lacks_value).map(|config| config.name.as_str()).collect();
    if !lacking.is_empty() {
        let message = format!("Null value not supported for : {}", lacking.join(", "));
        return Err((ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

fn no_default(kind: &str) -> Refusal {
    (ErrorCode::InvalidRequest, format!("Default {kind} resources are not allowed."))
}

pub(crate) fn record(resource: &ConfigResource, name: &str, value: Option<String>) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: resource.resource_type.to_wire(),
        resource_name: resource.name.clone(),
        name: name.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use ottla_metadata::MetadataImage;
    use ottla_protocol::records::metadata::{FeatureLevelRecord, TopicRecord};
    use ottla_types::{Offset, Uuid};

    fn controller() -> Controller {
        Controller::new(Settings::for_tests(), MetadataImage::default(), 7)
    }

    /// Changes settings of a broker, replays what comes of it, and tells the answer.
    fn alter(
        controller: &mut Controller,
        broker: &str,
        changes: &[(&str, i8, &str)],
    ) -> (ErrorCode, Option<String>) {
        let configs = changes.iter().map(|&(name, config_operation, value)| AlterableConfig {
            name: name.to_owned(),
            config_operation,
            value: Some(value.to_owned()),
        });
        let resource = AlterConfigsResource {
            resource_type: ResourceType::Broker.to_wire(),
            resource_name: broker.to_owned(),
            configs: configs.collect(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let decision = controller.handle_incremental_alter_configs(&request);
        let response = decision.replies[0].responses[0].clone();
        assert!(response.error_code == 0 || decision.records.is_empty());
        for record in &decision.records {
            controller.replay(record, Offset(0)).unwrap();
        }
        (ErrorCode::from(response.error_code), response.error_message)
    }

    #[test]
    fn settings_of_a_topic_are_checked_together_with_those_that_it_has() {
        let mut controller = controller();
        let topic = TopicRecord { name: "t".to_owned(), topic_id: Uuid::from_u128(7) };
        controller.replay(&MetadataRecord::Topic(topic), Offset(0)).unwrap();
        let mut alter = |name: &str, value: &str| {
            let config = AlterableConfig {
                name: name.to_owned(),
                config_operation: SET,
                value: Some(value.to_owned()),
            };
            let resource = AlterConfigsResource {
                resource_type: ResourceType::Topic.to_wire(),
                resource_name: "t".to_owned(),
                configs: vec![config],
            };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
            let decision = controller.handle_incremental_alter_configs(&request);
            for record in &decision.records {
                controller.replay(record, Offset(0)).unwrap();
            }
            ErrorCode::from(decision.replies[0].responses[0].error_code)
        };

        assert_eq!(alter("max.compaction.lag.ms", "1000"), ErrorCode::None);
        assert_eq!(alter("min.compaction.lag.ms", "1001"), ErrorCode::InvalidConfig);
        assert_eq!(alter("min.compaction.lag.ms", "1000"), ErrorCode::None);
        assert_eq!(alter("max.compaction.lag.ms", "999"), ErrorCode::InvalidConfig);
    }

    #[test]
    fn a_broker_and_all_brokers_are_configured() {
        let mut controller = controller();
        let done = (ErrorCode::None, None);

        assert_eq!(alter(&mut controller, "", &[("log.retention.ms", SET, "1000")]), done);
        assert_eq!(alter(&mut controller, "1", &[("log.retention.ms", SET, "2000")]), done);
        assert_eq!(alter(&mut controller, "01", &[("log.cleanup.policy", APPEND, "compact")]), done);
        let value = |controller: &Controller, broker: &ConfigResource, name: &str| {
            controller.image().configs.value(broker, name).map(str::to_owned)
        };
        let one = ConfigResource::broker(NodeId(1));
        assert_eq!(
            value(&controller, &ConfigResource::cluster(), "log.retention.ms").as_deref(),
            Some("1000")
        );
        assert_eq!(value(&controller, &one, "log.retention.ms").as_deref(), Some("2000"));
        assert_eq!(value(&controller, &one, "log.cleanup.policy").as_deref(), Some("delete,compact"));

        assert_eq!(alter(&mut controller, "1", &[("log.retention.ms", DELETE, "")]), done);
        assert_eq!(value(&controller, &one, "log.retention.ms"), None);
    }

    #[test]
    fn what_would_have_no_effect_is_refused_by_name_and_nothing_beside_it_is_done() {
        let mut controller = controller();
        for (broker, name, operation, value) in [
            ("1", "leader.replication.throttled.rate", SET, "-1"),
            ("1", "leader.replication.throttled.replicas", SET, "*"),
            ("", "node.id", SET, "2"),
            ("", "no.such.setting", SET, "2"),
            ("1", "log.retention.hours", SET, "2"),
            ("1", "log.segment.bytes", SET, "12"),
            ("", "log.segment.bytes", 9, "2000000"),
        ] {
            let (error, message) =
                alter(&mut controller, broker, &[("log.retention.ms", SET, "5"), (name, operation, value)]);

            assert_eq!(error, ErrorCode::InvalidRequest, "{name}");
            assert!(operation == 9 || message.unwrap().contains(name), "{name}");
        }
        assert_eq!(alter(&mut controller, "one", &[]).0, ErrorCode::InvalidRequest);
        assert_eq!(alter(&mut controller, "-1", &[]).0, ErrorCode::InvalidRequest);
        assert_eq!(controller.image().configs.iter().count(), 0);
    }

    #[test]
    fn what_is_not_set_is_removed_whatever_it_is() {
        let mut controller = controller();
        for broker in ["", "1"] {
            let removed =
                alter(&mut controller, broker, &[("leader.replication.throttled.rate", DELETE, "")]);

            assert_eq!(removed, (ErrorCode::None, None));
        }
    }

    /// As [`alter`], with all that a resource is to have.
    fn replace(
        controller: &mut Controller,
        resource: &ConfigResource,
        configs: &[(&str, &str)],
        validate_only: bool,
    ) -> (ErrorCode, String) {
        let configs = configs.iter().map(|&(name, value)| alter_configs_request::AlterableConfig {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        });
        let resource = alter_configs_request::AlterConfigsResource {
            resource_type: resource.resource_type.to_wire(),
            resource_name: resource.name.clone(),
            configs: configs.collect(),
        };
        let request = AlterConfigsRequest { resources: vec![resource], validate_only };
        let decision = controller.handle_alter_configs(&request);
        let response = decision.replies[0].responses[0].clone();
        assert!(response.error_code == 0 && !validate_only || decision.records.is_empty());
        for record in &decision.records {
            controller.replay(record, Offset(0)).unwrap();
        }
        (ErrorCode::from(response.error_code), response.error_message.unwrap_or_default())
    }

    fn values(controller: &Controller, resource: &ConfigResource) -> Vec<(String, String)> {
        let values = controller.image().configs.get(resource).into_iter().flatten();
        values.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    #[test]
    fn what_is_replaced_loses_what_is_not_given_unless_it_is_only_asked_whether_it_could() {
        let mut controller = controller();
        let topic = TopicRecord { name: "t".to_owned(), topic_id: Uuid::from_u128(7) };
        controller.replay(&MetadataRecord::Topic(topic), Offset(0)).unwrap();
        let done = (ErrorCode::None, String::new());
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        for (resource, [first, second]) in [
            (ConfigResource::topic("t"), ["retention.ms", "segment.ms"]),
            (ConfigResource::broker(NodeId(1)), ["log.retention.ms", "log.roll.ms"]),
            (ConfigResource::cluster(), ["log.retention.ms", "log.roll.ms"]),
        ] {
            let both = [(first, "1000"), (second, "2000")];

            assert_eq!(replace(&mut controller, &resource, &both, false), done);
            assert_eq!(values(&controller, &resource), pairs(&both));
            assert_eq!(replace(&mut controller, &resource, &[(second, "3000")], true), done);
            assert_eq!(values(&controller, &resource), pairs(&both));
            let refused = replace(&mut controller, &resource, &[(second, "soon")], false);
            assert_ne!(refused.0, ErrorCode::None);
            assert_eq!(replace(&mut controller, &resource, &[("no.such.setting", "1")], false).0, refused.0);
            assert_eq!(values(&controller, &resource), pairs(&both), "all or nothing");
            assert_eq!(replace(&mut controller, &resource, &[(second, "3000")], false), done);
            assert_eq!(values(&controller, &resource), pairs(&[(second, "3000")]));
            assert_eq!(replace(&mut controller, &resource, &[], false), done);
            assert_eq!(values(&controller, &resource), []);
        }
        let absent = ConfigResource::topic("absent");
        let refused = replace(&mut controller, &absent, &[("retention.ms", "1")], false);
        assert_eq!(
            refused,
            (ErrorCode::UnknownTopicOrPartition, "The topic 'absent' does not exist.".to_owned())
        );
    }

    #[test]
    fn a_broker_written_with_zeros_before_its_id_is_replaced_too() {
        let mut controller = controller();
        let one = ConfigResource::broker(NodeId(1));
        assert_eq!(replace(&mut controller, &one, &[("log.roll.ms", "5")], false).0, ErrorCode::None);

        let zeros = ConfigResource { name: "01".to_owned(), ..one.clone() };
        assert_eq!(replace(&mut controller, &zeros, &[], false).0, ErrorCode::None);

        assert_eq!(values(&controller, &one), []);
    }

    #[test]
    fn a_setting_that_is_changed_twice_or_set_to_nothing_is_refused() {
        let mut controller = controller();
        let twice = [("log.roll.ms", DELETE, ""), ("log.roll.ms", SET, "1")];
        let (error, message) = alter(&mut controller, "1", &twice);
        assert_eq!(
            (error, message.as_deref()),
            (ErrorCode::InvalidRequest, Some("Error due to duplicate config keys"))
        );

        let config =
            |name: &str| AlterableConfig { name: name.to_owned(), config_operation: SET, value: None };
        let resource = AlterConfigsResource {
            resource_type: ResourceType::Broker.to_wire(),
            resource_name: String::new(),
            configs: vec![config("a"), config("b")],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let answer = controller.handle_incremental_alter_configs(&request).replies.remove(0);
        let message = answer.responses[0].error_message.as_deref();
        assert_eq!(message, Some("Null value not supported for : a, b"));
    }

    #[test]
    fn kinds_without_settings_are_refused_by_name_in_kafkas_words() {
        let controller = controller();
        let invalid = ErrorCode::InvalidRequest;
        for (resource_type, name, operation, expected) in [
            (32, "g", SET, Err((ErrorCode::InvalidConfig, "Unknown group config name: x"))),
            (32, "g", DELETE, Ok(())),
            (32, "", SET, Err((invalid, "Default group resources are not allowed."))),
            (16, "m", SET, Err((invalid, "Unknown client metrics configuration: x"))),
            (16, "", SET, Err((invalid, "Subscription name can't be empty"))),
            (2, "", SET, Err((invalid, "Default topic resources are not allowed."))),
            (8, "1", SET, Err((invalid, "Unknown resource type 8"))),
            (3, "1", DELETE, Err((invalid, "Unknown resource type 3"))),
        ] {
            let config = AlterableConfig {
                name: "x".to_owned(),
                config_operation: operation,
                value: Some("1".to_owned()),
            };
            let resource =
                AlterConfigsResource { resource_type, resource_name: name.to_owned(), configs: vec![config] };

            let (records, outcomes) = controller.alter(&[resource], false);

            let expected = expected.map_err(|(error, message)| (error, message.to_owned()));
            assert_eq!((records, outcomes), (Vec::new(), vec![expected]));
        }
    }

    #[test]
    fn a_subscription_to_clients_metrics_is_configured_as_a_whole() {
        let mut controller = controller();
        let mut alter = |config_operation, name: &str, value: &str| {
            let configs = vec![AlterableConfig {
                name: name.to_owned(),
                config_operation,
                value: (config_operation != DELETE).then(|| value.to_owned()),
            }];
            let resource = AlterConfigsResource { resource_type: 16, resource_name: "s".to_owned(), configs };
            let (records, outcomes) = controller.alter(&[resource], false);
            records.iter().for_each(|record| controller.replay(record, Offset(0)).unwrap());
            outcomes[0].clone().map_err(|(error, _)| error)
        };

        assert_eq!(alter(SET, "metrics", "a"), Ok(()));
        assert_eq!(alter(APPEND, "metrics", "b"), Ok(()));
        assert_eq!(alter(SET, "interval.ms", "99"), Err(ErrorCode::InvalidRequest));
        assert_eq!(alter(SET, "interval.ms", "x"), Err(ErrorCode::InvalidConfig));
        assert_eq!(alter(SET, "match", "client_id=("), Err(ErrorCode::InvalidConfig));
        assert_eq!(alter(SET, "match", "client_id=a"), Ok(()));
        assert_eq!(alter(DELETE, "match", ""), Ok(()));
        let set = controller.image.configs.get(&ConfigResource::client_metrics("s"));
        assert_eq!(set, Some(&BTreeMap::from([("metrics".to_owned(), "a,b".to_owned())])));
    }

    #[test]
    fn a_group_is_configured_as_a_whole() {
        let mut controller = controller();
        let mut alter = |config_operation, name: &str, value: &str| {
            let configs = vec![AlterableConfig {
                name: name.to_owned(),
                config_operation,
                value: (config_operation == SET).then(|| value.to_owned()),
            }];
            let resource = AlterConfigsResource { resource_type: 32, resource_name: "g".to_owned(), configs };
            let (records, outcomes) = controller.alter(&[resource], false);
            records.iter().for_each(|record| controller.replay(record, Offset(0)).unwrap());
            (records.len(), outcomes[0].clone().map_err(|(error, _)| error))
        };

        assert_eq!(alter(SET, group_config::SESSION_TIMEOUT, "50000"), (1, Ok(())));
        assert_eq!(alter(SET, group_config::SESSION_TIMEOUT, "1000"), (0, Err(ErrorCode::InvalidConfig)));
        assert_eq!(alter(SET, "share.session.timeout.ms", "45000"), (0, Err(ErrorCode::InvalidConfig)));
        assert_eq!(alter(DELETE, group_config::SESSION_TIMEOUT, ""), (1, Ok(())));
        assert_eq!(alter(DELETE, group_config::SESSION_TIMEOUT, ""), (0, Ok(())));
    }

    #[test]
    fn with_eligible_leaders_the_clusters_in_sync_minimum_is_one_and_stays() {
        let mut controller = controller();
        let feature = FeatureLevelRecord { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), feature_level: 1 };
        controller.replay(&MetadataRecord::FeatureLevel(feature), Offset(0)).unwrap();

        assert_eq!(alter(&mut controller, "1", &[(MIN_ISR, SET, "2")]).0, ErrorCode::InvalidConfig);
        assert_eq!(alter(&mut controller, "", &[(MIN_ISR, SET, "2")]).0, ErrorCode::None);
        assert_eq!(controller.min_insync_replicas("t"), 2);
        assert_eq!(alter(&mut controller, "", &[(MIN_ISR, DELETE, "")]).0, ErrorCode::InvalidConfig);
        let replaced = replace(&mut controller, &ConfigResource::cluster(), &[("log.roll.ms", "5")], false);
        assert_eq!(replaced.0, ErrorCode::InvalidConfig);
    }
}
