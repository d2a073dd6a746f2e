//! Batches of records that are none, or lie.

use crate::{one_node, still_serves};
use ottla_e2e::{Client, Cluster};
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::batch::crc32c;
use ottla_records::validate::DECOMPRESSED_BYTES_MAX;
use ottla_records::{BatchBuilder, Compression};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

// Where fields are in a batch of format 2.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const RECORDS_COUNT: usize = 57;
const FIRST_RECORD: usize = 61;

/// A good batch of one record.
pub(crate) fn batch() -> Vec<u8> {
    build(BatchBuilder::new())
}

fn build(mut builder: BatchBuilder) -> Vec<u8> {
    builder.push(Timestamp(1_700_000_000_000), None, Some(b"value"), &[]);
    builder.build()
}

/// A batch with other bytes in one place; its checksum is as it was.
fn damaged(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    batch
}

/// The same, with the checksum that belongs to it: it was made so.
fn made(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = damaged(at, bytes);
    let crc = crc32c(&batch[ATTRIBUTES..]);
    batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A batch whose length is another by so much.
fn longer_by(bytes: i32) -> Vec<u8> {
    let length = i32::from_be_bytes(batch()[LENGTH..MAGIC - 4].try_into().expect("four bytes"));
    damaged(LENGTH, &(length + bytes).to_be_bytes())
}

/// The error that a batch gets.
pub(crate) fn produce(cluster: &Cluster, version: i16, topic: &str, batch: Vec<u8>) -> ErrorCode {
    let records = Some(Records::from(batch));
    let partition = PartitionProduceData { index: 0, records };
    let topic =
        TopicProduceData { name: topic.to_owned(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { acks: 1, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() };
    let answer = Client::connect(cluster.nodes()[0].port).call(version, &request).expect("it is answered");
    answer.responses[0].partition_responses[0].error_code.into()
}

#[test]
fn a_batch_that_lies_is_refused_and_leaves_nothing_behind() {
    use ErrorCode::{CorruptMessage, InvalidRecord};
    let cluster = one_node();
    let producer = |id, epoch, sequence| {
        build(BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), sequence))
    };
    let mut late = BatchBuilder::new();
    late.push(Timestamp(9_000_000_000_000), None, Some(b"in 2255"), &[]);
    let mut large = BatchBuilder::new();
    large.push(Timestamp(1_700_000_000_000), None, Some(&vec![7; 2 << 20]), &[]);
    let mut bomb = BatchBuilder::new().compression(Compression::Zstd);
    bomb.push(Timestamp(1_700_000_000_000), None, Some(&vec![0; DECOMPRESSED_BYTES_MAX]), &[]);
    let cases = [
        ("nothing", vec![], InvalidRecord),
        ("format 0", damaged(MAGIC, &[0]), InvalidRecord),
        ("format 1", damaged(MAGIC, &[1]), InvalidRecord),
        ("format 3", damaged(MAGIC, &[3]), CorruptMessage),
        ("format -1", damaged(MAGIC, &[0xff]), CorruptMessage),
        ("another checksum", damaged(CRC, &[1, 2, 3, 4]), CorruptMessage),
        ("another value", damaged(batch().len() - 2, b"?"), CorruptMessage),
        ("a length of one more", longer_by(1), InvalidRecord),
        ("a length of one less", longer_by(-1), CorruptMessage),
        ("length 0", damaged(LENGTH, &0_i32.to_be_bytes()), CorruptMessage),
        ("length -5", damaged(LENGTH, &(-5_i32).to_be_bytes()), CorruptMessage),
        ("length 10", damaged(LENGTH, &10_i32.to_be_bytes()), CorruptMessage),
        // Kafka's own sum of it overflows, and it says UNKNOWN_SERVER_ERROR.
        ("a length of 2 GB", damaged(LENGTH, &i32::MAX.to_be_bytes()), InvalidRecord),
        ("half a header", batch()[..30].to_vec(), InvalidRecord),
        ("half a length", batch()[..8].to_vec(), InvalidRecord),
        ("two batches", [batch(), batch()].concat(), InvalidRecord),
        ("two records, it says", made(RECORDS_COUNT, &2_i32.to_be_bytes()), InvalidRecord),
        ("no records", made(RECORDS_COUNT, &0_i32.to_be_bytes()), InvalidRecord),
        ("-1 records", made(RECORDS_COUNT, &(-1_i32).to_be_bytes()), InvalidRecord),
        ("2^31 - 1 records", made(RECORDS_COUNT, &i32::MAX.to_be_bytes()), InvalidRecord),
        ("offsets for six", made(LAST_OFFSET_DELTA, &5_i32.to_be_bytes()), InvalidRecord),
        ("offsets for none", made(LAST_OFFSET_DELTA, &(-1_i32).to_be_bytes()), InvalidRecord),
        ("a record too short", made(FIRST_RECORD, &[2]), InvalidRecord),
        ("a record of negative length", made(FIRST_RECORD, &[1]), InvalidRecord),
        ("a record too long", made(FIRST_RECORD, &[100]), InvalidRecord),
        // Kafka says UNKNOWN_SERVER_ERROR of these.
        ("compression type 5", made(ATTRIBUTES, &5_i16.to_be_bytes()), InvalidRecord),
        ("no gzip", made(ATTRIBUTES, &1_i16.to_be_bytes()), InvalidRecord),
        ("no zstd", made(ATTRIBUTES, &4_i16.to_be_bytes()), InvalidRecord),
        ("a control batch", build(BatchBuilder::new().control()), InvalidRecord),
        ("base offset 9", build(BatchBuilder::new().base_offset(Offset(9))), InvalidRecord),
        ("base offset -1", build(BatchBuilder::new().base_offset(Offset(-1))), InvalidRecord),
        ("sequence -1", producer(6, 0, -1), InvalidRecord),
        ("a record from the future", late.build(), ErrorCode::InvalidTimestamp),
        ("two megabytes", large.build(), ErrorCode::MessageTooLarge),
        // Kafka reads it all.
        ("a few kilobytes that become 128 megabytes", bomb.build(), ErrorCode::MessageTooLarge),
    ];
    for (what, batch, expected) in cases {
        for version in [9, 12] {
            assert_eq!(produce(&cluster, version, "t", batch.clone()), expected, "{what}, v{version}");
        }
    }

    assert_eq!(
        produce(&cluster, 3, "t", made(ATTRIBUTES, &4_i16.to_be_bytes())),
        ErrorCode::UnsupportedCompressionType
    );
    still_serves(&cluster);
}

#[test]
fn a_transaction_of_nobody_is_refused() {
    let cluster = one_node();
    let batch = build(BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), 0).transactional());

    let error = produce(&cluster, 9, "t", batch);

    assert_eq!(error, ErrorCode::TransactionalIdAuthorizationFailed);
    still_serves(&cluster);
}
