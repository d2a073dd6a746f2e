//! Configuration: described and altered.

use super::Admin;
use crate::error::ClientError;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_types::NodeId;
use std::collections::BTreeMap;

/// The wire's number for topics.
const TOPIC: i8 = 2;

/// The wire's number for brokers.
const BROKER: i8 = 4;

/// The wire's number for a value that nobody set.
const DEFAULT_SOURCE: i8 = 5;

/// Resources described by one request, at most.
const RESOURCES_PER_REQUEST_MAX: usize = 500;

/// A setting as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it is secret.
    pub value: Option<String>,
    /// Whether nobody set it.
    pub is_default: bool,
}

/// A change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Sets it to a value.
    Set(String, String),
    /// Returns it to its default.
    Delete(String),
}

impl Admin {
    /// The settings of topics, by topic, in the order of the answer.
    ///
    /// # Errors
    /// When no broker answers, or one refuses.
    pub async fn describe_topic_configs(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<String, Vec<ConfigEntry>>, ClientError> {
        let mut found = BTreeMap::new();
        for topics in topics.chunks(RESOURCES_PER_REQUEST_MAX) {
            let resource = |name: &String| DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: name.clone(),
                configuration_keys: None,
            };
            let request = DescribeConfigsRequest {
                resources: topics.iter().map(resource).collect(),
                ..DescribeConfigsRequest::default()
            };
            for result in self.ask("describeConfigs", &request).await?.results {
                ClientError::check(result.error_code, result.error_message)?;
                let entry = |config: DescribeConfigsResourceResult| ConfigEntry {
                    name: config.name,
                    value: config.value.filter(|_| !config.is_sensitive),
                    is_default: config.config_source == DEFAULT_SOURCE,
                };
                found.insert(result.resource_name, result.configs.into_iter().map(entry).collect());
            }
        }
        Ok(found)
    }

    /// Changes settings of a topic, all or none.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn alter_topic_configs(
        &self,
        topic: &str,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        self.alter_configs(TOPIC, topic, changes).await
    }

    /// Changes dynamic settings of a broker, all or none.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn alter_broker_configs(
        &self,
        broker: NodeId,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        self.alter_configs(BROKER, &broker.to_string(), changes).await
    }

    async fn alter_configs(
        &self,
        resource_type: i8,
        resource: &str,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        let config = |change: &ConfigChange| match change {
            ConfigChange::Set(name, value) => {
                AlterableConfig { name: name.clone(), config_operation: SET, value: Some(value.clone()) }
            }
            ConfigChange::Delete(name) => {
                AlterableConfig { name: name.clone(), config_operation: DELETE, value: None }
            }
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name: resource.to_owned(),
                configs: changes.iter().map(config).collect(),
            }],
            validate_only: false,
        };
        self.client
            .retry("incrementalAlterConfigs", || async {
                let response = self.client.call_any(&request).await?;
                let result = response.responses.into_iter().next();
                let result = result.ok_or(ClientError::Incomplete("IncrementalAlterConfigs"))?;
                ClientError::check(result.error_code, result.error_message)
            })
            .await
    }
}
