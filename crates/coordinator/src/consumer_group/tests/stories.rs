//! Rules, one by one.

use super::view::View;
use crate::consumer_group::GroupTimes;
use crate::consumer_group::member::{Current, LEFT_FOR_A_WHILE, Subscription};
use crate::consumer_group::records::{self, flat};
use crate::presence::ConnectionToken;
use crate::{
    ConsumerGroupSettings, GroupCoordinator, GroupDecision, GroupReply, ReplyToken, RequestContext, Settings,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_describe_response::DescribedGroup;
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;
use ottla_types::{Monotonic, Now, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// A coordinator, whose decisions are committed at once.
pub(super) struct Bench {
    pub(super) machine: GroupCoordinator,
    pub(super) topics: View,
    pub(super) now: Now,
    token: u64,
    pub(super) connection: ConnectionToken,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(ConsumerGroupSettings::default())
    }

    pub(super) fn with(consumer_groups: ConsumerGroupSettings) -> Bench {
        let mut topics = View::default();
        topics.set("t", 4);
        let settings = Settings { consumer_groups, ..Settings::default() };
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };
        let mut machine = GroupCoordinator::new(settings, 1);
        machine.handle_loaded(now);
        Bench { machine, topics, now, token: 0, connection: ConnectionToken(1) }
    }

    pub(super) fn context(&mut self, version: i16) -> RequestContext {
        self.token += 1;
        RequestContext {
            client_id: "client".to_owned(),
            client_host: "/host".to_owned(),
            version,
            connection: self.connection,
            token: ReplyToken(self.token),
        }
    }

    pub(super) fn commit(&mut self, decision: GroupDecision) -> Option<GroupReply> {
        for record in &decision.records {
            self.machine.replay(record);
        }
        decision.replies.into_iter().next().map(|(_, reply)| reply)
    }

    fn send_at(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        version: i16,
    ) -> ConsumerGroupHeartbeatResponse {
        let context = self.context(version);
        let decision =
            self.machine.handle_consumer_group_heartbeat(request, &context, &self.topics, self.now);
        match self.commit(decision) {
            Some(GroupReply::ConsumerGroupHeartbeat(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn send(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        self.send_at(request, 1)
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        let decision = self.machine.handle_timeout(self.now);
        self.commit(decision);
    }

    pub(super) fn describe(&mut self) -> DescribedGroup {
        let context = self.context(1);
        let request = ConsumerGroupDescribeRequest { group_ids: vec!["g".to_owned()], ..Default::default() };
        let decision = self.machine.handle_consumer_group_describe(&request, &context, &self.topics);
        match self.commit(decision) {
            Some(GroupReply::ConsumerGroupDescribe(mut response)) => response.groups.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn offset_commit(&mut self, member_id: &str, epoch: i32, version: i16) -> i16 {
        self.offset_commit_in(0, member_id, epoch, version)
    }

    /// A commit in one partition of topic t.
    pub(super) fn offset_commit_in(
        &mut self,
        partition_index: i32,
        member_id: &str,
        epoch: i32,
        version: i16,
    ) -> i16 {
        let topic_id = self.topics.topics["t"].id;
        let request = OffsetCommitRequest {
            group_id: "g".to_owned(),
            member_id: member_id.to_owned(),
            generation_id_or_member_epoch: epoch,
            topics: vec![OffsetCommitRequestTopic {
                name: "t".to_owned(),
                topic_id,
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset: 5,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let context = self.context(version);
        let decision = self.machine.handle_offset_commit(&request, &context, self.now);
        match self.commit(decision) {
            Some(GroupReply::OffsetCommit(response)) => response.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    fn classic_join(&mut self) -> GroupReply {
        let request = JoinGroupRequest {
            group_id: "g".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), ..Default::default() }],
            ..Default::default()
        };
        let context = self.context(9);
        let decision = self.machine.handle_join_group(&request, &context, &self.topics, self.now);
        self.commit(decision).expect("it is refused, or told its id")
    }
}

pub(super) fn joining(member_id: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

pub(super) fn alive(member_id: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        member_epoch,
        ..Default::default()
    }
}

pub(super) fn owning(
    request: ConsumerGroupHeartbeatRequest,
    bench: &Bench,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let topic_id = bench.topics.topics["t"].id;
    let owned = TopicPartitions { topic_id, partitions: partitions.to_vec() };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(vec![owned]), ..request }
}

pub(super) fn given(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    let given = flat(topics.iter().map(|topic| (topic.topic_id, &topic.partitions)));
    Some(given.into_iter().map(|at| at.partition).collect())
}

#[track_caller]
pub(super) fn assert_error(response: &ConsumerGroupHeartbeatResponse, error: ErrorCode) {
    assert_eq!((response.error_code, error), (error.code(), error), "{response:?}");
}

#[test]
fn a_partition_goes_from_one_member_to_another_in_three_heartbeats() {
    let mut bench = Bench::new();

    let a = bench.send(&joining("a"));
    assert_eq!((a.member_epoch, a.heartbeat_interval_ms, given(&a)), (1, 5000, Some(vec![0, 1, 2, 3])));
    assert_eq!(bench.describe().group_state, "Stable");
    let b = bench.send(&joining("b"));
    assert_eq!((b.member_epoch, given(&b)), (2, Some(vec![])), "a owns everything");
    assert_eq!(bench.describe().group_state, "Reconciling");

    let a = bench.send(&owning(alive("a", 1), &bench, &[0, 1, 2, 3]));
    assert_eq!((a.member_epoch, given(&a)), (1, Some(vec![0, 1])), "it is to give up two");
    assert_eq!(given(&bench.send(&alive("b", 2))), None, "it has not done so");
    let a = bench.send(&owning(alive("a", 1), &bench, &[0, 1]));
    assert_eq!((a.member_epoch, given(&a)), (2, None));
    let b = bench.send(&alive("b", 2));
    assert_eq!((b.member_epoch, given(&b)), (2, Some(vec![2, 3])));

    let described = bench.describe();
    assert_eq!((described.group_state.as_str(), described.assignor_name.as_str()), ("Stable", "uniform"));
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!(described.members[1].assignment, described.members[1].target_assignment);
    assert_eq!(described.members[1].assignment.topic_partitions[0].topic_name, "t");
}

#[test]
fn a_topic_that_grows_is_shared_anew() {
    let mut bench = Bench::new();
    bench.send(&joining("a"));
    bench.topics.set("t", 6);
    bench.topics.set("other", 1);

    let a = bench.send(&alive("a", 1));

    assert_eq!((a.member_epoch, given(&a)), (2, Some(vec![0, 1, 2, 3, 4, 5])));
    bench.topics.set("other", 2);
    assert_eq!(bench.send(&alive("a", 2)).member_epoch, 2, "nobody is subscribed to that");
    bench.topics.delete("t");
    assert_eq!(given(&bench.send(&alive("a", 2))), Some(vec![]));
}

#[test]
fn a_lost_answer_is_given_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(&joining("a")).member_epoch, 1);

    let again = bench.send(&joining("a"));
    assert_eq!((again.member_epoch, given(&again)), (1, Some(vec![0, 1, 2, 3])));
    bench.topics.set("t", 5);
    assert_eq!(bench.send(&alive("a", 1)).member_epoch, 2);

    assert_error(&bench.send(&alive("a", 1)), ErrorCode::FencedMemberEpoch);
    let more = owning(alive("a", 1), &bench, &[9]);
    assert_error(&bench.send(&more), ErrorCode::FencedMemberEpoch);
    let again = bench.send(&owning(alive("a", 1), &bench, &[0, 1, 2, 3]));
    assert_eq!(again.member_epoch, 2);
    let ahead = ConsumerGroupHeartbeatRequest { member_epoch: 3, ..joining("a") };
    assert_error(&bench.send(&ahead), ErrorCode::FencedMemberEpoch);
    let anew = bench.send(&joining("a"));
    assert_eq!((anew.member_epoch, given(&anew)), (2, Some(vec![0, 1, 2, 3, 4])));
}

#[test]
fn an_expression_that_matches_more_than_can_be_written_down_is_refused_and_nobody_else_notices() {
    let mut bench = Bench::new();
    bench.send(&joining("a"));
    for number in 0..3000 {
        bench.topics.set(&format!("{}{number:06}", "x".repeat(240)), 1);
    }
    let with = |expression: String| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(expression),
        ..joining("b")
    };

    assert_error(&bench.send(&with("x.*".to_owned())), ErrorCode::InvalidRegularExpression);
    assert_error(&bench.send(&with("x".repeat(5000))), ErrorCode::InvalidRegularExpression);
    let names = (0..5000).map(|number| format!("{}{number}", "y".repeat(200))).collect();
    let many = ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(names), ..joining("b") };
    assert_error(&bench.send(&many), ErrorCode::InvalidRequest);
    assert_eq!(bench.send(&with("x.*00001".to_owned())).error_code, 0);
    assert_eq!(bench.send(&alive("a", 1)).error_code, 0);
}

#[test]
fn a_request_that_is_wrong_by_itself_is_refused() {
    let mut bench = Bench::new();
    let instance = |id: &str| Some(id.to_owned());
    let wrong = [
        ConsumerGroupHeartbeatRequest { member_id: String::new(), ..joining("a") },
        ConsumerGroupHeartbeatRequest { group_id: String::new(), ..joining("a") },
        ConsumerGroupHeartbeatRequest { instance_id: instance(""), ..joining("a") },
        ConsumerGroupHeartbeatRequest { rack_id: instance(""), ..joining("a") },
        ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..joining("a") },
        ConsumerGroupHeartbeatRequest { topic_partitions: None, ..joining("a") },
        owning(joining("a"), &bench, &[0]),
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..joining("a") },
        alive("a", LEFT_FOR_A_WHILE),
        alive("a", -3),
    ];
    for request in wrong {
        assert_error(&bench.send(&request), ErrorCode::InvalidRequest);
    }
    let assignor = Some("sticky".to_owned());
    let request = ConsumerGroupHeartbeatRequest { server_assignor: assignor, ..joining("a") };
    assert_error(&bench.send(&request), ErrorCode::UnsupportedAssignor);
    let regex = Some("(".to_owned());
    let request = ConsumerGroupHeartbeatRequest { subscribed_topic_regex: regex, ..joining("a") };
    assert_error(&bench.send(&request), ErrorCode::InvalidRegularExpression);
    assert_error(&bench.send(&alive("a", 1)), ErrorCode::GroupIdNotFound);
    bench.send(&joining("a"));
    assert_error(&bench.send(&alive("b", 1)), ErrorCode::UnknownMemberId);

    let chosen = bench.send_at(&joining(""), 0);
    assert_eq!(chosen.member_id.map(|id| id.len()), Some(22), "an id is chosen for clients that cannot");
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut bench = Bench::with(ConsumerGroupSettings { size_max: 1, ..Default::default() });
    bench.send(&joining("a"));

    assert_error(&bench.send(&joining("b")), ErrorCode::GroupMaxSizeReached);
    assert_error(&bench.send(&alive("a", 1)), ErrorCode::None);
}

#[test]
fn silent_members_and_those_that_do_not_give_up_are_removed() {
    let mut bench = Bench::new();
    bench.send(&joining("a"));
    bench.pass(44);
    bench.send(&alive("a", 1));
    bench.pass(44);
    bench.send(&ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: 10_000, ..alive("a", 1) });
    bench.send(&joining("b"));
    bench.send(&alive("a", 1));
    for _ in 0..2 {
        bench.pass(6);
        bench.send(&alive("a", 1));
        bench.send(&alive("b", 2));
    }
    assert_error(&bench.send(&alive("a", 1)), ErrorCode::UnknownMemberId);
    assert_error(&bench.send(&joining("b")), ErrorCode::None);
    let b = bench.describe().members.remove(0);
    assert_eq!(b.assignment.topic_partitions[0].partitions, [0, 1, 2, 3]);

    bench.pass(46);
    assert_eq!(bench.describe().group_state, "Empty");
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut bench = Bench::new();
    let instance_id = Some("i".to_owned());
    let as_i = |request| ConsumerGroupHeartbeatRequest { instance_id: instance_id.clone(), ..request };
    bench.send(&as_i(joining("a")));
    bench.send(&joining("c"));
    let settled = owning(as_i(alive("a", 1)), &bench, &[0, 1]);
    bench.send(&settled);
    assert_eq!(bench.send(&settled).member_epoch, 2);

    assert_error(&bench.send(&as_i(joining("b"))), ErrorCode::UnreleasedInstanceId);
    assert_error(&bench.send(&as_i(alive("b", 2))), ErrorCode::FencedInstanceId);
    assert_error(&bench.send(&as_i(alive("b", LEFT_FOR_A_WHILE))), ErrorCode::FencedInstanceId);
    let left = bench.send(&as_i(alive("a", LEFT_FOR_A_WHILE)));
    assert_eq!((left.error_code, left.member_epoch), (0, LEFT_FOR_A_WHILE));
    let b = bench.send(&as_i(joining("b")));

    assert_eq!((b.member_epoch, given(&b)), (2, Some(vec![0, 1])));
    assert_eq!(bench.describe().group_epoch, 2, "nobody else is concerned");
    assert_error(&bench.send(&as_i(alive("a", 2))), ErrorCode::FencedInstanceId);
    bench.send(&as_i(alive("b", LEFT_FOR_A_WHILE)));
    for _ in 0..2 {
        bench.pass(30);
        bench.send(&alive("c", 2));
    }
    assert_eq!(bench.describe().members.len(), 1, "it has not come back in time");
}

#[test]
fn an_administrator_sends_static_members_away() {
    let mut bench = Bench::new();
    bench.send(&ConsumerGroupHeartbeatRequest { instance_id: Some("i".to_owned()), ..joining("a") });
    let mut leave = |member_id: &str, instance_id: Option<&str>| {
        let group_instance_id = instance_id.map(str::to_owned);
        let member =
            MemberIdentity { member_id: member_id.to_owned(), group_instance_id, ..Default::default() };
        let request =
            LeaveGroupRequest { group_id: "g".to_owned(), members: vec![member], ..Default::default() };
        let context = bench.context(5);
        let decision = bench.machine.handle_leave_group(&request, &context, bench.now);
        match bench.commit(decision) {
            Some(GroupReply::LeaveGroup(response)) => response.members[0].error_code,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(leave("a", None), ErrorCode::UnknownMemberId.code());
    assert_eq!(leave("", Some("j")), ErrorCode::UnknownMemberId.code());
    assert_eq!(leave("", Some("i")), 0);
    assert_eq!(bench.describe().group_state, "Empty");
}

#[test]
fn expressions_follow_the_topics() {
    let mut bench = Bench::new();
    let by_regex = |regex: &str, request| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(regex.to_owned()),
        ..request
    };
    assert_eq!(given(&bench.send(&by_regex("t|u.*", joining("a")))), Some(vec![0, 1, 2, 3]));
    bench.topics.set("u1", 1);
    assert_eq!(bench.send(&alive("a", 1)).member_epoch, 1, "not looked up again so soon");
    bench.pass(10);

    let a = bench.send(&alive("a", 1));

    assert_eq!((a.member_epoch, given(&a).map(|all| all.len())), (2, Some(5)));
    let a = bench.send(&by_regex("", owning(alive("a", 2), &bench, &[])));
    assert_eq!((a.member_epoch, given(&a)), (3, Some(vec![])), "an empty one asks for nothing");
    assert!(bench.machine.consumer_groups["g"].regexes.is_empty(), "nobody uses it");
}

#[test]
fn offsets_are_committed_by_members_at_their_epochs() {
    let mut bench = Bench::new();
    assert_eq!(bench.offset_commit("a", 1, 9), ErrorCode::GroupIdNotFound.code());
    bench.send(&joining("a"));
    bench.topics.set("t", 5);
    bench.send(&alive("a", 1));

    let cases = [
        ("a", 2, 9, ErrorCode::None),
        ("a", 1, 9, ErrorCode::None),
        ("a", 0, 9, ErrorCode::StaleMemberEpoch),
        ("a", 3, 9, ErrorCode::StaleMemberEpoch),
        ("a", -1, 9, ErrorCode::StaleMemberEpoch),
        ("a", 2, 8, ErrorCode::UnsupportedVersion),
        ("b", 2, 9, ErrorCode::UnknownMemberId),
        ("", -1, 9, ErrorCode::UnknownMemberId),
    ];
    for (member_id, epoch, version, error) in cases {
        assert_eq!(
            bench.offset_commit(member_id, epoch, version),
            error.code(),
            "{member_id} {epoch} {version}"
        );
    }
    let fetch = |bench: &mut Bench, member_id: Option<&str>, member_epoch: i32| {
        let group = OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            member_id: member_id.map(str::to_owned),
            member_epoch,
            topics: None,
        };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let context = bench.context(9);
        match bench.machine.handle_offset_fetch(&request, &context).replies.remove(0).1 {
            GroupReply::OffsetFetch(response) => {
                (response.groups[0].error_code, response.groups[0].topics.len())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fetch(&mut bench, None, -1), (0, 1));
    assert_eq!(fetch(&mut bench, Some("a"), 2), (0, 1));
    assert_eq!(fetch(&mut bench, Some("a"), 1), (ErrorCode::StaleMemberEpoch.code(), 0));
    assert_eq!(fetch(&mut bench, Some("b"), 1), (ErrorCode::UnknownMemberId.code(), 0));
}

#[test]
fn a_transaction_commits_for_a_member_at_its_epoch() {
    let mut bench = Bench::new();
    bench.send(&joining("a"));
    let validate = |member_id: &str, generation_id_or_member_epoch| {
        let request = TxnOffsetCommitRequest {
            group_id: "g".to_owned(),
            member_id: member_id.to_owned(),
            generation_id_or_member_epoch,
            ..Default::default()
        };
        bench.machine.validate_txn_commit(&request)
    };

    assert_eq!(validate("a", 1), Ok(()));
    assert_eq!(validate("", -1), Ok(()), "older producers do not say who reads");
    assert_eq!(validate("a", 2), Err(ErrorCode::IllegalGeneration));
    assert_eq!(validate("b", 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_group_without_members_changes_its_type() {
    let mut bench = Bench::new();
    let classic_error = |bench: &mut Bench| match bench.classic_join() {
        GroupReply::JoinGroup(response) => response.error_code,
        other => panic!("{other:?}"),
    };
    bench.send(&joining("a"));
    assert_eq!(bench.offset_commit("a", 1, 9), 0);
    assert_eq!(classic_error(&mut bench), ErrorCode::InconsistentGroupProtocol.code());
    let request =
        HeartbeatRequest { group_id: "g".to_owned(), member_id: "a".to_owned(), ..Default::default() };
    let context = bench.context(4);
    let decision = bench.machine.handle_heartbeat(&request, &context, &bench.topics, bench.now);
    let Some(GroupReply::Heartbeat(response)) = bench.commit(decision) else { panic!("no answer") };
    assert_eq!(response.error_code, ErrorCode::UnknownMemberId.code());

    bench.send(&alive("a", -1));
    assert_eq!(classic_error(&mut bench), ErrorCode::MemberIdRequired.code(), "it is a classic group now");
    assert!(bench.machine.consumer_groups.is_empty());
    assert!(bench.machine.offsets.get("g", "t", 0).is_some(), "offsets stay");

    assert_eq!(bench.send(&joining("b")).member_epoch, 1);
    assert!(bench.machine.groups.is_empty());
    assert!(bench.machine.offsets.get("g", "t", 0).is_some(), "offsets stay");
    bench.pass(1);
    assert_error(&bench.send(&alive("b", 1)), ErrorCode::None);
    bench.pass(46);
    assert_eq!(bench.describe().group_state, "Empty", "its sessions are watched");
}

#[test]
fn operators_see_both_types() {
    let mut bench = Bench::new();
    bench.send(&joining("a"));
    let listed = |bench: &mut Bench, types: &[&str], states: &[&str]| {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let request = ListGroupsRequest { states_filter: own(states), types_filter: own(types) };
        let context = bench.context(5);
        match bench.machine.handle_list_groups(&request, &context).replies.remove(0).1 {
            GroupReply::ListGroups(response) => response.groups,
            other => panic!("{other:?}"),
        }
    };
    let all = listed(&mut bench, &[], &[]);
    assert_eq!(
        (all.len(), all[0].group_type.as_str(), all[0].group_state.as_str()),
        (1, "consumer", "Stable")
    );
    assert_eq!(all[0].protocol_type, "consumer");
    assert_eq!(listed(&mut bench, &["Consumer"], &["stable"]).len(), 1);
    assert_eq!(listed(&mut bench, &["classic"], &[]).len(), 0);
    assert_eq!(listed(&mut bench, &[], &["Empty"]).len(), 0);

    for (version, error) in [(5, 0), (6, ErrorCode::GroupIdNotFound.code())] {
        let request = DescribeGroupsRequest { groups: vec!["g".to_owned()], ..Default::default() };
        let context = bench.context(version);
        let reply = bench.machine.handle_describe_groups(&request, &context).replies.remove(0).1;
        let GroupReply::DescribeGroups(response) = reply else { panic!("{reply:?}") };
        assert_eq!((response.groups[0].error_code, response.groups[0].group_state.as_str()), (error, "Dead"));
    }
}

#[test]
fn what_is_subscribed_to_keeps_its_offsets_and_a_group_goes_when_it_is_empty() {
    let mut bench = Bench::new();
    bench.send(&joining("a"));
    bench.offset_commit("a", 1, 9);
    let offset_delete = |bench: &mut Bench| {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
        let topics = vec![OffsetDeleteRequestTopic { name: "t".to_owned(), partitions }];
        let request = OffsetDeleteRequest { group_id: "g".to_owned(), topics };
        let context = bench.context(0);
        let decision = bench.machine.handle_offset_delete(&request, &context);
        match bench.commit(decision) {
            Some(GroupReply::OffsetDelete(response)) => response.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    };
    let delete = |bench: &mut Bench| {
        let request = DeleteGroupsRequest { groups_names: vec!["g".to_owned()] };
        let context = bench.context(2);
        let decision = bench.machine.handle_delete_groups(&request, &context);
        match bench.commit(decision) {
            Some(GroupReply::DeleteGroups(response)) => response.results[0].error_code,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(offset_delete(&mut bench), ErrorCode::GroupSubscribedToTopic.code());
    assert_eq!(delete(&mut bench), ErrorCode::NonEmptyGroup.code());
    bench.send(&alive("a", -1));
    assert_eq!(offset_delete(&mut bench), 0);
    assert_eq!(delete(&mut bench), 0);
    assert_eq!(bench.describe().error_code, ErrorCode::GroupIdNotFound.code());
    assert!(bench.machine.groups.is_empty() && bench.machine.consumer_groups.is_empty());
}

#[test]
fn offsets_of_a_group_outlive_it_by_the_retention() {
    const DAY: u64 = 24 * 60 * 60;
    let mut bench = Bench::new();
    bench.send(&joining("a"));
    bench.offset_commit("a", 1, 9);
    bench.pass(46);
    assert_eq!(bench.describe().group_state, "Empty");

    bench.pass(6 * DAY);
    assert!(bench.machine.offsets.get("g", "t", 0).is_some());
    bench.pass(2 * DAY);

    assert!(bench.machine.offsets.get("g", "t", 0).is_none());
    bench.pass(DAY);
    assert_eq!(bench.describe().error_code, ErrorCode::GroupIdNotFound.code());
}

#[test]
fn an_expression_without_a_record_of_its_matches_is_looked_up() {
    let mut bench = Bench::new();
    let subscription = Subscription {
        topic_regex: Some("t".to_owned()),
        rebalance_timeout_ms: 60_000,
        ..Subscription::default()
    };
    bench.machine.replay(&records::member("g", "a", Some(&subscription)));
    bench.machine.replay(&records::group_epoch("g", Some((1, 0))));
    bench.machine.replay(&records::target("g", "a", Some(&BTreeSet::new())));
    bench.machine.replay(&records::target_epoch("g", Some((1, Timestamp(0)))));
    let current = Current { epoch: 1, ..Current::default() };
    bench.machine.replay(&records::current("g", "a", Some(&current)));

    let a = bench.send(&alive("a", 1));

    assert_eq!((a.member_epoch, given(&a)), (2, Some(vec![0, 1, 2, 3])));
}

#[test]
fn a_group_may_have_times_of_its_own() {
    let mut bench = Bench::new();
    bench.topics.times = GroupTimes {
        session_timeout: Some(Duration::from_secs(60)),
        heartbeat_interval: Some(Duration::from_secs(7)),
    };
    assert_eq!(bench.send(&joining("a")).heartbeat_interval_ms, 7_000);

    bench.pass(50);
    assert_eq!(bench.describe().members.len(), 1, "45 s are for groups that have none");
    bench.topics.times = GroupTimes::default();
    assert_eq!(bench.send(&alive("a", 1)).heartbeat_interval_ms, 5_000);
    bench.pass(46);
    assert_eq!(bench.describe().members.len(), 0);
}
