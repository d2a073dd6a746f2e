//! CreateTopics (key 19, versions 2–7), DeleteTopics (20, 1–6), CreatePartitions (37, 0–3), ElectLeaders (43,
//! 0–2), DescribeQuorum (55, 0–2), broker listener.
//!
//! Sent on to the active controller; its answer comes back as it is.
//!
//! - Creation and deletion are answered when this broker has seen them, so that what the client asks next is
//!   answered rightly.
//! - Differs from Kafka: sent as the request itself, not in an Envelope, since there are no principals.

use crate::broker::Broker;
use crate::request::Answer;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use ottla_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::messages::describe_quorum_response::DescribeQuorumResponse;
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::ElectLeadersResponse;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer waits for this broker to see what it says.
pub(in crate::handlers) const VISIBLE_PATIENCE: Duration = Duration::from_secs(2);

/// What clients are told when the controller cannot be asked: they try again.
pub(in crate::handlers) const UNREACHABLE: ErrorCode = ErrorCode::RequestTimedOut;

/// Creates topics.
pub fn create_topics(broker: &Arc<Broker>, request: CreateTopicsRequest) -> Answer<CreateTopicsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let response = broker.call_controller(&request).await.unwrap_or_else(|error| CreateTopicsResponse {
            topics: request
                .topics
                .iter()
                .map(|topic| CreatableTopicResult {
                    name: topic.name.clone(),
                    error_code: UNREACHABLE.code(),
                    error_message: Some(error.to_string()),
                    configs: Some(Vec::new()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        if !request.validate_only {
            let created: Vec<&str> =
                response.topics.iter().filter(|t| t.error_code == 0).map(|t| t.name.as_str()).collect();
            broker
                .wait_for_image(
                    |image| created.iter().all(|name| image.topics.by_name(name).is_some()),
                    VISIBLE_PATIENCE,
                )
                .await;
        }
        response
    })
}

/// Deletes topics.
pub fn delete_topics(broker: &Arc<Broker>, request: DeleteTopicsRequest) -> Answer<DeleteTopicsResponse> {
    let broker = broker.clone();
    let request = as_sent_on(request);
    Answer::later(async move {
        let response = broker.call_controller(&request).await.unwrap_or_else(|error| DeleteTopicsResponse {
            responses: request
                .topics
                .iter()
                .map(|topic| DeletableTopicResult {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    error_code: UNREACHABLE.code(),
                    error_message: Some(error.to_string()),
                })
                .collect(),
            ..Default::default()
        });
        let deleted: Vec<_> =
            response.responses.iter().filter(|r| r.error_code == 0).map(|r| r.topic_id).collect();
        broker
            .wait_for_image(
                |image| deleted.iter().all(|id| image.topics.by_id(*id).is_none()),
                VISIBLE_PATIENCE,
            )
            .await;
        response
    })
}

/// Names the topics where the version has them in which a request is sent on: up to version 5 clients name them elsewhere.
fn as_sent_on(mut request: DeleteTopicsRequest) -> DeleteTopicsRequest {
    let names = std::mem::take(&mut request.topic_names);
    let named = names.into_iter().map(|name| DeleteTopicState { name: Some(name), ..Default::default() });
    request.topics.extend(named);
    request
}

/// Adds partitions to topics.
pub fn create_partitions(
    broker: &Arc<Broker>,
    request: CreatePartitionsRequest,
) -> Answer<CreatePartitionsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let response =
            broker.call_controller(&request).await.unwrap_or_else(|error| CreatePartitionsResponse {
                results: request
                    .topics
                    .iter()
                    .map(|topic| CreatePartitionsTopicResult {
                        name: topic.name.clone(),
                        error_code: UNREACHABLE.code(),
                        error_message: Some(error.to_string()),
                    })
                    .collect(),
                ..Default::default()
            });
        if !request.validate_only {
            let enlarged = |image: &ottla_metadata::MetadataImage| {
                response.results.iter().filter(|r| r.error_code == 0).all(|result| {
                    let wanted = request.topics.iter().find(|t| t.name == result.name).map_or(0, |t| t.count);
                    image
                        .topics
                        .by_name(&result.name)
                        .is_none_or(|topic| topic.partitions.len() as i64 >= i64::from(wanted))
                })
            };
            broker.wait_for_image(enlarged, VISIBLE_PATIENCE).await;
        }
        response
    })
}

/// Moves leaderships to the preferred replicas.
pub fn elect_leaders(broker: &Arc<Broker>, request: ElectLeadersRequest) -> Answer<ElectLeadersResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        broker
            .call_controller(&request)
            .await
            .unwrap_or_else(|_| ElectLeadersResponse { error_code: UNREACHABLE.code(), ..Default::default() })
    })
}

/// Describes the quorum.
pub fn describe_quorum(
    broker: &Arc<Broker>,
    request: DescribeQuorumRequest,
) -> Answer<DescribeQuorumResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        broker.call_controller(&request).await.unwrap_or_else(|error| DescribeQuorumResponse {
            error_code: UNREACHABLE.code(),
            error_message: Some(error.to_string()),
            ..Default::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::message::{decode_all, encode_to_vec};

    #[test]
    fn topics_to_delete_keep_their_names_whatever_version_named_them() {
        let topic = DeleteTopicState { name: Some("t".to_owned()), ..Default::default() };
        let old = DeleteTopicsRequest { topic_names: vec!["t".to_owned()], ..Default::default() };
        let new = DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
        for (request, version) in [(old.clone(), 1), (old, 5), (new.clone(), 6)] {
            let bytes = encode_to_vec(&request, version).unwrap();
            let received: DeleteTopicsRequest = decode_all(bytes, version).unwrap();

            let sent_on = encode_to_vec(&as_sent_on(received), 6).unwrap();

            assert_eq!(
                decode_all::<DeleteTopicsRequest>(sent_on, 6).unwrap().topics,
                new.topics,
                "{version}"
            );
        }
    }
}
