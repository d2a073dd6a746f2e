//! ApiVersions (key 18), versions 0–5, broker and controller listeners.
//!
//! Tells which APIs are served in which versions, and which features are finalized.
//!
//! - A version that does not exist is answered in version 0 with UNSUPPORTED_VERSION and this API's range
//!   alone (KIP-511).
//! - v5: a client that expects another cluster or node is told REBOOTSTRAP_REQUIRED (KIP-1242).
//! - Differs from Kafka: nothing known.

use crate::broker::Broker;
use crate::request::Answer;
use crate::request::answer::serve;
use crate::request::router::BROKER_APIS;
use ottla_controller::bootstrap::SUPPORTED_FEATURES;
use ottla_metadata::MetadataImage;
use ottla_net::{ConnectionInfo, Software, Started};
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_protocol::{ApiKey, Decoder, ErrorCode, RequestHeader, frame};
use ottla_types::NodeId;

/// Answers on a broker's listener.
pub fn start(
    broker: &Broker,
    connection: &ConnectionInfo,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    let image = broker.image();
    let kraft_version = broker.controller.kraft_version();
    let (cluster_id, node_id) = (&broker.cluster_id, broker.node_id);
    answer(header, input, BROKER_APIS, &image, cluster_id, node_id, kraft_version, |software| {
        connection.introduce(software);
    })
}

/// Answers on any listener that serves `apis`. `introduced` is told what the client's software is, if it says so.
#[expect(clippy::too_many_arguments, reason = "what a node says of itself")]
pub fn answer(
    header: &RequestHeader,
    input: Decoder,
    apis: &[ApiKey],
    image: &MetadataImage,
    cluster_id: &str,
    node_id: NodeId,
    kraft_version: i16,
    introduced: impl FnOnce(Software),
) -> Started {
    if !ApiKey::ApiVersions.is_valid(header.api_version) {
        return unsupported(header);
    }
    serve(header, input, |request: ApiVersionsRequest| {
        if is_named(&request) {
            let (name, version) = (&request.client_software_name, &request.client_software_version);
            introduced(Software { name: name.clone(), version: version.clone() });
        }
        Answer::Now(respond(&request, header.api_version, apis, image, cluster_id, node_id, kraft_version))
    })
}

fn unsupported(header: &RequestHeader) -> Started {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![range(ApiKey::ApiVersions)],
        ..Default::default()
    };
    match frame::response(header.correlation_id, ApiKey::ApiVersions, 0, &response) {
        Ok(segments) => Started::Reply(segments),
        Err(error) => Started::Close(error.to_string()),
    }
}

fn respond(
    request: &ApiVersionsRequest,
    version: i16,
    apis: &[ApiKey],
    image: &MetadataImage,
    cluster_id: &str,
    node_id: NodeId,
    kraft_version: i16,
) -> ApiVersionsResponse {
    let refuse = |error: ErrorCode| ApiVersionsResponse {
        error_code: error.code(),
        api_keys: apis.iter().copied().map(range).collect(),
        ..Default::default()
    };
    if version >= 3 && !is_named(request) {
        return refuse(ErrorCode::InvalidRequest);
    }
    // Who expects a cluster expects a node of it (KIP-1242).
    if version >= 5 && request.cluster_id.is_some() != (request.node_id != NodeId::NONE.0) {
        return refuse(ErrorCode::InvalidRequest);
    }
    let other_cluster = request.cluster_id.as_deref().is_some_and(|id| id != cluster_id);
    let other_node = request.node_id != NodeId::NONE.0 && request.node_id != node_id.0;
    if version >= 5 && (other_cluster || other_node) {
        return refuse(ErrorCode::RebootstrapRequired);
    }
    ApiVersionsResponse {
        api_keys: apis.iter().copied().map(range).collect(),
        // Clients before version 4 fail on a feature whose lowest level is 0 (KAFKA-17011).
        supported_features: SUPPORTED_FEATURES
            .iter()
            .filter(|(_, levels)| version >= 4 || levels.min > 0)
            .map(|(name, levels)| SupportedFeatureKey {
                name: (*name).to_owned(),
                min_version: levels.min,
                max_version: levels.max,
            })
            .collect(),
        finalized_features_epoch: image.end.offset.0 - 1,
        finalized_features: image
            .features
            .iter()
            // It is in the quorum's own records, not in the image.
            .chain((kraft_version > 0).then_some(("kraft.version", kraft_version)))
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.to_owned(),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    }
}

fn range(api: ApiKey) -> ApiVersion {
    ApiVersion {
        api_key: api.code(),
        min_version: api.advertised_version_min(),
        max_version: api.stable_version_max(),
    }
}

fn is_named(request: &ApiVersionsRequest) -> bool {
    is_name(&request.client_software_name) && is_name(&request.client_software_version)
}

/// Letters and digits, with `-` and `.` inside.
fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_itself_in_letters_and_digits() {
        for name in ["librdkafka", "apache-kafka-java", "4.4.0", "x"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-x", "x.", "a b", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_client_that_expects_a_cluster_names_its_node_too() {
        let check = |cluster_id: Option<&str>, node_id, expected: ErrorCode| {
            let request = ApiVersionsRequest {
                client_software_name: "x".to_owned(),
                client_software_version: "1".to_owned(),
                cluster_id: cluster_id.map(str::to_owned),
                node_id,
            };
            let image = MetadataImage::default();
            let response = respond(&request, 5, BROKER_APIS, &image, "c", NodeId(1), 0);
            assert_eq!(ErrorCode::from(response.error_code), expected, "{cluster_id:?} {node_id}");
        };
        check(None, -1, ErrorCode::None);
        check(Some("c"), 1, ErrorCode::None);
        check(Some("c"), -1, ErrorCode::InvalidRequest);
        check(None, 1, ErrorCode::InvalidRequest);
        check(Some("d"), 1, ErrorCode::RebootstrapRequired);
        check(Some("c"), -2, ErrorCode::RebootstrapRequired);
    }

    #[test]
    fn an_old_client_is_not_told_of_features_whose_level_may_be_zero() {
        let image = MetadataImage::default();
        let request = ApiVersionsRequest {
            client_software_name: "x".to_owned(),
            client_software_version: "1".to_owned(),
            ..Default::default()
        };
        let names = |version| {
            let response = respond(&request, version, BROKER_APIS, &image, "c", NodeId(1), 0);
            response.supported_features.into_iter().map(|f| f.name).collect::<Vec<_>>()
        };

        assert_eq!(names(3), ["metadata.version"]);
        assert_eq!(
            names(4),
            [
                "metadata.version",
                "eligible.leader.replicas.version",
                "group.version",
                "kraft.version",
                "transaction.version"
            ]
        );
    }
}
