//! Offsets that transactions commit: pending, then committed or gone.

use super::bench::{Bench, Logged};
use super::client::{Call, Client, GROUP, TOPIC, commit, fetch};
use crate::{GroupReply, GroupState, Settings};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_types::ProducerId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const P: ProducerId = ProducerId(7);
const Q: ProducerId = ProducerId(8);
const DAY: u64 = 24 * 60 * 60;

/// A commit of a producer that names no member.
fn txn_commit(offsets: &[(i32, i64)]) -> TxnOffsetCommitRequest {
    let partition = |&(partition_index, committed_offset): &(i32, i64)| TxnOffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        ..Default::default()
    };
    let topic = TxnOffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: offsets.iter().map(partition).collect(),
        ..Default::default()
    };
    TxnOffsetCommitRequest {
        transactional_id: "copier".into(),
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// Sends it, and returns the error of its last partition.
fn send(bench: &mut Bench, producer: ProducerId, request: &TxnOffsetCommitRequest) -> ErrorCode {
    let context = bench.context(5);
    let decision = bench.machine.handle_txn_offset_commit(request, &context, bench.now);
    bench.carry_out_for(producer, decision);
    let GroupReply::TxnOffsetCommit(response) = bench.take(context.token) else { panic!("no answer") };
    ErrorCode::from(response.topics[0].partitions.last().unwrap().error_code)
}

fn commit_in(bench: &mut Bench, producer: ProducerId, offsets: &[(i32, i64)]) {
    assert_eq!(send(bench, producer, &txn_commit(offsets)), ErrorCode::None);
}

fn commit_plainly(bench: &mut Bench, offsets: &[(i32, i64)]) {
    bench.commit(9, &Call::Commit(commit(&offsets.iter().copied().collect())));
}

fn end(bench: &mut Bench, producer: ProducerId, committed: bool) {
    bench.append(Logged::Marker(producer, committed));
}

/// What is told to who asks for stable offsets: the offset, or `None` where it is to ask again.
fn stable(bench: &mut Bench, partition: i32) -> Option<i64> {
    let response = bench.fetch(9, &Call::Fetch(fetch(vec![partition])));
    let found = &response.groups[0].topics[0].partitions[0];
    match ErrorCode::from(found.error_code) {
        ErrorCode::None => Some(found.committed_offset),
        error => {
            assert_eq!((error, found.committed_offset), (ErrorCode::UnstableOffsetCommit, -1));
            None
        }
    }
}

/// What is told to who does not.
fn any(bench: &mut Bench, partition: i32) -> i64 {
    let mut request = fetch(vec![partition]);
    request.require_stable = false;
    bench.fetch(9, &Call::Fetch(request)).groups[0].topics[0].partitions[0].committed_offset
}

#[test]
fn an_offset_counts_when_its_transaction_is_committed_also_after_a_failover() {
    let mut bench = Bench::new();
    commit_plainly(&mut bench, &[(0, 1)]);
    commit_in(&mut bench, P, &[(0, 5), (1, 6)]);
    for _ in 0..2 {
        assert_eq!((stable(&mut bench, 0), any(&mut bench, 0)), (None, 1));
        assert_eq!((stable(&mut bench, 1), any(&mut bench, 1)), (None, -1));
        assert_eq!(stable(&mut bench, 2), Some(-1));
        bench.fail_over();
    }

    end(&mut bench, Q, true);
    assert_eq!(stable(&mut bench, 0), None, "another's end");
    end(&mut bench, P, true);

    for _ in 0..2 {
        assert_eq!((stable(&mut bench, 0), stable(&mut bench, 1)), (Some(5), Some(6)));
        bench.fail_over();
    }
}

#[test]
fn an_offset_of_an_aborted_transaction_never_existed() {
    let mut bench = Bench::new();
    commit_plainly(&mut bench, &[(0, 1)]);
    commit_in(&mut bench, P, &[(0, 5), (1, 6)]);
    end(&mut bench, P, false);

    for _ in 0..2 {
        assert_eq!((stable(&mut bench, 0), stable(&mut bench, 1)), (Some(1), Some(-1)));
        bench.fail_over();
    }
    end(&mut bench, P, true);
    assert_eq!(stable(&mut bench, 0), Some(1), "nothing is pending any more");
}

#[test]
fn of_a_plain_commit_and_one_in_a_transaction_the_later_one_in_the_log_counts() {
    let mut bench = Bench::new();
    commit_in(&mut bench, P, &[(0, 5)]);
    commit_plainly(&mut bench, &[(0, 3)]);
    assert_eq!((stable(&mut bench, 0), any(&mut bench, 0)), (None, 3));
    end(&mut bench, P, true);
    assert_eq!(stable(&mut bench, 0), Some(3), "it was sent after the one that ends later");

    commit_in(&mut bench, P, &[(0, 9)]);
    commit_in(&mut bench, Q, &[(0, 8)]);
    end(&mut bench, Q, true);
    end(&mut bench, P, true);
    for _ in 0..2 {
        assert_eq!(stable(&mut bench, 0), Some(8));
        bench.fail_over();
    }
}

#[test]
fn whoever_commits_in_a_transaction_is_checked_as_kafka_does() {
    let mut bench = Bench::new();
    let named = |generation, member: &str| TxnOffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        ..txn_commit(&[(0, 1)])
    };
    let nameless = TxnOffsetCommitRequest { group_id: String::new(), ..txn_commit(&[(0, 1)]) };
    assert_eq!(send(&mut bench, P, &nameless), ErrorCode::InvalidGroupId);
    assert_eq!(send(&mut bench, P, &named(1, "m")), ErrorCode::IllegalGeneration, "no such group");
    assert!(bench.log.is_empty());

    let clients = bench.stable(1);
    let Client { member_id, generation, .. } = clients[0].clone();
    let instance =
        TxnOffsetCommitRequest { group_instance_id: Some("nobody".into()), ..named(generation, &member_id) };
    for (request, expected) in [
        (named(generation, &member_id), ErrorCode::None),
        (named(generation + 1, &member_id), ErrorCode::IllegalGeneration),
        (named(-1, &member_id), ErrorCode::IllegalGeneration),
        (named(generation, "stranger"), ErrorCode::UnknownMemberId),
        (instance, ErrorCode::UnknownMemberId),
        // Versions before 3 name nobody.
        (txn_commit(&[(0, 1)]), ErrorCode::None),
    ] {
        assert_eq!(send(&mut bench, P, &request), expected, "{request:?}");
    }

    bench.call(&Client::new(None).call());
    bench.call(&Call::Join(clients[0].join()));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    assert_eq!(send(&mut bench, P, &named(generation, &member_id)), ErrorCode::None, "in any state");
}

#[test]
fn what_is_too_long_to_remember_is_refused_alone() {
    let mut bench = Bench::new();
    let mut request = txn_commit(&[(0, 1), (1, 1)]);
    request.topics[0].partitions[1].committed_metadata = Some("x".repeat(4097));

    assert_eq!(send(&mut bench, P, &request), ErrorCode::OffsetMetadataTooLarge);
    end(&mut bench, P, true);

    assert_eq!((stable(&mut bench, 0), stable(&mut bench, 1)), (Some(1), Some(-1)));
}

#[test]
fn what_an_open_transaction_is_about_to_change_does_not_expire() {
    let mut bench = Bench::new();
    commit_plainly(&mut bench, &[(0, 1), (1, 1)]);
    commit_in(&mut bench, P, &[(0, 5)]);

    bench.advance_secs(8 * DAY);
    assert_eq!((any(&mut bench, 0), any(&mut bench, 1)), (1, -1));
    end(&mut bench, P, false);
    bench.advance_secs(DAY);

    assert_eq!(any(&mut bench, 0), -1);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn a_group_stays_while_a_transaction_may_give_it_an_offset() {
    let mut bench = Bench::new();
    commit_in(&mut bench, P, &[(0, 5)]);
    bench.advance_secs(8 * DAY);
    assert_eq!(bench.state(), GroupState::Empty);

    end(&mut bench, P, false);
    bench.advance_secs(1200);

    assert_eq!(bench.state(), GroupState::Dead);
    bench.fail_over();
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn what_is_deleted_meanwhile_does_not_come_back() {
    let delete_offset = |bench: &mut Bench| {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
        let topics = vec![OffsetDeleteRequestTopic { name: TOPIC.into(), partitions }];
        let request = OffsetDeleteRequest { group_id: GROUP.into(), topics };
        let context = bench.context(0);
        bench.machine.handle_offset_delete(&request, &context)
    };
    let delete_group = |bench: &mut Bench| {
        let context = bench.context(2);
        let request = DeleteGroupsRequest { groups_names: vec![GROUP.into()] };
        bench.machine.handle_delete_groups(&request, &context)
    };
    let delete_topic = |bench: &mut Bench| bench.machine.handle_topic_deleted(&[TOPIC.to_owned()]);
    for delete in [delete_offset, delete_group, delete_topic] {
        let mut bench = Bench::new();
        commit_plainly(&mut bench, &[(0, 1)]);
        commit_in(&mut bench, P, &[(0, 5)]);
        commit_in(&mut bench, Q, &[(0, 6), (1, 7)]);
        let decision = delete(&mut bench);
        bench.carry_out(decision);
        end(&mut bench, P, true);
        end(&mut bench, Q, true);

        for _ in 0..2 {
            assert_eq!(stable(&mut bench, 0), Some(-1));
            bench.fail_over();
        }
    }
}

#[test]
fn a_commit_that_the_log_refuses_leaves_nothing() {
    let mut bench = Bench::new();
    let context = bench.context(5);
    let refused = bench.machine.handle_txn_offset_commit(&txn_commit(&[(0, 1)]), &context, bench.now);
    assert_eq!(refused.records.len(), 1);

    commit_plainly(&mut bench, &[(1, 2)]);
    end(&mut bench, P, true);

    assert_eq!((stable(&mut bench, 0), stable(&mut bench, 1)), (Some(-1), Some(2)));
}

/// What a log says, told naively: by partition, offsets in the order of the log, each with its producer if it is pending.
#[derive(Default)]
struct Model {
    entries: BTreeMap<i32, Vec<(Option<ProducerId>, i64)>>,
}

impl Model {
    fn end(&mut self, producer: ProducerId, committed: bool) {
        for entries in self.entries.values_mut() {
            entries.retain(|(of, _)| committed || *of != Some(producer));
            entries.iter_mut().filter(|(of, _)| *of == Some(producer)).for_each(|(of, _)| *of = None);
        }
    }

    fn stable(&self, partition: i32) -> Option<i64> {
        let entries = self.entries.get(&partition).map_or(&[][..], Vec::as_slice);
        if entries.iter().any(|(of, _)| of.is_some()) {
            return None;
        }
        Some(entries.last().map_or(-1, |(_, offset)| *offset))
    }
}

proptest! {
    /// Against a model: commits in and outside of transactions, their ends, deletions and failovers, in any order.
    #[test]
    fn the_last_commit_of_no_aborted_transaction_counts(
        ops in prop::collection::vec((0..3_i32, 0..1000_i64, 0..3_i64, 0..12_u8), 1..60)
    ) {
        let mut bench = Bench::with(Settings { offsets_retention: Duration::MAX, ..Settings::default() });
        let mut model = Model::default();
        for (partition, offset, producer, op) in ops {
            let producer = ProducerId(producer);
            match op {
                0 => bench.fail_over(),
                1 => {
                    let decision = bench.machine.handle_topic_deleted(&[TOPIC.to_owned()]);
                    bench.carry_out(decision);
                    model = Model::default();
                }
                2..=4 => {
                    commit_plainly(&mut bench, &[(partition, offset)]);
                    model.entries.entry(partition).or_default().push((None, offset));
                }
                5..=8 => {
                    commit_in(&mut bench, producer, &[(partition, offset)]);
                    model.entries.entry(partition).or_default().push((Some(producer), offset));
                }
                _ => {
                    end(&mut bench, producer, op > 9);
                    model.end(producer, op > 9);
                }
            }
            for partition in 0..3 {
                prop_assert_eq!(stable(&mut bench, partition), model.stable(partition), "TXN-4");
            }
        }
    }
}
