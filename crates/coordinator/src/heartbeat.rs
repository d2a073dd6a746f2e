//! Heartbeat: a member is alive, and learns whether it must join again.

use crate::group::GroupState;
use crate::reply::RequestContext;
use crate::turn::Turn;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;

impl Turn<'_> {
    /// Handles a Heartbeat. One that comes before its member has synced counts all the same.
    pub(crate) fn heartbeat(&mut self, request: &HeartbeatRequest, context: &RequestContext) -> ErrorCode {
        let instance_id = request.group_instance_id.as_deref();
        if let Err(error) = self.group.validate_member(&request.member_id, instance_id) {
            return error;
        }
        if request.generation_id != self.group.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.hear(&request.member_id, context.connection);
        self.renew_session(&request.member_id);
        let member = self.group.member_mut(&request.member_id).expect("it was validated");
        member.presence.beat(self.now.monotonic);
        match self.group.state {
            GroupState::PreparingRebalance => ErrorCode::RebalanceInProgress,
            GroupState::CompletingRebalance | GroupState::Stable => ErrorCode::None,
            GroupState::Empty | GroupState::Dead => unreachable!("an empty group has no members"),
        }
    }
}
