//! Records on their way, partition by partition.

use super::{ProducerRecord, SendError, Written};
use bytes::Bytes;
use ottla_records::batch::add_sequence;
use ottla_records::{BatchBuilder, Codec, RecordHeader};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use std::collections::VecDeque;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

/// A record that was accepted.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) partition: TopicPartition,
    pub(super) record: ProducerRecord,
    pub(super) timestamp: Timestamp,
    pub(super) bytes: usize,
    pub(super) reply: oneshot::Sender<Result<Written, SendError>>,
    /// Given back when the record has its answer.
    pub(super) memory: OwnedSemaphorePermit,
}

/// Who waits for a record's answer.
#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Result<Written, SendError>>,
    timestamp: Timestamp,
    _memory: OwnedSemaphorePermit,
}

/// The producer's identity that batches carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

/// Records that are written together or not at all.
#[derive(Debug)]
pub(super) struct Batch {
    builder: Option<BatchBuilder>,
    /// The bytes, once it was sent: the same ones every time, so that the leader knows them again.
    built: Option<Bytes>,
    waiters: Vec<Waiter>,
    pub(super) since: Instant,
}

impl Batch {
    fn new(codec: Codec, now: Instant) -> Batch {
        let builder = BatchBuilder::new().compression(codec);
        Batch { builder: Some(builder), built: None, waiters: Vec::new(), since: now }
    }

    fn bytes(&self) -> usize {
        self.builder.as_ref().map_or(0, BatchBuilder::uncompressed_bytes)
    }

    fn push(&mut self, pending: Pending) {
        let Pending { record, timestamp, reply, memory, .. } = pending;
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| RecordHeader { key, value: value.as_deref() }).collect();
        let builder = self.builder.as_mut().expect("only a batch that was not sent is open");
        builder.push(timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        self.waiters.push(Waiter { reply, timestamp, _memory: memory });
    }

    /// Whether it was sent before, and may be written.
    pub(super) fn was_sent(&self) -> bool {
        self.built.is_some()
    }

    /// Answers every record.
    pub(super) fn finish(self, outcome: &Result<Appended, SendError>) {
        for (waiter, index) in self.waiters.into_iter().zip(0..) {
            let answer = outcome.clone().map(|appended| Written {
                offset: if appended.base_offset.is_some() {
                    appended.base_offset + index
                } else {
                    Offset::UNKNOWN
                },
                timestamp: appended.append_time.unwrap_or(waiter.timestamp),
                partition: appended.partition,
            });
            // Whoever sent it may not care.
            let _ = waiter.reply.send(answer);
        }
    }
}

/// What a leader said of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) partition: TopicPartition,
    pub(super) base_offset: Offset,
    /// The leader's time, if the topic counts by that.
    pub(super) append_time: Option<Timestamp>,
}

/// The batches of one partition, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The last one is open while it was not sent and is not full.
    batches: VecDeque<Batch>,
    pub(super) in_flight: bool,
    pub(super) retry_at: Option<Instant>,
    identity: Option<Identity>,
    next_sequence: i32,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds a record to the open batch, or to a new one.
    pub(super) fn push(&mut self, pending: Pending, bytes_max: usize, codec: Codec, now: Instant) {
        let fits = |batch: &Batch| !batch.was_sent() && batch.bytes() + pending.bytes <= bytes_max;
        // The first may be on its way; those behind it are not.
        if !self.batches.back().is_some_and(fits) {
            self.batches.push_back(Batch::new(codec, now));
        }
        self.batches.back_mut().expect("one was added").push(pending);
    }

    /// The batch to be sent next.
    pub(super) fn first(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// Whether the first batch cannot grow any more.
    pub(super) fn first_is_full(&self, bytes_max: usize) -> bool {
        self.batches.len() > 1
            || self.first().is_some_and(|batch| batch.was_sent() || batch.bytes() >= bytes_max)
    }

    /// The bytes of the first batch. The first time, they are made, with the next sequence numbers.
    pub(super) fn take_bytes(&mut self, identity: Option<Identity>) -> Bytes {
        let batch = self.batches.front_mut().expect("a batch is to be sent");
        if let Some(bytes) = &batch.built {
            return bytes.clone();
        }
        let mut builder = batch.builder.take().expect("a batch is built once");
        if let Some(identity) = identity {
            if self.identity != Some(identity) {
                (self.identity, self.next_sequence) = (Some(identity), 0);
            }
            let count = builder.records_count();
            builder = builder.producer(identity.id, identity.epoch, self.next_sequence);
            self.next_sequence = add_sequence(self.next_sequence, count);
        }
        let bytes = Bytes::from(builder.build());
        batch.built = Some(bytes.clone());
        bytes
    }

    /// Takes the first batch away: it is written or given up.
    pub(super) fn pop(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }
}
