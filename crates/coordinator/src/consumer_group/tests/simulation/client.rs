//! A consumer, as the simulation has it: what it believes to own, and what it says.

use crate::consumer_group::member::Partitions;
use crate::consumer_group::records::{by_topic, flat};
use crate::reply::ReplyToken;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::{Monotonic, Random};
use std::time::Duration;

/// How long a member may be silent, as the coordinator is told too.
pub(super) const SESSION: Duration = Duration::from_secs(5);
/// How long a member may take to give partitions up. No less than its session, as consumers have it: who hears of nothing for so
/// long gives everything up by itself, and does not read what it was to give up by an answer that it never got.
pub(super) const REBALANCE: Duration = Duration::from_secs(6);

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) names: Vec<String>,
    pub(super) regex: String,
    pub(super) assignor: Option<String>,
    pub(super) epoch: i32,
    /// What it reads.
    pub(super) owned: Partitions,
    /// What it will own when it has given up the rest of what it owns.
    pending: Option<Partitions>,
    /// When that is done.
    revoked_at: Monotonic,
    /// When it gives everything up by itself, as the coordinator might have: it was asked for something, and may not have been
    /// heard saying that it gave it up.
    revoke_deadline: Option<Monotonic>,
    session_deadline: Option<Monotonic>,
    /// When it sent the last request that was answered.
    answered_at: Option<Monotonic>,
    reported: Option<Partitions>,
    /// Whether the next request says everything.
    pub(super) tells_all: bool,
    pub(super) waits_for: Option<(ReplyToken, Monotonic)>,
    pub(super) is_running: bool,
}

impl Client {
    pub(super) fn new(member_id: String, instance_id: Option<String>) -> Client {
        Client {
            member_id,
            instance_id,
            names: Vec::new(),
            regex: String::new(),
            assignor: None,
            epoch: 0,
            owned: Partitions::new(),
            pending: None,
            revoked_at: Monotonic(0),
            revoke_deadline: None,
            session_deadline: None,
            answered_at: None,
            reported: None,
            tells_all: true,
            waits_for: None,
            is_running: true,
        }
    }

    /// Another process takes over, with another member id and nothing else.
    pub(super) fn restart(&mut self, member_id: String) {
        let fresh = Client::new(member_id, self.instance_id.clone());
        *self = Client {
            names: self.names.clone(),
            regex: self.regex.clone(),
            assignor: self.assignor.clone(),
            ..fresh
        };
    }

    /// Gives everything up, and joins anew.
    pub(super) fn start_over(&mut self) {
        self.owned.clear();
        self.pending = None;
        self.revoke_deadline = None;
        self.session_deadline = None;
        self.answered_at = None;
        self.reported = None;
        self.epoch = 0;
        self.tells_all = true;
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Monotonic) {
        let is_over = |deadline: Option<Monotonic>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.session_deadline) || is_over(self.revoke_deadline) {
            self.waits_for = None;
            self.start_over();
        } else if self.revoked_at <= now
            && let Some(pending) = self.pending.take()
        {
            self.owned = pending;
        }
    }

    /// Whether it has all that it was told of.
    pub(super) fn is_settled(&self) -> bool {
        self.epoch > 0 && self.pending.is_none()
    }

    pub(super) fn request(&mut self) -> ConsumerGroupHeartbeatRequest {
        let tells_all = self.tells_all || self.epoch == 0;
        let owned = (tells_all || self.reported.as_ref() != Some(&self.owned)).then(|| self.owned.clone());
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: "g".to_owned(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance_id.clone(),
            topic_partitions: owned.map(|owned| {
                let topics = by_topic(&owned).into_iter();
                topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
            }),
            ..Default::default()
        };
        if tells_all {
            request.rebalance_timeout_ms = REBALANCE.as_millis() as i32;
            request.subscribed_topic_names = Some(self.names.clone());
            request.subscribed_topic_regex = Some(self.regex.clone());
            request.server_assignor = self.assignor.clone();
        }
        self.tells_all = false;
        request
    }

    /// Takes the answer to a request that it sent at `sent_at` with these partitions, or without any.
    pub(super) fn hear(
        &mut self,
        response: &ConsumerGroupHeartbeatResponse,
        reported: Option<Partitions>,
        sent_at: Monotonic,
        now: Monotonic,
        random: &mut Random,
    ) {
        if sent_at + SESSION <= now {
            // It may have been given up since it was heard.
            return self.start_over();
        }
        match ErrorCode::ALL.iter().copied().find(|error| error.code() == response.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::GroupIdNotFound) => {
                return self.start_over();
            }
            Some(ErrorCode::UnreleasedInstanceId | ErrorCode::NotCoordinator) => {
                self.tells_all = true;
                return;
            }
            Some(ErrorCode::FencedInstanceId) => {
                self.start_over();
                self.is_running = false;
                return;
            }
            other => panic!("{other:?}: {response:?}"),
        }
        let answered_at = self.answered_at.replace(sent_at).unwrap_or(sent_at);
        self.epoch = response.member_epoch;
        self.session_deadline = Some(sent_at + SESSION);
        if reported.as_ref() == Some(&self.owned) && self.pending.is_none() {
            self.revoke_deadline = None;
        }
        if reported.is_some() {
            self.reported = reported;
        }
        let Some(assignment) = &response.assignment else { return };
        let given = flat(assignment.topic_partitions.iter().map(|topic| (topic.topic_id, &topic.partitions)));
        if self.owned.is_subset(&given) {
            self.pending = None;
            self.owned = given;
            return;
        }
        // Nothing new is taken before the old is given up.
        let slow = if random.below(10) == 0 { 12_000 } else { 1_500 };
        if self.pending.is_none() {
            self.revoked_at = now + Duration::from_millis(random.below(slow));
            // The first answer that asked for it may have been lost: its time may run since the one before.
            let deadline = answered_at + REBALANCE;
            self.revoke_deadline = Some(self.revoke_deadline.map_or(deadline, |known| known.min(deadline)));
        }
        self.pending = Some(given);
    }
}
