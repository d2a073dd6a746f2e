//! Metadata (key 3), versions 0–13, broker listener.
//!
//! Names the brokers, and the leaders of the topics asked for.
//!
//! - v0: no topics means all; v1+: null means all.
//! - v4+ a topic that is not there is created when client and `auto.create.topics.enable` allow it; the
//!   answer waits for it a moment.
//! - The leaders are asked first whether they are there, which takes at most 0.1 s; while one that refuses or says nothing is
//!   not replaced, the answer waits for up to 300 ms, and does not name it then.
//! - v10 topic ids in the answer, v12 in the question.
//! - A broker is listed for one second more after it was fenced, though it leads nothing: librdkafka 2.16 takes
//!   a broker that vanishes from the list apart together with the partitions it is moving away from it, and
//!   finds them again only a second later. Not for longer, since the same client dials a listed broker ever more
//!   rarely, and a new one at once.
//! - A broker that says nothing is not listed to a client that has just connected: whom it does not know it does not dial. For what
//!   any broker can answer (InitProducerId) clients pick one of those listed, and wait there for a time-out of their own.
//! - Differs from Kafka: the controller named is the answering broker, when it may be named at all; Kafka
//!   names one at random. Either forwards what it is sent.

use crate::broker::Broker;
use crate::handlers::authorized_operations;
use crate::request::{Answer, RequestContext};
use ottla_metadata::{MetadataImage, TopicImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_types::{NodeId, Uuid, validate_topic_name};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a question for a topic that is being created waits for it.
const CREATION_PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer waits for the controller to fence a broker that has gone.
const FENCING_PATIENCE: Duration = Duration::from_millis(300);

/// A question is a newcomer's if it is among so many requests that came first on its connection: behind that for the versions, and
/// perhaps another one.
const NEWCOMER_REQUESTS_MAX: u64 = 3;

/// How long an answer waits for a topic that this broker has not heard of.
const NEW_PATIENCE: Duration = Duration::from_millis(250);

/// The first version whose question may name topics by their ids.
const IDS_VERSION_MIN: i16 = 12;

/// A topic as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Name(String),
    Id(Uuid),
}

/// Answers from the image, after creating what may be created.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: MetadataRequest,
) -> Answer<MetadataResponse> {
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    let operations = Operations {
        of_cluster: request.include_cluster_authorized_operations,
        of_topics: request.include_topic_authorized_operations,
    };
    let topics = request.topics.unwrap_or_default();
    if context.version < IDS_VERSION_MIN && topics.iter().any(|t| t.name.is_none() || !t.topic_id.is_zero()) {
        return Answer::Now(refuse_ids(&topics));
    }
    let asked = once_each(topics);
    let image = broker.image();
    let may_create = request.allow_auto_topic_creation && broker.auto_create_topics();
    let missing: Vec<String> = asked
        .iter()
        .filter_map(|asked| match asked {
            Asked::Name(name) if image.topics.by_name(name).is_none() => Some(name.clone()),
            _ => None,
        })
        .filter(|name| may_create && validate_topic_name(name).is_ok())
        .collect();
    let (broker, context) = (broker.clone(), context.clone());
    if missing.is_empty() {
        // Looked up when the answer's turn has come. The leaders are asked: the client may have lost one just now, and
        // be quicker than the news; or come anew, and be sent to one that is frozen. One stale answer costs a client a
        // second, or a time-out, since it stops asking when it has a leader for everything.
        return Answer::later(async move {
            broker.ask(leaders(&broker.image(), all, &asked)).await;
            // A topic that was created by way of the controller a moment ago is on its way here.
            broker
                .wait_for_image(|image| asked.iter().all(|asked| is_known(image, asked)), NEW_PATIENCE)
                .await;
            let names_lost = |image: &MetadataImage| {
                let lost = |id: NodeId| !broker.is_nameable(id);
                // To look at every partition is dear, and nobody is lost nearly always.
                image.cluster.unfenced().any(|known| lost(known.id))
                    && leaders(image, all, &asked).into_iter().any(lost)
            };
            broker.wait_for_fencing(names_lost, FENCING_PATIENCE).await;
            operations.added_to(respond(&broker, &context, &broker.image(), all, &asked, &[]))
        });
    }
    Answer::later(async move {
        let refused = create(&broker, &missing).await;
        let created = |image: &MetadataImage| {
            missing.iter().all(|name| {
                image.topics.by_name(name).is_some() || refused.iter().any(|(refused, _)| refused == name)
            })
        };
        broker.wait_for_image(created, CREATION_PATIENCE).await;
        operations.added_to(respond(&broker, &context, &broker.image(), all, &asked, &refused))
    })
}

/// What is to be said of what the client may do (KIP-430).
#[derive(Clone, Copy)]
struct Operations {
    of_cluster: bool,
    of_topics: bool,
}

impl Operations {
    fn added_to(self, mut response: MetadataResponse) -> MetadataResponse {
        if self.of_cluster {
            response.cluster_authorized_operations = authorized_operations::ON_CLUSTER;
        }
        // Also of one that is not there, if it is named.
        for topic in response.topics.iter_mut().filter(|topic| self.of_topics && topic.name.is_some()) {
            topic.topic_authorized_operations = authorized_operations::ON_TOPIC;
        }
        response
    }
}

/// Each topic once, however often it is named. An id counts for more than a name.
fn once_each(topics: Vec<MetadataRequestTopic>) -> Vec<Asked> {
    let mut seen = BTreeSet::new();
    let asked = topics.into_iter().map(|topic| match topic.name {
        Some(name) if topic.topic_id.is_zero() => Asked::Name(name),
        _ => Asked::Id(topic.topic_id),
    });
    asked.filter(|asked| seen.insert(asked.clone())).collect()
}

/// The answer to ids in versions that have them in answers only.
fn refuse_ids(topics: &[MetadataRequestTopic]) -> MetadataResponse {
    let refused = topics.iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: refused.collect(), ..Default::default() }
}

/// Whether a topic is there, or could not be.
fn is_known(image: &MetadataImage, asked: &Asked) -> bool {
    match asked {
        Asked::Name(name) => image.topics.by_name(name).is_some() || validate_topic_name(name).is_err(),
        Asked::Id(id) => image.topics.by_id(*id).is_some(),
    }
}

/// The leaders that an answer would name.
fn leaders(image: &MetadataImage, all: bool, asked: &[Asked]) -> BTreeSet<NodeId> {
    let of_topic =
        |topic: &TopicImage| topic.partitions.values().filter_map(|p| p.leader).collect::<Vec<_>>();
    if all {
        return image.topics.iter().flat_map(|topic| of_topic(topic)).collect();
    }
    let known = asked.iter().filter_map(|asked| match asked {
        Asked::Name(name) => image.topics.by_name(name),
        Asked::Id(id) => image.topics.by_id(*id),
    });
    known.flat_map(|topic| of_topic(topic)).collect()
}

/// Asks the controller for topics; returns those that it refuses, and why.
async fn create(broker: &Broker, names: &[String]) -> Vec<(String, ErrorCode)> {
    let request = CreateTopicsRequest {
        topics: names.iter().map(|name| broker.automatic_topic(name)).collect::<Vec<CreatableTopic>>(),
        timeout_ms: 5000,
        validate_only: false,
    };
    match broker.call_controller(&request).await {
        Ok(response) => response
            .topics
            .into_iter()
            .filter_map(|topic| match ErrorCode::from(topic.error_code) {
                ErrorCode::None | ErrorCode::TopicAlreadyExists => None,
                error @ (ErrorCode::InvalidTopicException | ErrorCode::InvalidReplicationFactor) => {
                    tracing::warn!(topic = topic.name, reason = topic.error_message, "cannot create topic");
                    Some((topic.name, error))
                }
                _ => Some((topic.name, ErrorCode::LeaderNotAvailable)),
            })
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot ask for topics to be created");
            names.iter().map(|name| (name.clone(), ErrorCode::LeaderNotAvailable)).collect()
        }
    }
}

fn respond(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    all: bool,
    asked: &[Asked],
    refused: &[(String, ErrorCode)],
) -> MetadataResponse {
    let is_newcomer = context.number <= NEWCOMER_REQUESTS_MAX;
    let brokers = image
        .cluster
        .brokers
        .values()
        .filter(|b| !b.fenced || broker.was_just_fenced(b.id))
        .filter(|b| !is_newcomer || !broker.peers.is_silent(b.id))
        .filter_map(|b| {
            let endpoint = b.endpoint(context.listener())?;
            Some(MetadataResponseBroker {
                node_id: b.id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: b.rack.clone(),
            })
        })
        .collect();
    let describe = |topic: &TopicImage| describe_topic(broker, image, topic, context);
    let topics = if all {
        image.topics.iter().map(|topic| describe(topic)).collect()
    } else {
        asked
            .iter()
            .map(|asked| match asked {
                Asked::Name(name) => match image.topics.by_name(name) {
                    Some(topic) => describe(topic),
                    None => unknown_name(name, refused),
                },
                Asked::Id(id) => match image.topics.by_id(*id) {
                    Some(topic) => describe(topic),
                    None => MetadataResponseTopic {
                        error_code: ErrorCode::UnknownTopicId.code(),
                        name: None,
                        topic_id: *id,
                        ..Default::default()
                    },
                },
            })
            .collect()
    };
    MetadataResponse {
        brokers,
        cluster_id: Some(broker.cluster_id.clone()),
        controller_id: broker.administration_target(image),
        topics,
        ..Default::default()
    }
}

fn unknown_name(name: &str, refused: &[(String, ErrorCode)]) -> MetadataResponseTopic {
    let known = refused.iter().find(|(refused, _)| refused == name).map(|(_, error)| *error);
    let error = match validate_topic_name(name) {
        Err(_) => ErrorCode::InvalidTopicException,
        Ok(()) => known.unwrap_or(ErrorCode::UnknownTopicOrPartition),
    };
    MetadataResponseTopic { error_code: error.code(), name: Some(name.to_owned()), ..Default::default() }
}

fn describe_topic(
    broker: &Broker,
    image: &MetadataImage,
    topic: &TopicImage,
    context: &RequestContext,
) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|(&number, partition)| {
            let reachable = |node: NodeId| {
                image.cluster.is_reachable(node, context.listener()) && broker.is_nameable(node)
            };
            let leader = partition.leader.filter(|&leader| reachable(leader));
            let error = match (partition.leader, leader) {
                (_, Some(_)) => ErrorCode::None,
                (Some(_), None) if context.version >= 6 => ErrorCode::ListenerNotFound,
                _ => ErrorCode::LeaderNotAvailable,
            };
            let wire = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
            MetadataResponsePartition {
                error_code: error.code(),
                partition_index: number,
                leader_id: leader.unwrap_or(NodeId::NONE).0,
                leader_epoch: partition.leader_epoch.0,
                replica_nodes: wire(&partition.replicas),
                isr_nodes: wire(&partition.isr),
                offline_replicas: partition
                    .replicas
                    .iter()
                    .filter(|&&node| !reachable(node) || !image.cluster.serves(partition, node))
                    .map(|node| node.0)
                    .collect(),
            }
        })
        .collect();
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: crate::broker::is_internal_topic(&topic.name),
        partitions,
        ..Default::default()
    }
}
