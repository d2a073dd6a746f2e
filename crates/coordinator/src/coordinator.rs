//! The machine itself: its state, and the ways to move it.

use crate::alarms::Alarms;
use crate::consumer_group::group::ConsumerGroup;
use crate::consumer_group::offsets::tombstones;
use crate::consumer_group::topics::Topics;
use crate::group::Group;
use crate::leave;
use crate::member::millis;
use crate::offsets::{CommittedOffset, Offsets};
use crate::pending_offsets::PendingOffsets;
use crate::presence::ConnectionToken;
use crate::reply::{GroupDecision, GroupReply, ReplyToken, RequestContext};
use crate::settings::Settings;
use crate::turn::{Turn, join_reply, no_generation};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::LeaveGroupRequest;
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::records::group::GroupRecord;
use ottla_types::{Monotonic, Now, Random};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Coordinates the groups of one partition of `__consumer_offsets`, for one term of its leadership.
///
/// The driver first replays the partition from its start to its end, then calls
/// [`GroupCoordinator::handle_loaded`], then hands in events one at a time. It must replay all records of a
/// decision before it hands in the next event; when they are appended is between it and its log, as long as
/// the order is kept and the machine is dropped if an append fails.
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(crate) settings: Settings,
    /// The classic ones. No id is in both maps.
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) consumer_groups: BTreeMap<String, ConsumerGroup>,
    pub(crate) offsets: Offsets,
    /// Those of open transactions.
    pub(crate) pending: PendingOffsets,
    pub(crate) alarms: Alarms,
    /// The open connections by which members were heard of, with their groups: where to look when one closes.
    pub(crate) connections: BTreeSet<(ConnectionToken, Arc<str>)>,
    pub(crate) random: Random,
    /// When to look for expired offsets next. `None` until loaded.
    pub(crate) expiry_check: Option<Monotonic>,
    /// Records decided and not yet replayed.
    unreplayed: usize,
    /// How many offsets were replayed.
    places: u64,
}

impl GroupCoordinator {
    /// A coordinator that knows nothing yet. `seed` decides the ids of new members: no two machines may have
    /// the same, or two members might.
    pub fn new(settings: Settings, seed: u64) -> GroupCoordinator {
        GroupCoordinator {
            settings,
            groups: BTreeMap::new(),
            consumer_groups: BTreeMap::new(),
            offsets: Offsets::default(),
            pending: PendingOffsets::default(),
            alarms: Alarms::default(),
            connections: BTreeSet::new(),
            random: Random::new(seed),
            expiry_check: None,
            unreplayed: 0,
            places: 0,
        }
    }

    /// Applies a record: one of the log, while loading, or one of a decision.
    ///
    /// Records that this coordinator does not write (share groups, streams groups, ...) are skipped. For those of
    /// transactional batches there is [`GroupCoordinator::replay_transactional`].
    pub fn replay(&mut self, record: &GroupRecord) {
        self.unreplayed = self.unreplayed.saturating_sub(1);
        self.apply(record);
    }

    pub(crate) fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::GroupMetadata(key, Some(value)) => {
                self.consumer_groups.remove(&key.group);
                self.materialise(&key.group).install(value);
            }
            GroupRecord::GroupMetadata(key, None) => self.forget(&key.group),
            GroupRecord::OffsetCommit(key, Some(value)) => {
                let offset = self.place(value.into());
                self.materialise_for_offsets(&key.group);
                self.offsets.put(&key.group, &key.topic, key.partition, offset);
            }
            GroupRecord::OffsetCommit(key, None) => {
                self.offsets.remove(&key.group, &key.topic, key.partition);
                self.pending.remove(&key.group, &key.topic, key.partition);
            }
            GroupRecord::LegacyOffsetCommit(key, Some(value)) => {
                let offset = self.place(value.into());
                self.materialise_for_offsets(&key.group);
                self.offsets.put(&key.group, &key.topic, key.partition, offset);
            }
            GroupRecord::LegacyOffsetCommit(key, None) => {
                self.offsets.remove(&key.group, &key.topic, key.partition);
                self.pending.remove(&key.group, &key.topic, key.partition);
            }
            record => self.replay_consumer_group(record),
        }
    }

    /// Notes where an offset stands in the log.
    pub(crate) fn place(&mut self, offset: CommittedOffset) -> CommittedOffset {
        self.places += 1;
        CommittedOffset { place: self.places, ..offset }
    }

    /// The log is replayed: members get fresh sessions, and expiry begins.
    pub fn handle_loaded(&mut self, now: Now) -> GroupDecision {
        self.expiry_check = Some(now.monotonic + self.settings.offsets_retention_check_interval);
        let group_ids: Vec<String> = self.groups.keys().cloned().collect();
        let consumer_group_ids: Vec<String> = self.consumer_groups.keys().cloned().collect();
        self.decide(|machine, decision| {
            for group_id in &consumer_group_ids {
                machine.consumer_turn(group_id, now, decision).expect("it is one of the groups").begin();
            }
            for group_id in &group_ids {
                let mut turn = machine.turn(group_id, now, decision).expect("it is one of the groups");
                for member_id in turn.group.member_ids() {
                    turn.renew_session(&member_id);
                }
                turn.rejoin_if_come_down();
                if turn.group.members().len() > turn.settings.group_size_max {
                    // `group.max.size` was lowered: whoever joins last again must go.
                    turn.prepare_rebalance();
                }
            }
        })
    }

    /// Handles a JoinGroup. The answer comes when the next generation begins, unless it is a refusal.
    pub fn handle_join_group(
        &mut self,
        request: &JoinGroupRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
    ) -> GroupDecision {
        if let Err(error) = self.validate_join(request) {
            return reply(context.token, refuse_join(error, &request.member_id, context.version));
        }
        let group_id = &request.group_id;
        if self.consumer_groups.get(group_id).is_some_and(|group| group.members().len() > 0) {
            return self.decide(|machine, decision| {
                let response = machine.classic_joins(request, context, topics, now, decision);
                decision.replies.push((context.token, join_reply(response, context.version)));
            });
        }
        let ended = self.consumer_groups.get(group_id).map(tombstones).unwrap_or_default();
        self.decide(|machine, decision| {
            for record in ended {
                // A consumer group without members gives its place, and its offsets, to a classic one.
                machine.write(record, decision);
            }
            // A group of nobody yet. If it stays so, it vanishes again.
            machine.groups.entry(group_id.clone()).or_insert_with(|| Group::new(group_id));
            machine.turn(group_id, now, decision).expect("it is there").join(request, context);
            machine.sweep(group_id);
        })
    }

    fn validate_join(&self, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        let Settings { session_timeout_min, session_timeout_max, .. } = self.settings;
        let has_consumers =
            self.consumer_groups.get(&request.group_id).is_some_and(|group| group.members().len() > 0);
        if request.group_id.is_empty() {
            Err(ErrorCode::InvalidGroupId)
        } else if !(session_timeout_min..=session_timeout_max).contains(&millis(request.session_timeout_ms)) {
            Err(ErrorCode::InvalidSessionTimeout)
        } else if has_consumers {
            Ok(())
        } else if !request.member_id.is_empty() && !self.groups.contains_key(&request.group_id) {
            Err(ErrorCode::UnknownMemberId)
        } else {
            Ok(())
        }
    }

    /// Handles a SyncGroup. The answer comes when the leader has synced.
    pub fn handle_sync_group(
        &mut self,
        request: &SyncGroupRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
    ) -> GroupDecision {
        if self.consumer_groups.contains_key(&request.group_id) {
            return self.decide(|machine, decision| {
                let synced = machine.classic_syncs(request, context, topics, now, decision);
                let response = synced.unwrap_or_else(|error| SyncGroupResponse {
                    error_code: error.code(),
                    ..Default::default()
                });
                decision.replies.push((context.token, GroupReply::SyncGroup(response)));
            });
        }
        match self.find(&request.group_id) {
            Ok(()) => self.decide_in(&request.group_id, now, |turn| turn.sync(request, context)),
            Err(error) => {
                let error_code = error.code();
                let response = SyncGroupResponse { error_code, ..Default::default() };
                reply(context.token, GroupReply::SyncGroup(response))
            }
        }
    }

    /// Handles a Heartbeat.
    pub fn handle_heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
    ) -> GroupDecision {
        let mut error = ErrorCode::None;
        let mut decision = match self.find(&request.group_id) {
            _ if self.consumer_groups.contains_key(&request.group_id) => self.decide(|machine, decision| {
                let lives = machine.classic_lives(request, context, topics, now, decision);
                error = lives.err().unwrap_or(ErrorCode::None);
            }),
            Ok(()) => self.decide_in(&request.group_id, now, |turn| error = turn.heartbeat(request, context)),
            Err(not_found) => {
                error = not_found;
                GroupDecision::none()
            }
        };
        let response = HeartbeatResponse { error_code: error.code(), ..Default::default() };
        decision.replies.push((context.token, GroupReply::Heartbeat(response)));
        decision
    }

    /// Handles a LeaveGroup.
    pub fn handle_leave_group(
        &mut self,
        request: &LeaveGroupRequest,
        context: &RequestContext,
        now: Now,
    ) -> GroupDecision {
        let leaving = leave::leaving(request, context.version);
        let mut response = LeaveGroupResponse::default();
        let mut decision = GroupDecision::none();
        match self.find(&request.group_id) {
            Err(ErrorCode::UnknownMemberId) if self.consumer_groups.contains_key(&request.group_id) => {
                decision = self.decide(|machine, decision| {
                    let turn = machine.consumer_turn(&request.group_id, now, decision);
                    let left = turn.expect("it was looked up").leave_classic(&leaving);
                    response = leave::response(left, context.version);
                });
            }
            Ok(()) => {
                decision = self.decide_in(&request.group_id, now, |turn| {
                    response = leave::response(turn.leave(&leaving), context.version);
                });
            }
            Err(ErrorCode::UnknownMemberId) => {
                let unknown = |member| leave::answer(member, ErrorCode::UnknownMemberId);
                response = leave::response(leaving.iter().map(unknown).collect(), context.version);
            }
            Err(error) => response.error_code = error.code(),
        }
        decision.replies.push((context.token, GroupReply::LeaveGroup(response)));
        decision
    }

    /// When [`GroupCoordinator::handle_timeout`] is to be called if nothing happens before.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.alarms.first().into_iter().chain(self.expiry_check).min()
    }

    /// Does what is due: gives up silent members, ends waits, expires offsets. Too early is harmless.
    pub fn handle_timeout(&mut self, now: Now) -> GroupDecision {
        let due = self.alarms.take_due(now.monotonic);
        let mut decision = self.decide(|machine, decision| {
            for group_id in due {
                if let Some(mut turn) = machine.turn(&group_id, now, decision) {
                    turn.expire();
                }
                if let Some(mut turn) = machine.consumer_turn(&group_id, now, decision) {
                    turn.expire();
                }
                machine.sweep(&group_id);
            }
        });
        if self.expiry_check.is_some_and(|check| check <= now.monotonic) {
            self.expiry_check = Some(now.monotonic + self.settings.offsets_retention_check_interval);
            let mut expired = self.expired_offsets(now);
            expired.extend(self.expired_consumer_offsets(now));
            self.unreplayed += expired.len();
            decision.records.extend(expired);
        }
        decision
    }

    /// Ends this coordinator's term: all that is parked is told to look for another one.
    pub fn resign(self) -> Vec<(ReplyToken, GroupReply)> {
        let error_code = ErrorCode::NotCoordinator.code();
        let mut replies = Vec::new();
        for member in self.groups.values().flat_map(Group::members) {
            if let Some(parked) = member.parked_join {
                let join = JoinGroupResponse { member_id: member.id.clone(), ..Default::default() };
                let refusal = GroupReply::JoinGroup(join).into_error(ErrorCode::NotCoordinator);
                replies.push((parked.token, refusal));
            }
            if let Some(parked) = member.parked_sync {
                let sync = SyncGroupResponse { error_code, ..Default::default() };
                replies.push((parked.token, GroupReply::SyncGroup(sync)));
            }
        }
        replies
    }

    /// Makes a decision, and remembers how many records must be replayed before the next one.
    pub(crate) fn decide(&mut self, event: impl FnOnce(&mut Self, &mut GroupDecision)) -> GroupDecision {
        self.assert_replayed();
        let mut decision = GroupDecision::none();
        event(self, &mut decision);
        self.unreplayed = decision.records.len();
        decision
    }

    pub(crate) fn assert_replayed(&self) {
        assert_eq!(self.unreplayed, 0, "a decision's records are replayed before the next event");
    }

    /// Makes a decision that concerns one group.
    fn decide_in(&mut self, group_id: &str, now: Now, event: impl FnOnce(&mut Turn<'_>)) -> GroupDecision {
        self.decide(|machine, decision| {
            if let Some(mut turn) = machine.turn(group_id, now, decision) {
                event(&mut turn);
            }
            machine.sweep(group_id);
        })
    }

    pub(crate) fn turn<'a>(
        &'a mut self,
        group_id: &str,
        now: Now,
        decision: &'a mut GroupDecision,
    ) -> Option<Turn<'a>> {
        let group = self.groups.get_mut(group_id)?;
        let (alarms, connections, random) = (&mut self.alarms, &mut self.connections, &mut self.random);
        Some(Turn { group, alarms, connections, random, settings: &self.settings, now, decision })
    }

    /// Checks a group id of a request that only members send.
    fn find(&self, group_id: &str) -> Result<(), ErrorCode> {
        if group_id.is_empty() {
            Err(ErrorCode::InvalidGroupId)
        } else if !self.groups.contains_key(group_id) {
            Err(ErrorCode::UnknownMemberId)
        } else {
            Ok(())
        }
    }

    /// The group that the log speaks of.
    pub(crate) fn materialise(&mut self, group_id: &str) -> &mut Group {
        let group = self.groups.entry(group_id.to_owned()).or_insert_with(|| Group::new(group_id));
        group.is_stored = true;
        group
    }

    /// The group that committed offsets belong to: one of any type.
    pub(crate) fn materialise_for_offsets(&mut self, group_id: &str) {
        if !self.consumer_groups.contains_key(group_id) {
            self.materialise(group_id);
        }
    }

    /// A group of the other type may have taken its place.
    pub(crate) fn forget(&mut self, group_id: &str) {
        if self.groups.remove(group_id).is_some() {
            self.alarms.disarm(group_id);
        }
    }

    /// Forgets a group that nobody would miss.
    fn sweep(&mut self, group_id: &str) {
        if self.groups.get(group_id).is_some_and(Group::is_hollow) {
            self.forget(group_id);
        }
    }
}

/// A decision that only answers.
pub(crate) fn reply(token: ReplyToken, reply: GroupReply) -> GroupDecision {
    GroupDecision::reply((token, reply))
}

fn refuse_join(error: ErrorCode, member_id: &str, version: i16) -> GroupReply {
    let (error_code, member_id) = (error.code(), member_id.to_owned());
    join_reply(JoinGroupResponse { error_code, member_id, ..no_generation() }, version)
}
