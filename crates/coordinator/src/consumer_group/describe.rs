//! ConsumerGroupDescribe: what operators see.

use super::group::ConsumerGroup;
use super::member::{Member, Partitions};
use super::records;
use super::topics::Topics;
use crate::coordinator::{GroupCoordinator, reply};
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use ottla_types::TopicIdPartition;

/// Members, as ConsumerGroupDescribe shows them from version 1 on.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl GroupCoordinator {
    /// Handles a ConsumerGroupDescribe for groups of this partition. Authorised operations are the caller's to add.
    pub fn handle_consumer_group_describe(
        &self,
        request: &ConsumerGroupDescribeRequest,
        context: &RequestContext,
        topics: &dyn Topics,
    ) -> GroupDecision {
        let describe_one = |group_id: &String| match self.consumer_groups.get(group_id) {
            _ if group_id.is_empty() => refuse(group_id, ErrorCode::InvalidGroupId, None),
            Some(group) => self.describe(group, topics),
            None if self.groups.contains_key(group_id) => refuse_missing(group_id, "is not a consumer group"),
            None => refuse_missing(group_id, "not found"),
        };
        let groups = request.group_ids.iter().map(describe_one).collect();
        let response = ConsumerGroupDescribeResponse { groups, ..Default::default() };
        reply(context.token, GroupReply::ConsumerGroupDescribe(response))
    }

    fn describe(&self, group: &ConsumerGroup, topics: &dyn Topics) -> DescribedGroup {
        let default = self.settings.consumer_groups.default_assignor().name();
        let describe_member = |(id, member): (&str, &Member)| DescribedMember {
            member_id: id.to_owned(),
            instance_id: member.subscription.instance_id.clone(),
            rack_id: member.subscription.rack_id.clone(),
            member_epoch: member.current.epoch,
            client_id: member.subscription.client_id.clone(),
            client_host: member.subscription.client_host.clone(),
            subscribed_topic_names: member.subscription.topic_names.iter().cloned().collect(),
            subscribed_topic_regex: member.subscription.topic_regex.clone(),
            assignment: assignment(member.current.assigned.keys(), topics),
            target_assignment: assignment(group.target(id).unwrap_or(&Partitions::new()), topics),
            member_type: match member.subscription.classic {
                Some(_) => CLASSIC_MEMBER,
                None => CONSUMER_MEMBER,
            },
        };
        DescribedGroup {
            group_id: group.id.to_string(),
            group_state: group.state().name().to_owned(),
            group_epoch: group.epoch,
            assignment_epoch: group.target_epoch,
            assignor_name: group.preferred_assignor().unwrap_or(default).to_owned(),
            members: group.members().map(describe_member).collect(),
            ..Default::default()
        }
    }
}

/// Topics that are gone have no name, and are left out.
fn assignment<'a>(
    partitions: impl IntoIterator<Item = &'a TopicIdPartition>,
    topics: &dyn Topics,
) -> Assignment {
    let named = records::by_topic(partitions).into_iter().filter_map(|(topic_id, partitions)| {
        let topic_name = topics.name_of(topic_id)?.to_owned();
        Some(TopicPartitions { topic_id, topic_name, partitions })
    });
    Assignment { topic_partitions: named.collect() }
}

fn refuse_missing(group_id: &str, what: &str) -> DescribedGroup {
    refuse(group_id, ErrorCode::GroupIdNotFound, Some(format!("Group {group_id:.4000} {what}.")))
}

fn refuse(group_id: &str, error: ErrorCode, error_message: Option<String>) -> DescribedGroup {
    DescribedGroup {
        group_id: group_id.to_owned(),
        error_code: error.code(),
        error_message,
        ..Default::default()
    }
}
