//! The bytes of the records, spelled out from Kafka's schemas.

use super::bench::{Bench, Logged, Stored};
use super::client::{Call, GROUP, commit, subscription};
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequest;
use ottla_types::Uuid;
use std::collections::BTreeMap;

/// Puts pieces together.
fn bytes(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

fn offset_key(partition: u8) -> Vec<u8> {
    bytes(&[&[0, 1], &[0, 7], b"readers", &[0, 6], b"orders", &[0, 0, 0, partition]])
}

fn record(logged: Logged) -> Stored {
    let Logged::Record(stored) = logged else { panic!("no transactions here") };
    stored
}

fn committed(request: OffsetCommitRequest, version: i16) -> Stored {
    let mut bench = Bench::new();
    bench.commit(version, &Call::Commit(request));
    assert_eq!(bench.log.len(), 1);
    record(bench.log.remove(0))
}

/// The bench's clock begins at 1 000 000 ms.
const NOW: [u8; 8] = [0, 0, 0, 0, 0, 0x0f, 0x42, 0x40];

#[test]
fn an_offset_is_a_key_of_type_1_and_a_value_of_version_4() {
    let mut request = commit(&BTreeMap::from([(3, 258)]));
    request.topics[0].partitions[0].committed_metadata = Some("hi".into());
    request.topics[0].partitions[0].committed_leader_epoch = 5;

    let (key, value) = committed(request.clone(), 9);

    assert_eq!(key, offset_key(3));
    // Offset, leader epoch, metadata (compact), timestamp, no tagged fields.
    let expected = bytes(&[&[0, 4], &[0, 0, 0, 0, 0, 0, 1, 2], &[0, 0, 0, 5], &[3], b"hi", &NOW, &[0]]);
    assert_eq!(value.unwrap(), expected);

    // The topic's id, where the caller knows it, is tagged field 0 of 16 bytes.
    request.topics[0].topic_id = Uuid::from_u128(0x0102);
    let (_, value) = committed(request, 9);
    let id: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    let tagged = bytes(&[&expected[..expected.len() - 1], &[1, 0, 16], &id]);
    assert_eq!(value.unwrap(), tagged);
}

#[test]
fn an_offset_with_an_expiry_of_its_own_has_version_1() {
    let request = OffsetCommitRequest { retention_time_ms: 1, ..commit(&BTreeMap::from([(0, 1)])) };

    let (key, value) = committed(request, 4);

    assert_eq!(key, offset_key(0));
    let expiry = [0, 0, 0, 0, 0, 0x0f, 0x42, 0x41];
    let expected = bytes(&[&[0, 1], &[0, 0, 0, 0, 0, 0, 0, 1], &[0, 0], &NOW, &expiry]);
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn a_generation_is_a_key_of_type_2_and_a_value_of_version_3() {
    let mut bench = Bench::new();
    let clients = bench.stable(1);
    bench.leave(5, &clients[0].leave());

    let key = bytes(&[&[0, 2], &[0, 7], GROUP.as_bytes()]);
    let (id, subscription) = (clients[0].member_id.as_bytes(), subscription(&["orders"]));
    let id = bytes(&[&[0, u8::try_from(id.len()).unwrap()], id]);
    let stable = bytes(&[
        &[0, 3],
        &[0, 8],
        b"consumer",
        &[0, 0, 0, 1],
        &[0, 5],
        b"range",
        &id,
        // The first rebalance waited for 3 s.
        &[0, 0, 0, 0, 0, 0x0f, 0x4d, 0xf8],
        &[0, 0, 0, 1],
        &id,
        &[0xff, 0xff],
        &[0, 3],
        b"app",
        &[0, 10],
        b"/192.0.2.1",
        &[0, 0, 0x4e, 0x20],
        &[0, 0, 0x27, 0x10],
        &[0, 0, 0, u8::try_from(subscription.len()).unwrap()],
        &subscription,
        &[0, 0, 0, 8],
        &[0, 1, 2, 3, 4, 5, 6, 7],
    ]);
    let empty = bytes(&[
        &[0, 3],
        &[0, 8],
        b"consumer",
        &[0, 0, 0, 2],
        &[0xff, 0xff],
        &[0xff, 0xff],
        &[0, 0, 0, 0, 0, 0x0f, 0x4d, 0xf8],
        &[0, 0, 0, 0],
    ]);
    let log: Vec<Stored> = bench.log.into_iter().map(record).collect();
    assert_eq!(log, [(key.clone(), Some(stable)), (key, Some(empty))]);
}

#[test]
fn an_end_is_a_key_without_a_value() {
    let mut bench = Bench::new();
    bench.commit(9, &Call::Commit(commit(&BTreeMap::from([(3, 258)]))));

    let decision = bench.machine.handle_topic_deleted(&["orders".to_owned()]);
    bench.carry_out(decision);

    assert_eq!(record(bench.log.remove(1)), (offset_key(3), None));
}
