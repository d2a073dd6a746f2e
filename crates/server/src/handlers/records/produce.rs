//! Produce (key 0), versions 3–13 (advertised from 0), broker listener.
//!
//! Appends batches to partitions led here and answers when `acks` is met.
//!
//! - Versions 0–2 are advertised and refused: old librdkafka turns compression off otherwise (KAFKA-18659).
//! - v7 zstd; v8 record errors (KIP-467); v9 flexible encoding; v10 leader hints (KIP-951); v13 topic ids.
//! - Differs from Kafka: transactional batches are refused with INVALID_TXN_STATE: there are no transactions
//!   here yet, and InitProducerId gives no id for one.

use super::errors;
use super::leader_hint::{LeaderEndpoint, LeaderHint};
use crate::broker::{Broker, is_internal_topic};
use crate::bug::{Bug, is_made};
use crate::replicas::Replica;
use crate::request::{Answer, RequestContext};
use bytes::{Bytes, BytesMut};
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::{BatchHeader, Compression, InvalidBatch, Origin, validate};
use ottla_replication::{AppendError, Effects, Outcome, WaiterId};
use ottla_storage::AppendError as LogAppendError;
use ottla_types::{TopicIdPartition, Uuid};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// `acks=all`.
const ALL: i16 = -1;

/// `acks=1`.
const LEADER: i16 = 1;

/// The first version whose clients can read zstd.
const ZSTD_VERSION_MIN: i16 = 7;

/// A partition whose batch waits for the in-sync set, or for the disk.
struct Wait {
    topic: usize,
    partition: usize,
    id: WaiterId,
    outcome: oneshot::Receiver<Outcome>,
    replica: Arc<Replica>,
}

/// Appends, and answers when `acks` is met.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ProduceRequest,
) -> Answer<ProduceResponse> {
    let ProduceRequest { acks, timeout_ms, topic_data, .. } = request;
    let image = broker.image();
    let mut waits = Vec::new();
    let mut response = ProduceResponse::default();
    for (topic_index, topic) in topic_data.into_iter().enumerate() {
        let known = find_topic(&image, context.version, &topic.name, topic.topic_id);
        let mut answered =
            TopicProduceResponse { name: topic.name, topic_id: topic.topic_id, ..Default::default() };
        for (partition_index, data) in topic.partition_data.into_iter().enumerate() {
            let bytes = data.records.as_ref().map_or(0, Records::len);
            let header = header(data.records.as_ref());
            let appended = match &known {
                _ if !matches!(acks, -1..=1) => Err(Refusal::of(ErrorCode::InvalidRequiredAcks)),
                Err(error) => Err(Refusal::of(*error)),
                Ok((name, _)) if is_internal_topic(name) && context.client_id != "__admin_client" => {
                    Err(Refusal::of(ErrorCode::InvalidTopicException))
                }
                Ok((_, id)) => {
                    let at = TopicIdPartition::new(*id, data.index);
                    append(broker, context, at, header.as_ref(), data.records, acks)
                }
            };
            let mut result = PartitionProduceResponse {
                index: data.index,
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: -1,
                ..Default::default()
            };
            broker.traffic.produce_requests.inc();
            match appended {
                Ok(Appended { info, wait }) => {
                    result.base_offset = info.base_offset.0;
                    result.log_append_time_ms = info.log_append_time.map_or(-1, |time| time.0);
                    result.log_start_offset = info.log_start_offset.0;
                    if let Some((replica, id, outcome)) = wait {
                        waits.push(Wait {
                            topic: topic_index,
                            partition: partition_index,
                            id,
                            outcome,
                            replica,
                        });
                    }
                }
                Err(refusal) => {
                    broker.traffic.failed_produce_requests.inc();
                    broker.traffic.bytes_rejected.inc_by(bytes as u64);
                    refuse(&mut result, refusal);
                }
            }
            answered.partition_responses.push(result);
        }
        response.responses.push(answered);
    }
    if acks == 0 {
        let failed =
            response.responses.iter().flat_map(|t| &t.partition_responses).find(|p| p.error_code != 0);
        return match failed {
            // The client hears of nothing else; closing makes it look again who leads.
            Some(partition) => Answer::Close(format!("acks=0 and error {}", partition.error_code)),
            None => Answer::Nothing,
        };
    }
    let broker = broker.clone();
    let version = context.version;
    let listener = context.connection.listener.clone();
    if waits.is_empty() {
        add_leader_hints(&broker, version, &listener, &mut response);
        return Answer::Now(response);
    }
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + timeout;
    Answer::later(async move {
        for wait in waits {
            let error = await_commit(&broker, wait.id, wait.outcome, deadline, &wait.replica).await;
            if let Some(error) = error {
                let result = &mut response.responses[wait.topic].partition_responses[wait.partition];
                result.error_code = error.code();
                result.base_offset = -1;
            }
        }
        add_leader_hints(&broker, version, &listener, &mut response);
        response
    })
}

async fn await_commit(
    broker: &Broker,
    id: WaiterId,
    outcome: oneshot::Receiver<Outcome>,
    deadline: Instant,
    replica: &Replica,
) -> Option<ErrorCode> {
    match tokio::time::timeout_at(deadline, outcome).await {
        Ok(Ok(Outcome::Committed | Outcome::Written)) => None,
        Ok(Ok(Outcome::NotEnoughReplicas)) => Some(ErrorCode::NotEnoughReplicasAfterAppend),
        // Only deletions hear of deletions.
        Ok(Ok(Outcome::NotLeader | Outcome::Deleted) | Err(_)) => Some(ErrorCode::NotLeaderOrFollower),
        Err(_) => {
            broker.replicas.waiting().forget_producer(id);
            tracing::debug!(partition = %replica.name, "a batch was not replicated in time");
            Some(ErrorCode::RequestTimedOut)
        }
    }
}

/// Why a partition's batch is not appended.
struct Refusal {
    error: ErrorCode,
    message: Option<String>,
    records: Vec<(i32, String)>,
}

impl Refusal {
    fn of(error: ErrorCode) -> Refusal {
        Refusal { error, message: None, records: Vec::new() }
    }
}

struct Appended {
    info: ottla_storage::AppendInfo,
    wait: Option<(Arc<Replica>, WaiterId, oneshot::Receiver<Outcome>)>,
}

fn append(
    broker: &Broker,
    context: &RequestContext,
    at: TopicIdPartition,
    header: Option<&BatchHeader>,
    records: Option<Records>,
    acks: i16,
) -> Result<Appended, Refusal> {
    let image = broker.image();
    let Some(replica) = broker.replicas.get(at) else {
        return Err(Refusal::of(broker.absence(&image, at)));
    };
    let mut batch = match records {
        Some(Records::Memory(bytes)) if !bytes.is_empty() => mutable(bytes),
        _ => return Err(Refusal::of(ErrorCode::InvalidRecord)),
    };
    check_version(context.version, header)?;
    let now = broker.clock.now();
    let rules = replica.log_config().rules(Origin::Client, now.wall);
    let valid = validate(&mut batch, &rules).map_err(|error| invalid(&error))?;
    let mut effects = Effects::default();
    let mut partition = replica.lock();
    let appended = partition.append(valid, acks == ALL, now, &mut effects);
    let wait = match &appended {
        Ok(_) if is_made(Bug::ProducerAnsweredBeforeCommit) => None,
        Ok(info) if acks == ALL || (acks == LEADER && partition.counts_on_disk()) => {
            let (id, outcome) = broker.replicas.waiting().producer();
            let required = info.next_offset();
            let known = match acks {
                ALL => partition.wait_for_commit(required, id),
                _ => partition.wait_for_disk(required, id),
            };
            match known {
                None => Some((id, outcome)),
                Some(known) => {
                    effects.produced.push((id, known));
                    Some((id, outcome))
                }
            }
        }
        _ => None,
    };
    drop(partition);
    broker.replicas.carry_out(effects);
    match appended {
        Ok(info) => {
            broker.replicas.handle_appended();
            if !info.duplicate {
                let records = info.next_offset() - info.base_offset;
                broker.traffic.messages_in.inc_by(records.unsigned_abs());
                broker.traffic.bytes_in.inc_by(info.bytes as u64);
            }
            Ok(Appended { info, wait: wait.map(|(id, outcome)| (replica.clone(), id, outcome)) })
        }
        Err(AppendError::Log(LogAppendError::Invalid(error))) => Err(invalid(&error)),
        Err(error) => {
            if let AppendError::Log(LogAppendError::Storage(error)) = &error {
                broker.replicas.handle_storage_error(error);
            }
            let code = errors::append(&error);
            let message = (code == ErrorCode::InvalidTxnState).then(|| error.to_string());
            Err(Refusal { error: code, message, records: Vec::new() })
        }
    }
}

/// The batch's bytes to write into: in place when nobody else holds the request's buffer.
fn mutable(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

/// The header of what a client sent, when it has one.
fn header(records: Option<&Records>) -> Option<BatchHeader> {
    match records {
        Some(Records::Memory(bytes)) => BatchHeader::parse(bytes).ok(),
        _ => None,
    }
}

/// Refuses what this version of the request, or this broker, cannot carry.
fn check_version(version: i16, header: Option<&BatchHeader>) -> Result<(), Refusal> {
    let Some(header) = header else { return Ok(()) };
    let zstd = header.attributes.compression_id() == Compression::Zstd.id();
    if zstd && version < ZSTD_VERSION_MIN {
        return Err(Refusal::of(ErrorCode::UnsupportedCompressionType));
    }
    if header.is_transactional() {
        return Err(Refusal {
            error: ErrorCode::InvalidTxnState,
            message: Some("transactions are not supported".to_owned()),
            records: Vec::new(),
        });
    }
    Ok(())
}

fn invalid(error: &InvalidBatch) -> Refusal {
    let records = match error {
        InvalidBatch::InvalidRecords(records) | InvalidBatch::InvalidTimestamps(records) => {
            records.iter().map(|record| (record.batch_index, record.message.clone())).collect()
        }
        _ => Vec::new(),
    };
    Refusal { error: errors::invalid_batch(error), message: Some(error.to_string()), records }
}

fn refuse(result: &mut PartitionProduceResponse, refusal: Refusal) {
    result.error_code = refusal.error.code();
    result.error_message = refusal.message;
    result.record_errors = refusal
        .records
        .into_iter()
        .map(|(batch_index, message)| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(message),
        })
        .collect();
}

/// A topic by name or id, whichever the version carries.
pub(super) fn find_topic(
    image: &MetadataImage,
    version: i16,
    name: &str,
    id: Uuid,
) -> Result<(String, Uuid), ErrorCode> {
    const TOPIC_ID_VERSION_MIN: i16 = 13;
    if version >= TOPIC_ID_VERSION_MIN {
        let topic = image.topics.by_id(id).ok_or(ErrorCode::UnknownTopicId)?;
        Ok((topic.name.clone(), id))
    } else {
        let topic = image.topics.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok((name.to_owned(), topic.id))
    }
}

/// Tells a client that asked the wrong broker which is the right one (KIP-951).
fn add_leader_hints(broker: &Broker, version: i16, listener: &str, response: &mut ProduceResponse) {
    const HINT_VERSION_MIN: i16 = 10;
    if version < HINT_VERSION_MIN {
        return;
    }
    let image = broker.image();
    for topic in &mut response.responses {
        let found = if version >= 13 {
            image.topics.by_id(topic.topic_id)
        } else {
            image.topics.by_name(&topic.name)
        };
        let Some(found) = found else { continue };
        for partition in &mut topic.partition_responses {
            let at = TopicIdPartition::new(found.id, partition.index);
            let Some(hint) = LeaderHint::with(partition.error_code, &image, at, listener) else { continue };
            partition.current_leader =
                LeaderIdAndEpoch { leader_id: hint.leader_id, leader_epoch: hint.leader_epoch };
            if let Some(LeaderEndpoint { node_id, host, port, rack }) = hint.endpoint
                && response.node_endpoints.iter().all(|known| known.node_id != node_id)
            {
                response.node_endpoints.push(NodeEndpoint { node_id, host, port, rack });
            }
        }
    }
}
