//! Who is answered, and with what.

use crate::presence::ConnectionToken;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response::{
    ConsumerGroupDescribeResponse, DescribedGroup as DescribedConsumerGroup,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_protocol::messages::delete_groups_response::DeleteGroupsResponse;
use ottla_protocol::messages::describe_groups_response::DescribeGroupsResponse;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_protocol::messages::list_groups_response::ListGroupsResponse;
use ottla_protocol::messages::offset_commit_response::OffsetCommitResponse;
use ottla_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::messages::txn_offset_commit_response::TxnOffsetCommitResponse;
use ottla_protocol::records::group::GroupRecord;
use ottla_types::Decision;

/// Names a request that waits for its answer. The driver chooses it, and must not use one twice within the
/// life of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// Who asks, and how to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// The client id of the request header; empty when there is none.
    pub client_id: String,
    /// The client's address, as Kafka writes it: `/192.0.2.1`.
    pub client_host: String,
    /// The version of the request, which is also the answer's.
    pub version: i16,
    /// The connection by which it came.
    pub connection: ConnectionToken,
    /// Comes back with the answer.
    pub token: ReplyToken,
}

/// An answer to a request, complete but for the throttle time.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupReply {
    /// To JoinGroup.
    JoinGroup(JoinGroupResponse),
    /// To SyncGroup.
    SyncGroup(SyncGroupResponse),
    /// To Heartbeat.
    Heartbeat(HeartbeatResponse),
    /// To LeaveGroup.
    LeaveGroup(LeaveGroupResponse),
    /// To ConsumerGroupHeartbeat.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To ConsumerGroupDescribe.
    ConsumerGroupDescribe(ConsumerGroupDescribeResponse),
    /// To OffsetCommit.
    OffsetCommit(OffsetCommitResponse),
    /// To TxnOffsetCommit.
    TxnOffsetCommit(TxnOffsetCommitResponse),
    /// To OffsetFetch.
    OffsetFetch(OffsetFetchResponse),
    /// To OffsetDelete.
    OffsetDelete(OffsetDeleteResponse),
    /// To DescribeGroups.
    DescribeGroups(DescribeGroupsResponse),
    /// To ListGroups.
    ListGroups(ListGroupsResponse),
    /// To DeleteGroups.
    DeleteGroups(DeleteGroupsResponse),
}

/// What the coordinator answers to an event: what is to be written, and who is answered once it, and all
/// that was written before, is committed. The answers may be to earlier requests than the event's own.
pub type GroupDecision = Decision<GroupRecord, (ReplyToken, GroupReply)>;

impl GroupReply {
    /// The answer to send in place of this one when what it waits for will never be committed here.
    ///
    /// A driver that resigns, or whose append fails, answers so with
    /// [`ErrorCode::NotCoordinator`] or [`ErrorCode::CoordinatorNotAvailable`].
    pub fn into_error(self, error: ErrorCode) -> GroupReply {
        let error_code = error.code();
        match self {
            GroupReply::JoinGroup(was) => GroupReply::JoinGroup(JoinGroupResponse {
                error_code,
                member_id: was.member_id,
                // Versions below 7 have no null here; an empty name is right for all of them.
                protocol_name: Some(String::new()),
                ..Default::default()
            }),
            GroupReply::SyncGroup(_) => {
                GroupReply::SyncGroup(SyncGroupResponse { error_code, ..Default::default() })
            }
            GroupReply::Heartbeat(_) => {
                GroupReply::Heartbeat(HeartbeatResponse { error_code, ..Default::default() })
            }
            GroupReply::LeaveGroup(_) => {
                GroupReply::LeaveGroup(LeaveGroupResponse { error_code, ..Default::default() })
            }
            GroupReply::ConsumerGroupHeartbeat(_) => {
                let response = ConsumerGroupHeartbeatResponse { error_code, ..Default::default() };
                GroupReply::ConsumerGroupHeartbeat(response)
            }
            GroupReply::ConsumerGroupDescribe(was) => {
                let refuse = |group: DescribedConsumerGroup| DescribedConsumerGroup {
                    group_id: group.group_id,
                    error_code,
                    ..Default::default()
                };
                let groups = was.groups.into_iter().map(refuse).collect();
                GroupReply::ConsumerGroupDescribe(ConsumerGroupDescribeResponse {
                    groups,
                    ..Default::default()
                })
            }
            GroupReply::OffsetCommit(was) => GroupReply::OffsetCommit(refuse_commit(was, error_code)),
            GroupReply::TxnOffsetCommit(mut was) => {
                let partitions = was.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.error_code = error_code);
                GroupReply::TxnOffsetCommit(was)
            }
            GroupReply::OffsetFetch(was) => GroupReply::OffsetFetch(refuse_fetch(was, error_code)),
            GroupReply::OffsetDelete(_) => {
                GroupReply::OffsetDelete(OffsetDeleteResponse { error_code, ..Default::default() })
            }
            GroupReply::DescribeGroups(was) => GroupReply::DescribeGroups(refuse_describe(was, error_code)),
            GroupReply::ListGroups(_) => {
                GroupReply::ListGroups(ListGroupsResponse { error_code, ..Default::default() })
            }
            GroupReply::DeleteGroups(mut was) => {
                was.results.iter_mut().for_each(|result| result.error_code = error_code);
                GroupReply::DeleteGroups(was)
            }
        }
    }
}

fn refuse_commit(mut response: OffsetCommitResponse, error_code: i16) -> OffsetCommitResponse {
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error_code = error_code;
    }
    response
}

/// Version 1 has no error of its own, so its partitions carry it; the later ones look at the group's.
fn refuse_fetch(mut response: OffsetFetchResponse, error_code: i16) -> OffsetFetchResponse {
    response.error_code = error_code;
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error_code = error_code;
        partition.committed_offset = -1;
        partition.committed_leader_epoch = -1;
        partition.metadata = Some(String::new());
    }
    for group in &mut response.groups {
        group.error_code = error_code;
        group.topics.clear();
    }
    response
}

fn refuse_describe(mut response: DescribeGroupsResponse, error_code: i16) -> DescribeGroupsResponse {
    for group in &mut response.groups {
        group.error_code = error_code;
        group.members.clear();
        group.group_state.clear();
        group.protocol_type.clear();
        group.protocol_data.clear();
    }
    response
}
