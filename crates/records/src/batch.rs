//! A record batch of magic 2 (`DefaultRecordBatch`): its header, a view of it, and walking a run of them.

use crate::compression::Compression;
use crate::record::Records;
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use std::ops::Range;

/// The size of a batch's header, the smallest batch there is (compaction leaves such).
pub const HEADER_BYTES: usize = 61;
/// The base offset and the length: what precedes the bytes that the length counts.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The only message format that Kafka 4 writes.
pub const MAGIC: i8 = 2;
/// "No sequence", in the batches of a producer that is not idempotent, and in markers.
pub const NO_SEQUENCE: i32 = -1;

pub(crate) const BASE_OFFSET: Range<usize> = 0..8;
pub(crate) const LENGTH: Range<usize> = 8..12;
pub(crate) const LEADER_EPOCH: Range<usize> = 12..16;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC: Range<usize> = 17..21;
pub(crate) const ATTRIBUTES: Range<usize> = 21..23;
pub(crate) const LAST_OFFSET_DELTA: Range<usize> = 23..27;
pub(crate) const BASE_TIMESTAMP: Range<usize> = 27..35;
pub(crate) const MAX_TIMESTAMP: Range<usize> = 35..43;
pub(crate) const PRODUCER_ID: Range<usize> = 43..51;
pub(crate) const PRODUCER_EPOCH: Range<usize> = 51..53;
pub(crate) const BASE_SEQUENCE: Range<usize> = 53..57;
pub(crate) const RECORDS_COUNT: Range<usize> = 57..61;
/// The crc covers everything from here to the end of the batch.
pub(crate) const CRC_COVERS_FROM: usize = 21;

/// Why bytes are not a batch. The producer or the disk is to blame, never us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptBatch {
    /// Fewer bytes than the batch says it has.
    #[error("the batch needs {needed} bytes and there are {available}")]
    Incomplete {
        /// What the batch needs.
        needed: usize,
        /// What there is.
        available: usize,
    },
    /// More bytes than the batch says it has, where exactly one was expected.
    #[error("{0} bytes follow the batch")]
    TrailingBytes(usize),
    /// A length that no header fits into.
    #[error("a batch cannot have length {0}")]
    Length(i32),
    /// A message format other than 2.
    #[error("magic {0} is not 2")]
    Magic(i8),
    /// The bytes changed since the producer summed them.
    #[error(
        "the crc of the batch at offset {base_offset} is {stored:08x} and its bytes sum to {computed:08x}"
    )]
    Crc {
        /// The batch's base offset.
        base_offset: i64,
        /// What the header says.
        stored: u32,
        /// What the bytes say.
        computed: u32,
    },
    /// A compression type that does not exist.
    #[error("compression type {0} does not exist")]
    Compression(u8),
    /// A negative delta, or offsets past the end of all logs.
    #[error("offsets {base_offset} + {last_offset_delta} are not a range")]
    Offsets {
        /// The first offset.
        base_offset: i64,
        /// The distance to the last.
        last_offset_delta: i32,
    },
    /// A negative number of records.
    #[error("a batch cannot have {0} records")]
    RecordsCount(i32),
    /// The compressed records do not decompress.
    #[error("the {0} data of the batch does not decompress")]
    Compressed(Compression),
    /// The records are larger than the reader is willing to hold.
    #[error("the records are more than {0} bytes when decompressed")]
    TooLargeDecompressed(usize),
    /// A record that does not parse.
    #[error("record {index} of the batch does not parse")]
    Record {
        /// Its place in the batch, from 0.
        index: i32,
    },
    /// Bytes remain when all records were read.
    #[error("{0} bytes follow the last record of the batch")]
    TrailingRecordBytes(usize),
}

/// Whose clock a batch's timestamps are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's (`CreateTime`).
    #[default]
    Create,
    /// The leader's, on appending (`LogAppendTime`): every record has the batch's max timestamp.
    LogAppend,
}

/// The 16 attribute bits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Returns these attributes with another compression.
    pub fn with_compression(self, compression: Compression) -> Attributes {
        Attributes(self.0 & !Self::COMPRESSION | i16::from(compression.id()))
    }

    /// Returns these attributes with another timestamp type.
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        match timestamp_type {
            TimestampType::Create => Attributes(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppend => Attributes(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// Returns these attributes, transactional.
    pub fn with_transactional(self) -> Attributes {
        Attributes(self.0 | Self::TRANSACTIONAL)
    }

    /// Returns these attributes, control.
    pub fn with_control(self) -> Attributes {
        Attributes(self.0 | Self::CONTROL)
    }

    /// Returns the number of the compression type; it may not exist.
    pub fn compression_id(self) -> u8 {
        (self.0 & Self::COMPRESSION) as u8
    }

    /// Returns whose clock the timestamps are from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 { TimestampType::Create } else { TimestampType::LogAppend }
    }

    /// Returns whether the batch belongs to a transaction (KIP-98).
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Returns whether the records are markers or the quorum's own, not shown to consumers.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Returns these attributes, saying that the base timestamp is a delete horizon.
    pub fn with_delete_horizon(self) -> Attributes {
        Attributes(self.0 | Self::DELETE_HORIZON)
    }

    /// Returns whether the base timestamp is a delete horizon (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// A batch's header, parsed. That it parsed means: its length holds a header, its magic is 2, its compression
/// exists, and its offsets and count are not negative ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, as the producer counted it.
    pub base_offset: Offset,
    /// The batch's size on the wire and on disk, header included.
    pub size_in_bytes: usize,
    /// The epoch of the leader that appended it; not covered by the crc.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// How the records are compressed.
    pub compression: Compression,
    /// The last record's offset less `base_offset`; kept when compaction removes that record.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to.
    pub base_timestamp: Timestamp,
    /// The largest timestamp in the batch.
    pub max_timestamp: Timestamp,
    /// Who produced it, if idempotent.
    pub producer_id: ProducerId,
    /// The producer's incarnation.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// How many records there are; fewer than the offsets span when compacted.
    pub records_count: i32,
}

impl BatchHeader {
    /// Parses the header at the front of `bytes`, which need not hold the rest of the batch.
    ///
    /// # Errors
    /// [`CorruptBatch::Incomplete`] when there are fewer than [`HEADER_BYTES`]; otherwise what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, CorruptBatch> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(CorruptBatch::Incomplete { needed: HEADER_BYTES, available: bytes.len() });
        };
        let length = i32_at(header, LENGTH);
        let size_in_bytes = match usize::try_from(length) {
            Ok(length) if length >= HEADER_BYTES - LOG_OVERHEAD_BYTES => length + LOG_OVERHEAD_BYTES,
            _ => return Err(CorruptBatch::Length(length)),
        };
        if header[MAGIC_AT] as i8 != MAGIC {
            return Err(CorruptBatch::Magic(header[MAGIC_AT] as i8));
        }
        let attributes = Attributes(i16_at(header, ATTRIBUTES));
        let compression = Compression::from_id(attributes.compression_id())
            .ok_or(CorruptBatch::Compression(attributes.compression_id()))?;
        let (base_offset, last_offset_delta) =
            (i64_at(header, BASE_OFFSET), i32_at(header, LAST_OFFSET_DELTA));
        if last_offset_delta < 0 || base_offset.checked_add(i64::from(last_offset_delta) + 1).is_none() {
            return Err(CorruptBatch::Offsets { base_offset, last_offset_delta });
        }
        let records_count = i32_at(header, RECORDS_COUNT);
        if records_count < 0 {
            return Err(CorruptBatch::RecordsCount(records_count));
        }
        Ok(BatchHeader {
            base_offset: Offset(base_offset),
            size_in_bytes,
            leader_epoch: LeaderEpoch(i32_at(header, LEADER_EPOCH)),
            crc: i32_at(header, CRC) as u32,
            attributes,
            compression,
            last_offset_delta,
            base_timestamp: Timestamp(i64_at(header, BASE_TIMESTAMP)),
            max_timestamp: Timestamp(i64_at(header, MAX_TIMESTAMP)),
            producer_id: ProducerId(i64_at(header, PRODUCER_ID)),
            producer_epoch: ProducerEpoch(i16_at(header, PRODUCER_EPOCH)),
            base_sequence: i32_at(header, BASE_SEQUENCE),
            records_count,
        })
    }

    /// The offset of the last record, as the producer counted it.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// The sequence number of the last record, or [`NO_SEQUENCE`]. After 2³¹ − 1 comes 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// From when on compaction drops the batch's tombstones, or its marker (KIP-534); `None` until it has met them once.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Whether the records are markers or the quorum's own.
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }
}

/// Returns the sequence number `count` after `sequence`: after 2³¹ − 1 comes 0.
pub fn add_sequence(sequence: i32, count: i32) -> i32 {
    (i64::from(sequence) + i64::from(count)).rem_euclid(1 << 31) as i32
}

/// A complete batch within somebody's bytes: the header parsed, the records as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the front of `bytes`. Its crc is not checked: see [`BatchView::check_crc`].
    ///
    /// # Errors
    /// [`CorruptBatch::Incomplete`] when it is cut short; otherwise what is wrong with the header.
    pub fn parse(bytes: &'a [u8]) -> Result<BatchView<'a>, CorruptBatch> {
        let header = BatchHeader::parse(bytes)?;
        match bytes.get(..header.size_in_bytes) {
            Some(bytes) => Ok(BatchView { header, bytes }),
            None => Err(CorruptBatch::Incomplete { needed: header.size_in_bytes, available: bytes.len() }),
        }
    }

    /// The batch that `bytes` is.
    ///
    /// # Errors
    /// As [`BatchView::parse`], and [`CorruptBatch::TrailingBytes`] when there are more.
    pub fn parse_exactly(bytes: &'a [u8]) -> Result<BatchView<'a>, CorruptBatch> {
        let view = BatchView::parse(bytes)?;
        match bytes.len() - view.bytes.len() {
            0 => Ok(view),
            more => Err(CorruptBatch::TrailingBytes(more)),
        }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records, compressed if the header says so.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Sums the bytes and compares.
    ///
    /// # Errors
    /// [`CorruptBatch::Crc`].
    pub fn check_crc(&self) -> Result<(), CorruptBatch> {
        let computed = crc32c(&self.bytes[CRC_COVERS_FROM..]);
        if computed == self.header.crc {
            return Ok(());
        }
        Err(CorruptBatch::Crc { base_offset: self.header.base_offset.0, stored: self.header.crc, computed })
    }

    /// The records, decompressed if need be into at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CorruptBatch::Compressed`] and [`CorruptBatch::TooLargeDecompressed`].
    pub fn records(&self, bytes_max: usize) -> Result<Records<'a>, CorruptBatch> {
        Records::of(self, bytes_max)
    }
}

/// Walks the batches of `bytes`, one after the other.
///
/// An incomplete batch at the end is not an error: the iterator stops and [`Batches::rest`] holds it.
/// After an error the iterator is at its end.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes, failed: false }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Batches<'a> {
    /// What was not walked yet. Once the iterator has ended: the incomplete batch at the end, empty if there
    /// is none; or what begins with the corrupt one.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match BatchView::parse(self.rest) {
            Ok(view) => {
                self.rest = &self.rest[view.bytes.len()..];
                Some(Ok(view))
            }
            Err(CorruptBatch::Incomplete { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// CRC-32C (Castagnoli), as batches and producer snapshots carry it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    // A 32-bit checksum in the low half.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn i16_at(bytes: &[u8; HEADER_BYTES], at: Range<usize>) -> i16 {
    i16::from_be_bytes(array(bytes, at))
}

fn i32_at(bytes: &[u8; HEADER_BYTES], at: Range<usize>) -> i32 {
    i32::from_be_bytes(array(bytes, at))
}

fn i64_at(bytes: &[u8; HEADER_BYTES], at: Range<usize>) -> i64 {
    i64::from_be_bytes(array(bytes, at))
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: Range<usize>) -> [u8; N] {
    bytes[at].try_into().expect("the ranges of the header's fields have their fields' sizes")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::BatchBuilder;
    use proptest::prelude::*;

    /// The first batch of `topic1-0`, written by Apache Kafka 4.1.0.
    pub(crate) const KAFKA_BATCH: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x4f, 0, 0, 0, 0, 2, 0x69, 0x0a, 0x92, 0xdb, 0, 0, 0, 0, 0, 2, 0, 0,
        1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 2, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 3, 0x12, 0, 0, 0, 4, 0x6b, 0x30, 2, 0x61, 0, 0x12, 0, 2,
        2, 4, 0x6b, 0x31, 2, 0x62, 0, 0x12, 0, 4, 4, 4, 0x6b, 0x32, 2, 0x63, 0,
    ];

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(5), Some(b"key"), Some(b"value"), &[]);
        builder.build()
    }

    #[test]
    fn kafkas_bytes_are_read() {
        let view = BatchView::parse_exactly(KAFKA_BATCH).unwrap();
        let header = view.header();

        view.check_crc().unwrap();
        assert_eq!((header.base_offset, header.last_offset()), (Offset(0), Offset(2)));
        assert_eq!(header.max_timestamp, Timestamp(1_700_000_000_002));
        assert_eq!((header.producer_id, header.last_sequence()), (ProducerId::NONE, NO_SEQUENCE));
        let records = view.records(1000).unwrap();
        let values: Vec<_> = records.iter().map(|record| record.unwrap().value.unwrap().to_vec()).collect();
        assert_eq!(values, [b"a", b"b", b"c"]);
    }

    #[test]
    fn a_run_of_batches_is_walked_and_its_torn_tail_is_told_from_corruption() {
        let batch = batch();
        let mut run = [batch.as_slice(), &batch, &batch[..batch.len() - 1]].concat();

        let mut walk = batches(&run);
        assert_eq!(walk.by_ref().filter(Result::is_ok).count(), 2);
        assert_eq!(walk.rest(), &batch[..batch.len() - 1]);

        run[batch.len() + MAGIC_AT] = 1;
        let found: Vec<_> = batches(&run).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Err(CorruptBatch::Magic(1)));
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let cases: &[(usize, &[u8], CorruptBatch)] = &[
            (8, &[0, 0, 0, 48], CorruptBatch::Length(48)),
            (8, &[255, 255, 255, 255], CorruptBatch::Length(-1)),
            (16, &[0], CorruptBatch::Magic(0)),
            (22, &[5], CorruptBatch::Compression(5)),
            (23, &[255, 255, 255, 255], CorruptBatch::Offsets { base_offset: 0, last_offset_delta: -1 }),
            (57, &[128, 0, 0, 0], CorruptBatch::RecordsCount(i32::MIN)),
            (
                0,
                &[127, 255, 255, 255, 255, 255, 255, 255],
                CorruptBatch::Offsets { base_offset: i64::MAX, last_offset_delta: 0 },
            ),
        ];
        for (at, bytes, expected) in cases {
            let mut batch = batch();
            batch[*at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(BatchView::parse(&batch), Err(*expected));
        }
    }

    #[test]
    fn every_flipped_bit_under_the_crc_is_noticed() {
        let batch = batch();
        for bit in CRC_COVERS_FROM * 8..batch.len() * 8 {
            let mut flipped = batch.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let noticed = BatchView::parse_exactly(&flipped).and_then(|view| view.check_crc());
            assert!(noticed.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn sequences_wrap() {
        assert_eq!(add_sequence(i32::MAX, 1), 0);
        assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(add_sequence(0, -1), i32::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for view in batches(&bytes).flatten() {
                let _ = view.check_crc();
            }
        }

        #[test]
        fn any_payload_is_read_without_panic(payload: Vec<u8>, count in 0..20i32, codec in 0..5u8) {
            let mut bytes = KAFKA_BATCH[..HEADER_BYTES].to_vec();
            bytes.extend(&payload);
            let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
            bytes[LENGTH].copy_from_slice(&length.to_be_bytes());
            bytes[RECORDS_COUNT].copy_from_slice(&count.to_be_bytes());
            bytes[22] = codec;
            if let Ok(records) = BatchView::parse(&bytes).unwrap().records(1 << 16) {
                for record in records.iter().flatten() {
                    record.headers().count();
                }
            }
        }
    }
}
