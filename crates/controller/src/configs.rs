//! Dynamic configuration is changed.

use crate::controller::Controller;
use crate::topics::Refusal;
use ottla_metadata::topic_config::{self, Owner, TopicConfigDef};
use ottla_metadata::{ConfigResource, ELIGIBLE_LEADER_REPLICAS, ResourceType, broker_config};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_protocol::records::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord};
use ottla_types::{Decision, NodeId};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) const MIN_ISR: &str = "min.insync.replicas";

impl Controller {
    /// Changes single configuration values (KIP-339); each resource succeeds or fails as a whole.
    ///
    /// Of topics and of brokers (KIP-226): those of clients and groups are refused. To remove a broker's setting that is
    /// not set is no change, whatever its name: tools do it to be sure (`kafka-reassign-partitions --verify`).
    pub fn handle_incremental_alter_configs(
        &mut self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Decision<MetadataRecord, IncrementalAlterConfigsResponse> {
        let mut records = Vec::new();
        let mut response = IncrementalAlterConfigsResponse::default();
        for resource in &request.resources {
            let same = |other: &&AlterConfigsResource| {
                other.resource_type == resource.resource_type && other.resource_name == resource.resource_name
            };
            let planned = if request.resources.iter().filter(same).count() > 1 {
                Err((ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned()))
            } else {
                self.plan_configs(resource)
            };
            let (error_code, error_message) = match planned {
                Ok(planned) => {
                    records.extend(planned);
                    (ErrorCode::None.code(), None)
                }
                Err((error, message)) => (error.code(), Some(message)),
            };
            response.responses.push(AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
            });
        }
        if request.validate_only {
            records.clear();
        }
        Decision::write(records, response)
    }

    fn plan_configs(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Refusal> {
        match ResourceType::from_wire(resource.resource_type) {
            Some(ResourceType::Topic) => self.plan_topic_configs(resource),
            Some(ResourceType::Broker) => self.plan_broker_configs(resource),
            _ => {
                let message = "only the configuration of topics and brokers can be changed";
                Err((ErrorCode::InvalidRequest, message.to_owned()))
            }
        }
    }

    fn plan_topic_configs(&self, resource: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Refusal> {
        let name = &resource.resource_name;
        if self.image.topics.by_name(name).is_none() {
            let error = ErrorCode::UnknownTopicOrPartition;
            return Err((error, format!("The topic '{name}' does not exist.")));
        }
        let topic = ConfigResource::topic(name);
        let mut records = Vec::new();
        for config in &resource.configs {
            let Some(def) = topic_config::topic_config(&config.name) else {
                let message = format!("Unknown topic config name: {}", config.name);
                return Err((ErrorCode::InvalidConfig, message));
            };
            let value = self.altered_value(&topic, config, def)?;
            if let Some(value) = &value {
                topic_config::validate(&config.name, value, Owner::User)
                    .map_err(|invalid| (ErrorCode::InvalidConfig, invalid.to_string()))?;
            }
            records.push(record(&topic, &config.name, value));
        }
        if self.has_elr() && resource.configs.iter().any(|config| config.name == MIN_ISR) {
            // Who is eligible was told by the value before (KIP-966).
            records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name: name.clone() }));
        }
        Ok(records)
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
        for config in &resource.configs {
            let is_set = self.image.configs.value(&broker, &config.name).is_some();
            if config.config_operation == DELETE && !is_set {
                continue;
            }
            let value = match broker_config::dynamic(&config.name) {
                Some(def) => self.altered_value(&broker, config, def)?,
                None if config.config_operation == DELETE => None,
                None => {
                    return Err(invalid(format!(
                        "Cannot update these configs dynamically: Set({})",
                        config.name
                    )));
                }
            };
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

    /// The value that a change leads to; `None` removes it.
    fn altered_value(
        &self,
        resource: &ConfigResource,
        config: &AlterableConfig,
        def: &TopicConfigDef,
    ) -> Result<Option<String>, Refusal> {
        let missing =
            || (ErrorCode::InvalidRequest, format!("Null value not supported for: {}", config.name));
        match config.config_operation {
            SET => Ok(Some(config.value.clone().ok_or_else(missing)?)),
            DELETE => Ok(None),
            operation @ (APPEND | SUBTRACT) => {
                if !matches!(def.kind, topic_config::Kind::ListOf(_) | topic_config::Kind::Replicas) {
                    return Err((
                        ErrorCode::InvalidConfig,
                        format!("Can't append or subtract: {} is not a list.", config.name),
                    ));
                }
                let old = self.image.configs.value(resource, &config.name);
                let mut words: Vec<&str> =
                    old.unwrap_or(def.default).split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
                let value = config.value.as_deref().ok_or_else(missing)?;
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
    use ottla_protocol::records::metadata::FeatureLevelRecord;
    use ottla_types::Offset;

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

    #[test]
    fn with_eligible_leaders_the_clusters_in_sync_minimum_is_one_and_stays() {
        let mut controller = controller();
        let feature = FeatureLevelRecord { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), feature_level: 1 };
        controller.replay(&MetadataRecord::FeatureLevel(feature), Offset(0)).unwrap();

        assert_eq!(alter(&mut controller, "1", &[(MIN_ISR, SET, "2")]).0, ErrorCode::InvalidConfig);
        assert_eq!(alter(&mut controller, "", &[(MIN_ISR, SET, "2")]).0, ErrorCode::None);
        assert_eq!(controller.min_insync_replicas("t"), 2);
        assert_eq!(alter(&mut controller, "", &[(MIN_ISR, DELETE, "")]).0, ErrorCode::InvalidConfig);
    }
}
