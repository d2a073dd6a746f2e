//! OffsetForLeaderEpoch (key 23), versions 2–4, broker listener.
//!
//! Tells where a leader epoch ends, so that a consumer finds out whether its position was truncated (KIP-320).
//!
//! - Differs from Kafka: nothing known.

use super::errors;
use crate::broker::Broker;
use crate::request::Answer;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use ottla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_types::{LeaderEpoch, OffsetAndEpoch, TopicIdPartition};

/// Answers for the partitions led here.
pub fn handle(broker: &Broker, request: OffsetForLeaderEpochRequest) -> Answer<OffsetForLeaderEpochResponse> {
    let image = broker.image();
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let topic_id = image.topics.by_name(&topic.topic).map(|topic| topic.id);
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let at = topic_id.map(|id| TopicIdPartition::new(id, asked.partition));
                    let asked_epoch = LeaderEpoch(asked.leader_epoch);
                    let mut answer = EpochEndOffset { partition: asked.partition, ..Default::default() };
                    match end_offset(broker, at, LeaderEpoch(asked.current_leader_epoch), asked_epoch) {
                        Ok(end) => {
                            answer.leader_epoch = end.epoch.0;
                            answer.end_offset = end.offset.0;
                        }
                        Err(error) => answer.error_code = error.code(),
                    }
                    answer
                })
                .collect();
            OffsetForLeaderTopicResult { topic: topic.topic, partitions }
        })
        .collect();
    Answer::Now(OffsetForLeaderEpochResponse { topics, ..Default::default() })
}

fn end_offset(
    broker: &Broker,
    at: Option<TopicIdPartition>,
    current: LeaderEpoch,
    asked: LeaderEpoch,
) -> Result<OffsetAndEpoch, ErrorCode> {
    let at = at.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let replica = broker.replicas.get(at).ok_or_else(|| broker.absence(&broker.image(), at))?;
    let partition = replica.lock();
    partition.check_epoch(current).map_err(|error| errors::fetch(&error))?;
    if partition.serving().is_none() {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    Ok(partition.log().end_offset_for_epoch(asked))
}
