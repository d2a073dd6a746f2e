//! Offsets: committed, read, deleted, expired.

use super::bench::Bench;
use super::client::{Call, Client, GROUP, PARTITIONS, TOPIC, commit, fetch, subscription};
use crate::{GroupReply, GroupState, Settings};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequest;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: u64 = 24 * 60 * 60;

/// What is committed, −1 for nothing.
fn committed(bench: &mut Bench, partitions: &[i32]) -> Vec<i64> {
    let response = bench.fetch(9, &Call::Fetch(fetch(partitions.to_vec())));
    response.groups[0].topics[0].partitions.iter().map(|partition| partition.committed_offset).collect()
}

fn commit_lone(bench: &mut Bench, offsets: &[(i32, i64)]) {
    let request = commit(&offsets.iter().copied().collect());
    let response = bench.commit(9, &Call::Commit(request));
    assert!(response.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
}

#[test]
fn a_lone_reader_finds_what_it_committed_also_after_a_failover() {
    let mut bench = Bench::new();
    commit_lone(&mut bench, &[(0, 42), (3, 7)]);
    commit_lone(&mut bench, &[(3, 5)]);

    for _ in 0..2 {
        assert_eq!(committed(&mut bench, &[0, 1, 3]), [42, -1, 5], "a client may say that it goes back");
        bench.fail_over();
    }
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn every_version_of_a_fetch_finds_the_same() {
    let mut bench = Bench::new();
    let mut request = commit(&BTreeMap::from([(2, 9)]));
    request.topics[0].partitions[0].committed_leader_epoch = 4;
    request.topics[0].partitions[0].committed_metadata = Some("note".into());
    bench.commit(8, &Call::Commit(request));

    let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: vec![2, 5] };
    let one_group =
        OffsetFetchRequest { group_id: GROUP.into(), topics: Some(vec![topic]), ..fetch(vec![2, 5]) };
    for version in 1..=7 {
        let response = bench.fetch(version, &Call::Fetch(one_group.clone()));
        let [found, missing] = &response.topics[0].partitions[..] else { panic!("two were asked for") };
        assert_eq!((found.committed_offset, found.committed_leader_epoch), (9, 4));
        assert_eq!(found.metadata.as_deref(), Some("note"));
        assert_eq!((missing.committed_offset, missing.metadata.as_deref()), (-1, Some("")));
    }
    let all = OffsetFetchRequest { topics: None, ..one_group };
    assert_eq!(bench.fetch(2, &Call::Fetch(all)).topics[0].partitions.len(), 1);

    let mut all = fetch(vec![]);
    all.groups[0].topics = None;
    let response = bench.fetch(8, &Call::Fetch(all.clone()));
    assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 9);
    all.groups[0].group_id = "nobody".into();
    let response = bench.fetch(8, &Call::Fetch(all));
    assert_eq!((response.groups[0].error_code, response.groups[0].topics.len()), (0, 0));
}

#[test]
fn a_commit_to_a_group_that_does_not_exist_depends_on_who_asks() {
    let mut bench = Bench::new();
    let member = Client { member_id: "m".into(), generation: 1, ..Client::new(None) };
    let request = Client { positions: BTreeMap::from([(0, 1)]), ..member }.read_and_commit(0);

    for (version, error) in [(8, ErrorCode::IllegalGeneration), (9, ErrorCode::GroupIdNotFound)] {
        let response = bench.commit(version, &request);
        assert_eq!(response.topics[0].partitions[0].error_code, error.code());
    }
    assert!(bench.log.is_empty());
}

#[test]
fn metadata_may_have_4096_utf16_units() {
    let mut bench = Bench::new();
    let error = |text: String, bench: &mut Bench| {
        let mut request = commit(&BTreeMap::from([(0, 1), (1, 1)]));
        request.topics[0].partitions[1].committed_metadata = Some(text);
        let response = bench.commit(9, &Call::Commit(request));
        assert_eq!(response.topics[0].partitions[0].error_code, 0, "the others are committed");
        ErrorCode::from(response.topics[0].partitions[1].error_code)
    };

    assert_eq!(error("x".repeat(4096), &mut bench), ErrorCode::None);
    assert_eq!(error("x".repeat(4097), &mut bench), ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(error("é".repeat(4096), &mut bench), ErrorCode::None);
    assert_eq!(error("😀".repeat(2048), &mut bench), ErrorCode::None);
    assert_eq!(error("😀".repeat(2049), &mut bench), ErrorCode::OffsetMetadataTooLarge);
}

#[test]
fn a_lone_readers_offsets_expire_a_week_after_the_commit() {
    let mut bench = Bench::new();
    commit_lone(&mut bench, &[(0, 1)]);
    bench.advance_secs(3 * DAY);
    commit_lone(&mut bench, &[(1, 1)]);

    bench.advance_secs(4 * DAY - 600);
    assert_eq!(committed(&mut bench, &[0, 1]), [1, 1]);
    bench.advance_secs(1200);
    assert_eq!(committed(&mut bench, &[0, 1]), [-1, 1]);
    bench.advance_secs(3 * DAY);

    assert_eq!(committed(&mut bench, &[0, 1]), [-1, -1]);
    assert_eq!(bench.state(), GroupState::Dead);
    bench.fail_over();
    assert_eq!(bench.state(), GroupState::Dead, "tombstones for all of it");
}

#[test]
fn a_groups_offsets_expire_a_week_after_its_last_member_left() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(1);
    let request = clients[0].read_and_commit(4);
    bench.commit(9, &request);
    for _ in 0..(10 * DAY / 5) {
        bench.advance_secs(5);
        bench.heartbeat(&clients[0].call());
    }
    assert_eq!(committed(&mut bench, &[0]), [4], "not while there are members");
    bench.leave(5, &clients[0].leave());

    bench.advance_secs(7 * DAY - 600);
    bench.fail_over();
    assert_eq!(committed(&mut bench, &[0]), [4]);
    bench.advance_secs(1200);

    assert_eq!(committed(&mut bench, &[0]), [-1]);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn an_expiry_of_its_own_goes_before_the_retention() {
    let mut bench = Bench::new();
    let request = OffsetCommitRequest { retention_time_ms: 60_000, ..commit(&BTreeMap::from([(0, 1)])) };
    bench.commit(2, &Call::Commit(request));

    bench.advance_secs(599);
    assert_eq!(committed(&mut bench, &[0]), [1], "looked for every ten minutes");
    bench.advance_secs(1);
    assert_eq!(committed(&mut bench, &[0]), [-1]);
}

#[test]
fn offsets_go_with_their_topic() {
    let mut bench = Bench::new();
    commit_lone(&mut bench, &[(0, 1), (1, 2)]);
    let mut other = commit(&BTreeMap::from([(0, 3)]));
    other.topics[0].name = "other".into();
    bench.commit(9, &Call::Commit(other));

    let decision = bench.machine.handle_topic_deleted(&[TOPIC.to_owned(), "unknown".to_owned()]);
    assert_eq!(decision.records.len(), 2);
    bench.carry_out(decision);

    assert_eq!(committed(&mut bench, &[0, 1]), [-1, -1]);
    assert!(bench.machine.offsets.get(GROUP, "other", 0).is_some());
}

fn delete_offset(bench: &mut Bench, topic: &str) -> (ErrorCode, Option<ErrorCode>) {
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }; 2];
    let topics = vec![OffsetDeleteRequestTopic { name: topic.into(), partitions }];
    let request = OffsetDeleteRequest { group_id: GROUP.into(), topics };
    let context = bench.context(0);
    let decision = bench.machine.handle_offset_delete(&request, &context);
    bench.carry_out(decision);
    let GroupReply::OffsetDelete(response) = bench.take(context.token) else { panic!("no OffsetDelete") };
    let partition = response.topics.first().map(|topic| ErrorCode::from(topic.partitions[0].error_code));
    (ErrorCode::from(response.error_code), partition)
}

#[test]
fn offsets_of_a_subscribed_topic_are_not_deleted() {
    let mut bench = Bench::new();
    assert_eq!(delete_offset(&mut bench, TOPIC), (ErrorCode::GroupIdNotFound, None));
    let clients = bench.stable(1);
    let mut request = clients[0].clone().read_and_commit(1);
    let Call::Commit(commits) = &mut request else { unreachable!() };
    let mut other = commits.topics[0].clone();
    other.name = "other".into();
    commits.topics.push(other);
    bench.commit(9, &request);

    let subscribed = (ErrorCode::None, Some(ErrorCode::GroupSubscribedToTopic));
    assert_eq!(delete_offset(&mut bench, TOPIC), subscribed);
    assert_eq!(delete_offset(&mut bench, "other"), (ErrorCode::None, Some(ErrorCode::None)));
    assert!(bench.machine.offsets.get(GROUP, "other", 0).is_none());
    assert_eq!(committed(&mut bench, &[0]), [1]);

    bench.leave(5, &clients[0].leave());
    assert_eq!(delete_offset(&mut bench, TOPIC), (ErrorCode::None, Some(ErrorCode::None)));
    assert_eq!(committed(&mut bench, &[0, 1]), [-1, 1]);
}

#[test]
fn a_group_is_deleted_only_when_it_is_empty() {
    let mut bench = Bench::new();
    let clients = bench.stable(1);
    let delete = |bench: &mut Bench| {
        let request = DeleteGroupsRequest { groups_names: vec![GROUP.into()] };
        let context = bench.context(3);
        let decision = bench.machine.handle_delete_groups(&request, &context);
        bench.carry_out(decision);
        let GroupReply::DeleteGroups(response) = bench.take(context.token) else { panic!("no DeleteGroups") };
        ErrorCode::from(response.results[0].error_code)
    };
    let request = clients[0].clone().read_and_commit(1);
    bench.commit(9, &request);

    assert_eq!(delete(&mut bench), ErrorCode::NonEmptyGroup);
    bench.leave(5, &clients[0].leave());
    assert_eq!(delete(&mut bench), ErrorCode::None);
    assert_eq!(delete(&mut bench), ErrorCode::GroupIdNotFound);
    assert_eq!(committed(&mut bench, &[0]), [-1]);
    bench.fail_over();
    assert_eq!(bench.state(), GroupState::Dead);
}

fn describe(bench: &mut Bench, group_id: &str, version: i16) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![group_id.into()], ..Default::default() };
    let context = bench.context(version);
    let decision = bench.machine.handle_describe_groups(&request, &context);
    bench.carry_out(decision);
    let GroupReply::DescribeGroups(response) = bench.take(context.token) else { panic!("no DescribeGroups") };
    response.groups[0].clone()
}

#[test]
fn a_description_shows_metadata_and_assignment_of_a_stable_group() {
    let mut bench = Bench::new();
    let clients = bench.stable(1);

    let described = describe(&mut bench, GROUP, 6);
    assert_eq!((described.group_state.as_str(), described.protocol_data.as_str()), ("Stable", "range"));
    assert_eq!(described.protocol_type, "consumer");
    let member = &described.members[0];
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("app", "/192.0.2.1"));
    assert_eq!(member.member_metadata, subscription(&[TOPIC]));
    assert_eq!(member.member_assignment.len(), usize::from(PARTITIONS));

    bench.call(&Client::new(None).call());
    bench.call(&Call::Join(clients[0].join()));
    let described = describe(&mut bench, GROUP, 6);
    assert_eq!(described.group_state, "PreparingRebalance");
    assert_eq!((described.protocol_data.as_str(), described.members[0].member_metadata.len()), ("", 0));

    for (version, error) in [(5, ErrorCode::None), (6, ErrorCode::GroupIdNotFound)] {
        let described = describe(&mut bench, "nobody", version);
        assert_eq!((described.group_state.as_str(), described.error_code), ("Dead", error.code()));
    }
    for (version, error) in [(5, ErrorCode::None), (6, ErrorCode::GroupIdNotFound)] {
        let nameless = describe(&mut bench, "", version);
        assert_eq!((nameless.group_state.as_str(), nameless.error_code), ("Dead", error.code()));
    }
}

#[test]
fn a_list_is_filtered_by_state_and_type_in_any_case() {
    let mut bench = Bench::new();
    commit_lone(&mut bench, &[(0, 1)]);
    let list = |states: &[&str], types: &[&str], bench: &mut Bench| {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let request = ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) };
        let context = bench.context(5);
        let decision = bench.machine.handle_list_groups(&request, &context);
        bench.carry_out(decision);
        let GroupReply::ListGroups(response) = bench.take(context.token) else { panic!("no ListGroups") };
        response.groups.len()
    };

    for (states, types, count) in [
        (&[][..], &[][..], 1),
        (&["EMPTY"], &["Classic"], 1),
        (&["stable", "empty"], &[], 1),
        (&["stable"], &[], 0),
        (&["empty"], &["consumer"], 0),
        (&["no such state"], &[], 0),
    ] {
        assert_eq!(list(states, types, &mut bench), count, "{states:?} {types:?}");
    }
}

proptest! {
    /// Against a map: commits, deletions of the topic and failovers.
    #[test]
    fn the_last_commit_counts(ops in prop::collection::vec((0..4_i32, 0..1000_i64, 0..10_u8), 1..40)) {
        let mut bench = Bench::with(Settings { offsets_retention: Duration::MAX, ..Settings::default() });
        let mut model: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset, op) in ops {
            match op {
                0 => bench.fail_over(),
                1 => {
                    let decision = bench.machine.handle_topic_deleted(&[TOPIC.to_owned()]);
                    bench.carry_out(decision);
                    model.clear();
                }
                _ => {
                    commit_lone(&mut bench, &[(partition, offset)]);
                    model.insert(partition, offset);
                }
            }
            let expected: Vec<i64> = (0..4).map(|p| model.get(&p).copied().unwrap_or(-1)).collect();
            prop_assert_eq!(committed(&mut bench, &[0, 1, 2, 3]), expected);
        }
    }
}
