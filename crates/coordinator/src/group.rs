//! A classic group: its state, and the rules that hold between its parts.

use crate::consumer_group::classic::embedded::{self, CONSUMER};
use crate::member::{Member, Parked};
use crate::presence::Presence;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;
use ottla_protocol::records::group::GroupMetadataValue;
use ottla_types::{Monotonic, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a group stands (`org.apache.kafka.coordinator.group.classic.ClassicGroupState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Waiting for all members to join.
    PreparingRebalance,
    /// All have joined; waiting for the leader's assignment.
    CompletingRebalance,
    /// The assignment is stored.
    Stable,
    /// There is no such group: only an answer to DescribeGroups says so.
    Dead,
}

impl GroupState {
    /// Kafka's name, as DescribeGroups and ListGroups show it.
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The first rebalance of an empty group, which waits for more members than the one that set it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitialDelay {
    /// The wait under way.
    pub(crate) delay: Duration,
    /// How much longer it may become.
    pub(crate) remaining: Duration,
    /// Whether a member came since the wait under way began, which prolongs it.
    pub(crate) new_member_added: bool,
}

/// A group as this coordinator sees it: the last stored generation, or a rebalance that left it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    pub(crate) state: GroupState,
    /// Grows by one when all have joined.
    pub(crate) generation: i32,
    /// `consumer`, `connect`, ...; `None` for a group that only commits offsets.
    pub(crate) protocol_type: Option<String>,
    /// What the generation's members voted for.
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    /// When it came into its state, as far as is known.
    pub(crate) state_since: Option<Timestamp>,
    /// Whether it was a consumer group until it was last stored, and its members have yet to join again. No leader is stored
    /// then.
    pub(crate) has_come_down: bool,
    /// Whether the log knows of it. What it does not know of may vanish without a trace.
    pub(crate) is_stored: bool,
    /// When members that were told their id, and have not joined with it, are given up.
    pub(crate) pending_members: BTreeMap<String, Monotonic>,
    /// Members of this generation that have not sent SyncGroup.
    pub(crate) pending_syncs: BTreeSet<String>,
    pub(crate) initial_delay: Option<InitialDelay>,
    /// When a rebalance stops waiting for members to join.
    pub(crate) join_deadline: Option<Monotonic>,
    /// When a generation stops waiting for members to sync.
    pub(crate) sync_deadline: Option<Monotonic>,
    members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    static_members: BTreeMap<String, String>,
    /// How many members support each protocol.
    support: BTreeMap<String, usize>,
    awaiting_join: usize,
}

impl Group {
    /// A group without members.
    pub(crate) fn new(id: &str) -> Group {
        Group {
            id: id.into(),
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            state_since: None,
            has_come_down: false,
            is_stored: false,
            pending_members: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            initial_delay: None,
            join_deadline: None,
            sync_deadline: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            support: BTreeMap::new(),
            awaiting_join: 0,
        }
    }

    /// Becomes what the log says. Members that are both here and there keep what the log does not hold.
    pub(crate) fn install(&mut self, value: &GroupMetadataValue) {
        let protocol = value.protocol.as_deref().unwrap_or_default();
        let mut live = std::mem::take(&mut self.members);
        self.static_members.clear();
        self.support.clear();
        self.awaiting_join = 0;
        self.protocol_type = Some(value.protocol_type.clone()).filter(|name| !name.is_empty());
        self.leader = value.leader.clone();
        for record in &value.members {
            let mut member = Member::from_record(record, protocol);
            if let Some(live) = live.remove(&member.id) {
                member.keep_alive(live, protocol);
            }
            self.add(member);
        }
        let abandoned = |member: &Member| member.parked_join.is_some() || member.parked_sync.is_some();
        assert!(!live.values().any(abandoned), "whoever removes a member answers its requests");

        self.state = if self.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        self.state_since = Some(Timestamp(value.current_state_timestamp)).filter(|&at| at != Timestamp::NONE);
        self.generation = value.generation;
        self.protocol = value.protocol.clone();
        self.has_come_down = value.leader.is_none() && self.state == GroupState::Stable;
        self.is_stored = true;
        self.initial_delay = None;
        self.join_deadline = None;
        self.pending_syncs.retain(|id| self.members.contains_key(id));
        if self.pending_syncs.is_empty() {
            self.sync_deadline = None;
        }
    }

    /// Enters a state.
    pub(crate) fn transition(&mut self, state: GroupState, now: Timestamp) {
        self.state = state;
        self.state_since = Some(now);
    }

    /// Adds a member. The first one settles the protocol type and becomes the leader.
    pub(crate) fn add(&mut self, member: Member) {
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_members.remove(&member.id);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        self.awaiting_join += usize::from(member.parked_join.is_some());
        count(&mut self.support, &member);
        let replaced = self.members.insert(member.id.clone(), member);
        if let Some(replaced) = replaced {
            uncount(&mut self.support, &replaced);
        }
    }

    /// Removes a member, or one that has yet to join. Its parked requests, if any, are the caller's to answer.
    pub(crate) fn remove(&mut self, member_id: &str) -> Option<Member> {
        self.pending_members.remove(member_id);
        self.pending_syncs.remove(member_id);
        let member = self.members.remove(member_id)?;
        uncount(&mut self.support, &member);
        self.awaiting_join -= usize::from(member.parked_join.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes a member by its JoinGroup.
    pub(crate) fn update(&mut self, member_id: &str, request: &JoinGroupRequest) {
        let member = self.members.get_mut(member_id).expect("the caller looked it up");
        uncount(&mut self.support, member);
        member.update(request);
        count(&mut self.support, member);
    }

    /// Gives a static member a new id. The old one is returned, to answer what it has parked.
    pub(crate) fn rename(&mut self, old_id: &str, new_id: &str) -> Option<Member> {
        let was_leader = self.is_leader(old_id);
        let old = self.remove(old_id)?;
        let renamed = Member {
            id: new_id.to_owned(),
            instance_id: old.instance_id.clone(),
            client_id: old.client_id.clone(),
            client_host: old.client_host.clone(),
            protocols: old.protocols.clone(),
            assignment: old.assignment.clone(),
            is_new: false,
            session_deadline: None,
            presence: Presence::default(),
            gone_deadline: None,
            parked_join: None,
            parked_sync: None,
            ..old
        };
        self.add(renamed);
        if was_leader {
            self.leader = Some(new_id.to_owned());
        }
        Some(old)
    }

    /// Parks a member's JoinGroup; returns the one that it replaces.
    pub(crate) fn park_join(&mut self, member_id: &str, parked: Parked) -> Option<Parked> {
        let member = self.members.get_mut(member_id).expect("the caller looked it up");
        let replaced = member.parked_join.replace(parked);
        self.awaiting_join += usize::from(replaced.is_none());
        replaced
    }

    /// Takes a member's JoinGroup back, to answer it.
    pub(crate) fn unpark_join(&mut self, member_id: &str) -> Option<Parked> {
        let parked = self.members.get_mut(member_id)?.parked_join.take();
        self.awaiting_join -= usize::from(parked.is_some());
        parked
    }

    /// Sees to it that the leader is one that has joined. Returns false when nobody has.
    pub(crate) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &Member| member.parked_join.is_some();
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if !leader.is_some_and(has_joined) {
            let Some(joined) = self.members.values().find(|member| has_joined(member)) else { return false };
            self.leader = Some(joined.id.clone());
        }
        true
    }

    /// Counts on by one. After 2³¹ generations it starts again.
    pub(crate) fn advance_generation(&mut self) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
    }

    /// A member, to change what neither the log nor an index of the group holds.
    pub(crate) fn member_mut(&mut self, member_id: &str) -> Option<&mut Member> {
        self.members.get_mut(member_id)
    }

    /// A member.
    pub(crate) fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    /// All members, by id.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// The ids of all members.
    pub(crate) fn member_ids(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// The dynamic members that have not joined the rebalance under way.
    pub(crate) fn late_members(&self) -> Vec<String> {
        let is_late = |member: &&Member| member.instance_id.is_none() && member.parked_join.is_none();
        self.members.values().filter(is_late).map(|member| member.id.clone()).collect()
    }

    /// How many of the members have joined the rebalance under way.
    pub(crate) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// The member that has an instance id.
    pub(crate) fn static_member_id(&self, instance_id: &str) -> Option<&String> {
        self.static_members.get(instance_id)
    }

    /// Returns whether a member computes the assignment.
    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Returns whether nobody is left to wait for.
    pub(crate) fn has_all_members_joined(&self) -> bool {
        self.awaiting_join == self.members.len() && self.pending_members.is_empty()
    }

    /// The longest that any member may take to join again.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(Member::rebalance_timeout).max().unwrap_or_default()
    }

    /// Checks that a request comes from a member, and from the present holder of its instance id.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        match instance_id.map(|instance_id| self.static_members.get(instance_id)) {
            Some(None) => return Err(ErrorCode::UnknownMemberId),
            Some(Some(holder)) if holder != member_id => return Err(ErrorCode::FencedInstanceId),
            Some(Some(_)) | None => {}
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Returns whether somebody with these protocols can be a member: one of them must be known to all.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let known_to_all = |name: &str| self.support.get(name).copied().unwrap_or(0) == self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| known_to_all(&protocol.name))
    }

    /// What most members prefer among the protocols that all of them support; on a tie, the first by name.
    ///
    /// # Panics
    /// When there are no members.
    pub(crate) fn select_protocol(&self) -> String {
        let is_candidate = |name: &str| self.support.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let preferred = member.protocols.iter().find(|protocol| is_candidate(&protocol.name));
            let preferred = preferred.expect("who joins shares a protocol with all others");
            *votes.entry(&preferred.name).or_default() += 1;
        }
        let winner = votes.into_iter().rev().max_by_key(|&(_, count)| count);
        winner.expect("somebody votes").0.to_owned()
    }

    /// What the leader needs to know of the members to compute an assignment.
    pub(crate) fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let describe = |member: &Member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        };
        self.members.values().map(describe).collect()
    }

    /// Returns whether the members are Kafka consumers, whose subscriptions can be read.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The topics that the members are subscribed to, or `None` when that cannot be told: they are no
    /// consumers, or one of them speaks a form that is not Kafka's.
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol.as_deref()?)?;
            topics.extend(embedded::subscription(metadata)?.topics);
        }
        Some(topics)
    }

    /// When something is to be done if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        let of_members = |member: &Member| [member.session_deadline, member.gone_deadline];
        let sessions = self.members.values().flat_map(of_members).flatten();
        let pending = self.pending_members.values().copied();
        sessions.chain(pending).chain(self.join_deadline).chain(self.sync_deadline).min()
    }

    /// Returns whether nothing is lost if it vanishes: no member, not even a coming one, nor a record.
    pub(crate) fn is_hollow(&self) -> bool {
        self.state == GroupState::Empty && !self.is_stored && self.pending_members.is_empty()
    }
}

fn count(support: &mut BTreeMap<String, usize>, member: &Member) {
    for protocol in &member.protocols {
        *support.entry(protocol.name.clone()).or_default() += 1;
    }
}

fn uncount(support: &mut BTreeMap<String, usize>, member: &Member) {
    for protocol in &member.protocols {
        let members = support.get_mut(&protocol.name).expect("it was counted");
        *members -= 1;
        if *members == 0 {
            support.remove(&protocol.name);
        }
    }
}
