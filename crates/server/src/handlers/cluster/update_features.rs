//! UpdateFeatures (key 57), versions 0–2, broker and controller listeners.
//!
//! Changes the feature levels that the cluster has agreed on (KIP-584): all that are named, or none.
//!
//! - A broker sends it on to the active controller, and answers when it has seen the new levels itself.
//! - v2 has no results of single features.
//! - kraft.version is raised from 0 to 1 once each voter has told its leader where it listens; there is no way back.
//! - Differs from Kafka: when `eligible.leader.replicas.version` goes to 0, replicas that are eligible are so no more, and
//!   where nobody is in sync, they are in sync from then on; Kafka leaves both as they were. When it goes to 1,
//!   `min.insync.replicas` is not written into the cluster's configuration: where nobody sets it, each node's file counts.

use crate::broker::Broker;
use crate::handlers::topics::forwarded::{UNREACHABLE, VISIBLE_PATIENCE};
use crate::quorum::QuorumHandle;
use crate::request::{Answer, RequestContext};
use ottla_controller::bootstrap::KRAFT_VERSION;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::update_features_response::UpdatableFeatureResult;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use std::sync::Arc;

/// The type of upgrades, and of the downgrades that lose nothing.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

/// Sends it on to the active controller.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> Answer<UpdateFeaturesResponse> {
    let (broker, version) = (broker.clone(), context.version);
    let request = of_any_version(request, version);
    Answer::later(async move {
        let response =
            broker.call_controller(&request).await.unwrap_or_else(|error| UpdateFeaturesResponse {
                error_code: UNREACHABLE.code(),
                error_message: Some(error.to_string()),
                ..Default::default()
            });
        if response.error_code == 0 && !request.validate_only {
            let levels = request.feature_updates.iter().filter(|update| update.feature != KRAFT_VERSION);
            let levels: Vec<(&str, i16)> =
                levels.map(|update| (update.feature.as_str(), update.max_version_level)).collect();
            let is_seen = |image: &ottla_metadata::MetadataImage| {
                levels.iter().all(|(name, level)| image.features.level(name) == *level)
            };
            broker.wait_for_image(is_seen, VISIBLE_PATIENCE).await;
        }
        with_results(response, &request, version)
    })
}

/// Lets the active controller decide.
pub fn on_controller(
    quorum: &QuorumHandle,
    request: UpdateFeaturesRequest,
    version: i16,
) -> Answer<UpdateFeaturesResponse> {
    let quorum = quorum.clone();
    let request = of_any_version(request, version);
    Answer::later(async move {
        let response = quorum.update_features(request.clone()).await.unwrap_or_else(|_| {
            let error = ErrorCode::NotController;
            UpdateFeaturesResponse {
                error_code: error.code(),
                error_message: Some(error.message().to_owned()),
                ..Default::default()
            }
        });
        with_results(response, &request, version)
    })
}

/// The request as the latest version would say it.
fn of_any_version(mut request: UpdateFeaturesRequest, version: i16) -> UpdateFeaturesRequest {
    if version == 0 {
        for update in &mut request.feature_updates {
            update.upgrade_type = if update.allow_downgrade { SAFE_DOWNGRADE } else { UPGRADE };
            update.allow_downgrade = false;
        }
    }
    request
}

/// The answer with a result for each feature, where the version has such.
fn with_results(
    mut response: UpdateFeaturesResponse,
    request: &UpdateFeaturesRequest,
    version: i16,
) -> UpdateFeaturesResponse {
    if version <= 1 && response.error_code == 0 {
        let result =
            |feature: &String| UpdatableFeatureResult { feature: feature.clone(), ..Default::default() };
        response.results = request.feature_updates.iter().map(|update| result(&update.feature)).collect();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::update_features_request::FeatureUpdateKey;

    #[test]
    fn the_oldest_version_allows_downgrades_or_not() {
        let asked = |allow_downgrade, version| {
            let update = FeatureUpdateKey { allow_downgrade, upgrade_type: 3, ..Default::default() };
            let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
            of_any_version(request, version).feature_updates[0].upgrade_type
        };

        assert_eq!([asked(false, 0), asked(true, 0), asked(false, 1)], [UPGRADE, SAFE_DOWNGRADE, 3]);
    }

    #[test]
    fn only_old_versions_have_a_result_for_each_feature() {
        let update = FeatureUpdateKey { feature: "f".to_owned(), ..Default::default() };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let count = |version, error_code| {
            let response = UpdateFeaturesResponse { error_code, ..Default::default() };
            with_results(response, &request, version).results.len()
        };

        assert_eq!([count(0, 0), count(1, 0), count(2, 0), count(1, 95)], [1, 1, 0, 0]);
    }
}
