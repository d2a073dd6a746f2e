//! DescribeGroups and ListGroups: what operators see.

use crate::consumer_group::group::ConsumerGroup;
use crate::coordinator::{GroupCoordinator, reply};
use crate::group::{Group, GroupState};
use crate::member::Member;
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use ottla_types::Offset;

/// The first version that tells a group that does not exist by an error (KIP-1043).
const GROUP_ID_NOT_FOUND_VERSION: i16 = 6;

/// The types of groups, as ListGroups shows them.
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

impl GroupCoordinator {
    /// Handles a DescribeGroups for groups of this partition. Authorised operations are the caller's to add.
    pub fn handle_describe_groups(
        &self,
        request: &DescribeGroupsRequest,
        context: &RequestContext,
    ) -> GroupDecision {
        let describe_one = |group_id: &String| match self.groups.get(group_id) {
            Some(group) => describe(group),
            None if self.consumer_groups.contains_key(group_id) => {
                describe_missing(group_id, "is not a classic group", context.version)
            }
            None => describe_missing(group_id, "not found", context.version),
        };
        let groups = request.groups.iter().map(describe_one).collect();
        let response = DescribeGroupsResponse { groups, ..Default::default() };
        reply(context.token, GroupReply::DescribeGroups(response))
    }

    /// How many groups there are, for those who watch.
    pub fn groups_count(&self) -> usize {
        self.groups.len() + self.consumer_groups.len()
    }

    /// All committed offsets, for those who watch: group, topic, partition, offset.
    pub fn committed(&self) -> impl Iterator<Item = (&str, &str, i32, Offset)> {
        self.offsets
            .iter()
            .map(|(group, topic, partition, committed)| (group, topic, partition, committed.offset))
    }

    /// Handles a ListGroups: the groups of this partition. Filters are names in any case; an empty one lets all
    /// pass.
    pub fn handle_list_groups(&self, request: &ListGroupsRequest, context: &RequestContext) -> GroupDecision {
        let passes = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let wanted = self.groups.values().filter(|group| {
            passes(&request.states_filter, group.state.name()) && passes(&request.types_filter, CLASSIC)
        });
        let consumers = self.consumer_groups.values().filter(|group| {
            passes(&request.states_filter, group.state().name()) && passes(&request.types_filter, CONSUMER)
        });
        let groups = wanted.map(list).chain(consumers.map(list_consumers)).collect();
        let response = ListGroupsResponse { groups, ..Default::default() };
        reply(context.token, GroupReply::ListGroups(response))
    }
}

fn list(group: &Group) -> ListedGroup {
    ListedGroup {
        group_id: group.id.to_string(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        group_state: group.state.name().to_owned(),
        group_type: CLASSIC.to_owned(),
    }
}

fn list_consumers(group: &ConsumerGroup) -> ListedGroup {
    ListedGroup {
        group_id: group.id.to_string(),
        protocol_type: CONSUMER.to_owned(),
        group_state: group.state().name().to_owned(),
        group_type: CONSUMER.to_owned(),
    }
}

/// What members say and were given is meaningful in a stable group only.
fn describe(group: &Group) -> DescribedGroup {
    let protocol = group.protocol.as_deref().filter(|_| group.state == GroupState::Stable);
    DescribedGroup {
        group_id: group.id.to_string(),
        group_state: group.state.name().to_owned(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol_data: protocol.unwrap_or_default().to_owned(),
        members: group.members().map(|member| describe_member(member, protocol)).collect(),
        ..Default::default()
    }
}

fn describe_member(member: &Member, protocol: Option<&str>) -> DescribedGroupMember {
    let metadata = protocol.and_then(|protocol| member.metadata(protocol));
    let assignment = protocol.map(|_| member.assignment.clone());
    DescribedGroupMember {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: metadata.cloned().unwrap_or_default(),
        member_assignment: assignment.unwrap_or_default(),
    }
}

fn describe_missing(group_id: &str, what: &str, version: i16) -> DescribedGroup {
    let mut described = DescribedGroup {
        group_id: group_id.to_owned(),
        group_state: GroupState::Dead.name().to_owned(),
        ..Default::default()
    };
    if version >= GROUP_ID_NOT_FOUND_VERSION {
        described.error_code = ErrorCode::GroupIdNotFound.code();
        // A longer one could not be written.
        described.error_message = Some(format!("Group {group_id:.4000} {what}."));
    }
    described
}
