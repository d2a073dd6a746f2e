//! JoinGroup: a member enters the group, or comes back for its next generation.

use crate::group::GroupState;
use crate::member::{Member, Parked};
use crate::reply::RequestContext;
use crate::turn::{Turn, no_generation};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use std::time::Duration;

/// How long a new member's first JoinGroup may wait. It does not know its id, so if its client gives up and
/// tries again, it comes as another member, and this one is left over
/// (`GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The first version at which a dynamic member must come twice: once for its id, once with it (KIP-394).
pub(crate) const MEMBER_ID_REQUIRED_VERSION: i16 = 4;

impl Turn<'_> {
    /// Handles a JoinGroup whose group id and session timeout are valid.
    pub(crate) fn join(&mut self, request: &JoinGroupRequest, context: &RequestContext) {
        let to = Parked::from(context);
        let member_id = &request.member_id;
        if !self.has_room_for(member_id) {
            self.refuse_join(to, "", ErrorCode::GroupMaxSizeReached);
            self.remove_member(member_id);
            self.maybe_complete_join();
        } else if !self.group.supports(&request.protocol_type, &request.protocols) {
            self.refuse_join(to, member_id, ErrorCode::InconsistentGroupProtocol);
        } else if member_id.is_empty() {
            self.join_new(request, context);
        } else {
            self.join_known(request, context);
        }
    }

    /// While all join again, `group.max.size` counts those that have: so a group above it shrinks.
    fn has_room_for(&self, member_id: &str) -> bool {
        let size_max = self.settings.group_size_max;
        let member = self.group.member(member_id);
        match self.group.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.parked_join.is_some())
                    || self.group.awaiting_join() < size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.group.members().len() < size_max
            }
        }
    }

    fn join_new(&mut self, request: &JoinGroupRequest, context: &RequestContext) {
        let prefix = request.group_instance_id.as_deref().unwrap_or(&context.client_id);
        let new_id = self.generate_member_id(prefix);
        let holder = request.group_instance_id.as_deref().and_then(|id| self.group.static_member_id(id));
        if let Some(holder) = holder.cloned() {
            self.replace_static_member(&holder, &new_id, request, context);
        } else if request.group_instance_id.is_none() && context.version >= MEMBER_ID_REQUIRED_VERSION {
            self.add_pending_member(new_id.clone(), request.session_timeout_ms);
            self.refuse_join(Parked::from(context), &new_id, ErrorCode::MemberIdRequired);
        } else {
            self.add_member(new_id, request, context);
        }
    }

    fn join_known(&mut self, request: &JoinGroupRequest, context: &RequestContext) {
        let to = Parked::from(context);
        let member_id = &request.member_id;
        let instance_id = request.group_instance_id.as_deref();
        if instance_id.is_none() && self.group.pending_members.contains_key(member_id) {
            return self.add_member(member_id.clone(), request, context);
        }
        if let Err(error) = self.group.validate_member(member_id, instance_id) {
            return self.refuse_join(to, member_id, error);
        }
        self.hear_before_a_wait(member_id, context.connection);
        if self.is_news(request) {
            self.group.update(member_id, request);
            self.park_join(member_id, to);
            self.rebalance_or_complete_join();
        } else {
            let response = self.joined(member_id);
            self.reply_join(to, response);
        }
    }

    /// Returns whether a member's JoinGroup asks for another generation, and not only for the answer of the
    /// present one, which it may have missed. The leader of a stable group asks for one by joining: it knows
    /// of changes that its metadata does not show, such as new partitions.
    fn is_news(&self, request: &JoinGroupRequest) -> bool {
        let member_id = &request.member_id;
        let changed =
            || !self.group.member(member_id).is_some_and(|member| member.matches(&request.protocols));
        match self.group.state {
            GroupState::PreparingRebalance => true,
            GroupState::CompletingRebalance => changed(),
            GroupState::Stable => self.group.is_leader(member_id) || changed(),
            GroupState::Empty | GroupState::Dead => unreachable!("an empty group has no members"),
        }
    }

    fn add_member(&mut self, member_id: String, request: &JoinGroupRequest, context: &RequestContext) {
        if self.group.members().len() == 0 {
            self.group.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(initial) = &mut self.group.initial_delay {
            initial.new_member_added = true;
        }
        let deadline = self.now.monotonic + NEW_MEMBER_JOIN_TIMEOUT;
        let mut member = Member::from_request(member_id.clone(), request, context);
        member.session_deadline = Some(deadline);
        self.group.add(member);
        self.alarms.arm(&self.group.id, deadline);
        self.hear_before_a_wait(&member_id, context.connection);
        self.park_join(&member_id, Parked::from(context));
        self.rebalance_or_complete_join();
    }

    /// The answer to a member's JoinGroup in the present generation. Only the leader learns of the others.
    pub(crate) fn joined(&self, member_id: &str) -> JoinGroupResponse {
        let is_leader = self.group.is_leader(member_id);
        JoinGroupResponse {
            generation_id: self.group.generation,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            leader: self.group.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members: if is_leader { self.group.members_for_leader() } else { Vec::new() },
            ..no_generation()
        }
    }
}
