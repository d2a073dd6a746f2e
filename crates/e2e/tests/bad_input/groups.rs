//! Group ids, and what else Kafka refuses of a group's member.

use crate::{one_node, still_serves};
use ottla_e2e::{Client, Cluster, kcat};
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use ottla_protocol::messages::{
    DeleteGroupsRequest, HeartbeatRequest, LeaveGroupRequest, OffsetDeleteRequest, SyncGroupRequest,
};
use ottla_protocol::{ErrorCode, Request};

/// A node that coordinates groups.
fn coordinator() -> Cluster {
    let cluster = one_node();
    begin_to_coordinate(&cluster);
    cluster
}

/// Has somebody read as a group, without which there is nowhere to keep groups.
fn begin_to_coordinate(cluster: &Cluster) {
    let read = kcat::run(cluster, &["-G", "readers", "-e", "-X", "auto.offset.reset=earliest", "t"], "");
    assert_eq!(read, "kept\n");
}

fn call<R: Request>(cluster: &Cluster, version: i16, request: &R) -> R::Response {
    Client::connect(cluster.nodes()[0].port).call(version, request).expect("it is answered")
}

fn join(group: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), ..Default::default() };
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

fn commit(cluster: &Cluster, group: &str, topic: &str, generation: i32) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        committed_offset: 1,
        committed_leader_epoch: -1,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: generation,
        topics: vec![topic],
        ..Default::default()
    };
    call(cluster, 8, &request).topics[0].partitions[0].error_code.into()
}

#[test]
fn members_of_a_group_without_a_name_are_refused() {
    let cluster = one_node();
    refuses_members_without_a_group(&cluster);
    begin_to_coordinate(&cluster);
    refuses_members_without_a_group(&cluster);

    // Offsets may be kept without a group: that is as old as offsets are.
    assert_eq!(commit(&cluster, "", "t", -1), ErrorCode::None);
    assert_eq!(commit(&cluster, "", "t", 1), ErrorCode::UnknownMemberId);
    let delete = DeleteGroupsRequest { groups_names: vec![String::new()] };
    assert_eq!(call(&cluster, 2, &delete).results[0].error_code, ErrorCode::None.code());
    still_serves(&cluster);
}

fn refuses_members_without_a_group(cluster: &Cluster) {
    for version in [0, 3, 5, 9] {
        let answer = call(cluster, version, &join(""));
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::InvalidGroupId, "JoinGroup v{version}");
    }
    let member = || "somebody".to_owned();
    let sync = SyncGroupRequest { generation_id: 1, member_id: member(), ..Default::default() };
    assert_eq!(call(cluster, 3, &sync).error_code, ErrorCode::InvalidGroupId.code());
    let heartbeat = HeartbeatRequest { generation_id: 1, member_id: member(), ..Default::default() };
    assert_eq!(call(cluster, 3, &heartbeat).error_code, ErrorCode::InvalidGroupId.code());
    let leave = LeaveGroupRequest { member_id: member(), ..Default::default() };
    assert_eq!(call(cluster, 0, &leave).error_code, ErrorCode::InvalidGroupId.code());
    let members = vec![MemberIdentity { member_id: member(), ..Default::default() }];
    let leave = LeaveGroupRequest { members, ..Default::default() };
    assert_eq!(call(cluster, 4, &leave).error_code, ErrorCode::InvalidGroupId.code());
    let topics = vec![OffsetDeleteRequestTopic { name: "t".to_owned(), ..Default::default() }];
    let delete = OffsetDeleteRequest { topics, ..Default::default() };
    assert_eq!(call(cluster, 0, &delete).error_code, ErrorCode::InvalidGroupId.code());
}

#[test]
fn a_group_may_have_any_other_name() {
    let cluster = coordinator();
    let long = "g".repeat(10_000);

    for group in [" ", "..", "a b", "é", "a/b", "a\0b", &long] {
        let answer = call(&cluster, 5, &join(group));
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::MemberIdRequired, "{group:?}");
        assert_eq!(commit(&cluster, group, "t", -1), ErrorCode::None, "{group:?}");
    }

    still_serves(&cluster);
}

#[test]
fn a_member_that_asks_for_what_cannot_be_is_refused() {
    let cluster = coordinator();
    let with = |change: &dyn Fn(&mut JoinGroupRequest)| {
        let mut request = join("g");
        change(&mut request);
        request
    };
    let cases = [
        (with(&|join| join.session_timeout_ms = 1), ErrorCode::InvalidSessionTimeout),
        (with(&|join| join.session_timeout_ms = -1), ErrorCode::InvalidSessionTimeout),
        (with(&|join| join.session_timeout_ms = i32::MAX), ErrorCode::InvalidSessionTimeout),
        (with(&|join| join.protocols.clear()), ErrorCode::InconsistentGroupProtocol),
        (with(&|join| join.protocol_type.clear()), ErrorCode::InconsistentGroupProtocol),
        (with(&|join| join.member_id = "nobody".to_owned()), ErrorCode::UnknownMemberId),
    ];
    for (request, expected) in cases {
        let answer = call(&cluster, 9, &request);
        assert_eq!(ErrorCode::from(answer.error_code), expected, "{request:?}");
    }
    // From version 5 on a member says which protocol it believes in (KIP-559).
    for (version, expected) in [(4, ErrorCode::UnknownMemberId), (5, ErrorCode::InconsistentGroupProtocol)] {
        let request = SyncGroupRequest {
            group_id: "g".to_owned(),
            generation_id: 1,
            member_id: "nobody".to_owned(),
            ..Default::default()
        };
        assert_eq!(ErrorCode::from(call(&cluster, version, &request).error_code), expected, "v{version}");
    }
    for topic in ["", "..", "nowhere"] {
        assert_eq!(commit(&cluster, "g", topic, -1), ErrorCode::UnknownTopicOrPartition, "{topic:?}");
    }

    still_serves(&cluster);
}
