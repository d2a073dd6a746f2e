//! DeleteRecords (key 21), versions 0–2, broker listener.
//!
//! Lets logs begin later: the records before an offset are read no more, and their segments go with the next look for old
//! ones. Answers when the logs of all live replicas begin there.
//!
//! - Offset −1 is the high watermark. The offset may not be beyond it (OFFSET_OUT_OF_RANGE).
//! - Topics that are compacted and nothing else are refused (POLICY_VIOLATION), and Kafka's own (INVALID_TOPIC_EXCEPTION).
//! - Where logs begin is written down every `log.flush.start.offset.checkpoint.interval.ms`, as in Kafka: after a kill in
//!   between, some of the records may be there again.
//! - Differs from Kafka: nothing known.

use super::errors;
use crate::broker::{Broker, is_internal_topic};
use crate::replicas::Replica;
use crate::request::Answer;
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_records_request::{DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_replication::{DeleteError, Effects, Outcome, WaiterId};
use ottla_types::{Offset, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// The low watermark of a partition whose records were not deleted.
const NONE: i64 = -1;

/// A partition whose followers are waited for.
struct Wait {
    topic: usize,
    partition: usize,
    id: WaiterId,
    outcome: oneshot::Receiver<Outcome>,
    replica: Arc<Replica>,
}

/// Deletes, and answers when the followers have done so too.
pub fn handle(broker: &Arc<Broker>, request: DeleteRecordsRequest) -> Answer<DeleteRecordsResponse> {
    let image = broker.image();
    let mut waits = Vec::new();
    let mut response = DeleteRecordsResponse::default();
    for (topic, (name, offsets)) in asked_offsets(request.topics).into_iter().enumerate() {
        let mut answered = DeleteRecordsTopicResult { name, partitions: Vec::new() };
        for (partition, (partition_index, offset)) in offsets.into_iter().enumerate() {
            let deleted = find(broker, &image, &answered.name, partition_index)
                .and_then(|replica| delete(broker, replica, offset));
            let mut result =
                DeleteRecordsPartitionResult { partition_index, low_watermark: NONE, ..Default::default() };
            match deleted {
                Ok((replica, id, outcome)) => waits.push(Wait { topic, partition, id, outcome, replica }),
                Err(error) => result.error_code = error.code(),
            }
            answered.partitions.push(result);
        }
        response.topics.push(answered);
    }
    if waits.is_empty() {
        return Answer::Now(response);
    }
    let broker = broker.clone();
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    Answer::later(async move {
        for Wait { topic, partition, id, outcome, replica } in waits {
            let result = &mut response.topics[topic].partitions[partition];
            match await_deletion(&broker, id, outcome, deadline, &replica).await {
                Ok(low_watermark) => result.low_watermark = low_watermark.0,
                Err(error) => result.error_code = error.code(),
            }
        }
        response
    })
}

/// The offset of each partition, by topic. Of what is named twice the last counts.
fn asked_offsets(topics: Vec<DeleteRecordsTopic>) -> BTreeMap<String, BTreeMap<i32, i64>> {
    let mut offsets: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in topics {
        let of_topic = offsets.entry(topic.name).or_default();
        of_topic.extend(topic.partitions.iter().map(|asked| (asked.partition_index, asked.offset)));
    }
    offsets
}

fn find(
    broker: &Broker,
    image: &MetadataImage,
    topic: &str,
    partition: i32,
) -> Result<Arc<Replica>, ErrorCode> {
    if is_internal_topic(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let topic = image.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let at = TopicIdPartition::new(topic.id, partition);
    broker.replicas.get(at).ok_or_else(|| broker.absence(image, at))
}

type Deleted = (Arc<Replica>, WaiterId, oneshot::Receiver<Outcome>);

fn delete(broker: &Broker, replica: Arc<Replica>, offset: i64) -> Result<Deleted, ErrorCode> {
    let offset = (offset != HIGH_WATERMARK).then_some(Offset(offset));
    let mut effects = Effects::default();
    let mut partition = replica.lock();
    let deleted = partition.delete_records(offset, &mut effects).map(|required| {
        let (id, outcome) = broker.replicas.waiting().producer();
        if let Some(known) = partition.wait_for_deletion(required, id) {
            effects.produced.push((id, known));
        }
        (id, outcome)
    });
    drop(partition);
    broker.replicas.carry_out(effects);
    match deleted {
        Ok((id, outcome)) => Ok((replica, id, outcome)),
        Err(error) => {
            if let DeleteError::Storage(error) = &error {
                broker.replicas.handle_storage_error(error);
            }
            tracing::debug!(partition = %replica.name, %error, "records are not deleted");
            Err(errors::delete(&error))
        }
    }
}

/// The low watermark when all live replicas have come to the offset.
async fn await_deletion(
    broker: &Broker,
    id: WaiterId,
    outcome: oneshot::Receiver<Outcome>,
    deadline: Instant,
    replica: &Replica,
) -> Result<Offset, ErrorCode> {
    match tokio::time::timeout_at(deadline, outcome).await {
        Ok(Ok(Outcome::Deleted)) => replica.lock().low_watermark().ok_or(ErrorCode::NotLeaderOrFollower),
        Ok(_) => Err(ErrorCode::NotLeaderOrFollower),
        Err(_) => {
            broker.replicas.waiting().forget_producer(id);
            Err(ErrorCode::RequestTimedOut)
        }
    }
}
