//! Produce (key 0), versions 3–13 (advertised from 0), broker listener.
//!
//! Appends batches to partitions led here and answers when `acks` is met.
//!
//! - Versions 0–2 are advertised and refused: old librdkafka turns compression off otherwise (KAFKA-18659).
//! - v7 zstd; v8 record errors (KIP-467); v9 flexible encoding; v10 leader hints (KIP-951); v13 topic ids.
//! - A transaction begins in a partition only if its coordinator agrees (KIP-890); v11 TRANSACTION_ABORTABLE; from v12 on
//!   the leader has the partition take part.
//! - Differs from Kafka: what comes for a partition that this broker is in sync with, and may come to lead at any moment, waits
//!   for that for up to 100 ms: the old leader has told the client already.
//! - Differs from Kafka: with acks=0 nothing begins a transaction: the batch is refused.

use super::errors;
use super::leader_hint::{LeaderEndpoint, LeaderHint};
use super::transactional::{Transaction, Verified, header};
use crate::broker::handover::HANDOVER_PATIENCE;
use crate::broker::{Broker, is_internal_topic};
use crate::bug::{Bug, is_made};
use crate::replicas::Replica;
use crate::request::{Answer, RequestContext};
use bytes::{Bytes, BytesMut};
use ottla_metadata::{MetadataImage, TopicImage};
use ottla_net::task;
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::{BatchHeader, Compression, InvalidBatch, Origin, validate};
use ottla_replication::{AppendError, Effects, Outcome, WaiterId};
use ottla_storage::{AppendError as LogAppendError, Terms, VerificationGuard};
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

/// The first version with topic ids instead of names.
const TOPIC_ID_VERSION_MIN: i16 = 13;

/// A partition whose batch waits for the in-sync set, or for the disk.
struct Wait {
    topic: usize,
    partition: usize,
    id: WaiterId,
    outcome: oneshot::Receiver<Outcome>,
    replica: Arc<Replica>,
}

/// Appends, and answers when `acks` is met. What begins a transaction waits for its coordinator first, and what comes before
/// the news that this broker leads waits for these; so do those behind them on the connection.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ProduceRequest,
) -> Answer<ProduceResponse> {
    let image = broker.image();
    let transaction = match Transaction::of(broker, &image, context.version, &request) {
        Ok(transaction) => transaction,
        Err(error) if request.acks == 0 => return Answer::Close(format!("acks=0 and error {error:?}")),
        Err(error) => return Answer::Now(refuse_all(request, error)),
    };
    if request.acks == 0 {
        // Nobody is told when it is appended, so that it need not wait for anybody.
        return append_at_once(broker, context, request);
    }
    let early = early(broker, &image, context.version, &request);
    let turns = &broker.produce_turns;
    if transaction.is_none() && early.is_empty() && turns.is_free(context.connection.id) {
        return append_at_once(broker, context, request);
    }
    let mut turn = turns.take(context.connection.id);
    let may_begin = |transaction: &Transaction| transaction.start(broker).is_empty();
    if turn.has_come() && early.is_empty() && transaction.as_ref().is_none_or(may_begin) {
        return append_at_once(broker, context, request);
    }
    let (broker, context) = (broker.clone(), context.clone());
    let waits_until = Instant::now() + HANDOVER_PATIENCE;
    let timeout = timeout(&request);
    // A task of its own: answers are asked for one after the other, and what waits here is not to wait for those before it to be
    // committed too, or the connection would have one batch under way from then on.
    let appended = task::spawn("produce that waits", {
        let (broker, context) = (broker.clone(), context.clone());
        async move {
            turn.come().await;
            broker.wait_to_lead(&early, waits_until).await;
            let guards =
                transaction.as_ref().map(|transaction| transaction.start(&broker)).unwrap_or_default();
            let verified = match &transaction {
                Some(transaction) if !guards.is_empty() => transaction.verify(&broker, guards).await,
                _ => Verified::default(),
            };
            let appended = append_all(&broker, &context, request, verified);
            drop(turn);
            appended
        }
    });
    Answer::later(async move {
        let (response, waits) = appended.join().await.expect("it ends with this answer, or in a panic");
        await_all(&broker, &context, timeout, response, waits).await
    })
}

/// The partitions that this broker may come to lead at any moment, as the client seems to know.
fn early(
    broker: &Broker,
    image: &MetadataImage,
    version: i16,
    request: &ProduceRequest,
) -> Vec<TopicIdPartition> {
    let mut early = Vec::new();
    for topic in &request.topic_data {
        let Some(known) = known_topic(image, version, &topic.name, topic.topic_id) else { continue };
        let partitions = topic.partition_data.iter().map(|data| TopicIdPartition::new(known.id, data.index));
        early.extend(partitions.filter(|&at| broker.may_come_to_lead(image, at)));
    }
    early
}

/// What waits for nothing.
fn append_at_once(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ProduceRequest,
) -> Answer<ProduceResponse> {
    let (acks, timeout) = (request.acks, timeout(&request));
    let (mut response, waits) = append_all(broker, context, request, Verified::default());
    if acks == 0 {
        let failed =
            response.responses.iter().flat_map(|t| &t.partition_responses).find(|p| p.error_code != 0);
        return match failed {
            // The client hears of nothing else; closing makes it look again who leads.
            Some(partition) => Answer::Close(format!("acks=0 and error {}", partition.error_code)),
            None => Answer::Nothing,
        };
    }
    if waits.is_empty() && (broker.is_published(&broker.image()) || !says_who_leads(&response)) {
        add_leader_hints(broker, context.version, context.listener(), &mut response);
        return Answer::Now(response);
    }
    let (broker, context) = (broker.clone(), context.clone());
    Answer::later(async move { await_all(&broker, &context, timeout, response, waits).await })
}

/// How long the request's batches may take to be replicated.
fn timeout(request: &ProduceRequest) -> Duration {
    Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0))
}

/// Waits for what `acks` asks for.
async fn await_all(
    broker: &Broker,
    context: &RequestContext,
    timeout: Duration,
    mut response: ProduceResponse,
    waits: Vec<Wait>,
) -> ProduceResponse {
    let deadline = Instant::now() + timeout;
    for wait in waits {
        let error = await_commit(broker, wait.id, wait.outcome, deadline, &wait.replica).await;
        if let Some(error) = error {
            let result = &mut response.responses[wait.topic].partition_responses[wait.partition];
            result.error_code = error.code();
            result.base_offset = -1;
        }
    }
    if says_who_leads(&response) {
        broker.wait_until_published().await;
    }
    add_leader_hints(broker, context.version, context.listener(), &mut response);
    response
}

/// Appends all batches that can be.
fn append_all(
    broker: &Broker,
    context: &RequestContext,
    request: ProduceRequest,
    mut verified: Verified,
) -> (ProduceResponse, Vec<Wait>) {
    let ProduceRequest { acks, topic_data, .. } = request;
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
                    match verified.refused.remove(&at) {
                        Some((error, message)) => Err(Refusal { error, message, records: Vec::new() }),
                        None => {
                            let guard = verified.guards.get(&at).copied();
                            append(broker, context, at, header.as_ref(), data.records, guard, acks)
                        }
                    }
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
    (response, waits)
}

/// Refuses every batch.
fn refuse_all(request: ProduceRequest, error: ErrorCode) -> ProduceResponse {
    let refused = |index| PartitionProduceResponse {
        index,
        error_code: error.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        ..Default::default()
    };
    let topics = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        partition_responses: topic.partition_data.iter().map(|data| refused(data.index)).collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}

async fn await_commit(
    broker: &Broker,
    id: WaiterId,
    outcome: oneshot::Receiver<Outcome>,
    deadline: Instant,
    replica: &Replica,
) -> Option<ErrorCode> {
    let heard = tokio::time::timeout_at(deadline, outcome).await;
    if heard.is_err() {
        broker.replicas.waiting().forget_producer(id);
        tracing::debug!(partition = %replica.name, "a batch was not replicated in time");
    }
    errors::awaited(heard)
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
    guard: Option<VerificationGuard>,
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
    let terms = Terms { guard, ..Terms::default() };
    let appended = partition.append_on(valid, acks == ALL, &terms, now, &mut effects);
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

/// Refuses what this version of the request cannot carry.
fn check_version(version: i16, header: Option<&BatchHeader>) -> Result<(), Refusal> {
    let Some(header) = header else { return Ok(()) };
    let zstd = header.attributes.compression_id() == Compression::Zstd.id();
    if zstd && version < ZSTD_VERSION_MIN {
        return Err(Refusal::of(ErrorCode::UnsupportedCompressionType));
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
    let unknown = match version {
        TOPIC_ID_VERSION_MIN.. => ErrorCode::UnknownTopicId,
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    let topic = known_topic(image, version, name, id).ok_or(unknown)?;
    Ok((topic.name.clone(), topic.id))
}

/// The topic that is there, by whichever of both the version carries.
fn known_topic<'a>(
    image: &'a MetadataImage,
    version: i16,
    name: &str,
    id: Uuid,
) -> Option<&'a Arc<TopicImage>> {
    if version >= TOPIC_ID_VERSION_MIN { image.topics.by_id(id) } else { image.topics.by_name(name) }
}

/// Returns whether there is a partition of which the client learns that another broker leads it.
fn says_who_leads(response: &ProduceResponse) -> bool {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.map(|partition| partition.error_code).any(LeaderHint::goes_with)
}

/// Tells a client that asked the wrong broker which is the right one (KIP-951).
fn add_leader_hints(broker: &Broker, version: i16, listener: &str, response: &mut ProduceResponse) {
    const HINT_VERSION_MIN: i16 = 10;
    if version < HINT_VERSION_MIN {
        return;
    }
    let image = broker.image();
    for topic in &mut response.responses {
        let Some(found) = known_topic(&image, version, &topic.name, topic.topic_id) else { continue };
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
