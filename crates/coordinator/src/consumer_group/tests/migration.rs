//! Groups that go from one protocol to the other, and members of both in one group.

use super::stories::{Bench, alive, assert_error, given, joining, owning};
use crate::consumer_group::MigrationPolicy;
use crate::consumer_group::classic::embedded;
use crate::consumer_group::member::Partitions;
use crate::group::GroupState;
use crate::{ConsumerGroupSettings, GroupCoordinator, GroupDecision, GroupReply, Settings};
use bytes::Bytes;
use ottla_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use ottla_protocol::messages::consumer_protocol_subscription::TopicPartition;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, JoinGroupResponse, SyncGroupResponse,
};
use ottla_protocol::{ErrorCode, encode_prefixed};

fn subscription(owned: &[i32]) -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t".to_owned()],
        owned_partitions: vec![TopicPartition { topic: "t".to_owned(), partitions: owned.to_vec() }],
        ..Default::default()
    };
    encode_prefixed(&subscription, 3).unwrap().into()
}

fn join_request(member_id: &str, owned: &[i32]) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "cooperative-sticky".to_owned(),
            metadata: subscription(owned),
        }],
        ..Default::default()
    }
}

fn sync_request(member_id: &str, generation_id: i32) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        generation_id,
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("cooperative-sticky".to_owned()),
        ..Default::default()
    }
}

impl Bench {
    fn join(&mut self, request: &JoinGroupRequest) -> Option<JoinGroupResponse> {
        let context = self.context(9);
        let decision = self.machine.handle_join_group(request, &context, &self.topics, self.now);
        match self.commit(decision) {
            Some(GroupReply::JoinGroup(response)) => Some(response),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    fn sync(&mut self, request: &SyncGroupRequest) -> SyncGroupResponse {
        let context = self.context(5);
        let decision = self.machine.handle_sync_group(request, &context, &self.topics, self.now);
        match self.commit(decision) {
            Some(GroupReply::SyncGroup(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    fn beat(&mut self, member_id: &str, generation_id: i32) -> i16 {
        let request = HeartbeatRequest {
            group_id: "g".to_owned(),
            member_id: member_id.to_owned(),
            generation_id,
            ..Default::default()
        };
        let context = self.context(4);
        let decision = self.machine.handle_heartbeat(&request, &context, &self.topics, self.now);
        match self.commit(decision) {
            Some(GroupReply::Heartbeat(response)) => response.error_code,
            other => panic!("{other:?}"),
        }
    }

    /// A member joins by the classic protocol, first for its id.
    fn join_new(&mut self) -> (String, Option<JoinGroupResponse>) {
        let told = self.join(&join_request("", &[])).expect("it is told its id");
        assert_eq!(told.error_code, ErrorCode::MemberIdRequired.code());
        let joined = self.join(&join_request(&told.member_id, &[]));
        (told.member_id, joined)
    }

    /// What a member of the classic protocol has at a generation.
    fn assigned(&mut self, member_id: &str, generation: i32) -> Vec<i32> {
        let synced = self.sync(&sync_request(member_id, generation));
        assert_eq!(synced.error_code, 0);
        let assigned = embedded::assignment(&synced.assignment, &self.topics).expect("it can be read");
        assigned.into_iter().map(|at| at.partition).collect()
    }

    /// A classic group of one member, which has been assigned these partitions and perhaps something else.
    fn classic_group(&mut self, partitions: &[i32], user_data: Option<Bytes>) -> String {
        let (member_id, joined) = self.join_new();
        assert_eq!(joined, None, "it waits for others");
        self.pass(3);
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![Assigned { topic: "t".to_owned(), partitions: partitions.to_vec() }],
            user_data,
        };
        let assignment = encode_prefixed(&assignment, 3).unwrap().into();
        let share = SyncGroupRequestAssignment { member_id: member_id.clone(), assignment };
        let synced = self.sync(&SyncGroupRequest { assignments: vec![share], ..sync_request(&member_id, 1) });
        assert_eq!(synced.error_code, 0);
        member_id
    }
}

fn bench(migration: MigrationPolicy) -> Bench {
    Bench::with(ConsumerGroupSettings { migration, ..Default::default() })
}

#[test]
fn a_group_is_upgraded_and_downgraded_while_it_is_read() {
    let mut bench = Bench::new();
    let old = bench.classic_group(&[0, 1, 2, 3], None);
    assert_eq!(bench.offset_commit(&old, 1, 8), 0);

    let new = bench.send(&joining("new"));
    assert_eq!((new.member_epoch, given(&new)), (2, Some(vec![])), "the other has everything still");
    assert!(bench.machine.groups.is_empty() && bench.machine.consumer_groups.contains_key("g"));
    let described = bench.describe();
    let types: Vec<i8> = described.members.iter().map(|member| member.member_type).collect();
    assert_eq!((types.len(), types.iter().sum::<i8>()), (2, 1), "one of each");
    assert_eq!(bench.offset_commit(&old, 1, 8), 0, "it may still commit");
    assert_eq!(bench.offset_commit(&old, 2, 8), ErrorCode::IllegalGeneration.code());

    // It gives up two, and joins once more to say so.
    assert_eq!(bench.beat(&old, 1), ErrorCode::RebalanceInProgress.code());
    let joined = bench.join(&join_request(&old, &[0, 1, 2, 3])).unwrap();
    assert_eq!((joined.error_code, joined.generation_id, joined.leader.as_str()), (0, 1, ""));
    assert_eq!(bench.assigned(&old, 1), [0, 1]);
    assert_eq!(given(&bench.send(&alive("new", 2))), None, "nothing is free yet");
    assert_eq!(bench.beat(&old, 1), ErrorCode::RebalanceInProgress.code());
    let joined = bench.join(&join_request(&old, &[0, 1])).unwrap();
    assert_eq!(joined.generation_id, 2);
    assert_eq!(bench.assigned(&old, 2), [0, 1]);
    assert_eq!(bench.beat(&old, 2), 0);
    assert_eq!(bench.offset_commit(&old, 1, 8), 0, "it has owned that all along");
    let given_up = bench.offset_commit_in(2, &old, 1, 8);
    assert_eq!(given_up, ErrorCode::IllegalGeneration.code(), "it has given that up");
    assert_eq!(given(&bench.send(&alive("new", 2))), Some(vec![2, 3]));
    assert_eq!(bench.describe().group_state, "Stable");
    assert!(bench.machine.offsets.get("g", "t", 0).is_some(), "offsets stay");

    bench.send(&owning(alive("new", -1), &bench, &[]));
    assert_eq!(bench.beat(&old, 2), ErrorCode::RebalanceInProgress.code());
    assert!(bench.machine.consumer_groups.is_empty(), "nobody needs it to be a consumer group");
    assert_eq!(bench.offset_commit(&old, 2, 8), 0, "it may commit before it joins again");
    bench.pass(0);
    assert_eq!(bench.machine.groups["g"].state, GroupState::PreparingRebalance);
    let joined = bench.join(&join_request(&old, &[0, 1])).expect("it is the only one");
    assert_eq!((joined.generation_id, &joined.leader), (3, &old));
    assert!(bench.machine.offsets.get("g", "t", 0).is_some(), "offsets stay");
}

#[test]
fn only_what_the_policy_allows_happens() {
    for (policy, up, down) in [
        (MigrationPolicy::Disabled, false, false),
        (MigrationPolicy::Upgrade, true, false),
        (MigrationPolicy::Downgrade, false, true),
        (MigrationPolicy::Bidirectional, true, true),
    ] {
        let mut classic = bench(policy);
        let old = classic.classic_group(&[0], None);
        let error = classic.send(&joining("new")).error_code;
        assert_eq!(error, if up { 0 } else { ErrorCode::GroupIdNotFound.code() }, "{policy:?}");
        assert_eq!(classic.beat(&old, 1), if up { ErrorCode::RebalanceInProgress.code() } else { 0 });

        let mut consumers = bench(policy);
        consumers.send(&joining("new"));
        let (old, joined) = consumers.join_new();
        assert_eq!(joined.unwrap().generation_id, 2, "{policy:?}: whoever wants to may join");
        consumers.send(&alive("new", -1));
        assert_eq!(consumers.beat(&old, 2), ErrorCode::RebalanceInProgress.code());
        assert_eq!(consumers.machine.groups.contains_key("g"), down, "{policy:?}");
        if !down {
            let joined = consumers.join(&join_request(&old, &[])).unwrap();
            assert_eq!(consumers.assigned(&old, joined.generation_id), [0, 1, 2, 3]);
            consumers.topics.set("t", 5);
            let error = consumers.beat(&old, joined.generation_id);
            assert_eq!(error, ErrorCode::RebalanceInProgress.code(), "nobody else looks at the topics");
        }
    }
}

#[test]
fn what_could_not_be_kept_is_not_upgraded() {
    let mut bench = Bench::new();
    let old = bench.classic_group(&[0], Some(Bytes::from_static(b"an assignor's own")));

    assert_error(&bench.send(&joining("new")), ErrorCode::GroupIdNotFound);
    assert_eq!(bench.beat(&old, 1), 0, "nothing has changed for it");
}

#[test]
fn those_who_wait_are_told_of_another_rebalance() {
    let mut bench = Bench::new();
    let (old, joined) = bench.join_new();
    assert_eq!(joined, None);

    let context = bench.context(1);
    let decision =
        bench.machine.handle_consumer_group_heartbeat(&joining("new"), &context, &bench.topics, bench.now);
    let errors: Vec<i16> = decision
        .replies
        .iter()
        .map(|(_, reply)| match reply {
            GroupReply::JoinGroup(response) => response.error_code,
            GroupReply::ConsumerGroupHeartbeat(response) => response.error_code,
            other => panic!("{other:?}"),
        })
        .collect();
    bench.commit(decision);

    assert_eq!(errors, [ErrorCode::RebalanceInProgress.code(), 0]);
    let joined = bench.join(&join_request(&old, &[])).unwrap();
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
}

#[test]
fn who_joins_must_share_a_protocol_with_the_others_and_be_a_consumer() {
    let mut bench = Bench::new();
    bench.send(&joining("new"));
    let (_, joined) = bench.join_new();
    assert_eq!(joined.unwrap().error_code, 0);
    let refused = |bench: &mut Bench, change: fn(&mut JoinGroupRequest)| {
        let mut request = join_request("", &[]);
        change(&mut request);
        assert_eq!(bench.join(&request).unwrap().error_code, ErrorCode::InconsistentGroupProtocol.code());
    };

    refused(&mut bench, |request| request.protocols[0].name = "range".to_owned());
    refused(&mut bench, |request| request.protocol_type = "connect".to_owned());
    refused(&mut bench, |request| request.protocols.clear());
    refused(&mut bench, |request| request.protocols[0].metadata = Bytes::from_static(&[0]));
}

#[test]
fn members_of_the_classic_protocol_are_given_up_when_they_do_not_do_their_part() {
    let mut bench = Bench::new();
    bench.send(&joining("new"));
    let members = |bench: &mut Bench| bench.describe().members.len();

    let (silent, joined) = bench.join_new();
    bench.assigned(&silent, joined.unwrap().generation_id);
    bench.pass(9);
    bench.send(&alive("new", 1));
    assert_eq!(members(&mut bench), 2);
    bench.pass(2);
    assert_eq!(members(&mut bench), 1, "its session is over");

    let (lazy, joined) = bench.join_new();
    let generation = joined.unwrap().generation_id;
    for _ in 0..3 {
        bench.pass(7);
        bench.send(&joining("new"));
        bench.beat(&lazy, generation);
    }
    assert_eq!(members(&mut bench), 1, "it has not asked what it has for 20 s");

    let (leaving, _) = bench.join_new();
    let member = MemberIdentity { member_id: leaving, ..Default::default() };
    let request = LeaveGroupRequest { group_id: "g".to_owned(), members: vec![member], ..Default::default() };
    let context = bench.context(5);
    let decision = bench.machine.handle_leave_group(&request, &context, bench.now);
    let Some(GroupReply::LeaveGroup(left)) = bench.commit(decision) else { panic!("no answer") };
    assert_eq!((left.members[0].error_code, members(&mut bench)), (0, 1));
}

#[test]
fn a_static_member_comes_back_with_the_other_protocol() {
    let mut bench = Bench::new();
    bench.send(&joining("other"));
    let with_instance = |owned: &[i32]| JoinGroupRequest {
        group_instance_id: Some("i".to_owned()),
        ..join_request("", owned)
    };
    let joined = bench.join(&with_instance(&[])).unwrap();
    assert_eq!(joined.error_code, 0, "a static member has no need to come twice");

    let mut modern = joining("modern");
    modern.instance_id = Some("i".to_owned());
    assert_error(&bench.send(&modern), ErrorCode::None);
    let fenced = HeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: joined.member_id.clone(),
        group_instance_id: Some("i".to_owned()),
        generation_id: joined.generation_id,
    };
    let context = bench.context(4);
    let decision = bench.machine.handle_heartbeat(&fenced, &context, &bench.topics, bench.now);
    let Some(GroupReply::Heartbeat(response)) = bench.commit(decision) else { panic!("no answer") };
    assert_eq!(response.error_code, ErrorCode::FencedInstanceId.code());

    let back = bench.join(&with_instance(&[])).unwrap();
    assert_eq!(back.error_code, 0);
    assert_eq!(bench.describe().members.len(), 2, "it has taken the other's place");
}

#[test]
fn a_new_coordinator_lets_members_of_a_downgraded_group_join_again() {
    let mut bench = Bench::new();
    bench.send(&joining("new"));
    let (old, _) = bench.join_new();
    bench.send(&alive("new", -1));
    let request =
        HeartbeatRequest { group_id: "g".to_owned(), member_id: old, generation_id: 2, ..Default::default() };
    let context = bench.context(4);
    let decision = bench.machine.handle_heartbeat(&request, &context, &bench.topics, bench.now);

    let mut successor = GroupCoordinator::new(Settings::default(), 2);
    decision.records.iter().for_each(|record| successor.replay(record));
    let GroupDecision { records, .. } = successor.handle_loaded(bench.now);

    assert!(records.is_empty());
    assert_eq!(successor.groups["g"].state, GroupState::PreparingRebalance);
    assert_eq!(successor.groups["g"].generation, 2);
    let nothing = Partitions::new();
    let empty = embedded::encode_assignment(&nothing, &subscription(&[]), &bench.topics);
    let member = successor.groups["g"].members().next().unwrap();
    assert_eq!(member.assignment, empty, "what it owns is written down, not what it was to have");
}
