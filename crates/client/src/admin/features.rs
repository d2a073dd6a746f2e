//! Feature levels, and brokers that are forgotten.

use super::Admin;
use crate::error::ClientError;
use crate::quorum::Quorum;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
};
use ottla_types::NodeId;
use std::collections::BTreeMap;

/// Which way a level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost by that.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

impl UpgradeType {
    fn to_wire(self) -> i8 {
        match self {
            UpgradeType::Upgrade => 1,
            UpgradeType::SafeDowngrade => 2,
            UpgradeType::UnsafeDowngrade => 3,
        }
    }
}

/// What a node says of the cluster's features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureDescription {
    /// The lowest and the highest level that it supports of each.
    pub supported: BTreeMap<String, (i16, i16)>,
    /// The levels that are finalized.
    pub finalized: BTreeMap<String, i16>,
    /// As of which offset of the metadata log.
    pub epoch: Option<i64>,
}

impl FeatureDescription {
    fn of(response: ApiVersionsResponse) -> Result<FeatureDescription, ClientError> {
        ClientError::check(response.error_code, None)?;
        let supported = response.supported_features.into_iter();
        let finalized = response.finalized_features.into_iter();
        Ok(FeatureDescription {
            supported: supported.map(|f| (f.name, (f.min_version, f.max_version))).collect(),
            finalized: finalized.map(|f| (f.name, f.max_version_level)).collect(),
            epoch: (response.finalized_features_epoch >= 0).then_some(response.finalized_features_epoch),
        })
    }
}

/// A request to change levels.
pub fn update_features_request(
    updates: &BTreeMap<String, i16>,
    upgrade_type: UpgradeType,
    validate_only: bool,
) -> UpdateFeaturesRequest {
    let update = |(feature, level): (&String, &i16)| FeatureUpdateKey {
        feature: feature.clone(),
        max_version_level: *level,
        upgrade_type: upgrade_type.to_wire(),
        ..Default::default()
    };
    UpdateFeaturesRequest {
        feature_updates: updates.iter().map(update).collect(),
        validate_only,
        ..Default::default()
    }
}

/// A node says who it is to learn what others can do.
fn api_versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "ottla".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

fn nodes(response: DescribeClusterResponse) -> Result<Vec<DescribeClusterBroker>, ClientError> {
    ClientError::check(response.error_code, response.error_message)?;
    Ok(response.brokers)
}

impl Admin {
    /// Describes the features.
    ///
    /// # Errors
    /// When no broker answers, or one refuses.
    pub async fn describe_features(&self) -> Result<FeatureDescription, ClientError> {
        FeatureDescription::of(self.ask("describeFeatures", &api_versions_request()).await?)
    }

    /// Changes feature levels, all or none.
    ///
    /// # Errors
    /// When no broker answers, or the controller refuses.
    pub async fn update_features(&self, request: &UpdateFeaturesRequest) -> Result<(), ClientError> {
        self.client
            .retry("updateFeatures", || async {
                let response = self.client.call_any(request).await?;
                ClientError::check(response.error_code, response.error_message)
            })
            .await
    }

    /// Forgets a broker that will not come back.
    ///
    /// # Errors
    /// When no broker answers, or the controller refuses.
    pub async fn unregister_broker(&self, id: NodeId) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest { broker_id: id.0 };
        self.client
            .retry("unregisterBroker", || async {
                let response = self.client.call_any(&request).await?;
                ClientError::check(response.error_code, response.error_message)
            })
            .await
    }

    /// Where the brokers listen; those that are fenced too, if they are asked for.
    ///
    /// # Errors
    /// When no broker answers, or one refuses.
    pub async fn broker_endpoints(
        &self,
        include_fenced_brokers: bool,
    ) -> Result<Vec<DescribeClusterBroker>, ClientError> {
        let request = DescribeClusterRequest { include_fenced_brokers, ..Default::default() };
        nodes(self.ask("describeCluster", &request).await?)
    }
}

impl Quorum {
    /// As [`Admin::describe_features`].
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn describe_features(&mut self) -> Result<FeatureDescription, ClientError> {
        self.ask("describeFeatures", &api_versions_request(), FeatureDescription::of).await
    }

    /// As [`Admin::update_features`].
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn update_features(&mut self, request: &UpdateFeaturesRequest) -> Result<(), ClientError> {
        let judge = |answer: <UpdateFeaturesRequest as ottla_protocol::Request>::Response| {
            ClientError::check(answer.error_code, answer.error_message)
        };
        self.ask("updateFeatures", request, judge).await
    }

    /// As [`Admin::unregister_broker`].
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn unregister_broker(&mut self, id: NodeId) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest { broker_id: id.0 };
        let judge = |answer: <UnregisterBrokerRequest as ottla_protocol::Request>::Response| {
            ClientError::check(answer.error_code, answer.error_message)
        };
        self.ask("unregisterBroker", &request, judge).await
    }

    /// Where the controllers listen.
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn controller_endpoints(&mut self) -> Result<Vec<DescribeClusterBroker>, ClientError> {
        let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
        self.ask("describeCluster", &request, nodes).await
    }
}

/// The wire's number for controllers (`EndpointType`).
const CONTROLLERS: i8 = 2;
