//! Builds a batch.

use crate::batch::{
    ATTRIBUTES, Attributes, BASE_OFFSET, BASE_SEQUENCE, BASE_TIMESTAMP, CRC, CRC_COVERS_FROM, HEADER_BYTES,
    LAST_OFFSET_DELTA, LEADER_EPOCH, LENGTH, LOG_OVERHEAD_BYTES, MAGIC, MAGIC_AT, MAX_TIMESTAMP, NO_SEQUENCE,
    PRODUCER_EPOCH, PRODUCER_ID, RECORDS_COUNT, TimestampType, crc32c,
};
use crate::compression::{Codec, Compression, compress};
use crate::record::RecordHeader;
use crate::varint;
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Collects records and makes a batch of them. Offsets count from the base offset without gaps.
///
/// ```
/// use ottla_records::{BatchBuilder, Compression};
/// use ottla_types::Timestamp;
///
/// let mut builder = BatchBuilder::new().compression(Compression::Lz4);
/// builder.push(Timestamp(1_700_000_000_000), Some(b"key"), Some(b"value"), &[]);
/// let bytes: Vec<u8> = builder.build();
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    codec: Codec,
    attributes: Attributes,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    records_count: i32,
    /// Room for the header, then the records, not compressed.
    bytes: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch at offset 0, without leader epoch and producer, as a client sends it.
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            codec: Codec::default(),
            attributes: Attributes::default(),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            records_count: 0,
            bytes: vec![0; HEADER_BYTES],
        }
    }

    /// Sets the offset of the first record.
    pub fn base_offset(mut self, base_offset: Offset) -> Self {
        self.base_offset = base_offset;
        self
    }

    /// Sets the leader's epoch.
    pub fn leader_epoch(mut self, leader_epoch: LeaderEpoch) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    /// Sets how the records are compressed.
    pub fn compression(mut self, codec: impl Into<Codec>) -> Self {
        self.codec = codec.into();
        self
    }

    /// Makes the batch an idempotent producer's (KIP-98). A marker's `base_sequence` is [`NO_SEQUENCE`].
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Makes the batch part of its producer's transaction.
    pub fn transactional(mut self) -> Self {
        self.attributes = self.attributes.with_transactional();
        self
    }

    /// Makes the records control records; see [`crate::control`] for their keys.
    pub fn control(mut self) -> Self {
        self.attributes = self.attributes.with_control();
        self
    }

    /// Says that the timestamps are the leader's.
    pub fn log_append_time(mut self) -> Self {
        self.attributes = self.attributes.with_timestamp_type(TimestampType::LogAppend);
        self
    }

    /// Adds a record. Its offset is the base offset plus the number of records before it.
    ///
    /// # Panics
    /// When a record, or their number, exceeds `i32::MAX`.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) {
        if self.records_count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        let offset_delta = i64::from(self.records_count);
        self.records_count = self.records_count.checked_add(1).expect("fewer than 2^31 records in a batch");
        write_record(&mut self.bytes, timestamp_delta, offset_delta, key, value, headers);
    }

    /// How many records there are.
    pub fn records_count(&self) -> i32 {
        self.records_count
    }

    /// Returns whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// The size of the batch if it were not compressed.
    pub fn uncompressed_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch's bytes. `bytes::Bytes::from` takes them without copying.
    ///
    /// # Panics
    /// When there is no record, or more than `i32::MAX` bytes of them.
    pub fn build(self) -> Vec<u8> {
        assert!(self.records_count > 0, "a batch has at least one record");
        let mut bytes = match self.codec.compression {
            Compression::None => self.bytes,
            _ => {
                let mut bytes = vec![0; HEADER_BYTES];
                compress(self.codec, &self.bytes[HEADER_BYTES..], &mut bytes);
                bytes
            }
        };
        let attributes = self.attributes.with_compression(self.codec.compression);
        bytes[BASE_OFFSET].copy_from_slice(&self.base_offset.0.to_be_bytes());
        bytes[LEADER_EPOCH].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        bytes[MAGIC_AT] = MAGIC as u8;
        bytes[ATTRIBUTES].copy_from_slice(&attributes.0.to_be_bytes());
        bytes[LAST_OFFSET_DELTA].copy_from_slice(&(self.records_count - 1).to_be_bytes());
        bytes[BASE_TIMESTAMP].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        bytes[MAX_TIMESTAMP].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        bytes[PRODUCER_ID].copy_from_slice(&self.producer_id.0.to_be_bytes());
        bytes[PRODUCER_EPOCH].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        bytes[BASE_SEQUENCE].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[RECORDS_COUNT].copy_from_slice(&self.records_count.to_be_bytes());
        seal(&mut bytes);
        bytes
    }
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder::new()
    }
}

/// Writes the length and the crc into a batch that is otherwise complete.
pub(crate) fn seal(bytes: &mut [u8]) {
    let length = i32::try_from(bytes.len() - LOG_OVERHEAD_BYTES).expect("a batch is smaller than 2 GiB");
    bytes[LENGTH].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[CRC].copy_from_slice(&crc.to_be_bytes());
}

/// Writes a record as it stands in a batch, not compressed.
///
/// # Panics
/// When it exceeds `i32::MAX` bytes.
pub(crate) fn write_record(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[RecordHeader<'_>],
) {
    let body_bytes = 1
        + varint::len(timestamp_delta)
        + varint::len(offset_delta)
        + nullable_len(key)
        + nullable_len(value)
        + varint::len(headers.len() as i64)
        + headers.iter().map(|h| nullable_len(Some(h.key)) + nullable_len(h.value)).sum::<usize>();
    assert!(i32::try_from(body_bytes).is_ok(), "a record of {body_bytes} bytes does not fit a batch");

    varint::write(out, body_bytes as i64);
    out.push(0);
    varint::write(out, timestamp_delta);
    varint::write(out, offset_delta);
    write_nullable(out, key);
    write_nullable(out, value);
    varint::write(out, headers.len() as i64);
    for header in headers {
        write_nullable(out, Some(header.key));
        write_nullable(out, header.value);
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len(bytes.len() as i64) + bytes.len())
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write(out, -1),
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchView;
    use crate::batch::tests::KAFKA_BATCH;
    use proptest::prelude::*;

    #[test]
    fn builds_the_bytes_that_kafka_builds() {
        let mut builder = BatchBuilder::new().leader_epoch(LeaderEpoch(0));
        for (i, (key, value)) in [("k0", "a"), ("k1", "b"), ("k2", "c")].into_iter().enumerate() {
            let timestamp = Timestamp(1_700_000_000_000 + i as i64);
            builder.push(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        }

        assert_eq!(builder.build(), KAFKA_BATCH);
    }

    type Fields = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    proptest! {
        #[test]
        fn what_is_built_is_read(records: Vec<Fields>, codec in 0..5u8, base in 0..i64::MAX / 2) {
            prop_assume!(!records.is_empty());
            let codec = Compression::from_id(codec).unwrap();
            let mut builder = BatchBuilder::new().compression(codec).base_offset(Offset(base));
            for (timestamp, key, value, headers) in &records {
                let headers: Vec<_> =
                    headers.iter().map(|(key, value)| RecordHeader { key, value: value.as_deref() }).collect();
                builder.push(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &headers);
            }
            let bytes = builder.build();

            let view = BatchView::parse_exactly(&bytes).unwrap();
            view.check_crc().unwrap();
            let read = view.records(1 << 20).unwrap();
            let read: Vec<_> = read.iter().map(Result::unwrap).enumerate().map(|(index, record)| {
                assert_eq!(record.offset, Offset(base + index as i64));
                let headers = record.headers().map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
                (record.timestamp.0, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers)
            }).collect();
            prop_assert_eq!(read, records);
        }
    }
}
