//! ListConfigResources (key 74, versions 0–1), broker listener.
//!
//! Names what may be configured, by kind (KIP-1142).
//!
//! - v0 is that of subscriptions to clients' metrics alone.
//! - A kind that Kafka does not know is UNSUPPORTED_VERSION.
//! - Differs from Kafka: nothing known.

use super::broker_loggers::BROKER_LOGGER;
use crate::broker::Broker;
use crate::request::Answer;
use ottla_metadata::{MetadataImage, ResourceType};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_config_resources_response::ConfigResource;
use ottla_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

/// Answers from the image.
pub fn handle(
    broker: &Broker,
    version: i16,
    request: &ListConfigResourcesRequest,
) -> Answer<ListConfigResourcesResponse> {
    let wanted = match version {
        0 => &[CLIENT_METRICS][..],
        _ if request.resource_types.is_empty() => &ALL,
        _ => &request.resource_types,
    };
    Answer::Now(match listed(&broker.image(), wanted) {
        Ok(config_resources) => ListConfigResourcesResponse { config_resources, ..Default::default() },
        Err(error) => ListConfigResourcesResponse { error_code: error.code(), ..Default::default() },
    })
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

fn listed(image: &MetadataImage, wanted: &[i8]) -> Result<Vec<ConfigResource>, ErrorCode> {
    if wanted.iter().any(|kind| !ALL.contains(kind)) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let names = |kind| image.configs.of_type(kind).map(|(name, _)| name.to_owned());
    let mut all = Vec::new();
    for resource_type in ALL.into_iter().filter(|kind| wanted.contains(kind)) {
        let mut add = |resource_name: String| all.push(ConfigResource { resource_name, resource_type });
        match resource_type {
            TOPIC => image.topics.iter().for_each(|topic| add(topic.name.clone())),
            BROKER | BROKER_LOGGER => {
                image.cluster.unfenced().for_each(|broker| add(broker.id.to_string()));
            }
            CLIENT_METRICS => names(ResourceType::ClientMetrics).for_each(add),
            _ => names(ResourceType::Group).for_each(add),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::metadata::{ConfigRecord, MetadataRecord};

    #[test]
    fn only_the_kinds_that_are_asked_for_are_listed_and_unknown_ones_are_refused() {
        let mut image = MetadataImage::default();
        let record = ConfigRecord {
            resource_type: GROUP,
            resource_name: "g".to_owned(),
            name: "consumer.session.timeout.ms".to_owned(),
            value: Some("50000".to_owned()),
        };
        image.replay(&MetadataRecord::Config(record), &mut Default::default()).unwrap();
        let group = ConfigResource { resource_name: "g".to_owned(), resource_type: GROUP };

        assert_eq!(listed(&image, &ALL), Ok(vec![group.clone()]));
        assert_eq!(listed(&image, &[GROUP]), Ok(vec![group]));
        assert_eq!(listed(&image, &[TOPIC, CLIENT_METRICS]), Ok(Vec::new()));
        assert_eq!(listed(&image, &[GROUP, 3]), Err(ErrorCode::UnsupportedVersion));
    }
}
