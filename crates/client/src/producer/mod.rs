//! Sends records: collected into a batch for each partition, sent in order, tried again until acknowledged.
//!
//! Every record has an answer of its own ([`Delivery`]). At most one batch of a partition is on its way, so
//! the order holds whatever is tried again; with `idempotent` (the default) a batch that is sent twice is
//! written once (KIP-98). Records wait in bounded memory: [`Producer::send`] waits while it is full.
//!
//! Reading order: [`partitioner`], [`batch`], [`sender`].

pub mod partitioner;

mod batch;
mod sender;

use crate::client::Client;
use crate::error::ClientError;
use batch::Pending;
use bytes::Bytes;
use ottla_net::{Clock, Task, task};
use ottla_protocol::ErrorCode;
use ottla_records::{Codec, Compression};
use ottla_types::{Offset, Timestamp, TopicPartition};
use parking_lot::Mutex;
use partitioner::Partitioner;
use sender::Command;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Who must have a record before it is acknowledged. That nobody must is not offered: there is then no
/// answer to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// The leader.
    Leader,
    /// Every in-sync replica.
    All,
}

/// How records are sent.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Who must have a record before it is acknowledged (`acks`).
    pub acks: Acks,
    /// Whether a record is written once however often it is sent (`enable.idempotence`); needs [`Acks::All`].
    pub idempotent: bool,
    /// How long a record may wait for others to go with it (`linger.ms`).
    pub linger: Duration,
    /// The size at which a batch is full, before compression (`batch.size`).
    pub batch_bytes_max: usize,
    /// What all records that are not acknowledged may take (`buffer.memory`).
    pub buffer_bytes_max: usize,
    /// How long [`Producer::send`] may wait for memory and metadata (`max.block.ms`).
    pub block_max: Duration,
    /// How long a record may take until it is acknowledged (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
    /// How batches are compressed (`compression.type`).
    pub compression: Codec,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::All,
            idempotent: true,
            linger: Duration::ZERO,
            batch_bytes_max: 64 * 1024,
            buffer_bytes_max: 32 * 1024 * 1024,
            block_max: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            compression: Compression::None.into(),
        }
    }
}

/// A record to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The topic.
    pub topic: String,
    /// The partition; by the key, or by chance, if `None`.
    pub partition: Option<i32>,
    /// The time; now, if `None`.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Application data beside the value.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl ProducerRecord {
    /// A record without a key.
    pub fn of(topic: &str, value: impl Into<Bytes>) -> ProducerRecord {
        ProducerRecord { topic: topic.to_owned(), value: Some(value.into()), ..ProducerRecord::default() }
    }

    /// The record with a key.
    pub fn with_key(mut self, key: impl Into<Bytes>) -> ProducerRecord {
        self.key = Some(key.into());
        self
    }

    /// About how much memory the record takes in a batch.
    fn bytes(&self) -> usize {
        const OVERHEAD: usize = 32;
        let headers: usize = self
            .headers
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len) + 8)
            .sum();
        OVERHEAD
            + self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + headers
    }
}

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition.
    pub partition: TopicPartition,
    /// The record's offset; [`Offset::UNKNOWN`] when the leader had it already from an earlier try and no
    /// longer knows where.
    pub offset: Offset,
    /// The record's time: the leader's if the topic counts by that.
    pub timestamp: Timestamp,
}

/// Why a record was not written, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The leader refuses it: it is not written.
    #[error("{message}")]
    Refused {
        /// The reason, as a code.
        code: ErrorCode,
        /// The reason, in words.
        message: String,
    },
    /// The time was over: it may be written or not.
    #[error("expired after {after:?}: {last}")]
    Expired {
        /// How long it was tried.
        after: Duration,
        /// What came of the last try.
        last: String,
    },
    /// It is larger than a batch or the memory may be: it is not written.
    #[error("the record of {0} bytes is larger than is allowed")]
    TooLarge(usize),
    /// There was no room, or no such topic, within the time allowed: it is not written.
    #[error("not accepted within {after:?}: {reason}")]
    Blocked {
        /// The time allowed.
        after: Duration,
        /// What it waited for.
        reason: String,
    },
    /// The producer is closed.
    #[error("the producer is closed")]
    Closed,
}

impl SendError {
    /// Returns whether the record was never sent. Of the others nobody knows: even where the last try was refused, an
    /// earlier one that was not answered may have been carried out.
    pub fn was_never_sent(&self) -> bool {
        match self {
            SendError::TooLarge(_) | SendError::Blocked { .. } => true,
            SendError::Refused { .. } | SendError::Expired { .. } | SendError::Closed => false,
        }
    }
}

/// The answer to one record: a future of where it was written, or why it was not.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Written, SendError>>);

impl Future for Delivery {
    type Output = Result<Written, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(SendError::Closed)))
    }
}

/// Records handed to the sender that it has not looked at, at most.
const QUEUE_MAX: usize = 1024;

/// Sends records. Shared by reference; dropping it drops what is not sent: see [`Producer::flush`].
pub struct Producer {
    client: Client,
    config: ProducerConfig,
    clock: Clock,
    partitioner: Mutex<Partitioner>,
    memory: Arc<Semaphore>,
    commands: mpsc::Sender<Command>,
    _sender: Task,
}

impl Producer {
    /// A producer on this client's connections. Must be called on a runtime.
    ///
    /// # Panics
    /// When it is to be idempotent without [`Acks::All`].
    pub fn new(client: Client, config: ProducerConfig) -> Producer {
        assert!(
            !config.idempotent || config.acks == Acks::All,
            "an idempotent producer waits for all in-sync replicas"
        );
        let (commands, queue) = mpsc::channel(QUEUE_MAX);
        let sender = task::spawn("producer", sender::run(client.clone(), config.clone(), queue));
        Producer {
            partitioner: Mutex::new(Partitioner::new(config.batch_bytes_max)),
            memory: Arc::new(Semaphore::new(config.buffer_bytes_max.min(Semaphore::MAX_PERMITS))),
            clock: Clock::new(),
            client,
            config,
            commands,
            _sender: sender,
        }
    }

    /// Accepts a record. What comes of it is told by the [`Delivery`]; records of a partition are written in
    /// the order in which they were accepted.
    ///
    /// # Errors
    /// When it is too large, or there is no room or no such topic within
    /// [`ProducerConfig::block_max`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, SendError> {
        let limit = self.config.block_max;
        let blocked = |reason: &str| SendError::Blocked { after: limit, reason: reason.to_owned() };
        let bytes = record.bytes();
        if bytes > self.config.buffer_bytes_max || bytes > i32::MAX as usize / 2 {
            return Err(SendError::TooLarge(bytes));
        }
        let permits = u32::try_from(bytes).map_err(|_| SendError::TooLarge(bytes))?;
        let partition = self.partition(&record, bytes).await?;
        let room = tokio::time::timeout(limit, self.memory.clone().acquire_many_owned(permits)).await;
        let memory = room.map_err(|_| blocked("memory is full"))?.map_err(|_| SendError::Closed)?;
        let timestamp = record.timestamp.map_or_else(|| self.clock.now().wall, Timestamp);
        let (reply, delivery) = oneshot::channel();
        let pending = Pending { partition, record, timestamp, bytes, reply, memory };
        self.commands.send(Command::Send(Box::new(pending))).await.map_err(|_| SendError::Closed)?;
        Ok(Delivery(delivery))
    }

    /// The partition that the record goes to.
    async fn partition(&self, record: &ProducerRecord, bytes: usize) -> Result<TopicPartition, SendError> {
        let topic = &record.topic;
        if !self.client.metadata().topics.contains_key(topic) {
            self.learn(topic).await?;
        }
        let metadata = self.client.metadata();
        let known = metadata.topics.get(topic).ok_or(SendError::Closed)?;
        let partition = match record.partition {
            Some(partition) if known.partitions.contains_key(&partition) => partition,
            Some(partition) => {
                return Err(SendError::Refused {
                    code: ErrorCode::UnknownTopicOrPartition,
                    message: format!(
                        "Invalid partition {partition}: topic {topic} has {} partitions",
                        known.partitions.len()
                    ),
                });
            }
            None => {
                let chance = self.client.random_number();
                self.partitioner.lock().partition(known, record.key.as_deref(), bytes, chance)
            }
        };
        Ok(TopicPartition::new(topic.clone(), partition))
    }

    async fn learn(&self, topic: &str) -> Result<(), SendError> {
        let names = [topic.to_owned()];
        let learned = self
            .client
            .retry_within("metadata", self.config.block_max, || async {
                let metadata = self.client.refresh_or_create(&names).await?;
                match metadata.topics.get(topic) {
                    Some(topic) if !topic.partitions.is_empty() => Ok(()),
                    _ => {
                        let code = metadata.topic_errors.get(topic).copied();
                        Err(ClientError::refused(code.unwrap_or(ErrorCode::UnknownTopicOrPartition), None))
                    }
                }
            })
            .await;
        learned.map_err(|error| match error {
            ClientError::Refused { code, message } => SendError::Refused { code, message },
            other => SendError::Blocked { after: self.config.block_max, reason: other.to_string() },
        })
    }

    /// Sends what waits for company, and waits until every record accepted before has its answer.
    pub async fn flush(&self) {
        let (done, waits) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_ok() {
            // An error means that the sender has ended, and every record has its answer.
            let _ = waits.await;
        }
    }
}
