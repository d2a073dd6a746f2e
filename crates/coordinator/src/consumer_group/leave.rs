//! A member leaves, for good or for a while, or is sent away by an administrator.

use super::admission::unknown_member;
use super::member::{Current, Held, LEFT_FOR_A_WHILE};
use super::records;
use super::turn::ConsumerTurn;
use super::validate::Refusal;
use crate::leave::answer;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;

impl ConsumerTurn<'_> {
    /// Handles a farewell, which is right at any epoch.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub(crate) fn leave(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
        let member_id = &request.member_id;
        if let Some(instance_id) = &request.instance_id {
            self.group.validate_instance(instance_id, member_id)?;
        }
        let member = self.group.member(member_id).ok_or_else(unknown_member)?;
        if request.member_epoch != LEFT_FOR_A_WHILE {
            self.remove_member(member_id);
            return Ok(());
        }
        // It has stopped, and so owns nothing that it was to give up; the rest is kept for it as long as its session lasts.
        let current = Current { epoch: LEFT_FOR_A_WHILE, revoking: Held::new(), ..member.current.clone() };
        let record = records::current(&request.group_id, member_id, Some(&current));
        self.write(record);
        self.group.revocations.remove(member_id);
        Ok(())
    }

    /// Handles a LeaveGroup: of members of the classic protocol, or of an administrator who sends static members away. Others
    /// say that they go by their heartbeats.
    pub(crate) fn leave_classic(&mut self, members: &[MemberIdentity]) -> Vec<MemberResponse> {
        members.iter().map(|member| answer(member, self.send_away(member))).collect()
    }

    fn send_away(&mut self, leaving: &MemberIdentity) -> ErrorCode {
        let MemberIdentity { member_id, group_instance_id, .. } = leaving;
        let holder =
            group_instance_id.as_deref().map(|id| self.group.static_member_id(id).map(str::to_owned));
        let is_classic =
            self.group.member(member_id).is_some_and(|member| member.subscription.classic.is_some());
        match holder {
            Some(None) => return ErrorCode::UnknownMemberId,
            Some(Some(holder)) if member_id.is_empty() => self.remove_member(&holder),
            Some(Some(holder)) if holder != *member_id => return ErrorCode::FencedInstanceId,
            _ if is_classic => self.remove_member(member_id),
            _ => return ErrorCode::UnknownMemberId,
        }
        ErrorCode::None
    }
}
