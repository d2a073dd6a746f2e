//! OffsetCommit (key 8, versions 2–10), OffsetFetch (9, 1–10), OffsetDelete (47, 0), broker listener.
//!
//! Keeps how far a group has come.
//!
//! - v10 topic ids; unknown ones are answered UNKNOWN_TOPIC_ID, unknown names of OffsetCommit
//!   UNKNOWN_TOPIC_OR_PARTITION. OffsetFetch v8 several groups. v9 members of consumer groups, at their epochs (KIP-848).
//! - Differs from Kafka: nothing known.

use super::membership::group_context;
use super::merge;
use crate::broker::{Broker, OFFSETS_TOPIC};
use crate::request::{Answer, RequestContext};
use ottla_coordinator::GroupReply;
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::OffsetDeleteRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use std::sync::Arc;

/// The first version with topic ids instead of names.
const TOPIC_ID_VERSION_MIN: i16 = 10;
/// The first version of OffsetFetch with several groups.
const GROUPS_VERSION_MIN: i16 = 8;

/// Stores offsets.
pub fn offset_commit(
    broker: &Arc<Broker>,
    context: RequestContext,
    mut request: OffsetCommitRequest,
) -> Answer<OffsetCommitResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image_with(OFFSETS_TOPIC).await;
        let topics = std::mem::take(&mut request.topics);
        let (known, unknown) = resolve(&image, context.version, topics);
        request.topics = known;
        let shape = OffsetCommitResponse {
            topics: request.topics.iter().map(|topic| answered(topic, ErrorCode::None)).collect(),
            ..Default::default()
        };
        let mut response = if request.topics.is_empty() && !unknown.is_empty() {
            OffsetCommitResponse::default()
        } else {
            let handled = broker.groups.handle(&image, &request.group_id, |machine, token, now| {
                machine.handle_offset_commit(&request, &group_context(&context, token), now)
            });
            let reply = match handled.await {
                Ok(reply) => reply,
                Err(error) => GroupReply::OffsetCommit(shape).into_error(error),
            };
            let GroupReply::OffsetCommit(response) = reply else { unreachable!("asked for") };
            response
        };
        if context.version >= TOPIC_ID_VERSION_MIN {
            for topic in &mut response.topics {
                topic.topic_id = image.topics.by_name(&topic.name).map_or(topic.topic_id, |found| found.id);
            }
        }
        let topic = |topic: &OffsetCommitResponseTopic| (topic.name.clone(), topic.topic_id);
        merge(&mut response.topics, unknown, topic, |known, more| known.partitions.extend(more.partitions));
        response
    })
}

/// Tells topics and partitions that exist from others, which are answered at once; the known ones get their names.
fn resolve(
    image: &MetadataImage,
    version: i16,
    topics: Vec<OffsetCommitRequestTopic>,
) -> (Vec<OffsetCommitRequestTopic>, Vec<OffsetCommitResponseTopic>) {
    let by_id = version >= TOPIC_ID_VERSION_MIN;
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for mut topic in topics {
        let found =
            if by_id { image.topics.by_id(topic.topic_id) } else { image.topics.by_name(&topic.name) };
        match found {
            Some(found) => {
                topic.name.clone_from(&found.name);
                let is_there =
                    |p: &OffsetCommitRequestPartition| found.partitions.contains_key(&p.partition_index);
                let (there, absent) = std::mem::take(&mut topic.partitions).into_iter().partition(is_there);
                let absent = OffsetCommitRequestTopic { partitions: absent, ..topic.clone() };
                if !absent.partitions.is_empty() {
                    unknown.push(answered(&absent, ErrorCode::UnknownTopicOrPartition));
                }
                topic.partitions = there;
                if !topic.partitions.is_empty() || absent.partitions.is_empty() {
                    known.push(topic);
                }
            }
            None if by_id => unknown.push(answered(&topic, ErrorCode::UnknownTopicId)),
            None => unknown.push(answered(&topic, ErrorCode::UnknownTopicOrPartition)),
        }
    }
    (known, unknown)
}

fn answered(topic: &OffsetCommitRequestTopic, error: ErrorCode) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
            })
            .collect(),
    }
}

/// Tells offsets.
pub fn offset_fetch(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: OffsetFetchRequest,
) -> Answer<OffsetFetchResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        if context.version < GROUPS_VERSION_MIN {
            return fetch_one(&broker, &context, request).await;
        }
        let OffsetFetchRequest { groups, require_stable, .. } = request;
        let mut response = OffsetFetchResponse::default();
        for group in groups {
            response.groups.push(fetch_group(&broker, &context, group, require_stable).await);
        }
        response
    })
}

/// A request for one group, in the versions that have no other.
async fn fetch_one(
    broker: &Broker,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let topics = request.topics.iter().flatten().map(|topic| OffsetFetchResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|&partition_index| OffsetFetchResponsePartition { partition_index, ..Default::default() })
            .collect(),
    });
    let shape = OffsetFetchResponse { topics: topics.collect(), ..Default::default() };
    let group_id = request.group_id.clone();
    ask(broker, context, &group_id, request, shape).await
}

async fn ask(
    broker: &Broker,
    context: &RequestContext,
    group_id: &str,
    request: OffsetFetchRequest,
    shape: OffsetFetchResponse,
) -> OffsetFetchResponse {
    let image = broker.image_with(OFFSETS_TOPIC).await;
    let handled = broker.groups.handle(&image, group_id, |machine, token, _| {
        machine.handle_offset_fetch(&request, &group_context(context, token))
    });
    let reply = match handled.await {
        Ok(reply) => reply,
        Err(error) => GroupReply::OffsetFetch(shape).into_error(error),
    };
    let GroupReply::OffsetFetch(response) = reply else { unreachable!("asked for") };
    response
}

async fn fetch_group(
    broker: &Broker,
    context: &RequestContext,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let image = broker.image();
    let by_id = context.version >= TOPIC_ID_VERSION_MIN;
    let mut unknown = Vec::new();
    if by_id && let Some(topics) = &mut group.topics {
        topics.retain_mut(|topic| match image.topics.by_id(topic.topic_id) {
            Some(found) => {
                topic.name.clone_from(&found.name);
                true
            }
            None => {
                unknown.push(OffsetFetchResponseTopics {
                    topic_id: topic.topic_id,
                    partitions: topic
                        .partition_indexes
                        .iter()
                        .map(|&partition_index| OffsetFetchResponsePartitions {
                            partition_index,
                            committed_offset: -1,
                            committed_leader_epoch: -1,
                            metadata: Some(String::new()),
                            error_code: ErrorCode::UnknownTopicId.code(),
                        })
                        .collect(),
                    ..Default::default()
                });
                false
            }
        });
    }
    let group_id = group.group_id.clone();
    let shape = OffsetFetchResponse {
        groups: vec![OffsetFetchResponseGroup { group_id: group_id.clone(), ..Default::default() }],
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
    let mut response = ask(broker, context, &group_id, request, shape).await;
    let mut answered = response.groups.pop().unwrap_or_default();
    if by_id {
        // Offsets of topics that are gone have no id to be told by.
        answered.topics.retain_mut(|topic| match image.topics.by_name(&topic.name) {
            Some(found) => {
                topic.topic_id = found.id;
                true
            }
            None => false,
        });
    }
    answered.topics.extend(unknown);
    answered
}

/// Forgets offsets.
pub fn offset_delete(
    broker: &Arc<Broker>,
    context: RequestContext,
    mut request: OffsetDeleteRequest,
) -> Answer<OffsetDeleteResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let unknown = take_unknown(&image, &mut request);
        if request.topics.is_empty() && !unknown.is_empty() {
            return OffsetDeleteResponse { topics: unknown, ..Default::default() };
        }
        let handled = broker.groups.handle_named(&image, &request.group_id, |machine, token, _| {
            machine.handle_offset_delete(&request, &group_context(&context, token))
        });
        let reply = match handled.await {
            Ok(reply) => reply,
            Err(error) => GroupReply::OffsetDelete(OffsetDeleteResponse::default()).into_error(error),
        };
        let GroupReply::OffsetDelete(mut response) = reply else { unreachable!("asked for") };
        if response.error_code == ErrorCode::None.code() {
            response.topics.extend(unknown);
        }
        response
    })
}

/// Takes out topics and partitions that do not exist: nobody can have committed there.
fn take_unknown(image: &MetadataImage, request: &mut OffsetDeleteRequest) -> Vec<OffsetDeleteResponseTopic> {
    let mut unknown = Vec::new();
    for topic in &mut request.topics {
        let found = image.topics.by_name(&topic.name);
        let is_there = |index| found.is_some_and(|found| found.partitions.contains_key(&index));
        let mut absent = OffsetDeleteResponseTopic { name: topic.name.clone(), ..Default::default() };
        topic.partitions.retain(|partition| {
            let partition_index = partition.partition_index;
            if !is_there(partition_index) {
                let error_code = ErrorCode::UnknownTopicOrPartition.code();
                absent.partitions.push(OffsetDeleteResponsePartition { partition_index, error_code });
            }
            is_there(partition_index)
        });
        if !absent.partitions.is_empty() {
            unknown.push(absent);
        }
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    unknown
}
