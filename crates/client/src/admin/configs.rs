//! Configuration: described and altered.

use super::Admin;
use crate::error::ClientError;
use crate::quorum::Quorum;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse,
};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
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

/// What may have a configuration, by the wire's numbers (`ConfigResource.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// A topic.
    Topic = 2,
    /// A broker; the empty name is all of them.
    Broker = 4,
    /// The log lines of a node.
    BrokerLogger = 8,
    /// A subscription to clients' metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ResourceKind {
    /// The node that must be asked about a resource of this kind, if not any will do.
    fn node(self, name: &str) -> Option<NodeId> {
        match self {
            ResourceKind::Broker | ResourceKind::BrokerLogger => name.parse().ok().map(NodeId),
            _ => None,
        }
    }

    fn describe_request(self, name: &str) -> DescribeConfigsRequest {
        let resource = DescribeConfigsResource {
            resource_type: self as i8,
            resource_name: name.to_owned(),
            configuration_keys: None,
        };
        DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: false,
        }
    }
}

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

    /// The settings of one resource with their synonyms, in the order of the answer. A broker is asked about itself.
    ///
    /// # Errors
    /// When nobody answers, or who answers refuses.
    pub async fn describe_configs(
        &self,
        kind: ResourceKind,
        name: &str,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let request = kind.describe_request(name);
        match kind.node(name) {
            None => described(self.ask("describeConfigs", &request).await?),
            Some(node) => described(self.ask_broker("describeConfigs", node, &request).await?),
        }
    }

    /// Changes settings of one resource, all or none. A broker is told about itself.
    ///
    /// # Errors
    /// When nobody answers, or the cluster refuses.
    pub async fn change_configs(
        &self,
        kind: ResourceKind,
        name: &str,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let request = change_request(kind as i8, name, changes);
        match kind.node(name) {
            None => self.alter_configs(kind as i8, name, changes).await,
            Some(node) => altered(self.ask_broker("incrementalAlterConfigs", node, &request).await?),
        }
    }

    /// The names of what has a configuration of this kind (KIP-1142).
    ///
    /// # Errors
    /// When nobody answers, or who answers does not know this request.
    pub async fn list_config_resources(&self, kind: ResourceKind) -> Result<Vec<String>, ClientError> {
        let request = ListConfigResourcesRequest { resource_types: vec![kind as i8] };
        let answer: ListConfigResourcesResponse = self.ask("listConfigResources", &request).await?;
        ClientError::check(answer.error_code, None)?;
        let found = answer.config_resources.into_iter().filter(|found| found.resource_type == kind as i8);
        Ok(found.map(|found| found.resource_name).collect())
    }

    async fn alter_configs(
        &self,
        resource_type: i8,
        resource: &str,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let request = change_request(resource_type, resource, changes);
        self.client
            .retry("incrementalAlterConfigs", || async {
                finally(altered(self.client.call_any(&request).await?))
            })
            .await?
    }
}

impl Quorum {
    /// As [`Admin::describe_configs`]; a controller is asked about itself.
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn describe_configs(
        &mut self,
        kind: ResourceKind,
        name: &str,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let request = kind.describe_request(name);
        match kind.node(name) {
            None => self.ask("describeConfigs", &request, described).await,
            Some(node) => described(self.ask_node(node, &request).await?),
        }
    }

    /// As [`Admin::change_configs`]: log levels are set by the node itself, all else by the active controller.
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn change_configs(
        &mut self,
        kind: ResourceKind,
        name: &str,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let request = change_request(kind as i8, name, changes);
        match kind.node(name) {
            Some(node) if kind == ResourceKind::BrokerLogger => altered(self.ask_node(node, &request).await?),
            _ => self.ask("incrementalAlterConfigs", &request, |answer| finally(altered(answer))).await?,
        }
    }
}

fn described(response: DescribeConfigsResponse) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
    let result = response.results.into_iter().next().ok_or(ClientError::Incomplete("DescribeConfigs"))?;
    ClientError::check(result.error_code, result.error_message)?;
    Ok(result.configs)
}

fn altered(response: IncrementalAlterConfigsResponse) -> Result<(), ClientError> {
    let result = response.responses.into_iter().next();
    let result = result.ok_or(ClientError::Incomplete("IncrementalAlterConfigs"))?;
    ClientError::check(result.error_code, result.error_message)
}

/// The controller knows: that there is no such topic is no reason to ask again.
fn finally(outcome: Result<(), ClientError>) -> Result<Result<(), ClientError>, ClientError> {
    match outcome {
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(Err(error)),
        other => other.map(Ok),
    }
}

fn change_request(
    resource_type: i8,
    resource: &str,
    changes: &[ConfigChange],
) -> IncrementalAlterConfigsRequest {
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
    IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type,
            resource_name: resource.to_owned(),
            configs: changes.iter().map(config).collect(),
        }],
        validate_only: false,
    }
}
