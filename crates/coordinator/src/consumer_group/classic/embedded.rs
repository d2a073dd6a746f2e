//! What consumers put into the classic protocol's opaque fields (`org.apache.kafka.clients.consumer.internals.ConsumerProtocol`).

use crate::consumer_group::member::Partitions;
use crate::consumer_group::records::by_topic;
use crate::consumer_group::topics::Topics;
use bytes::Bytes;
use ottla_protocol::messages::consumer_protocol_assignment::TopicPartition;
use ottla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::{Decoder, Message, encode_prefixed};
use ottla_types::TopicIdPartition;

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// What a member is subscribed to; `None` when these are not the bytes of a subscription.
pub(crate) fn subscription(metadata: &Bytes) -> Option<ConsumerProtocolSubscription> {
    decode(metadata)
}

/// What a member has been assigned, as far as the topics exist. `None` when these are not the bytes of an assignment, or
/// when they hold something of its assignor's own, which nobody here could hand on.
pub(crate) fn assignment(bytes: &Bytes, topics: &dyn Topics) -> Option<Partitions> {
    if bytes.is_empty() {
        return Some(Partitions::new());
    }
    let assignment: ConsumerProtocolAssignment = decode(bytes)?;
    if assignment.user_data.is_some_and(|data| !data.is_empty()) {
        return None;
    }
    let named = assignment.assigned_partitions.iter().map(|topic| (topic.topic.as_str(), &topic.partitions));
    Some(identified(named, topics))
}

/// Partitions of topics that exist, by name.
pub(crate) fn identified<'a>(
    named: impl Iterator<Item = (&'a str, &'a Vec<i32>)>,
    topics: &dyn Topics,
) -> Partitions {
    named
        .filter_map(|(name, partitions)| Some((topics.by_name(name)?, partitions)))
        .flat_map(|(topic, partitions)| partitions.iter().map(move |&p| TopicIdPartition::new(topic.id, p)))
        .collect()
}

/// An assignment, in the version in which a member has written its metadata. Topics that are gone are left out.
pub(crate) fn encode_assignment<'a>(
    partitions: impl IntoIterator<Item = &'a TopicIdPartition>,
    metadata: &Bytes,
    topics: &dyn Topics,
) -> Bytes {
    let named = by_topic(partitions).into_iter().filter_map(|(id, partitions)| {
        Some(TopicPartition { topic: topics.name_of(id)?.to_owned(), partitions })
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None };
    let asked = Decoder::new(metadata.clone()).i16().unwrap_or_default();
    let versions = ConsumerProtocolAssignment::VERSIONS;
    let version = asked.clamp(*versions.start(), *versions.end());
    encode_prefixed(&assignment, version).expect("names of topics are short").into()
}

/// Every version begins like those before it, so one that is not known yet is read as the latest that is.
fn decode<M: Message>(bytes: &Bytes) -> Option<M> {
    let mut input = Decoder::new(bytes.clone());
    let version = input.i16().ok().filter(|version| *version >= 0)?;
    M::decode(&mut input, version.min(*M::VERSIONS.end())).ok()
}
