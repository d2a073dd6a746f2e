//! ConsumerGroupHeartbeat: a member joins, is alive, has given something up, or leaves (KIP-848).
//!
//! One heartbeat may do all of this: the member is added or changed; the group's epoch is bumped if that changes what is
//! subscribed to, or if the topics have changed; the target is computed if it is of an earlier epoch; the member is brought
//! nearer to it (`GroupMetadataManager.consumerGroupHeartbeat`).

use super::admission::Sender;
use super::group::ConsumerGroup;
use super::member::{Current, LEFT_FOR_A_WHILE, Member, Partitions, Subscription};
use super::records;
use super::regex;
use super::topics::Topics;
use super::turn::ConsumerTurn;
use super::validate::{JOINING, LEAVING, Refusal, validate};
use crate::coordinator::{GroupCoordinator, reply};
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_types::Now;

impl GroupCoordinator {
    /// Handles a ConsumerGroupHeartbeat.
    ///
    /// The group of a member that joins may be a classic one: it becomes a consumer group, with its members and offsets.
    pub fn handle_consumer_group_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
    ) -> GroupDecision {
        if let Err(refusal) = validate(request, context.version, &self.settings.consumer_groups) {
            return reply(context.token, GroupReply::ConsumerGroupHeartbeat(refusal.into_response()));
        }
        if let Err(message) = self.check_regex(request, topics) {
            let refusal = Refusal::new(ErrorCode::InvalidRegularExpression, message);
            return reply(context.token, GroupReply::ConsumerGroupHeartbeat(refusal.into_response()));
        }
        self.decide(|machine, decision| {
            let outcome = match request.member_epoch {
                LEAVING | LEFT_FOR_A_WHILE => machine.consumer_leaves(request, now, decision),
                _ => machine.consumer_lives(request, context, topics, now, decision),
            };
            let response = outcome.unwrap_or_else(Refusal::into_response);
            decision.replies.push((context.token, GroupReply::ConsumerGroupHeartbeat(response)));
        })
    }

    /// Checks an expression that the member did not have before.
    fn check_regex(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn Topics,
    ) -> Result<(), String> {
        let group = self.consumer_groups.get(&request.group_id);
        let known = group
            .and_then(|group| group.member(&request.member_id))
            .and_then(|member| member.subscription.topic_regex.as_ref());
        match &request.subscribed_topic_regex {
            Some(expression) if !expression.is_empty() && known != Some(expression) => {
                regex::check(expression, topics)
            }
            _ => Ok(()),
        }
    }

    /// Nothing is written before nothing can be refused any more.
    fn consumer_lives(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
        decision: &mut GroupDecision,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let group_id = &request.group_id;
        let owned: Option<Partitions> = request
            .topic_partitions
            .as_ref()
            .map(|owned| records::flat(owned.iter().map(|topic| (topic.topic_id, &topic.partitions))));
        // Version 0 lets the coordinator choose an id.
        let member_id = match request.member_id.as_str() {
            "" => self.random.uuid().to_string(),
            id => id.to_owned(),
        };
        let size_max = self.settings.consumer_groups.size_max;
        let sender = match self.consumer_groups.get(group_id) {
            Some(group) => group.admit(request, &member_id, owned.as_ref(), size_max)?,
            None if request.member_epoch != JOINING => return Err(no_such_group()),
            None => {
                if self.groups.contains_key(group_id) {
                    self.upgrade(group_id, topics, now, decision)?;
                }
                // Whoever holds an instance id in the group speaks the classic protocol, and gives way.
                let group = self.consumer_groups.get(group_id);
                group.map_or(Ok(Sender::New), |group| {
                    group.admit(request, &member_id, owned.as_ref(), size_max)
                })?
            }
        };
        self.consumer_groups.entry(group_id.clone()).or_insert_with(|| ConsumerGroup::new(group_id));
        let mut turn = self.consumer_turn(group_id, now, decision).expect("it is there");
        if let Sender::Back { old_id } = &sender {
            turn.replace_static_member(old_id, &member_id);
        }
        Ok(turn.heartbeat(request, &member_id, context, owned.as_ref(), topics))
    }

    fn consumer_leaves(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        now: Now,
        decision: &mut GroupDecision,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let Some(mut turn) = self.consumer_turn(&request.group_id, now, decision) else {
            return Err(no_such_group());
        };
        turn.leave(request)?;
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }
}

fn no_such_group() -> Refusal {
    Refusal::new(ErrorCode::GroupIdNotFound, "there is no such consumer group")
}

impl ConsumerTurn<'_> {
    fn heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: &str,
        context: &RequestContext,
        owned: Option<&Partitions>,
        topics: &dyn Topics,
    ) -> ConsumerGroupHeartbeatResponse {
        let Member { subscription: known, current: before } =
            self.group.member(member_id).cloned().unwrap_or_default();
        self.group.times = topics.group_times(&request.group_id);
        self.settle(member_id, updated(&known, request, context), owned, topics);
        self.renew_session(member_id);
        self.hear_beat(member_id, context.connection);

        let current = &self.group.member(member_id).expect("it was added").current;
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && owned.is_some();
        let is_news = request.member_epoch == JOINING || is_full || current.assigned != before.assigned;
        ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.to_owned()),
            member_epoch: current.epoch,
            heartbeat_interval_ms: i32::try_from(self.heartbeat_interval().as_millis()).unwrap_or(i32::MAX),
            assignment: is_news.then(|| assignment(current)),
            ..Default::default()
        }
    }
}

/// A member's subscription as its request has it. What the request leaves out stays.
fn updated(
    known: &Subscription,
    request: &ConsumerGroupHeartbeatRequest,
    context: &RequestContext,
) -> Subscription {
    let names = request.subscribed_topic_names.as_ref().map(|names| names.iter().cloned().collect());
    let or_known = |new: &Option<String>, known: &Option<String>| new.clone().or_else(|| known.clone());
    Subscription {
        instance_id: or_known(&request.instance_id, &known.instance_id),
        rack_id: or_known(&request.rack_id, &known.rack_id),
        client_id: context.client_id.clone(),
        client_host: context.client_host.clone(),
        topic_names: names.unwrap_or_else(|| known.topic_names.clone()),
        topic_regex: or_known(&request.subscribed_topic_regex, &known.topic_regex)
            .filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => known.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        server_assignor: or_known(&request.server_assignor, &known.server_assignor),
        classic: None,
    }
}

fn assignment(current: &Current) -> Assignment {
    let topics = records::by_topic(current.assigned.keys()).into_iter();
    let of_topic = |(topic_id, partitions)| TopicPartitions { topic_id, partitions };
    Assignment { topic_partitions: topics.map(of_topic).collect() }
}
