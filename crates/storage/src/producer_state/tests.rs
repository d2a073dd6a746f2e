use super::*;
use ottla_records::{BatchBuilder, BatchView};
use ottla_types::LeaderEpoch;

const ID: ProducerId = ProducerId(7);

fn header(epoch: i16, sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    let mut builder =
        BatchBuilder::new().base_offset(Offset(base_offset)).producer(ID, ProducerEpoch(epoch), sequence);
    for _ in 0..count {
        builder.push(Timestamp(100), None, None, &[]);
    }
    *BatchView::parse(&builder.build()).unwrap().header()
}

fn transactional(epoch: i16, sequence: i32, base_offset: i64) -> BatchHeader {
    let header = header(epoch, sequence, 1, base_offset);
    BatchHeader { attributes: header.attributes.with_transactional(), ..header }
}

fn marker(epoch: i16, coordinator_epoch: i32, base_offset: i64) -> (BatchHeader, EndTxnMarker) {
    let marker = EndTxnMarker { committed: false, coordinator_epoch };
    let bytes = marker.batch(ID, ProducerEpoch(epoch), Timestamp(100), LeaderEpoch(0));
    let header = *BatchView::parse(&bytes).unwrap().header();
    (BatchHeader { base_offset: Offset(base_offset), ..header }, marker)
}

/// A producer in epoch 3 that sent sequences 0 to 9 in five batches, from offset 100 on.
fn states() -> ProducerStates {
    let mut states = ProducerStates::new(Offset(100));
    for i in 0..5 {
        states.update(&header(3, i * 2, 2, 100 + i64::from(i) * 2), None);
    }
    states
}

#[test]
fn a_batch_follows_or_repeats_or_is_refused() {
    let states = states();
    let check =
        |epoch, sequence, count| states.check(&header(epoch, sequence, count, 0), None, Origin::Client, 0);

    assert_eq!(check(3, 10, 4), Ok(None));
    for repeated in 0..5 {
        let found = check(3, repeated * 2, 2).unwrap().unwrap();
        assert_eq!(found.first_offset(), Offset(100 + i64::from(repeated) * 2));
    }
    for (sequence, count) in [(8, 1), (11, 1), (9, 1), (0, 1), (1, 2), (0, 10)] {
        let refused = Err(ProducerError::OutOfOrderSequence { producer_id: ID, got: sequence, last: 9 });
        assert_eq!(check(3, sequence, count), refused, "{sequence}+{count}");
    }
    assert!(matches!(check(2, 10, 1), Err(ProducerError::InvalidProducerEpoch { .. })));
    assert_eq!(check(4, 0, 1), Ok(None));
    assert!(matches!(check(4, 10, 1), Err(ProducerError::OutOfOrderSequence { .. })));
}

#[test]
fn an_unknown_producer_starts_anywhere() {
    let states = ProducerStates::new(Offset(0));
    assert_eq!(states.check(&header(3, 12_345, 1, 0), None, Origin::Client, 0), Ok(None));
}

#[test]
fn a_marker_of_an_unknown_producer_has_epochs() {
    let states = ProducerStates::new(Offset(0));
    let check = |epoch, coordinator_epoch, transaction_version| {
        let (header, marker) = marker(epoch, coordinator_epoch, 0);
        states.check(&header, Some(&marker), Origin::Client, transaction_version)
    };

    assert_eq!((check(0, 0, 0), check(0, 0, 2)), (Ok(None), Ok(None)));
    assert_eq!(check(-1, 0, 1), Ok(None), "as in Kafka");
    assert!(matches!(check(-1, 0, 2), Err(ProducerError::InvalidProducerEpoch { .. })));
    assert!(matches!(check(-2, 0, 0), Err(ProducerError::InvalidProducerEpoch { .. })));
    assert!(matches!(check(0, -2, 0), Err(ProducerError::TransactionCoordinatorFenced { .. })));
}

#[test]
fn what_came_before_a_gap_in_the_sequence_is_no_duplicate_any_more() {
    let mut states = states();
    states.update(&header(3, 4, 2, 110), None);

    assert_eq!(states.get(ID).unwrap().batches.len(), 1);
    assert_eq!(states.check(&header(3, 6, 2, 0), None, Origin::Client, 0), Ok(None));
}

#[test]
fn sequences_wrap_to_zero() {
    let mut states = ProducerStates::new(Offset(0));
    states.update(&header(0, i32::MAX - 1, 4, 0), None);

    assert_eq!(states.get(ID).unwrap().last_sequence(), 1);
    assert_eq!(states.check(&header(0, 2, 1, 4), None, Origin::Client, 0), Ok(None));
    let repeated = states.check(&header(0, i32::MAX - 1, 4, 9), None, Origin::Client, 0).unwrap().unwrap();
    assert_eq!((repeated.first_offset(), repeated.first_sequence()), (Offset(0), i32::MAX - 1));
}

#[test]
fn a_coordinator_is_fenced_by_a_later_one() {
    let mut states = states();
    let (header, seven) = marker(3, 7, 110);
    states.update(&header, Some(&seven));

    let (header, six) = marker(3, 6, 111);
    let refused = states.check(&header, Some(&six), Origin::Coordinator, 0);
    assert_eq!(refused, Err(ProducerError::TransactionCoordinatorFenced { got: 6, current: 7 }));
    assert_eq!(states.check(&header, Some(&seven), Origin::Coordinator, 0), Ok(None));
}

#[test]
fn the_first_unstable_offset_is_that_of_the_earliest_open_transaction() {
    let mut states = ProducerStates::new(Offset(0));
    states.update(&transactional(1, 0, 10), None);
    states.update(&transactional(1, 1, 11), None);
    let other = BatchHeader { producer_id: ProducerId(8), ..transactional(1, 0, 12) };
    states.update(&other, None);
    assert_eq!(states.first_unstable_offset(), Some(Offset(10)));

    let (header, abort) = marker(1, 0, 13);
    let aborted = states.update(&header, Some(&abort)).unwrap();
    assert_eq!((aborted.first_offset, aborted.last_stable_offset), (Offset(10), Offset(12)));
    assert_eq!(states.first_unstable_offset(), Some(Offset(10)), "until the marker is replicated");
    states.advance_high_watermark(Offset(14));
    assert_eq!(states.first_unstable_offset(), Some(Offset(12)));
}

#[test]
fn silent_producers_are_forgotten_unless_a_transaction_is_open() {
    let mut states = states();
    states.remove_expired(Timestamp(1099), 1000);
    assert!(states.get(ID).is_some());
    let mut open = states.clone();
    open.update(&transactional(3, 10, 110), None);

    states.remove_expired(Timestamp(1100), 1000);
    open.remove_expired(Timestamp(9999), 1000);

    assert!(states.get(ID).is_none());
    assert!(open.get(ID).is_some());
}
