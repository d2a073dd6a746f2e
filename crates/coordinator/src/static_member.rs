//! A static member comes back under a new member id (KIP-345, KIP-814).

use crate::group::GroupState;
use crate::member::Parked;
use crate::records;
use crate::reply::RequestContext;
use crate::turn::Turn;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;

/// The first version at which a leader can be told that there is nothing to assign (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

impl Turn<'_> {
    /// Lets `new_id` take the place of `old_id`, which has the same instance id. Requests of the old one are
    /// fenced from here on. A stable group goes on without a rebalance if its protocol stays.
    pub(crate) fn replace_static_member(
        &mut self,
        old_id: &str,
        new_id: &str,
        request: &JoinGroupRequest,
        context: &RequestContext,
    ) {
        let to = Parked::from(context);
        let old_leader = self.group.leader.clone().unwrap_or_default();
        let old = self.group.rename(old_id, new_id).expect("instance ids name members");
        self.dismiss(&old, ErrorCode::FencedInstanceId, old_id);
        self.group.update(new_id, request);
        self.hear_before_a_wait(new_id, context.connection);
        self.renew_session(new_id);

        if self.group.state == GroupState::Stable && self.keeps_its_protocol() {
            let record = records::group_metadata(self.group, |member| member.assignment.clone());
            self.decision.records.push(record);
            let response = self.joined_in_place(new_id, &old_leader, context.version);
            return self.reply_join(to, response);
        }
        self.park_join(new_id, to);
        self.rebalance_or_complete_join();
    }

    fn keeps_its_protocol(&self) -> bool {
        self.group.protocol.as_deref() == Some(self.group.select_protocol().as_str())
    }

    /// A leader must not assign anew, as nobody else would join: it is told to skip that, or, if its client
    /// cannot be told, that the leader is somebody else: its own old id.
    fn joined_in_place(&self, new_id: &str, old_leader: &str, version: i16) -> JoinGroupResponse {
        let joined = self.joined(new_id);
        if version >= SKIP_ASSIGNMENT_VERSION {
            return JoinGroupResponse { skip_assignment: self.group.is_leader(new_id), ..joined };
        }
        JoinGroupResponse { leader: old_leader.to_owned(), members: Vec::new(), ..joined }
    }
}
