use super::*;
use crate::compression::Compression;
use crate::{BatchBuilder, ControlType};
use ottla_types::{ProducerEpoch, ProducerId};

const NOW: Timestamp = Timestamp(1_000_000_000);

fn builder() -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    builder.push(NOW, Some(b"a"), Some(b"1"), &[]);
    builder.push(Timestamp(NOW.0 - 5), None, Some(b"2"), &[]);
    builder
}

fn rules() -> Rules {
    Rules::new(Origin::Client, NOW)
}

fn refusal(builder: BatchBuilder, rules: &Rules) -> InvalidBatch {
    validate(&mut builder.build(), rules).unwrap_err()
}

#[test]
fn a_valid_batch_is_assigned_in_place_and_keeps_its_crc() {
    let mut bytes = builder().build();
    let before = bytes.clone();

    let mut valid = validate(&mut bytes, &rules()).unwrap();
    valid.assign(Offset(40), LeaderEpoch(3));
    assert_eq!(valid.header().last_offset(), Offset(41));
    assert_eq!(valid.log_append_time(), None);

    assert_eq!(bytes[8..12], before[8..12]);
    assert_eq!(bytes[16..], before[16..]);
    assert_eq!(bytes[..16], [&40i64.to_be_bytes()[..], &before[8..12], &3i32.to_be_bytes()].concat());
}

#[test]
fn log_append_time_replaces_the_producers() {
    let rules = Rules { timestamp_type: TimestampType::LogAppend, ..rules() };
    let mut bytes = builder().build();

    let valid = validate(&mut bytes, &rules).unwrap();
    assert_eq!(valid.log_append_time(), Some(NOW));

    let view = BatchView::parse_exactly(&bytes).unwrap();
    view.check_crc().unwrap();
    let records = view.records(100).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp == NOW));
}

#[test]
fn another_compression_of_the_topic_makes_a_new_batch() {
    for target in Compression::ALL {
        let mut builder = BatchBuilder::new().compression(Compression::Gzip);
        builder.push(NOW, None, Some(&[0; 1000]), &[]);
        let mut bytes = builder.build();

        let valid = validate(&mut bytes, &Rules { compression: Some(target.into()), ..rules() }).unwrap();

        valid.view().check_crc().unwrap();
        assert_eq!(valid.header().compression, target);
        assert_eq!(
            valid.view().records(2000).unwrap().iter().next().unwrap().unwrap().value,
            Some(&[0; 1000][..])
        );
    }
}

#[test]
fn a_batch_that_breaks_a_rule_is_refused() {
    let producer = |sequence| builder().producer(ProducerId(1), ProducerEpoch(0), sequence);
    let cases = [
        (builder().base_offset(Offset(1)), "base offset"),
        (builder().control(), "control"),
        (producer(-1), "sequence"),
        (builder().transactional(), "producer id"),
    ];
    for (builder, word) in cases {
        match refusal(builder, &rules()) {
            InvalidBatch::InvalidRecord(message) => assert!(message.contains(word), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn coordinators_write_control_batches() {
    let mut builder =
        BatchBuilder::new().control().transactional().producer(ProducerId(1), ProducerEpoch(0), -1);
    builder.push(NOW, Some(&ControlType::Commit.key()), Some(&[0; 6]), &[]);

    validate(&mut builder.build(), &Rules { origin: Origin::Coordinator, ..rules() }).unwrap();
}

#[test]
fn the_faults_of_records_carry_their_index() {
    match refusal(builder(), &Rules { compacted: true, ..rules() }) {
        InvalidBatch::InvalidRecords(records) => assert_eq!(records[0].batch_index, 1),
        other => panic!("{other:?}"),
    }
    match refusal(builder(), &Rules { timestamp_before_max_ms: 4, ..rules() }) {
        InvalidBatch::InvalidTimestamps(records) => assert_eq!(records[0].batch_index, 1),
        other => panic!("{other:?}"),
    }
    let early = Rules { now: Timestamp(NOW.0 - 3_600_001), ..rules() };
    match refusal(builder(), &early) {
        InvalidBatch::InvalidTimestamps(records) => {
            assert_eq!((records.len(), records[0].batch_index), (1, 0))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_producer_does_not_claim_the_leaders_clock() {
    assert!(matches!(refusal(builder().log_append_time(), &rules()), InvalidBatch::InvalidTimestamps(_)));
}

#[test]
fn size_and_bytes_are_checked() {
    let bytes = builder().build();
    let small = Rules { max_message_bytes: bytes.len() - 1, ..rules() };
    assert!(matches!(refusal(builder(), &small), InvalidBatch::TooLarge { .. }));

    let mut flipped = bytes.clone();
    flipped[70] ^= 1;
    assert!(matches!(validate(&mut flipped, &rules()), Err(InvalidBatch::Corrupt(CorruptBatch::Crc { .. }))));

    let mut two = [bytes.clone(), bytes.clone()].concat();
    assert!(matches!(
        validate(&mut two, &rules()),
        Err(InvalidBatch::Corrupt(CorruptBatch::TrailingBytes(_)))
    ));

    let mut torn = bytes[..bytes.len() - 1].to_vec();
    assert!(matches!(
        validate(&mut torn, &rules()),
        Err(InvalidBatch::Corrupt(CorruptBatch::Incomplete { .. }))
    ));
}

#[test]
fn offsets_that_skip_are_refused() {
    let mut bytes = builder().build();
    // The offset delta of the second record: after the first record, its length, attributes and time.
    let second = HEADER_BYTES + 1 + usize::from(bytes[HEADER_BYTES] >> 1);
    assert_eq!(bytes[second + 3], 2);
    bytes[second + 3] = 0;
    seal(&mut bytes);

    assert!(matches!(validate(&mut bytes, &rules()), Err(InvalidBatch::InvalidRecord(_))));
}

#[test]
fn a_bomb_is_refused() {
    let mut builder = BatchBuilder::new().compression(Compression::Zstd);
    builder.push(NOW, None, Some(&vec![0; 1 << 20]), &[]);

    let refusal = refusal(builder, &Rules { decompressed_bytes_max: 1 << 16, ..rules() });

    assert_eq!(refusal, InvalidBatch::Corrupt(CorruptBatch::TooLargeDecompressed(1 << 16)));
}
