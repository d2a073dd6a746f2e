//! SyncGroup and Heartbeat in a consumer group (`GroupMetadataManager.classicGroupSyncToConsumerGroup`,
//! `classicGroupHeartbeatToConsumerGroup`).

use super::embedded;
use crate::consumer_group::group::ConsumerGroup;
use crate::consumer_group::member::{ClassicMember, MemberState};
use crate::consumer_group::topics::Topics;
use crate::consumer_group::turn::ConsumerTurn;
use crate::coordinator::GroupCoordinator;
use crate::member::millis;
use crate::reply::{GroupDecision, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_types::Now;

impl GroupCoordinator {
    /// Tells a member of the classic protocol what it has.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL, and REBALANCE_IN_PROGRESS when it
    /// is to join again.
    pub(crate) fn classic_syncs(
        &mut self,
        request: &SyncGroupRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
        decision: &mut GroupDecision,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let SyncGroupRequest { group_id, member_id, .. } = request;
        if self.downgrade_if_all_classic(group_id, topics, now, decision) {
            return Err(ErrorCode::RebalanceInProgress);
        }
        let mut turn = self.consumer_turn(group_id, now, decision).expect("the caller looked it up");
        let instance_id = request.group_instance_id.as_deref();
        let (member, classic) = turn.group.classic_member(member_id, instance_id, request.generation_id)?;
        if !is_of(request, classic) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        // Who is still giving up has joined for that already.
        if turn.group.epoch > member.current.epoch && member.current.state != MemberState::UnrevokedPartitions
        {
            turn.expect_join(member_id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let metadata =
            classic.protocols.first().map(|protocol| protocol.metadata.clone()).unwrap_or_default();
        let assignment = embedded::encode_assignment(member.current.assigned.keys(), &metadata, topics);
        turn.group.syncs.remove(member_id);
        turn.renew_session(member_id);
        turn.hear_before_a_wait(member_id, context.connection);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        })
    }

    /// Notes that a member of the classic protocol lives.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, and REBALANCE_IN_PROGRESS when it is to join again.
    pub(crate) fn classic_lives(
        &mut self,
        request: &HeartbeatRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
        decision: &mut GroupDecision,
    ) -> Result<(), ErrorCode> {
        let HeartbeatRequest { group_id, member_id, .. } = request;
        let mut turn = self.consumer_turn(group_id, now, decision).expect("the caller looked it up");
        let instance_id = request.group_instance_id.as_deref();
        turn.group.classic_member(member_id, instance_id, request.generation_id)?;
        turn.renew_session(member_id);
        turn.hear_beat(member_id, context.connection);
        if self.downgrade_if_all_classic(group_id, topics, now, decision) {
            return Err(ErrorCode::RebalanceInProgress);
        }
        let mut turn = self.consumer_turn(group_id, now, decision).expect("it is still there");
        // Kafka leaves it to members of the consumer protocol to notice new partitions. There may be none.
        turn.refresh_epoch(false, topics);
        if turn.group.must_join_again(member_id) {
            turn.expect_join(member_id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }
}

impl ConsumerTurn<'_> {
    /// Gives a member time to join again, unless it has been given some already.
    fn expect_join(&mut self, member_id: &str) {
        let deadline = self.now.monotonic + self.rebalance_timeout(member_id);
        self.group.joins.entry(member_id.to_owned()).or_insert(deadline);
        self.alarms.arm(&self.group.id, deadline);
    }

    /// A member has joined: gives it time to ask what it has.
    pub(super) fn expect_sync(&mut self, member_id: &str) {
        let deadline = self.now.monotonic + self.rebalance_timeout(member_id);
        self.group.joins.remove(member_id);
        self.group.syncs.insert(member_id.to_owned(), deadline);
        self.alarms.arm(&self.group.id, deadline);
    }

    fn rebalance_timeout(&self, member_id: &str) -> std::time::Duration {
        let member = self.group.member(member_id).expect("the caller looked it up");
        millis(member.subscription.rebalance_timeout_ms)
    }
}

impl ConsumerGroup {
    /// Whether there is something for a member to give up or to take over.
    fn must_join_again(&self, member_id: &str) -> bool {
        let current = &self.member(member_id).expect("the caller looked it up").current;
        current.epoch < self.epoch
            || match current.state {
                MemberState::Stable => false,
                MemberState::UnreleasedPartitions => !self.waits_for_others(member_id),
                MemberState::UnrevokedPartitions | MemberState::Unknown => true,
            }
    }

    /// Whether others still own some of what a member is to have.
    fn waits_for_others(&self, member_id: &str) -> bool {
        let is_elsewhere = |owner: &str| owner != member_id;
        let target = self.target(member_id).into_iter().flatten();
        target.filter_map(|partition| self.owner(partition)).any(is_elsewhere)
    }
}

/// Whether a request names what its member has joined with.
fn is_of(request: &SyncGroupRequest, classic: &ClassicMember) -> bool {
    let is_right = |asked: &Option<String>, actual: Option<&str>| {
        asked.as_deref().is_none_or(|asked| Some(asked) == actual)
    };
    let protocol = classic.protocols.first().map(|protocol| protocol.name.as_str());
    is_right(&request.protocol_type, Some(embedded::CONSUMER)) && is_right(&request.protocol_name, protocol)
}
