//! Requests that make no sense: whatever comes, the coordinator neither panics nor contradicts itself.

use super::bench::{Bench, assert_encodes, newest};
use super::client::{Call, Client, GROUP, TOPIC, commit, fetch, protocol};
use crate::group::Group;
use crate::{GroupReply, GroupState, ReplyToken};
use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequest;
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_types::Random;
use std::collections::BTreeMap;
use std::time::Duration;

/// Sends requests made of pieces that may or may not fit.
struct Hostile {
    random: Random,
    bench: Bench,
    tokens: Vec<ReplyToken>,
}

impl Hostile {
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.random.index(from.len())].clone()
    }

    fn member_id(&mut self) -> String {
        let group = self.bench.machine.groups.get(GROUP);
        let known = group.map(Group::member_ids).unwrap_or_default();
        let pending = group.into_iter().flat_map(|group| group.pending_members.keys().cloned());
        let ids: Vec<String> = known.into_iter().chain(pending).chain(["".into(), "x".into()]).collect();
        self.pick(&ids)
    }

    fn generation(&mut self) -> i32 {
        let present = self.bench.machine.groups.get(GROUP).map_or(0, |group| group.generation);
        self.pick(&[
            present,
            present,
            present,
            present,
            present,
            present,
            -1,
            present - 1,
            present + 1,
            i32::MIN,
        ])
    }

    fn instance_id(&mut self) -> Option<String> {
        let odd = self.pick(&["a", "a", "b", ""]);
        self.random.chance(200).then(|| odd.into())
    }

    fn group_id(&mut self) -> String {
        self.pick(&[GROUP, GROUP, GROUP, GROUP, GROUP, GROUP, GROUP, GROUP, GROUP, "other", ""]).into()
    }

    fn protocols(&mut self) -> Vec<JoinGroupRequestProtocol> {
        let count = self.random.below(4);
        let mut protocols = Vec::new();
        for _ in 0..count {
            let mut one = protocol(self.pick(&["range", "range", "sticky", ""]));
            if self.random.chance(200) {
                one.metadata = Bytes::from_static(b"\0\0\x7f\xff\xff\xff");
            }
            protocols.push(one);
        }
        protocols
    }

    fn call(&mut self) -> Call {
        let (group_id, member_id) = (self.group_id(), self.member_id());
        let (generation_id, group_instance_id) = (self.generation(), self.instance_id());
        match self.random.below(8) {
            0..=2 => Call::Join(JoinGroupRequest {
                group_id,
                session_timeout_ms: self.pick(&[6000, 10_000, 10_000, 0, -1, i32::MAX]),
                rebalance_timeout_ms: self.pick(&[-1, 0, 1, 20_000, 20_000, i32::MIN, i32::MAX]),
                member_id,
                group_instance_id,
                protocol_type: self.pick(&["consumer", "consumer", "consumer", "connect", ""]).into(),
                protocols: self.protocols(),
                reason: None,
            }),
            3..=4 => {
                let assignment = Bytes::from_static(&[1, 2, 3]);
                let other = SyncGroupRequestAssignment { member_id: self.member_id(), assignment };
                let assignments = vec![other.clone(), other];
                let protocol_name = self.pick(&[None, None, Some("range".into()), Some("x".into())]);
                let protocol_type = self.pick(&[None, None, Some("consumer".into()), Some("y".into())]);
                let ids = SyncGroupRequest { group_id, generation_id, member_id, ..Default::default() };
                Call::Sync(SyncGroupRequest {
                    group_instance_id,
                    protocol_type,
                    protocol_name,
                    assignments,
                    ..ids
                })
            }
            5 => Call::Heartbeat(HeartbeatRequest { group_id, generation_id, member_id, group_instance_id }),
            6 => {
                let other = MemberIdentity { member_id: self.member_id(), ..Default::default() };
                let one = MemberIdentity { member_id: member_id.clone(), group_instance_id, reason: None };
                let count = self.random.index(4);
                let members = [one.clone(), other, one][..count].to_vec();
                Call::Leave(LeaveGroupRequest { group_id, member_id, members })
            }
            _ if self.random.chance(300) => Call::Fetch(fetch(vec![0, -1, i32::MAX])),
            _ => {
                let offsets =
                    BTreeMap::from([(self.pick(&[0, -1, i32::MAX]), self.pick(&[0, -1, i64::MAX]))]);
                Call::Commit(OffsetCommitRequest {
                    group_id,
                    generation_id_or_member_epoch: generation_id,
                    member_id,
                    group_instance_id,
                    retention_time_ms: self.pick(&[-1, -1, 0, i64::MAX]),
                    ..commit(&offsets)
                })
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0 => self.bench.fail_over(),
            1 => {
                let decision = self.bench.machine.handle_topic_deleted(&[TOPIC.to_owned()]);
                self.bench.carry_out(decision);
            }
            2 => {
                let names = vec![GROUP.into(), GROUP.into(), String::new()];
                let context = self.bench.context(3);
                let request = DeleteGroupsRequest { groups_names: names };
                let decision = self.bench.machine.handle_delete_groups(&request, &context);
                self.bench.carry_out(decision);
            }
            3 if self.random.chance(200) => self.bench.advance_secs(700),
            3..=15 => {
                let span = self.pick(&[1, 100, 3000, 3000, 6000, 10_000, 21_000]);
                self.bench.advance(Duration::from_millis(span));
            }
            _ => {
                let call = self.call();
                let lowest = if matches!(call, Call::Commit(_)) {
                    2
                } else {
                    u64::from(matches!(call, Call::Fetch(_)))
                };
                let span = u64::try_from(newest(&call)).unwrap() - lowest + 1;
                let version = i16::try_from(lowest + self.random.below(span)).unwrap();
                self.tokens.push(self.bench.call_at(version, &call));
            }
        }
        self.bench.machine.groups.values().for_each(check);
    }
}

/// What holds of a group between events.
fn check(group: &Group) {
    let joined = group.members().filter(|member| member.parked_join.is_some()).count();
    assert_eq!(group.awaiting_join(), joined);
    for member in group.members() {
        let waits = member.parked_join.is_some() || member.parked_sync.is_some();
        assert!(waits || member.session_deadline.is_some(), "{} can be given up", member.id);
        assert!(member.parked_join.is_none() || group.state == GroupState::PreparingRebalance);
        assert!(member.parked_sync.is_none() || group.state == GroupState::CompletingRebalance);
    }
    let leader = group.leader.as_deref();
    assert!(leader.is_none_or(|leader| group.member(leader).is_some()), "the leader is a member");
    assert!(group.pending_syncs.iter().all(|id| group.member(id).is_some()));
    match group.state {
        GroupState::Empty => assert_eq!((group.members().len(), leader), (0, None)),
        GroupState::PreparingRebalance => assert!(group.join_deadline.is_some(), "it ends"),
        GroupState::CompletingRebalance => {
            assert!(group.sync_deadline.is_some() || group.pending_syncs.is_empty(), "it ends");
            assert!(group.members().len() > 0 && group.protocol.is_some());
        }
        GroupState::Stable => assert!(group.members().len() > 0 && group.protocol.is_some()),
        GroupState::Dead => panic!("a dead group is no group"),
    }
}

#[test]
fn nothing_that_a_client_sends_confuses_a_group() {
    let mut states = BTreeMap::new();
    for seed in 0..300 {
        let mut hostile = Hostile { random: Random::new(seed), bench: Bench::new(), tokens: Vec::new() };
        for _ in 0..200 {
            hostile.step();
            *states.entry(hostile.bench.state().name()).or_insert(0) += 1;
        }
        // A retiring coordinator forgets nobody.
        hostile.bench.fail_over();
        let forgotten = hostile.tokens.iter().filter(|&&token| hostile.bench.is_parked(token)).count();
        assert_eq!(forgotten, 0, "seed {seed}");
    }
    assert!(states.len() == 5 && states.values().all(|&steps| steps > 300), "{states:?}");
}

#[test]
fn a_member_id_can_be_written_however_long_the_clients_name_is() {
    let mut bench = Bench::new();
    let request = Client { instance_id: Some("ä".repeat(16_383)), ..Client::new(None) }.join();

    let token = bench.call(&Call::Join(request));
    bench.advance_secs(3);

    assert_eq!(bench.joined(token).member_id.len(), 32_767);
}

#[test]
fn every_refusal_can_be_written_at_every_version() {
    let replies: [(i16, i16, GroupReply); 10] = [
        (0, 9, GroupReply::JoinGroup(Default::default())),
        (0, 5, GroupReply::SyncGroup(Default::default())),
        (0, 4, GroupReply::Heartbeat(Default::default())),
        (0, 5, GroupReply::LeaveGroup(Default::default())),
        (2, 10, GroupReply::OffsetCommit(Default::default())),
        (1, 10, GroupReply::OffsetFetch(Default::default())),
        (0, 0, GroupReply::OffsetDelete(Default::default())),
        (0, 6, GroupReply::DescribeGroups(Default::default())),
        (0, 5, GroupReply::ListGroups(Default::default())),
        (0, 3, GroupReply::DeleteGroups(Default::default())),
    ];
    for (first, last, reply) in replies {
        for version in first..=last {
            assert_encodes(&reply.clone().into_error(ErrorCode::NotCoordinator), version);
        }
    }
}
