//! Who a heartbeat comes from: a new member, a known one, or one that takes the place of another.

use super::group::ConsumerGroup;
use super::member::{Current, LEFT_FOR_A_WHILE, Member, MemberState, Partitions};
use super::validate::{JOINING, Refusal};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;

/// Who sends a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Nobody that is known.
    New,
    /// A member.
    Known,
    /// A static member that is back, under this id or another than it had.
    Back { old_id: String },
}

impl ConsumerGroup {
    /// Tells who sends a heartbeat that is neither a farewell nor wrong by itself. `owned` is what it says it owns.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID, UNRELEASED_INSTANCE_ID.
    pub(crate) fn admit(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: &str,
        owned: Option<&Partitions>,
        size_max: usize,
    ) -> Result<Sender, Refusal> {
        let member = self.member(member_id);
        if member.is_none() && self.members().len() >= size_max {
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, "the group has no room"));
        }
        if request.member_epoch == JOINING {
            return self.admit_joining(request, member_id);
        }
        if let Some(instance_id) = &request.instance_id {
            self.validate_instance(instance_id, member_id)?;
        }
        let member = member.ok_or_else(unknown_member)?;
        validate_epoch(&member.current, request.member_epoch, owned)?;
        Ok(Sender::Known)
    }

    /// A member that joins owns nothing, and may do so at any time: it was fenced, has lost its answer, or has given up by
    /// itself (KAFKA-19233).
    fn admit_joining(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: &str,
    ) -> Result<Sender, Refusal> {
        let holder =
            request.instance_id.as_deref().and_then(|instance_id| self.static_member_id(instance_id));
        if let Some(holder) = holder {
            // One of the classic protocol does not say that it leaves.
            let gives_way =
                |old: &Member| old.current.epoch == LEFT_FOR_A_WHILE || old.subscription.classic.is_some();
            let is_free = holder == member_id || self.member(member_id).is_none();
            if self.member(holder).is_some_and(gives_way) && is_free {
                return Ok(Sender::Back { old_id: holder.to_owned() });
            }
            if holder != member_id {
                let message = "the instance id is another member's, which has not left";
                return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
            }
        }
        Ok(if self.member(member_id).is_some() { Sender::Known } else { Sender::New })
    }

    /// Checks that a member is the one that has an instance id.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub(crate) fn validate_instance(&self, instance_id: &str, member_id: &str) -> Result<(), Refusal> {
        match self.static_member_id(instance_id) {
            None => Err(unknown_member()),
            Some(holder) if holder != member_id => {
                Err(Refusal::new(ErrorCode::FencedInstanceId, "the instance id is another member's"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// A member that is not, or not any more.
pub(crate) fn unknown_member() -> Refusal {
    Refusal::new(ErrorCode::UnknownMemberId, "the group has no such member")
}

/// A member at its previous epoch may not have heard of the present one. If it owns nothing that it has not, it is told again.
fn validate_epoch(current: &Current, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refusal> {
    let fenced = |message: &str| Err(Refusal::new(ErrorCode::FencedMemberEpoch, message));
    if current.state == MemberState::Unknown && owned.is_none_or(|owned| !owned.is_empty()) {
        return fenced("the member is in a state that is not known here, and must start over");
    }
    let owns_its_own = |owned: &Partitions| owned.iter().all(|at| current.assigned.contains_key(at));
    let has_missed_one =
        epoch == current.previous_epoch && epoch < current.epoch && owned.is_some_and(owns_its_own);
    if epoch == current.epoch || has_missed_one {
        return Ok(());
    }
    fenced("the member's epoch is not the one that is known here, and it must start over")
}
