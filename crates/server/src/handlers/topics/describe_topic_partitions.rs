//! DescribeTopicPartitions (key 75), version 0, broker listener.
//!
//! Describes topics page by page (KIP-966).
//!
//! - The lists of eligible and last known leaders are empty, never null: the Java admin client fails on null.
//! - Differs from Kafka: nothing known.

use crate::broker::Broker;
use crate::handlers::authorized_operations;
use crate::request::{Answer, RequestContext};
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_topic_partitions_request::{
    self as request, DescribeTopicPartitionsRequest, TopicRequest,
};
use ottla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use ottla_types::{NodeId, validate_topic_name};

/// Answers from the image.
pub fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Answer<DescribeTopicPartitionsResponse> {
    let image = broker.image();
    let is_asked =
        |name: &str| request.topics.is_empty() || request.topics.iter().any(|topic| topic.name == name);
    let is_valid = |cursor: &request::Cursor| cursor.partition_index >= 0 && is_asked(&cursor.topic_name);
    if !request.cursor.as_ref().is_none_or(is_valid) {
        let refused = |topic: TopicRequest| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::InvalidRequest.code(),
            name: Some(topic.name),
            ..Default::default()
        };
        let topics = request.topics.into_iter().map(refused).collect();
        return Answer::Now(DescribeTopicPartitionsResponse { topics, ..Default::default() });
    }
    let mut names: Vec<String> = if request.topics.is_empty() {
        image.topics.iter().map(|topic| topic.name.clone()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    names.sort();
    names.dedup();
    let (first_name, first_partition) =
        request.cursor.map_or((String::new(), 0), |cursor| (cursor.topic_name, cursor.partition_index));
    let limit_max = broker.config.properties.number("max.request.partition.size.limit");
    let limit = i64::from(request.response_partition_limit).clamp(1, limit_max) as usize;

    let mut response = DescribeTopicPartitionsResponse::default();
    let mut left = limit;
    for name in names.into_iter().filter(|name| *name >= first_name) {
        let from = if name == first_name { first_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: from });
            break;
        }
        let (topic, next) = describe(&image, context.listener(), &name, from, left);
        left -= topic.partitions.len().min(left);
        response.topics.push(topic);
        if let Some(partition_index) = next {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
    }
    Answer::Now(response)
}

/// A topic's partitions from number `from` on, at most `limit` of them, and the first that is left.
fn describe(
    image: &MetadataImage,
    listener: &str,
    name: &str,
    from: i32,
    limit: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let Some(topic) = image.topics.by_name(name) else {
        let error = match validate_topic_name(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::InvalidTopicException,
        };
        let topic = DescribeTopicPartitionsResponseTopic {
            error_code: error.code(),
            name: Some(name.to_owned()),
            topic_authorized_operations: authorized_operations::ON_TOPIC,
            ..Default::default()
        };
        return (topic, None);
    };
    let wire = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<i32>>();
    let mut rest = topic.partitions.range(from..);
    let partitions = rest
        .by_ref()
        .take(limit)
        .map(|(&number, partition)| {
            let reachable = |node: &NodeId| image.cluster.is_reachable(*node, listener);
            let leader = partition.leader.filter(|leader| reachable(leader));
            DescribeTopicPartitionsResponsePartition {
                error_code: if leader.is_some() {
                    ErrorCode::None.code()
                } else {
                    ErrorCode::LeaderNotAvailable.code()
                },
                partition_index: number,
                leader_id: leader.unwrap_or(NodeId::NONE).0,
                leader_epoch: partition.leader_epoch.0,
                replica_nodes: wire(&partition.replicas),
                isr_nodes: wire(&partition.isr),
                eligible_leader_replicas: Some(wire(&partition.eligible_leader_replicas)),
                last_known_elr: Some(wire(&partition.last_known_elr)),
                offline_replicas: partition
                    .replicas
                    .iter()
                    .filter(|node| !reachable(node) || !image.cluster.serves(partition, **node))
                    .map(|node| node.0)
                    .collect(),
            }
        })
        .collect();
    let next = rest.next().map(|(&number, _)| number);
    let topic = DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: crate::broker::is_internal_topic(&topic.name),
        partitions,
        topic_authorized_operations: authorized_operations::ON_TOPIC,
    };
    (topic, next)
}
