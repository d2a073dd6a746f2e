//! AlterConfigs (key 33, versions 0–2), IncrementalAlterConfigs (44, 0–1), broker and controller listeners.
//!
//! Changes the configuration of topics, of groups and of brokers, and the levels of this node's log lines (KIP-412).
//!
//! - AlterConfigs replaces all that is set for a resource by what is given; both make the same checks.
//! - A broker sends it on to the active controller, and answers when it has seen itself what has changed. Log levels are
//!   set where the request arrives, until the node is started anew; AlterConfigs does not change them, as in Kafka.
//! - Of brokers it changes what the node applies while it runs (docs/configuration.md); anything else is refused
//!   (INVALID_REQUEST), also a name that Kafka does not know.
//! - Of groups it changes `consumer.session.timeout.ms` and `consumer.heartbeat.interval.ms`; every other name is unknown
//!   (INVALID_CONFIG). Client metrics have no settings here (INVALID_REQUEST).
//! - Loggers are the targets of log lines: `root`, Ottla's crates, and each module once it has had something to say.
//! - Differs from Kafka: any broker takes the changes of any other's configuration, but for log levels.

use super::broker_loggers::{self, BROKER_LOGGER};
use super::forwarded::{UNREACHABLE, VISIBLE_PATIENCE};
use crate::broker::Broker;
use crate::log_levels::LogLevels;
use crate::quorum::QuorumHandle;
use crate::request::Answer;
use ottla_metadata::{ConfigResource, MetadataImage, ResourceType};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_protocol::messages::{alter_configs_request, alter_configs_response};
use ottla_types::{NodeId, repeated};
use std::collections::BTreeMap;
use std::sync::Arc;

const SET: i8 = 0;
const DELETE: i8 = 1;

/// Replaces the configuration of topics and brokers.
pub fn replace(broker: &Arc<Broker>, request: AlterConfigsRequest) -> Answer<AlterConfigsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let answer = broker.call_controller(&request).await;
        let answer = answer.unwrap_or_else(|error| not_replaced(&request, UNREACHABLE, &error.to_string()));
        let done = answer.responses.iter().map(|response| response.error_code == 0);
        let done: Vec<_> = request.resources.iter().zip(done).filter(|(_, done)| *done).collect();
        let is_visible =
            |image: &MetadataImage| done.iter().all(|(resource, _)| is_replaced(image, resource));
        if !request.validate_only {
            broker.wait_for_image(is_visible, VISIBLE_PATIENCE).await;
        }
        answer
    })
}

/// Changes single settings.
pub fn change(
    broker: &Arc<Broker>,
    request: IncrementalAlterConfigsRequest,
) -> Answer<IncrementalAlterConfigsResponse> {
    let (request, split) = Split::of(request, &*broker.log_levels, broker.node_id);
    if request.resources.is_empty() {
        return Answer::Now(split.joined(IncrementalAlterConfigsResponse::default()));
    }
    let broker = broker.clone();
    Answer::later(async move {
        let answer = broker.call_controller(&request).await;
        let answer = answer.unwrap_or_else(|error| not_changed(&request, UNREACHABLE, &error.to_string()));
        let done = answer.responses.iter().map(|response| response.error_code == 0);
        let done: Vec<_> = request.resources.iter().zip(done).filter(|(_, done)| *done).collect();
        let is_visible = |image: &MetadataImage| done.iter().all(|(resource, _)| is_changed(image, resource));
        if !request.validate_only {
            broker.wait_for_image(is_visible, VISIBLE_PATIENCE).await;
        }
        split.joined(answer)
    })
}

/// As [`change`], asked of a controller.
pub fn change_on_controller(
    quorum: &QuorumHandle,
    levels: &dyn LogLevels,
    node_id: NodeId,
    request: IncrementalAlterConfigsRequest,
) -> Answer<IncrementalAlterConfigsResponse> {
    let (request, split) = Split::of(request, levels, node_id);
    if request.resources.is_empty() {
        return Answer::Now(split.joined(IncrementalAlterConfigsResponse::default()));
    }
    let quorum = quorum.clone();
    Answer::later(async move {
        let error = ErrorCode::NotController;
        let refused = not_changed(&request, error, error.message());
        let answer =
            quorum.decide(move |controller, _| controller.handle_incremental_alter_configs(&request)).await;
        split.joined(answer.unwrap_or(refused))
    })
}

/// The resource of a request in the image, where brokers have their ids without zeros before them.
fn resource(resource_type: i8, name: &str) -> Option<ConfigResource> {
    match (ResourceType::from_wire(resource_type)?, name.parse()) {
        (ResourceType::Broker, Ok(id)) => Some(ConfigResource::broker(NodeId(id))),
        (resource_type, _) => Some(ConfigResource { resource_type, name: name.to_owned() }),
    }
}

/// Returns whether an image has what a request has changed. What it has appended is not looked for.
fn is_changed(image: &MetadataImage, changed: &AlterConfigsResource) -> bool {
    let Some(resource) = resource(changed.resource_type, &changed.resource_name) else { return true };
    changed.configs.iter().all(|config| {
        let value = image.configs.value(&resource, &config.name);
        match config.config_operation {
            SET => value == config.value.as_deref(),
            DELETE => value.is_none(),
            _ => true,
        }
    })
}

/// Returns whether an image has of a resource nothing but what a request has put there.
fn is_replaced(image: &MetadataImage, given: &alter_configs_request::AlterConfigsResource) -> bool {
    let Some(resource) = resource(given.resource_type, &given.resource_name) else { return true };
    let given = given.configs.iter().map(|config| (config.name.as_str(), config.value.as_deref()));
    let given: BTreeMap<&str, Option<&str>> = given.collect();
    let values = image.configs.get(&resource).into_iter().flatten();
    values.map(|(name, value)| (name.as_str(), Some(value.as_str()))).eq(given)
}

/// A request of which a part is done already: what the answer says of that.
struct Split {
    /// What became of each resource, in the order of the request; `None` is what the controller says.
    done: Vec<Option<AlterConfigsResourceResponse>>,
}

impl Split {
    /// Sets the log levels that a request asks for; what is left of it is for the controller.
    fn of(
        mut request: IncrementalAlterConfigsRequest,
        levels: &dyn LogLevels,
        node_id: NodeId,
    ) -> (IncrementalAlterConfigsRequest, Split) {
        let validate_only = request.validate_only;
        let is_of_levels = |resource: &&AlterConfigsResource| resource.resource_type == BROKER_LOGGER;
        // A second one of the same name would make it unclear which counts.
        let of_levels = request.resources.iter().filter(is_of_levels);
        let repeated = repeated(of_levels.map(|resource| &resource.resource_name));
        let done = request.resources.iter().map(|resource| {
            (resource.resource_type == BROKER_LOGGER).then(|| {
                let outcome = if repeated.contains(&resource.resource_name) {
                    let message = "Each resource must appear at most once.";
                    Err((ErrorCode::InvalidRequest, message.to_owned()))
                } else {
                    broker_loggers::alter(levels, node_id, resource, validate_only)
                };
                AlterConfigsResourceResponse {
                    error_code: outcome.as_ref().map_or_else(|(error, _)| error.code(), |()| 0),
                    error_message: outcome.err().map(|(_, message)| message),
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                }
            })
        });
        let split = Split { done: done.collect() };
        request.resources.retain(|resource| resource.resource_type != BROKER_LOGGER);
        (request, split)
    }

    /// The answer to all, where `others` is that to the rest.
    fn joined(self, mut others: IncrementalAlterConfigsResponse) -> IncrementalAlterConfigsResponse {
        let mut rest = std::mem::take(&mut others.responses).into_iter();
        others.responses = self.done.into_iter().filter_map(|done| done.or_else(|| rest.next())).collect();
        others
    }
}

/// The answer that changes nothing, for this reason.
fn not_changed(
    request: &IncrementalAlterConfigsRequest,
    error: ErrorCode,
    message: &str,
) -> IncrementalAlterConfigsResponse {
    let response = |resource: &AlterConfigsResource| AlterConfigsResourceResponse {
        error_code: error.code(),
        error_message: Some(message.to_owned()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
    };
    let responses = request.resources.iter().map(response).collect();
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// As [`not_changed`], for AlterConfigs.
pub(crate) fn not_replaced(
    request: &AlterConfigsRequest,
    error: ErrorCode,
    message: &str,
) -> AlterConfigsResponse {
    let response = |resource: &alter_configs_request::AlterConfigsResource| {
        alter_configs_response::AlterConfigsResourceResponse {
            error_code: error.code(),
            error_message: Some(message.to_owned()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        }
    };
    let responses = request.resources.iter().map(response).collect();
    AlterConfigsResponse { responses, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_levels::FixedLevels;
    use ottla_protocol::messages::incremental_alter_configs_request::AlterableConfig;
    use ottla_protocol::records::metadata::{ConfigRecord, MetadataRecord};

    #[test]
    fn a_change_is_visible_once_the_image_has_it() {
        let mut image = MetadataImage::default();
        for (name, value) in [("a", "1"), ("b", "2")] {
            let record = ConfigRecord {
                resource_type: 4,
                resource_name: "1".to_owned(),
                name: name.to_owned(),
                value: Some(value.to_owned()),
            };
            image.replay(&MetadataRecord::Config(record), &mut Default::default()).unwrap();
        }
        let changed = |name: &str, config_operation, value: Option<&str>| {
            let config =
                AlterableConfig { name: name.to_owned(), config_operation, value: value.map(str::to_owned) };
            let resource = AlterConfigsResource {
                resource_type: 4,
                resource_name: "01".to_owned(),
                configs: vec![config],
            };
            is_changed(&image, &resource)
        };
        let replaced = |configs: &[(&str, &str)]| {
            let config = |&(name, value): &(&str, &str)| alter_configs_request::AlterableConfig {
                name: name.to_owned(),
                value: Some(value.to_owned()),
            };
            let resource = alter_configs_request::AlterConfigsResource {
                resource_type: 4,
                resource_name: "1".to_owned(),
                configs: configs.iter().map(config).collect(),
            };
            is_replaced(&image, &resource)
        };

        assert!(changed("a", SET, Some("1")) && !changed("a", SET, Some("2")));
        assert!(changed("c", DELETE, None) && !changed("a", DELETE, None));
        assert!(replaced(&[("b", "2"), ("a", "1")]));
        assert!(!replaced(&[("a", "1")]) && !replaced(&[("a", "1"), ("b", "3")]) && !replaced(&[]));
    }

    #[test]
    fn the_answer_has_the_order_of_the_request() {
        let resource = |resource_type, name: &str| AlterConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            ..Default::default()
        };
        let resources = vec![
            resource(BROKER_LOGGER, "7"),
            resource(2, "t"),
            resource(BROKER_LOGGER, "1"),
            resource(4, "1"),
            resource(BROKER_LOGGER, "7"),
        ];
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };

        let (left, split) = Split::of(request, &FixedLevels, NodeId(1));
        let all = split.joined(not_changed(&left, ErrorCode::NotController, "not here"));

        let answered =
            all.responses.iter().map(|r| (r.resource_type, r.resource_name.as_str(), r.error_code));
        let not_controller = ErrorCode::NotController.code();
        let invalid = ErrorCode::InvalidRequest.code();
        assert_eq!(
            answered.collect::<Vec<_>>(),
            [
                (BROKER_LOGGER, "7", invalid),
                (2, "t", not_controller),
                (BROKER_LOGGER, "1", 0),
                (4, "1", not_controller),
                (BROKER_LOGGER, "7", invalid),
            ]
        );
        assert_eq!(
            all.responses[0].error_message.as_deref(),
            Some("Each resource must appear at most once.")
        );
    }
}
