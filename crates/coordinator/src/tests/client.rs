//! A consumer as a small state machine: it joins, assigns if it leads, reads, commits, and does as it is told.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use std::collections::BTreeMap;

pub(super) const GROUP: &str = "readers";
pub(super) const TOPIC: &str = "orders";
pub(super) const PARTITIONS: u8 = 8;

/// A request of any of the group APIs.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    Commit(OffsetCommitRequest),
    Fetch(OffsetFetchRequest),
}

/// What a consumer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Joining,
    Syncing,
    Fetching,
    Reading,
}

/// A consumer of [`TOPIC`].
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) instance_id: Option<String>,
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) phase: Phase,
    /// Next record to read, by partition owned.
    pub(super) positions: BTreeMap<i32, i64>,
    pub(super) assignments: Vec<SyncGroupRequestAssignment>,
}

impl Client {
    pub(super) fn new(instance_id: Option<String>) -> Client {
        Client {
            instance_id,
            member_id: String::new(),
            generation: -1,
            phase: Phase::Joining,
            positions: BTreeMap::new(),
            assignments: Vec::new(),
        }
    }

    /// Who owns a partition: an instance keeps what it owns when it comes back as another member.
    pub(super) fn identity(&self) -> &str {
        self.instance_id.as_deref().unwrap_or(&self.member_id)
    }

    /// The request of the present phase.
    pub(super) fn call(&self) -> Call {
        match self.phase {
            Phase::Joining => Call::Join(self.join()),
            Phase::Syncing => Call::Sync(SyncGroupRequest {
                group_id: GROUP.into(),
                generation_id: self.generation,
                member_id: self.member_id.clone(),
                group_instance_id: self.instance_id.clone(),
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                assignments: self.assignments.clone(),
            }),
            Phase::Fetching => Call::Fetch(fetch(self.positions.keys().copied().collect())),
            Phase::Reading => Call::Heartbeat(HeartbeatRequest {
                group_id: GROUP.into(),
                generation_id: self.generation,
                member_id: self.member_id.clone(),
                group_instance_id: self.instance_id.clone(),
            }),
        }
    }

    pub(super) fn join(&self) -> JoinGroupRequest {
        JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range"), protocol("roundrobin")],
            reason: None,
        }
    }

    pub(super) fn leave(&self) -> Call {
        let member_id = self.member_id.clone();
        let member = MemberIdentity { member_id, group_instance_id: self.instance_id.clone(), reason: None };
        Call::Leave(LeaveGroupRequest { group_id: GROUP.into(), members: vec![member], ..Default::default() })
    }

    /// Reads `count` records of every partition and commits that.
    pub(super) fn read_and_commit(&mut self, count: i64) -> Call {
        self.positions.values_mut().for_each(|position| *position += count);
        Call::Commit(OffsetCommitRequest {
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            ..commit(&self.positions)
        })
    }

    /// Takes the answer to a JoinGroup.
    pub(super) fn joined(&mut self, response: &JoinGroupResponse) {
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => {
                self.generation = response.generation_id;
                self.member_id.clone_from(&response.member_id);
                self.phase = Phase::Syncing;
                let leads = response.leader == self.member_id && !response.skip_assignment;
                self.assignments = if leads { range(&response.members) } else { Vec::new() };
            }
            ErrorCode::MemberIdRequired => self.member_id.clone_from(&response.member_id),
            error => self.fail(error),
        }
    }

    /// Takes the answer to a SyncGroup.
    pub(super) fn synced(&mut self, response: &SyncGroupResponse) {
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => {
                self.positions = response.assignment.iter().map(|&p| (i32::from(p), 0)).collect();
                self.phase = Phase::Fetching;
            }
            error => self.fail(error),
        }
    }

    /// Does as an error tells. A consumer that must join again gives up its partitions first.
    pub(super) fn fail(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::None | ErrorCode::NotCoordinator => return,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.member_id.clear(),
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            other => panic!("no client expects {other} here"),
        }
        self.phase = Phase::Joining;
        self.positions.clear();
    }
}

pub(super) fn protocol(name: &str) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.into(), metadata: subscription(&[TOPIC]) }
}

/// A ConsumerProtocolSubscription, version 0.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, u8::try_from(topics.len()).unwrap()];
    for topic in topics {
        bytes.extend([0, u8::try_from(topic.len()).unwrap()]);
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

/// The range assignor; an assignment is a list of partitions, one byte each.
pub(super) fn range(members: &[JoinGroupResponseMember]) -> Vec<SyncGroupRequestAssignment> {
    let count = u8::try_from(members.len()).unwrap();
    let mut next = 0;
    let assign = members.iter().zip(0_u8..).map(|(member, index)| {
        let quota = PARTITIONS / count + u8::from(index < PARTITIONS % count);
        let assignment = Bytes::from((next..next + quota).collect::<Vec<u8>>());
        next += quota;
        SyncGroupRequestAssignment { member_id: member.member_id.clone(), assignment }
    });
    assign.collect()
}

/// A commit of a client without a generation.
pub(super) fn commit(positions: &BTreeMap<i32, i64>) -> OffsetCommitRequest {
    let partitions = positions.iter().map(|(&partition_index, &committed_offset)| {
        OffsetCommitRequestPartition { partition_index, committed_offset, ..Default::default() }
    });
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: partitions.collect(),
        ..Default::default()
    };
    OffsetCommitRequest { group_id: GROUP.into(), topics: vec![topic], ..Default::default() }
}

pub(super) fn fetch(partition_indexes: Vec<i32>) -> OffsetFetchRequest {
    let topics =
        Some(vec![OffsetFetchRequestTopics { name: TOPIC.into(), partition_indexes, ..Default::default() }]);
    let group = OffsetFetchRequestGroup { group_id: GROUP.into(), topics, ..Default::default() };
    OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() }
}
