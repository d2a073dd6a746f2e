//! LeaveGroup: members go, or are sent away by an administrator.

use crate::group::GroupState;
use crate::turn::Turn;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use std::borrow::Cow;

/// The first version that names members in a list.
const BATCH_VERSION: i16 = 3;

impl Turn<'_> {
    /// Removes the members that a request names, each for itself; then the others rebalance, once.
    pub(crate) fn leave(&mut self, members: &[MemberIdentity]) -> Vec<MemberResponse> {
        let responses: Vec<MemberResponse> =
            members.iter().map(|member| answer(member, self.leave_one(member))).collect();
        if responses.iter().any(|response| response.error_code == ErrorCode::None.code()) {
            self.rebalance_without_the_gone();
        }
        responses
    }

    fn leave_one(&mut self, leaving: &MemberIdentity) -> ErrorCode {
        let MemberIdentity { member_id, group_instance_id, .. } = leaving;
        let instance_id = group_instance_id.as_deref();
        if member_id.is_empty() {
            // An administrator, who knows the instance only.
            let holder = instance_id.and_then(|instance_id| self.group.static_member_id(instance_id));
            let Some(holder) = holder.cloned() else { return ErrorCode::UnknownMemberId };
            self.remove_member(&holder);
        } else if self.group.pending_members.remove(member_id).is_none() {
            if let Err(error) = self.group.validate_member(member_id, instance_id) {
                return error;
            }
            self.remove_member(member_id);
        }
        ErrorCode::None
    }

    /// Members are gone, so the generation is over, or there are fewer to wait for.
    pub(crate) fn rebalance_without_the_gone(&mut self) {
        match self.group.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(),
            GroupState::PreparingRebalance => self.maybe_complete_join(),
            GroupState::Empty | GroupState::Dead => {}
        }
    }
}

/// The members that a request of any version names.
pub(crate) fn leaving(request: &LeaveGroupRequest, version: i16) -> Cow<'_, [MemberIdentity]> {
    if version >= BATCH_VERSION {
        return Cow::Borrowed(&request.members);
    }
    Cow::Owned(vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }])
}

/// The answer, whose form depends on the version.
pub(crate) fn response(members: Vec<MemberResponse>, version: i16) -> LeaveGroupResponse {
    if version >= BATCH_VERSION {
        return LeaveGroupResponse { members, ..Default::default() };
    }
    let error_code = members.first().map_or(0, |only| only.error_code);
    LeaveGroupResponse { error_code, ..Default::default() }
}

/// The answer for one member.
pub(crate) fn answer(member: &MemberIdentity, error: ErrorCode) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: error.code(),
    }
}
