//! What a leader checks in a batch before it appends it (`LogValidator`), and what it changes.
//!
//! [`validate`] does all that costs time, without knowing the offset: it may run before the partition is
//! locked. [`ValidBatch::assign`] then writes twelve bytes.

use crate::batch::{ATTRIBUTES, BatchHeader, BatchView, CorruptBatch, HEADER_BYTES, TimestampType};
use crate::builder::seal;
use crate::compression::{Codec, compress};
use crate::edit::BatchMut;
use crate::record::Records;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

/// Who made the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer: nothing about it is trusted.
    Client,
    /// This node's coordinators and its quorum: markers are theirs to write.
    Coordinator,
}

/// A topic's rules for what is appended to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who made the batch.
    pub origin: Origin,
    /// The present: what timestamps are measured against, and the log append time.
    pub now: Timestamp,
    /// `max.message.bytes`: the largest batch, compressed.
    pub max_message_bytes: usize,
    /// Whether `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`: `None` keeps the producer's.
    pub compression: Option<Codec>,
    /// How much the records of a batch may be when decompressed.
    pub decompressed_bytes_max: usize,
}

/// One record's fault (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's place in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: String,
}

/// Why a batch is refused. Each variant has one error code of Kafka's, named first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBatch {
    /// `CORRUPT_MESSAGE`, or `INVALID_RECORD` where no byte needs to have changed on its way: the bytes are not a batch.
    /// `MESSAGE_TOO_LARGE` when it becomes too large by decompression.
    #[error(transparent)]
    Corrupt(#[from] CorruptBatch),
    /// `MESSAGE_TOO_LARGE`.
    #[error("the batch has {size} bytes; max.message.bytes is {max}")]
    TooLarge {
        /// The batch's size.
        size: usize,
        /// The topic's limit.
        max: usize,
    },
    /// `INVALID_RECORD`: the batch as a whole breaks a rule.
    #[error("{0}")]
    InvalidRecord(String),
    /// `INVALID_RECORD`: some records break a rule.
    #[error("{} of the batch's records are invalid, the first: {}", .0.len(), first_message(.0))]
    InvalidRecords(Vec<RecordError>),
    /// `INVALID_TIMESTAMP`: some records are too old or too new.
    #[error("{} of the batch's records have invalid timestamps, the first: {}", .0.len(), first_message(.0))]
    InvalidTimestamps(Vec<RecordError>),
}

fn first_message(records: &[RecordError]) -> &str {
    records.first().map_or("", |record| &record.message)
}

/// A batch that may be appended, but for its offset.
#[derive(Debug)]
pub struct ValidBatch<'a> {
    origin: Origin,
    header: BatchHeader,
    bytes: Buffer<'a>,
}

/// The producer's buffer, or ours when the records were compressed anew.
#[derive(Debug)]
enum Buffer<'a> {
    Theirs(&'a mut [u8]),
    Ours(Vec<u8>),
}

impl ValidBatch<'_> {
    /// Who made it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The header; the offset is not the log's until [`ValidBatch::assign`].
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The leader's time, if that is what the records have: `LogAppendTimeMs` of the Produce response.
    pub fn log_append_time(&self) -> Option<Timestamp> {
        (self.header.timestamp_type() == TimestampType::LogAppend).then_some(self.header.max_timestamp)
    }

    /// The batch.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Buffer::Theirs(bytes) => bytes,
            Buffer::Ours(bytes) => bytes,
        }
    }

    /// The batch, parsed.
    pub fn view(&self) -> BatchView<'_> {
        BatchView::parse_exactly(self.bytes()).expect("a valid batch parses")
    }

    /// Gives the batch its place in the log and its leader's epoch, and returns its bytes.
    pub fn assign(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> &[u8] {
        let bytes: &mut [u8] = match &mut self.bytes {
            Buffer::Theirs(bytes) => bytes,
            Buffer::Ours(bytes) => bytes,
        };
        let mut batch = BatchMut::parse_exactly(bytes).expect("a valid batch parses");
        batch.set_base_offset(base_offset);
        batch.set_leader_epoch(leader_epoch);
        self.header = *batch.header();
        self.bytes()
    }
}

/// Checks the one batch that `batch` is by the rules, and makes it the leader's: sets the timestamp type and
/// the largest timestamp in place, and compresses anew only if the topic's compression is another.
///
/// # Errors
/// [`InvalidBatch`]; `batch` is then unchanged.
pub fn validate<'a>(batch: &'a mut [u8], rules: &Rules) -> Result<ValidBatch<'a>, InvalidBatch> {
    let view = BatchView::parse_exactly(batch)?;
    check_size(batch.len(), rules)?;
    view.check_crc()?;
    check_header(view.header(), rules)?;
    let records = view.records(rules.decompressed_bytes_max)?;
    let max_timestamp = match rules.timestamp_type {
        TimestampType::LogAppend => {
            check_records(&records, rules)?;
            rules.now
        }
        TimestampType::Create => check_records(&records, rules)?,
    };

    let ours = match rules.compression {
        Some(codec) if codec.compression != view.header().compression => {
            let bytes = recompress(&view, &records, codec);
            check_size(bytes.len(), rules)?;
            Some(bytes)
        }
        _ => None,
    };
    let mut bytes = ours.map_or(Buffer::Theirs(batch), Buffer::Ours);
    let slice: &mut [u8] = match &mut bytes {
        Buffer::Theirs(bytes) => bytes,
        Buffer::Ours(bytes) => bytes,
    };
    let mut edit = BatchMut::parse_exactly(slice).expect("it parsed above");
    edit.set_timestamps(rules.timestamp_type, max_timestamp);
    Ok(ValidBatch { origin: rules.origin, header: *edit.header(), bytes })
}

fn check_size(size: usize, rules: &Rules) -> Result<(), InvalidBatch> {
    if size > rules.max_message_bytes {
        return Err(InvalidBatch::TooLarge { size, max: rules.max_message_bytes });
    }
    Ok(())
}

fn check_header(header: &BatchHeader, rules: &Rules) -> Result<(), InvalidBatch> {
    let invalid = |message: String| Err(InvalidBatch::InvalidRecord(message));
    if header.records_count == 0 || header.records_count - 1 != header.last_offset_delta {
        return invalid(format!(
            "the batch has {} records and its offsets span {}",
            header.records_count,
            i64::from(header.last_offset_delta) + 1
        ));
    }
    if rules.origin == Origin::Coordinator {
        return Ok(());
    }
    if header.base_offset != Offset::ZERO {
        return invalid(format!("the base offset of a producer's batch is 0, not {}", header.base_offset));
    }
    if header.is_control() {
        return invalid("producers do not write control batches".to_owned());
    }
    if header.producer_id.is_some() && header.base_sequence < 0 {
        return invalid(format!("producer {} sent sequence {}", header.producer_id, header.base_sequence));
    }
    if header.is_transactional() && !header.producer_id.is_some() {
        return invalid("a transactional batch has a producer id".to_owned());
    }
    Ok(())
}

/// Checks each record; returns the largest timestamp.
fn check_records(records: &Records<'_>, rules: &Rules) -> Result<Timestamp, InvalidBatch> {
    let mut max_timestamp = Timestamp::NONE;
    let mut invalid = Vec::new();
    let mut invalid_timestamps = Vec::new();
    let first = records.header().base_offset;
    for (record, batch_index) in records.iter().zip(0..) {
        let record = record?;
        if record.offset != first + i64::from(batch_index) {
            let message = format!("record {batch_index} has offset delta {}", record.offset - first);
            return Err(InvalidBatch::InvalidRecord(message));
        }
        if rules.compacted && record.key.is_none() && !records.header().is_control() {
            let message = "a compacted topic takes no record without a key".to_owned();
            invalid.push(RecordError { batch_index, message });
        }
        if let Some(message) = timestamp_fault(record.timestamp, records.header(), rules) {
            invalid_timestamps.push(RecordError { batch_index, message });
        }
        max_timestamp = max_timestamp.max(record.timestamp);
    }
    if !invalid_timestamps.is_empty() {
        return Err(InvalidBatch::InvalidTimestamps(invalid_timestamps));
    }
    if !invalid.is_empty() {
        return Err(InvalidBatch::InvalidRecords(invalid));
    }
    Ok(max_timestamp)
}

fn timestamp_fault(timestamp: Timestamp, header: &BatchHeader, rules: &Rules) -> Option<String> {
    if rules.origin == Origin::Coordinator {
        return None;
    }
    if header.timestamp_type() == TimestampType::LogAppend {
        return Some("a producer's timestamps are of type CreateTime".to_owned());
    }
    if rules.timestamp_type == TimestampType::LogAppend || timestamp == Timestamp::NONE {
        return None;
    }
    let age_ms = rules.now.0.saturating_sub(timestamp.0);
    if age_ms > rules.timestamp_before_max_ms || age_ms.saturating_neg() > rules.timestamp_after_max_ms {
        return Some(format!(
            "timestamp {timestamp} is not within {} ms before and {} ms after {}",
            rules.timestamp_before_max_ms, rules.timestamp_after_max_ms, rules.now
        ));
    }
    None
}

/// Returns the batch with its records compressed by `codec`; all else stays.
fn recompress(batch: &BatchView<'_>, records: &Records<'_>, codec: Codec) -> Vec<u8> {
    let mut bytes = batch.bytes()[..HEADER_BYTES].to_vec();
    compress(codec, records.bytes(), &mut bytes);
    let attributes = batch.header().attributes.with_compression(codec.compression);
    bytes[ATTRIBUTES].copy_from_slice(&attributes.0.to_be_bytes());
    seal(&mut bytes);
    bytes
}

impl Rules {
    /// The rules of a topic with Kafka's default configuration.
    pub fn new(origin: Origin, now: Timestamp) -> Rules {
        Rules {
            origin,
            now,
            max_message_bytes: 1_048_588,
            compacted: false,
            timestamp_type: TimestampType::Create,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: None,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        }
    }
}

/// How much a batch's records may be when decompressed, unless a caller says otherwise. Kafka has a limit for single records only, and
/// none by default (`max.decompressed.message.bytes`); a hundred times the largest default batch leaves honest producers alone.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

#[cfg(test)]
mod tests;
