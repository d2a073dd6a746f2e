//! WriteTxnMarkers (key 27), versions 1–2, broker listener.
//!
//! Ends transactions in partitions that are led here, as their coordinators have decided. Answered when the markers are
//! replicated.
//!
//! - v2 transaction version: from 2 on, a marker's epoch must be greater than that of the records it ends (KIP-1228).
//! - Differs from Kafka: such a marker that is sent again, when nothing is open any more, is written again; Kafka answers as if
//!   it were (KAFKA-19999).

use crate::broker::{Broker, OFFSETS_TOPIC};
use crate::handlers::records::errors;
use crate::replicas::internal;
use crate::request::Answer;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WriteTxnMarkersRequest};
use ottla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
};
use ottla_records::EndTxnMarker;
use ottla_replication::{AppendError, Outcome};
use ottla_storage::{AppendError as LogAppendError, Terms};
use ottla_types::{LeaderEpoch, ProducerEpoch, ProducerId, TopicIdPartition};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long an answer waits for markers to be replicated.
const PATIENCE: Duration = Duration::from_secs(30);

/// A marker that is appended, and its place in the answer.
struct Wait {
    marker: usize,
    topic: usize,
    partition: usize,
    outcome: oneshot::Receiver<Outcome>,
}

/// Writes markers.
pub fn handle(broker: &Arc<Broker>, request: WriteTxnMarkersRequest) -> Answer<WriteTxnMarkersResponse> {
    let mut response = WriteTxnMarkersResponse::default();
    let mut waits = Vec::new();
    for (marker_index, marker) in request.markers.iter().enumerate() {
        let mut result =
            WritableTxnMarkerResult { producer_id: marker.producer_id, ..WritableTxnMarkerResult::default() };
        for (topic_index, topic) in marker.topics.iter().enumerate() {
            let mut partitions = Vec::new();
            for (index, &partition_index) in topic.partition_indexes.iter().enumerate() {
                let error = match append(broker, marker, &topic.name, partition_index) {
                    Ok(outcome) => {
                        let (marker, topic, partition) = (marker_index, topic_index, index);
                        waits.push(Wait { marker, topic, partition, outcome });
                        ErrorCode::None
                    }
                    Err(error) => error,
                };
                partitions
                    .push(WritableTxnMarkerPartitionResult { partition_index, error_code: error.code() });
            }
            result.topics.push(WritableTxnMarkerTopicResult { name: topic.name.clone(), partitions });
        }
        response.markers.push(result);
    }
    let deadline = Instant::now() + PATIENCE;
    Answer::later(async move {
        for Wait { marker, topic, partition, outcome } in waits {
            if let Some(error) = errors::awaited(tokio::time::timeout_at(deadline, outcome).await) {
                response.markers[marker].topics[topic].partitions[partition].error_code = error.code();
            }
        }
        response
    })
}

fn append(
    broker: &Broker,
    marker: &WritableTxnMarker,
    topic: &str,
    partition: i32,
) -> Result<oneshot::Receiver<Outcome>, ErrorCode> {
    let image = broker.image();
    let known = image.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let at = TopicIdPartition::new(known.id, partition);
    let replica = broker.replicas.get(at).ok_or_else(|| broker.absence(&image, at))?;
    let now = broker.clock.now();
    let end =
        EndTxnMarker { committed: marker.transaction_result, coordinator_epoch: marker.coordinator_epoch };
    let (id, epoch) = (ProducerId(marker.producer_id), ProducerEpoch(marker.producer_epoch));
    // The leader's own epoch is set when it is appended.
    let batch = end.batch(id, epoch, now.wall, LeaderEpoch::NONE);
    let terms = Terms { transaction_version: i16::from(marker.transaction_version), ..Terms::default() };
    if topic == OFFSETS_TOPIC {
        // The coordinator of the groups there must hear of it, in the order of the log.
        let shard = broker.groups.shard(partition).ok_or(ErrorCode::NotLeaderOrFollower)?;
        return shard.write_marker(batch, &terms, (id, marker.transaction_result));
    }
    let appended = internal::append(&broker.replicas, &replica, &mut [batch], None, &terms, now);
    appended.map_err(|error| {
        if let AppendError::Log(LogAppendError::Storage(error)) = &error {
            broker.replicas.handle_storage_error(error);
        }
        errors::append(&error)
    })
}
