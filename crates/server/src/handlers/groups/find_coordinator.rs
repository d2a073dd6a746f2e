//! FindCoordinator (key 10), versions 0–6, broker listener.
//!
//! Names the broker that coordinates a group or a transactional id.
//!
//! - v1 transactional ids (key type 1). v4 several keys. The topic of committed offsets, or of transactions, is created when it
//!   is first asked for.
//! - Differs from Kafka: share groups (key type 2) have no coordinator here and are refused with INVALID_REQUEST. A
//!   coordinator is asked whether it is there before it is named; while it moves, the answer waits for up to 300 ms.

use crate::broker::{Broker, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::groups::GroupCoordinators;
use crate::request::{Answer, RequestContext};
use crate::transactions::TransactionCoordinators;
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_types::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// What a key is of.
#[derive(Clone, Copy)]
enum KeyType {
    Group,
    TransactionalId,
}

impl KeyType {
    fn from_wire(key_type: i8) -> Option<KeyType> {
        match key_type {
            0 => Some(KeyType::Group),
            1 => Some(KeyType::TransactionalId),
            _ => None,
        }
    }

    fn topic(self) -> &'static str {
        match self {
            KeyType::Group => OFFSETS_TOPIC,
            KeyType::TransactionalId => TRANSACTIONS_TOPIC,
        }
    }

    fn leader(self, image: &MetadataImage, key: &str) -> Option<NodeId> {
        match self {
            KeyType::Group => GroupCoordinators::leader_of(image, key),
            KeyType::TransactionalId => TransactionCoordinators::leader_of(image, key),
        }
    }
}

/// How long an answer waits for the topic to be created.
const CREATION_PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer waits for a coordinator that has gone to be replaced.
const FENCING_PATIENCE: Duration = Duration::from_millis(300);

/// Answers from the image, after creating the topic if need be.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> Answer<FindCoordinatorResponse> {
    let keys = if context.version >= 4 { request.coordinator_keys } else { vec![request.key] };
    let (broker, context) = (broker.clone(), context.clone());
    let key_type = KeyType::from_wire(request.key_type);
    Answer::later(async move {
        if let Some(key_type) = key_type {
            let leader = |image: &MetadataImage, key: &String| key_type.leader(image, key);
            let relies = |image: &MetadataImage| {
                keys.iter().any(|key| leader(image, key).is_some_and(|leader| !broker.is_nameable(leader)))
            };
            create_topic_if_missing(&broker, key_type.topic()).await;
            // Who asks has often just lost its coordinator. librdkafka, told of the dead one again, asks again only
            // after half a second.
            let image = broker.image();
            broker.ask(keys.iter().filter_map(|key| leader(&image, key)).collect()).await;
            broker.wait_for_fencing(relies, FENCING_PATIENCE).await;
        }
        let image = broker.image();
        let found: Vec<Coordinator> =
            keys.into_iter().map(|key| find(&broker, &image, &context, key_type, key)).collect();
        respond(context.version, found)
    })
}

fn find(
    broker: &Broker,
    image: &MetadataImage,
    context: &RequestContext,
    key_type: Option<KeyType>,
    key: String,
) -> Coordinator {
    let refuse = |key: String, error: ErrorCode, message: &str| Coordinator {
        key,
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code: error.code(),
        error_message: Some(message.to_owned()),
    };
    let Some(key_type) = key_type else {
        return refuse(key, ErrorCode::InvalidRequest, "only groups and transactional ids have coordinators");
    };
    let node = key_type.leader(image, &key).filter(|&leader| broker.is_nameable(leader));
    let endpoint = node
        .and_then(|node| image.cluster.broker(node))
        .filter(|registered| !registered.fenced)
        .and_then(|registered| registered.endpoint(context.listener()));
    match (node, endpoint) {
        (Some(node), Some(endpoint)) => Coordinator {
            key,
            node_id: node.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            error_code: ErrorCode::None.code(),
            // Kafka's answer has an empty one, and no null.
            error_message: Some(String::new()),
        },
        _ => {
            let error = ErrorCode::CoordinatorNotAvailable;
            refuse(key, error, error.message())
        }
    }
}

/// Has an internal topic created unless it is there, and waits for it.
pub(in crate::handlers) async fn create_topic_if_missing(broker: &Broker, topic: &str) {
    let is_there = |image: &MetadataImage| image.topics.by_name(topic).is_some();
    if is_there(&broker.image()) {
        return;
    }
    let request = CreateTopicsRequest {
        topics: vec![broker.automatic_topic(topic)],
        timeout_ms: 5000,
        validate_only: false,
    };
    match broker.call_controller(&request).await {
        Ok(response) => {
            for topic in response.topics {
                let error = ErrorCode::from(topic.error_code);
                if !matches!(error, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
                    tracing::warn!(topic = topic.name, reason = topic.error_message, "cannot create topic");
                    return;
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "cannot ask for {topic} to be created");
            return;
        }
    }
    broker.wait_for_image(is_there, CREATION_PATIENCE).await;
}

fn respond(version: i16, mut found: Vec<Coordinator>) -> FindCoordinatorResponse {
    if version >= 4 {
        return FindCoordinatorResponse { coordinators: found, ..Default::default() };
    }
    let only = found.pop().unwrap_or_default();
    let found = only.error_code == ErrorCode::None.code();
    FindCoordinatorResponse {
        error_code: only.error_code,
        // So says Kafka's where nothing is wrong.
        error_message: if found { Some("NONE".to_owned()) } else { only.error_message },
        node_id: only.node_id,
        host: only.host,
        port: only.port,
        ..Default::default()
    }
}
