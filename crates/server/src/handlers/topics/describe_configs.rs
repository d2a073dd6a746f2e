//! DescribeConfigs (key 32), versions 1–4, broker listener.
//!
//! Tells the configuration of topics and of this broker: values, where they come from, what they mean.
//!
//! - Differs from Kafka: BROKER_LOGGER, CLIENT_METRICS and GROUP resources are refused (INVALID_REQUEST);
//!   nothing could be configured there.

use crate::broker::Broker;
use crate::config::table::{self, SETTINGS};
use crate::request::Answer;
use ottla_metadata::topic_config::{TOPIC_CONFIGS, TopicConfigDef};
use ottla_metadata::{ConfigResource, ResourceType};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// Answers from the image and this broker's configuration.
pub fn handle(broker: &Broker, request: &DescribeConfigsRequest) -> Answer<DescribeConfigsResponse> {
    let results = request
        .resources
        .iter()
        .map(|resource| {
            let configs = describe(broker, request, resource);
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
    broker: &Broker,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    let wanted = |name: &str| {
        resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == name))
    };
    match ResourceType::from_wire(resource.resource_type) {
        Some(ResourceType::Topic) => {
            let image = broker.image();
            if image.topics.by_name(&resource.resource_name).is_none() {
                let error = ErrorCode::UnknownTopicOrPartition;
                return Err((error, error.message().to_owned()));
            }
            let topic = ConfigResource::topic(&resource.resource_name);
            Ok(TOPIC_CONFIGS
                .iter()
                .filter(|def| wanted(def.name))
                .map(|def| describe_topic_config(broker, request, def, image.configs.value(&topic, def.name)))
                .collect())
        }
        Some(ResourceType::Broker) => {
            let own = broker.node_id.to_string();
            if !resource.resource_name.is_empty() && resource.resource_name != own {
                return Err((
                    ErrorCode::InvalidRequest,
                    format!(
                        "Unexpected broker id, expected {own} or empty string, but received {}",
                        resource.resource_name
                    ),
                ));
            }
            if resource.resource_name.is_empty() {
                // The cluster's dynamic defaults: there are none.
                return Ok(Vec::new());
            }
            Ok(SETTINGS
                .iter()
                .filter(|setting| wanted(setting.name))
                .map(|setting| describe_setting(broker, request, setting))
                .collect())
        }
        _ => Err((ErrorCode::InvalidRequest, "only topics and brokers have a configuration".to_owned())),
    }
}

fn describe_topic_config(
    broker: &Broker,
    request: &DescribeConfigsRequest,
    def: &TopicConfigDef,
    own: Option<&str>,
) -> DescribeConfigsResourceResult {
    let from_broker = broker.config.topic_defaults.get(def.name).map(String::as_str);
    let synonym_name = def.synonyms.first().copied().unwrap_or(def.name);
    let layers = [
        own.map(|value| (def.name, value, DYNAMIC_TOPIC)),
        from_broker.map(|value| (synonym_name, value, STATIC_BROKER)),
        Some((synonym_name, def.default, DEFAULT)),
    ];
    let synonyms: Vec<DescribeConfigsSynonym> = layers
        .into_iter()
        .flatten()
        .map(|(name, value, source)| DescribeConfigsSynonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        })
        .collect();
    DescribeConfigsResourceResult {
        name: def.name.to_owned(),
        value: synonyms[0].value.clone(),
        read_only: false,
        config_source: synonyms[0].source,
        is_sensitive: false,
        synonyms: if request.include_synonyms { synonyms } else { Vec::new() },
        config_type: def.kind.wire_type(),
        documentation: request.include_documentation.then(|| def.documentation.to_owned()),
    }
}

fn describe_setting(
    broker: &Broker,
    request: &DescribeConfigsRequest,
    setting: &table::Setting,
) -> DescribeConfigsResourceResult {
    let written = broker.config.properties.written(setting.name);
    let synonyms: Vec<DescribeConfigsSynonym> =
        [written.map(|value| (value, STATIC_BROKER)), setting.default.map(|value| (value, DEFAULT))]
            .into_iter()
            .flatten()
            .map(|(value, source)| DescribeConfigsSynonym {
                name: setting.name.to_owned(),
                value: Some(value.to_owned()),
                source,
            })
            .collect();
    DescribeConfigsResourceResult {
        name: setting.name.to_owned(),
        value: synonyms.first().and_then(|s| s.value.clone()),
        read_only: true,
        config_source: synonyms.first().map_or(DEFAULT, |s| s.source),
        is_sensitive: false,
        synonyms: if request.include_synonyms { synonyms } else { Vec::new() },
        config_type: match setting.kind {
            table::Kind::Boolean => 1,
            table::Kind::Text => 2,
            table::Kind::Number(_, max) if max <= i64::from(i32::MAX) => 3,
            table::Kind::Number(..) => 5,
            table::Kind::List => 7,
        },
        documentation: request.include_documentation.then(|| setting.documentation.to_owned()),
    }
}
