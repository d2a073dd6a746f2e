//! A consumer of the classic protocol, as the simulation has it. It may find itself in a group of either kind.

use super::client::{REBALANCE, SESSION};
use super::consumer::Times;
use crate::consumer_group::classic::embedded;
use crate::consumer_group::member::Partitions;
use crate::consumer_group::records::by_topic;
use crate::consumer_group::topics::Topics;
use crate::reply::{GroupReply, ReplyToken};
use ottla_protocol::messages::consumer_protocol_subscription::TopicPartition;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::messages::{ConsumerProtocolSubscription, JoinGroupResponse, SyncGroupResponse};
use ottla_protocol::{ErrorCode, encode_prefixed};
use ottla_types::{Monotonic, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};

/// The version of what consumers tell each other.
const VERSION: i16 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Joining,
    Syncing,
    Stable,
}

/// A request of the classic protocol.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
}

#[derive(Clone, Debug)]
pub(super) struct Classic {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) names: Vec<String>,
    /// Whether it keeps what it owns while it joins.
    is_cooperative: bool,
    pub(super) generation: i32,
    phase: Phase,
    /// What it reads.
    pub(super) owned: Partitions,
    assignments: Vec<SyncGroupRequestAssignment>,
    /// The topics that it looked at when it last led.
    led_with: Option<i64>,
    /// When it gives everything up by itself: nobody has answered for a session.
    session_deadline: Option<Monotonic>,
    /// The same: it has not done in time what it may have been asked for since all was well.
    rebalance_deadline: Option<Monotonic>,
    /// When it sent the last request whose answer said that all is well.
    well_at: Option<Monotonic>,
    pub(super) waits_for: Option<(ReplyToken, Monotonic)>,
    pub(super) is_running: bool,
}

impl Classic {
    pub(super) fn new(instance_id: Option<String>, names: Vec<String>, is_cooperative: bool) -> Classic {
        Classic {
            member_id: String::new(),
            instance_id,
            names,
            is_cooperative,
            generation: -1,
            phase: Phase::Joining,
            owned: Partitions::new(),
            assignments: Vec::new(),
            led_with: None,
            session_deadline: None,
            rebalance_deadline: None,
            well_at: None,
            waits_for: None,
            is_running: true,
        }
    }

    /// Gives everything up, and joins as somebody new.
    fn start_over(&mut self) {
        let names = std::mem::take(&mut self.names);
        *self = Classic::new(self.instance_id.take(), names, self.is_cooperative);
    }

    pub(super) fn tick(&mut self, now: Monotonic) {
        let is_over = |deadline: Option<Monotonic>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.session_deadline) || is_over(self.rebalance_deadline) {
            self.start_over();
        }
    }

    /// Its connection is lost, with what it had sent.
    pub(super) fn lose_connection(&mut self, now: Monotonic) {
        if self.waits_for.take().is_some() && self.session_deadline.is_none() && self.generation >= 0 {
            // Whoever coordinates now does not know that it waited.
            self.session_deadline = Some(now + SESSION);
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Stable
    }

    pub(super) fn join_again(&mut self) {
        self.phase = Phase::Joining;
        if let Some(well_at) = self.well_at {
            self.rebalance_deadline.get_or_insert(well_at + REBALANCE);
        }
        if !self.is_cooperative {
            self.owned.clear();
        }
    }

    /// Its JoinGroup has arrived: it is not asked for signs of life while it waits for the others. A request that takes longer
    /// than a session to arrive is as good as lost: the coordinator does not know that anybody waits.
    pub(super) fn waits_for_others(&mut self) {
        self.session_deadline = None;
    }

    pub(super) fn call(&mut self, topics: &dyn Topics) -> Call {
        if self.phase == Phase::Stable && self.led_with.is_some_and(|version| version != topics.version()) {
            // It is up to the leader of a classic group to notice.
            self.join_again();
        }
        match self.phase {
            Phase::Joining => Call::Join(JoinGroupRequest {
                group_id: "g".to_owned(),
                session_timeout_ms: SESSION.as_millis() as i32,
                rebalance_timeout_ms: REBALANCE.as_millis() as i32,
                member_id: self.member_id.clone(),
                group_instance_id: self.instance_id.clone(),
                protocol_type: "consumer".to_owned(),
                protocols: vec![JoinGroupRequestProtocol {
                    name: self.protocol().to_owned(),
                    metadata: self.metadata(topics).into(),
                }],
                reason: None,
            }),
            Phase::Syncing => Call::Sync(SyncGroupRequest {
                group_id: "g".to_owned(),
                generation_id: self.generation,
                member_id: self.member_id.clone(),
                group_instance_id: self.instance_id.clone(),
                protocol_type: Some("consumer".to_owned()),
                protocol_name: Some(self.protocol().to_owned()),
                assignments: self.assignments.clone(),
            }),
            Phase::Stable => Call::Heartbeat(HeartbeatRequest {
                group_id: "g".to_owned(),
                generation_id: self.generation,
                member_id: self.member_id.clone(),
                group_instance_id: self.instance_id.clone(),
            }),
        }
    }

    fn protocol(&self) -> &'static str {
        if self.is_cooperative { "cooperative-sticky" } else { "range" }
    }

    fn metadata(&self, topics: &dyn Topics) -> Vec<u8> {
        let owned_partitions = by_topic(&self.owned).into_iter().filter_map(|(id, partitions)| {
            Some(TopicPartition { topic: topics.name_of(id)?.to_owned(), partitions })
        });
        let subscription = ConsumerProtocolSubscription {
            topics: self.names.clone(),
            owned_partitions: owned_partitions.collect(),
            generation_id: self.generation,
            ..Default::default()
        };
        encode_prefixed(&subscription, VERSION).unwrap()
    }

    /// Takes an answer.
    pub(super) fn hear(&mut self, reply: &GroupReply, times: Times, topics: &dyn Topics) {
        let code = match reply {
            GroupReply::JoinGroup(response) => response.error_code,
            GroupReply::SyncGroup(response) => response.error_code,
            GroupReply::Heartbeat(response) => response.error_code,
            other => panic!("{other:?}"),
        };
        let Times { sent_at, answered_at, now } = times;
        // The answer to a JoinGroup begins a session, whenever that was sent. On its way it is as good as at once: what comes
        // seconds late is taken for what it was then.
        let begun_at = if matches!(reply, GroupReply::JoinGroup(_)) { answered_at } else { sent_at };
        if begun_at + SESSION <= now {
            return self.start_over();
        }
        match ErrorCode::ALL.iter().copied().find(|error| error.code() == code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::MemberIdRequired) => {
                let GroupReply::JoinGroup(response) = reply else { panic!("{reply:?}") };
                self.member_id.clone_from(&response.member_id);
                return;
            }
            Some(ErrorCode::RebalanceInProgress) => {
                if self.generation >= 0 {
                    self.session_deadline = Some(begun_at + SESSION);
                }
                return self.join_again();
            }
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => return self.start_over(),
            // Its coordinator goes: it stays what it is, and asks the next one.
            Some(ErrorCode::NotCoordinator) => return,
            Some(ErrorCode::FencedInstanceId) => {
                self.start_over();
                self.is_running = false;
                return;
            }
            other => panic!("{other:?}: {reply:?}"),
        }
        match reply {
            GroupReply::JoinGroup(response) => self.joined(response, topics, answered_at),
            GroupReply::SyncGroup(response) => self.synced(response, topics, sent_at),
            _ => {
                self.session_deadline = Some(sent_at + SESSION);
                self.well_at = Some(sent_at);
            }
        }
    }

    fn joined(&mut self, response: &JoinGroupResponse, topics: &dyn Topics, answered_at: Monotonic) {
        self.member_id.clone_from(&response.member_id);
        self.generation = response.generation_id;
        self.phase = Phase::Syncing;
        self.session_deadline = Some(answered_at + SESSION);
        self.assignments.clear();
        self.led_with = None;
        if response.leader == response.member_id {
            self.led_with = Some(topics.version());
            self.assignments = self.assign(&response.members, topics);
        }
    }

    fn synced(&mut self, response: &SyncGroupResponse, topics: &dyn Topics, sent_at: Monotonic) {
        let given = embedded::assignment(&response.assignment, topics).expect("it can be read");
        // A classic group that is stable does not take this for a sign of life.
        self.phase = Phase::Stable;
        let gives_up = !self.owned.is_subset(&given);
        self.owned = given;
        // How long ago it was asked to is not known: at the earliest when all was well.
        if gives_up {
            self.join_again();
        } else {
            self.well_at = Some(sent_at);
            self.rebalance_deadline = None;
        }
    }

    /// What the leader of a classic group does.
    fn assign(
        &self,
        members: &[JoinGroupResponseMember],
        topics: &dyn Topics,
    ) -> Vec<SyncGroupRequestAssignment> {
        let said: Vec<(&JoinGroupResponseMember, ConsumerProtocolSubscription)> = members
            .iter()
            .map(|member| (member, embedded::subscription(&member.metadata).expect("it can be read")))
            .collect();
        let mut owners: BTreeMap<TopicIdPartition, &str> = BTreeMap::new();
        for (member, said) in &said {
            let owned = said.owned_partitions.iter().map(|topic| (topic.topic.as_str(), &topic.partitions));
            for partition in embedded::identified(owned, topics) {
                owners.insert(partition, &member.member_id);
            }
        }
        let mut shares: BTreeMap<&str, Partitions> =
            members.iter().map(|member| (member.member_id.as_str(), Partitions::new())).collect();
        let names: BTreeSet<&String> = said.iter().flat_map(|(_, said)| &said.topics).collect();
        for name in names {
            let readers: Vec<&str> = said
                .iter()
                .filter(|(_, said)| said.topics.contains(name))
                .map(|(member, _)| member.member_id.as_str())
                .collect();
            let Some(topic) = topics.by_name(name) else { continue };
            for partition in 0..topic.partitions {
                let at = TopicIdPartition::new(topic.id, partition);
                let reader = readers[partition as usize % readers.len()];
                // Who has it must give it up first.
                if owners.get(&at).is_none_or(|owner| *owner == reader) {
                    shares.get_mut(reader).expect("it is a member").insert(at);
                }
            }
        }
        let share = |(member_id, share): (&str, Partitions)| {
            let member = members.iter().find(|member| member.member_id == member_id).expect("it is one");
            let assignment = embedded::encode_assignment(&share, &member.metadata, topics);
            SyncGroupRequestAssignment { member_id: member_id.to_owned(), assignment }
        };
        shares.into_iter().map(share).collect()
    }
}
