//! JoinGroup in a consumer group (`GroupMetadataManager.classicGroupJoinToConsumerGroup`).

use super::embedded;
use crate::consumer_group::group::ConsumerGroup;
use crate::consumer_group::member::{Member, Subscription};
use crate::consumer_group::topics::Topics;
use crate::coordinator::GroupCoordinator;
use crate::join::MEMBER_ID_REQUIRED_VERSION;
use crate::member::Member as ClassicGroupMember;
use crate::reply::{GroupDecision, RequestContext};
use crate::turn::no_generation;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ConsumerProtocolSubscription;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_types::Now;

impl GroupCoordinator {
    /// Lets a member of the classic protocol join a consumer group that has members, or join it again.
    pub(crate) fn classic_joins(
        &mut self,
        request: &JoinGroupRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
        decision: &mut GroupDecision,
    ) -> JoinGroupResponse {
        let refuse = |error: ErrorCode, member_id: &str| JoinGroupResponse {
            error_code: error.code(),
            member_id: member_id.to_owned(),
            ..no_generation()
        };
        let (group_id, instance_id) = (&request.group_id, request.group_instance_id.as_deref());
        if self.downgrade_if_all_classic(group_id, topics, now, decision) {
            return refuse(ErrorCode::RebalanceInProgress, &request.member_id);
        }
        let size_max = self.settings.consumer_groups.size_max;
        let new_id = request.member_id.is_empty().then(|| self.random.uuid().to_string());
        let group = self.consumer_groups.get(group_id).expect("the caller looked it up");
        let said = match group.admit_classic(request, size_max) {
            Ok(said) => said,
            Err(error) => return refuse(error, &request.member_id),
        };
        if let Some(new_id) = &new_id
            && instance_id.is_none()
            && context.version >= MEMBER_ID_REQUIRED_VERSION
        {
            return refuse(ErrorCode::MemberIdRequired, new_id);
        }
        let member_id = new_id.unwrap_or_else(|| request.member_id.clone());
        let holder =
            instance_id.and_then(|instance_id| group.static_member_id(instance_id)).map(str::to_owned);

        let mut turn = self.consumer_turn(group_id, now, decision).expect("it was looked up");
        if let Some(holder) = holder.filter(|holder| *holder != member_id) {
            turn.replace_static_member(&holder, &member_id);
        }
        let owned = said.owned_partitions.iter().map(|topic| (topic.topic.as_str(), &topic.partitions));
        let owned = embedded::identified(owned, topics);
        let joined = ClassicGroupMember::from_request(member_id.clone(), request, context);
        turn.settle(&member_id, Subscription::of_classic(&joined, said), Some(&owned), topics);
        turn.renew_session(&member_id);
        turn.expect_sync(&member_id);
        turn.hear_before_a_wait(&member_id, context.connection);
        let Member { subscription, current } = turn.group.member(&member_id).expect("it was added");
        let classic = subscription.classic.as_ref().expect("it is one");
        JoinGroupResponse {
            member_id: member_id.clone(),
            generation_id: current.epoch,
            protocol_type: Some(embedded::CONSUMER.to_owned()),
            protocol_name: classic.protocols.first().map(|protocol| protocol.name.clone()),
            ..no_generation()
        }
    }
}

impl ConsumerGroup {
    /// What a member of the classic protocol says that joins.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED, INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    fn admit_classic(
        &self,
        request: &JoinGroupRequest,
        size_max: usize,
    ) -> Result<ConsumerProtocolSubscription, ErrorCode> {
        let (member_id, instance_id) = (&request.member_id, request.group_instance_id.as_deref());
        let holder = instance_id.and_then(|instance_id| self.static_member_id(instance_id));
        let is_new = self.member(member_id).is_none() && holder.is_none();
        if is_new && self.members().len() >= size_max {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports_classic(request) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if instance_id.is_some() && !member_id.is_empty() {
            match holder {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        let said = request.protocols.first().and_then(|protocol| embedded::subscription(&protocol.metadata));
        said.ok_or(ErrorCode::InconsistentGroupProtocol)
    }

    /// Whether a consumer joins that shares a protocol with all others of the classic protocol, as in a classic group: it may
    /// become one.
    fn supports_classic(&self, request: &JoinGroupRequest) -> bool {
        let is_known_to_all = |name: &str| {
            self.classic_members()
                .all(|(_, _, classic)| classic.protocols.iter().any(|protocol| protocol.name == name))
        };
        request.protocol_type == embedded::CONSUMER
            && request.protocols.iter().any(|protocol| is_known_to_all(&protocol.name))
    }
}
