//! Dynamic configuration is changed.

use crate::controller::Controller;
use crate::topics::Refusal;
use ottla_metadata::topic_config::{self, Owner};
use ottla_metadata::{ConfigResource, ELIGIBLE_LEADER_REPLICAS, ResourceType};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_protocol::records::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord};
use ottla_types::Decision;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

impl Controller {
    /// Changes single configuration values (KIP-339); each resource succeeds or fails as a whole.
    ///
    /// Topics only: settings of brokers, clients and groups are not dynamic here, and are refused. That a broker's setting
    /// is removed which nobody could set is no change: tools do it to be sure (`kafka-reassign-partitions --verify`).
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
        let kind = ResourceType::from_wire(resource.resource_type);
        let names_broker = resource.resource_name.is_empty() || resource.resource_name.parse::<i32>().is_ok();
        if kind == Some(ResourceType::Broker)
            && names_broker
            && resource.configs.iter().all(|config| config.config_operation == DELETE)
        {
            return Ok(Vec::new());
        }
        if kind != Some(ResourceType::Topic) {
            return Err((
                ErrorCode::InvalidRequest,
                "only the configuration of topics can be changed while the cluster runs".to_owned(),
            ));
        }
        let name = &resource.resource_name;
        if self.image.topics.by_name(name).is_none() {
            let error = ErrorCode::UnknownTopicOrPartition;
            return Err((error, format!("The topic '{name}' does not exist.")));
        }
        let records = resource
            .configs
            .iter()
            .map(|config| {
                let value = self.altered_value(name, config)?;
                if let Some(value) = &value {
                    topic_config::validate(&config.name, value, Owner::User)
                        .map_err(|invalid| (ErrorCode::InvalidConfig, invalid.to_string()))?;
                }
                Ok(MetadataRecord::Config(ConfigRecord {
                    resource_type: ResourceType::Topic.to_wire(),
                    resource_name: name.clone(),
                    name: config.name.clone(),
                    value,
                }))
            })
            .collect::<Result<Vec<MetadataRecord>, Refusal>>();
        let changes_min_isr = resource.configs.iter().any(|config| config.name == "min.insync.replicas");
        records.map(|mut records| {
            // Who is eligible was told by the value before (KIP-966).
            if changes_min_isr && self.image.features.level(ELIGIBLE_LEADER_REPLICAS) > 0 {
                records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name: name.clone() }));
            }
            records
        })
    }

    /// The value that a change leads to; `None` removes it.
    fn altered_value(&self, topic: &str, config: &AlterableConfig) -> Result<Option<String>, Refusal> {
        let Some(def) = topic_config::topic_config(&config.name) else {
            let message = format!("Unknown topic config name: {}", config.name);
            return Err((ErrorCode::InvalidConfig, message));
        };
        let missing =
            || (ErrorCode::InvalidRequest, format!("Null value not supported for: {}", config.name));
        match config.config_operation {
            SET => Ok(Some(config.value.clone().ok_or_else(missing)?)),
            DELETE => Ok(None),
            operation @ (APPEND | SUBTRACT) => {
                if !matches!(def.kind, topic_config::Kind::ListOf(_) | topic_config::Kind::List) {
                    return Err((
                        ErrorCode::InvalidConfig,
                        format!("Can't append or subtract: {} is not a list.", config.name),
                    ));
                }
                let old = self.image.configs.value(&ConfigResource::topic(topic), &config.name);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use ottla_metadata::MetadataImage;

    #[test]
    fn of_a_broker_only_what_is_not_set_is_removed() {
        let mut controller = Controller::new(Settings::for_tests(), MetadataImage::default(), 7);
        let mut altered = |name: &str, operations: &[i8]| {
            let configs = operations.iter().map(|&config_operation| AlterableConfig {
                name: "leader.replication.throttled.rate".to_owned(),
                config_operation,
                value: Some("1000".to_owned()),
            });
            let resource = AlterConfigsResource {
                resource_type: ResourceType::Broker.to_wire(),
                resource_name: name.to_owned(),
                configs: configs.collect(),
            };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
            let decision = controller.handle_incremental_alter_configs(&request);
            assert!(decision.records.is_empty());
            ErrorCode::from(decision.replies[0].responses[0].error_code)
        };

        assert_eq!(altered("1", &[DELETE]), ErrorCode::None);
        assert_eq!(altered("", &[DELETE]), ErrorCode::None);
        assert_eq!(altered("one", &[DELETE]), ErrorCode::InvalidRequest);
        assert_eq!(altered("1", &[SET]), ErrorCode::InvalidRequest);
        assert_eq!(altered("1", &[DELETE, SET]), ErrorCode::InvalidRequest);
    }
}
