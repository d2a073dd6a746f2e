//! The records that the coordinator writes, with Kafka's bytes.

use crate::group::Group;
use crate::member::Member;
use bytes::Bytes;
use ottla_protocol::EncodeError;
use ottla_protocol::records::group::group_metadata::MemberMetadata;
use ottla_protocol::records::group::{
    GroupMetadataKey, GroupMetadataValue, GroupRecord, OffsetCommitKey, OffsetCommitValue,
};

/// The version of the value that Kafka 4 writes for a record: GroupMetadata 3; OffsetCommit 4, or 1 for the
/// few with an expiry of their own, a field that only version 1 has
/// (`GroupCoordinatorRecordHelpers`, `MetadataVersion`).
pub fn value_version(record: &GroupRecord) -> i16 {
    match record {
        GroupRecord::OffsetCommit(_, Some(value)) if value.expire_timestamp >= 0 => 1,
        GroupRecord::OffsetCommit(..) => 4,
        GroupRecord::GroupMetadata(..) => 3,
        other => *other.versions().end(),
    }
}

/// Encodes a record: its key, and its value unless it is a tombstone.
///
/// # Errors
/// When a text is longer than a key's 16-bit length can say.
pub fn encode(record: &GroupRecord) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
    Ok((record.encode_key()?, record.encode_value(value_version(record))?))
}

/// What the log is to hold of a group, with what its members are assigned.
pub(crate) fn group_metadata(group: &Group, assignment: impl Fn(&Member) -> Bytes) -> GroupRecord {
    let protocol = group.protocol.as_deref().unwrap_or_default();
    let members = group.members().map(|member| MemberMetadata {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.metadata(protocol).expect("the chosen protocol is everybody's").clone(),
        assignment: assignment(member),
    });
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation,
        protocol: group.protocol.clone(),
        // Nobody leads before all have joined again, whoever takes whose place meanwhile.
        leader: group.leader.clone().filter(|_| !group.has_come_down),
        current_state_timestamp: group.state_since.map_or(-1, |at| at.0),
        members: members.collect(),
    };
    GroupRecord::GroupMetadata(GroupMetadataKey { group: group.id.to_string() }, Some(value))
}

/// The end of a group.
pub(crate) fn group_tombstone(group_id: &str) -> GroupRecord {
    GroupRecord::GroupMetadata(GroupMetadataKey { group: group_id.to_owned() }, None)
}

/// A committed offset.
pub(crate) fn offset_commit(
    group_id: &str,
    topic: &str,
    partition: i32,
    value: OffsetCommitValue,
) -> GroupRecord {
    GroupRecord::OffsetCommit(offset_key(group_id, topic, partition), Some(value))
}

/// The end of a committed offset.
pub(crate) fn offset_tombstone(group_id: &str, topic: &str, partition: i32) -> GroupRecord {
    GroupRecord::OffsetCommit(offset_key(group_id, topic, partition), None)
}

fn offset_key(group_id: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey { group: group_id.to_owned(), topic: topic.to_owned(), partition }
}
