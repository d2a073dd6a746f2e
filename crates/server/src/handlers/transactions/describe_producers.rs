//! DescribeProducers (key 61), version 0, broker listener.
//!
//! The producers that a replica here knows, leader or not (KIP-664).
//!
//! - Differs from Kafka: nothing known.

use crate::broker::Broker;
use crate::request::Answer;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_request::DescribeProducersRequest;
use ottla_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use ottla_storage::Log;
use ottla_types::{TopicIdPartition, validate_topic_name};
use std::sync::Arc;

/// Describes producers.
pub fn handle(broker: &Arc<Broker>, request: &DescribeProducersRequest) -> Answer<DescribeProducersResponse> {
    let image = broker.image();
    let topics = request.topics.iter().map(|topic| {
        let known = image.topics.by_name(&topic.name);
        let describe = |&partition_index: &i32| {
            let unknown = match validate_topic_name(&topic.name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            let described = known.ok_or(unknown).and_then(|known| {
                let at = TopicIdPartition::new(known.id, partition_index);
                let replica = broker.replicas.get(at).ok_or_else(|| broker.absence(&image, at))?;
                Ok(producers(replica.lock().log()))
            });
            match described {
                Ok(active_producers) => {
                    PartitionResponse { partition_index, active_producers, ..Default::default() }
                }
                Err(error) => PartitionResponse {
                    partition_index,
                    error_code: error.code(),
                    error_message: Some(error.message().to_owned()),
                    ..Default::default()
                },
            }
        };
        TopicResponse {
            name: topic.name.clone(),
            partitions: topic.partition_indexes.iter().map(describe).collect(),
        }
    });
    Answer::Now(DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
}

fn producers(log: &Log) -> Vec<ProducerState> {
    let describe = |(id, state): (ottla_types::ProducerId, &ottla_storage::ProducerState)| ProducerState {
        producer_id: id.0,
        producer_epoch: i32::from(state.epoch.0),
        last_sequence: state.last_sequence(),
        last_timestamp: state.last_timestamp.0,
        coordinator_epoch: state.coordinator_epoch,
        current_txn_start_offset: state.txn_first_offset.map_or(-1, |offset| offset.0),
    };
    log.producers().map(describe).collect()
}
