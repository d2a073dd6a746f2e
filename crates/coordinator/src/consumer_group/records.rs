//! The records of consumer groups.

use super::group::ResolvedRegex;
use super::member::{Current, Held, Partitions, Subscription};
use ottla_protocol::records::group::consumer_group_current_member_assignment::TopicPartitions;
use ottla_protocol::records::group::consumer_group_target_assignment_member::TopicPartition;
use ottla_protocol::records::group::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue, GroupRecord,
};
use ottla_types::{Timestamp, TopicIdPartition, Uuid};
use std::collections::BTreeMap;

/// The group that a record of a consumer group is about; `None` for records of anything else.
pub(crate) fn group_of(record: &GroupRecord) -> Option<&str> {
    match record {
        GroupRecord::ConsumerGroupMetadata(key, _) => Some(&key.group_id),
        GroupRecord::ConsumerGroupMemberMetadata(key, _) => Some(&key.group_id),
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, _) => Some(&key.group_id),
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, _) => Some(&key.group_id),
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, _) => Some(&key.group_id),
        GroupRecord::ConsumerGroupRegularExpression(key, _) => Some(&key.group_id),
        _ => None,
    }
}

/// Returns whether a record of a consumer group ends what its key names.
pub(crate) fn is_tombstone(record: &GroupRecord) -> bool {
    matches!(
        record,
        GroupRecord::ConsumerGroupMetadata(_, None)
            | GroupRecord::ConsumerGroupMemberMetadata(_, None)
            | GroupRecord::ConsumerGroupTargetAssignmentMetadata(_, None)
            | GroupRecord::ConsumerGroupTargetAssignmentMember(_, None)
            | GroupRecord::ConsumerGroupCurrentMemberAssignment(_, None)
            | GroupRecord::ConsumerGroupRegularExpression(_, None)
    )
}

/// The group's epoch; `None` ends the group.
pub(crate) fn group_epoch(group_id: &str, epoch_and_hash: Option<(i32, i64)>) -> GroupRecord {
    let key = ConsumerGroupMetadataKey { group_id: group_id.to_owned() };
    let value =
        epoch_and_hash.map(|(epoch, metadata_hash)| ConsumerGroupMetadataValue { epoch, metadata_hash });
    GroupRecord::ConsumerGroupMetadata(key, value)
}

/// What a member says of itself; `None` ends the member.
pub(crate) fn member(group_id: &str, member_id: &str, subscription: Option<&Subscription>) -> GroupRecord {
    let key =
        ConsumerGroupMemberMetadataKey { group_id: group_id.to_owned(), member_id: member_id.to_owned() };
    let value = subscription.map(|subscription| ConsumerGroupMemberMetadataValue {
        instance_id: subscription.instance_id.clone(),
        rack_id: subscription.rack_id.clone(),
        client_id: subscription.client_id.clone(),
        client_host: subscription.client_host.clone(),
        subscribed_topic_names: subscription.topic_names.iter().cloned().collect(),
        subscribed_topic_regex: subscription.topic_regex.clone(),
        rebalance_timeout_ms: subscription.rebalance_timeout_ms,
        server_assignor: subscription.server_assignor.clone(),
        classic_member_metadata: subscription.classic.as_ref().map(Into::into),
    });
    GroupRecord::ConsumerGroupMemberMetadata(key, value)
}

/// The epoch of the targets, and when they were computed; `None` ends it.
pub(crate) fn target_epoch(group_id: &str, epoch: Option<(i32, Timestamp)>) -> GroupRecord {
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: group_id.to_owned() };
    let value = epoch.map(|(assignment_epoch, at)| ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch,
        assignment_timestamp: at.0,
    });
    GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, value)
}

/// What a member is to have; `None` ends it.
pub(crate) fn target(group_id: &str, member_id: &str, target: Option<&Partitions>) -> GroupRecord {
    let key = ConsumerGroupTargetAssignmentMemberKey {
        group_id: group_id.to_owned(),
        member_id: member_id.to_owned(),
    };
    let value = target.map(|target| ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: by_topic(target)
            .into_iter()
            .map(|(topic_id, partitions)| TopicPartition { topic_id, partitions })
            .collect(),
    });
    GroupRecord::ConsumerGroupTargetAssignmentMember(key, value)
}

/// What a member has; `None` ends it.
pub(crate) fn current(group_id: &str, member_id: &str, current: Option<&Current>) -> GroupRecord {
    let key = ConsumerGroupCurrentMemberAssignmentKey {
        group_id: group_id.to_owned(),
        member_id: member_id.to_owned(),
    };
    let value = current.map(|current| ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        state: current.state.code(),
        assigned_partitions: with_epochs(&current.assigned),
        partitions_pending_revocation: with_epochs(&current.revoking),
    });
    GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value)
}

/// What a regular expression matches; `None` when nobody uses it any more.
pub(crate) fn regex(group_id: &str, regex: &str, resolved: Option<&ResolvedRegex>) -> GroupRecord {
    let key = ConsumerGroupRegularExpressionKey {
        group_id: group_id.to_owned(),
        regular_expression: regex.to_owned(),
    };
    let value = resolved.map(|resolved| ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.at.0,
    });
    GroupRecord::ConsumerGroupRegularExpression(key, value)
}

/// Partitions by topic, both in order.
pub(crate) fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicIdPartition>,
) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        topics.entry(at.topic_id).or_default().push(at.partition);
    }
    topics
}

/// Partitions of topics, one by one.
pub(crate) fn flat<'a>(topics: impl Iterator<Item = (Uuid, &'a Vec<i32>)>) -> Partitions {
    topics
        .flat_map(|(id, partitions)| partitions.iter().map(move |&p| TopicIdPartition::new(id, p)))
        .collect()
}

fn with_epochs(held: &Held) -> Vec<TopicPartitions> {
    let of_topic = |(topic_id, partitions): (Uuid, Vec<i32>)| {
        let epochs = partitions.iter().map(|&p| held[&TopicIdPartition::new(topic_id, p)]).collect();
        TopicPartitions { topic_id, partitions, assignment_epochs: Some(epochs) }
    };
    by_topic(held.keys()).into_iter().map(of_topic).collect()
}
