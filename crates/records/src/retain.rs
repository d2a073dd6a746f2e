//! What compaction leaves of a batch: fewer records, at the offsets that they had.
//!
//! The batch goes on spanning the offsets that it spanned, and goes on being its producer's with its sequence
//! numbers; so a reader knows how far it has come, and a producer's state can be found in the log again.

use crate::batch::{
    ATTRIBUTES, Attributes, BASE_OFFSET, BASE_SEQUENCE, BASE_TIMESTAMP, BatchHeader, HEADER_BYTES,
    LAST_OFFSET_DELTA, LEADER_EPOCH, MAGIC, MAGIC_AT, MAX_TIMESTAMP, NO_SEQUENCE, PRODUCER_EPOCH,
    PRODUCER_ID, RECORDS_COUNT, TimestampType,
};
use crate::builder::{seal, write_record};
use crate::compression::{Codec, Compression, compress};
use crate::record::Record;
use ottla_types::{ProducerEpoch, ProducerId, Timestamp};

/// The batch with these of its records, which need not be all, in their order, and with this delete horizon.
/// The codec stays, its level is the default one.
///
/// With a delete horizon the records' timestamps are written anew, relative to it (KIP-534).
///
/// # Panics
/// When there are more than `i32::MAX` bytes of them: they were fewer in the batch they are from.
pub fn retain(header: &BatchHeader, kept: &[Record<'_>], delete_horizon: Option<Timestamp>) -> Vec<u8> {
    if kept.is_empty() {
        return emptied(header);
    }
    let base_timestamp = delete_horizon.unwrap_or(header.base_timestamp);
    let mut records = Vec::new();
    let mut latest = Timestamp::NONE;
    for record in kept {
        latest = latest.max(record.timestamp);
        let timestamp_delta = record.timestamp.0.wrapping_sub(base_timestamp.0);
        let offset_delta = record.offset - header.base_offset;
        let headers: Vec<_> = record.headers().collect();
        write_record(&mut records, timestamp_delta, offset_delta, record.key, record.value, &headers);
    }
    let mut kept_header = *header;
    if delete_horizon.is_some() {
        kept_header.attributes = header.attributes.with_delete_horizon();
    }
    kept_header.base_timestamp = base_timestamp;
    kept_header.records_count = i32::try_from(kept.len()).expect("no more than the batch had");
    if header.timestamp_type() == TimestampType::Create {
        kept_header.max_timestamp = latest;
    }
    let mut bytes = with_header(&kept_header);
    match header.compression {
        Compression::None => bytes.append(&mut records),
        compression => compress(Codec::from(compression), &records, &mut bytes),
    }
    seal(&mut bytes);
    bytes
}

/// The batch without a record, which still tells what its producer did last.
pub fn emptied(header: &BatchHeader) -> Vec<u8> {
    let mut kept = *header;
    let plain = Attributes::default().with_timestamp_type(header.timestamp_type());
    kept.attributes = match (header.is_transactional(), header.is_control()) {
        (false, false) => plain,
        (true, false) => plain.with_transactional(),
        (false, true) => plain.with_control(),
        (true, true) => plain.with_transactional().with_control(),
    };
    kept.base_timestamp = Timestamp::NONE;
    kept.records_count = 0;
    let mut bytes = with_header(&kept);
    seal(&mut bytes);
    bytes
}

/// An empty batch that stands for the offsets of this one only: nobody produced it.
pub fn placeholder(header: &BatchHeader) -> Vec<u8> {
    let mut nobodys = *header;
    nobodys.attributes = Attributes::default().with_timestamp_type(header.timestamp_type());
    (nobodys.producer_id, nobodys.producer_epoch) = (ProducerId::NONE, ProducerEpoch::NONE);
    nobodys.base_sequence = NO_SEQUENCE;
    emptied(&nobodys)
}

/// The header's bytes; [`seal`] completes them.
fn with_header(header: &BatchHeader) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[BASE_OFFSET].copy_from_slice(&header.base_offset.0.to_be_bytes());
    bytes[LEADER_EPOCH].copy_from_slice(&header.leader_epoch.0.to_be_bytes());
    bytes[MAGIC_AT] = MAGIC as u8;
    bytes[ATTRIBUTES].copy_from_slice(&header.attributes.0.to_be_bytes());
    bytes[LAST_OFFSET_DELTA].copy_from_slice(&header.last_offset_delta.to_be_bytes());
    bytes[BASE_TIMESTAMP].copy_from_slice(&header.base_timestamp.0.to_be_bytes());
    bytes[MAX_TIMESTAMP].copy_from_slice(&header.max_timestamp.0.to_be_bytes());
    bytes[PRODUCER_ID].copy_from_slice(&header.producer_id.0.to_be_bytes());
    bytes[PRODUCER_EPOCH].copy_from_slice(&header.producer_epoch.0.to_be_bytes());
    bytes[BASE_SEQUENCE].copy_from_slice(&header.base_sequence.to_be_bytes());
    bytes[RECORDS_COUNT].copy_from_slice(&header.records_count.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordHeader;
    use crate::{BatchBuilder, BatchView};
    use ottla_types::{LeaderEpoch, Offset};

    /// Four records at 100..104, a header each, of a transactional producer.
    fn batch(compression: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new()
            .base_offset(Offset(100))
            .leader_epoch(LeaderEpoch(3))
            .producer(ProducerId(7), ProducerEpoch(1), 40)
            .transactional()
            .compression(compression);
        for n in 0..4u8 {
            let headers = [RecordHeader { key: b"h", value: Some(&[n]) }];
            builder.push(Timestamp(1000 + i64::from(n)), Some(&[n]), Some(&[n; 50]), &headers);
        }
        builder.build()
    }

    #[test]
    fn what_is_kept_stays_where_and_what_it_was() {
        for compression in Compression::ALL {
            for horizon in [None, Some(Timestamp(5_000_000))] {
                let bytes = batch(compression);
                let view = BatchView::parse_exactly(&bytes).unwrap();
                let records = view.records(1 << 20).unwrap();
                let all: Vec<_> = records.iter().map(Result::unwrap).collect();

                let kept = retain(view.header(), &[all[0], all[2]], horizon);

                let after = BatchView::parse_exactly(&kept).unwrap();
                after.check_crc().unwrap();
                let (old, new) = (*view.header(), *after.header());
                assert_eq!((new.base_offset, new.last_offset()), (old.base_offset, old.last_offset()));
                assert_eq!((new.producer_id, new.producer_epoch), (old.producer_id, old.producer_epoch));
                assert_eq!((new.base_sequence, new.last_sequence()), (40, 43));
                assert_eq!((new.compression, new.leader_epoch), (compression, LeaderEpoch(3)));
                assert!(new.is_transactional());
                assert_eq!((new.records_count, new.max_timestamp), (2, Timestamp(1002)));
                assert_eq!(new.delete_horizon(), horizon);
                let read = after.records(1 << 20).unwrap();
                let read: Vec<_> = read.iter().map(Result::unwrap).collect();
                for (read, expected) in read.iter().zip([all[0], all[2]]) {
                    assert_eq!((read.offset, read.timestamp), (expected.offset, expected.timestamp));
                    assert_eq!((read.key, read.value), (expected.key, expected.value));
                    assert!(read.headers().eq(expected.headers()));
                }
            }
        }
    }

    #[test]
    fn all_records_kept_is_the_batch_as_it_was() {
        let bytes = batch(Compression::None);
        let view = BatchView::parse_exactly(&bytes).unwrap();
        let records = view.records(1 << 20).unwrap();
        let all: Vec<_> = records.iter().map(Result::unwrap).collect();
        assert_eq!(retain(view.header(), &all, None), bytes);
    }

    #[test]
    fn an_emptied_batch_is_its_producers_and_a_placeholder_nobodys() {
        let bytes = batch(Compression::Lz4);
        let header = *BatchView::parse_exactly(&bytes).unwrap().header();

        let emptied = retain(&header, &[], Some(Timestamp(9)));
        let view = BatchView::parse_exactly(&emptied).unwrap();
        view.check_crc().unwrap();
        assert_eq!(emptied.len(), HEADER_BYTES);
        assert_eq!(view.records(0).unwrap().iter().count(), 0);
        assert_eq!((view.header().producer_id, view.header().last_sequence()), (ProducerId(7), 43));
        assert_eq!((view.header().next_offset(), view.header().delete_horizon()), (Offset(104), None));

        let placeholder = placeholder(&header);
        let view = BatchView::parse_exactly(&placeholder).unwrap();
        view.check_crc().unwrap();
        assert_eq!((view.header().producer_id, view.header().is_transactional()), (ProducerId::NONE, false));
        assert_eq!((view.header().base_offset, view.header().next_offset()), (Offset(100), Offset(104)));
    }
}
